"""What a training needs to go on after it was stopped, in one file that appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import NpconvError, WeightsError
from npconv.files.safetensors import load_file, read_metadata, save_file

FILE_NAME = "checkpoint.safetensors"

#: The text that goes with the arrays.
_FACTS = "npconv_training"


def write_checkpoint(folder: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write arrays by name, and facts that JSON can hold."""
    save_file(arrays, folder / FILE_NAME, {_FACTS: json.dumps(facts)})


def read_checkpoint(folder: Path, of: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Return arrays and facts of the checkpoint in a folder; None if there is none.

    Raises
    ------
    WeightsError
        If it cannot be read, or its fact ``"of"`` is another.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        arrays, facts = load_file(path), json.loads(read_metadata(path)[_FACTS])
    except (NpconvError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: expected a checkpoint of a training ({error}); delete it to begin anew") from error
    if facts["of"] != of:
        raise WeightsError(
            f"{path}: is of a training with other photos, options or another model; resume with those of then, or "
            "delete it to begin anew"
        )
    return arrays, facts


def fingerprint(*parts: Any) -> str:
    """Return a text that is another one for other arrays and texts."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(repr((part.shape, part.dtype)).encode())
            digest.update(np.ascontiguousarray(part).data.cast("B"))
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()
