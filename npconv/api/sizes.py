"""The size of the pictures that a model is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from npconv.api.auto import AutoImageProcessor
from npconv.errors import NpconvError
from npconv.images import ConvNextImageProcessor


def input_size(config: Any, processor: ConvNextImageProcessor | None) -> tuple[int, int]:
    """Return height and width of the pictures that the preprocessing makes, or else that the model was made for."""
    given = config.image_size
    height, width = given if isinstance(given, list | tuple) else (given, given)
    if processor is not None:
        for _, _, arguments in processor.steps(height, width):
            height, width = arguments.get("height", height), arguments.get("width", width)
    return height, width


def size_in(config: Any, model: Any) -> tuple[int, int]:
    """Return the same of a model found by name, folder or a file in it; what it cannot tell its configuration does."""
    folder = Path(model).parent if Path(model).is_file() else model
    try:
        return input_size(config, AutoImageProcessor.from_pretrained(folder))
    except NpconvError:
        return input_size(config, None)
