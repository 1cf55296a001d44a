"""What every port is given: a small ConvNeXt whose weights and pictures hide nothing, and its golden trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import npconv
from npconv.convert.export import export
from npconv.golden.truth import record
from npconv.weights.safetensors import load_file
from weights_tools.goldens import draw

FIELDS: dict[str, Any] = {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 2, 1], "num_labels": 5}


def make(folder: Path, shape: tuple[int, ...] = (2, 3, 64, 96), **fields: Any) -> dict[str, np.ndarray]:
    """Write ``checkpoint``, in the layout of Hugging Face, and ``golden.safetensors`` of pictures; return the weights.

    `fields` stand in place of those of the small model.
    """
    config = npconv.ConvNextConfig(**{**FIELDS, **fields})
    rng = draw.generator(0, "ports")
    kind = npconv.ConvNextForImageClassification
    model = kind(config, draw.weights(rng, kind.parameter_shapes(config).items()))
    model.save_pretrained(folder / "checkpoint")
    record(model, draw.pixel_values(rng, shape).astype(np.float32)).save(folder / "golden.safetensors")
    return dict(load_file(folder / "checkpoint" / "model.safetensors"))


def exported(folder: Path, dialect: str) -> dict[str, np.ndarray]:
    """Return the checkpoint by the names of another library; it is written to ``model.safetensors``."""
    target = folder / "model.safetensors"
    export(folder / "checkpoint", target, to=dialect)
    return dict(load_file(target))
