"""A checkpoint in several files, with an index that says which tensor is where.

The index of a PyTorch checkpoint, ``pytorch_model.bin.index.json``, has the form of that of safetensors, see
:mod:`npconv.files.checkpoint`: ``{"weight_map": {NAME: FILE, ...}}``, and is checked in the same ways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from npconv.errors import WeightsError
from npconv.files.checkpoint import is_plain_file_name, join_shards
from npconv.files.disk import read_json
from npconv.messages import quoted

MAX_SHARDS = 10_000


def read_weight_map(index: Path) -> dict[str, str]:
    """Return which file each tensor is in, every one the plain name of a file in the same folder.

    Raises
    ------
    WeightsError
        If the index is damaged or points outside its folder.
    """
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{quoted(index)} is JSON without a 'weight_map', expected weights or an index of them")
    for name, file_name in weight_map.items():
        if not isinstance(file_name, str) or not is_plain_file_name(file_name) or file_name == index.name:
            raise WeightsError(
                f"{quoted(index)} places tensor {quoted(name)} in {quoted(file_name)}, expected the plain name of a "
                "file in the same folder; do not use this checkpoint if you do not trust its source"
            )
    if len(set(weight_map.values())) > MAX_SHARDS:
        raise WeightsError(f"{quoted(index)} names more than {MAX_SHARDS} files, expected fewer")
    return weight_map


def gather(index: Path, read: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the tensors of all files that an index names.

    Parameters
    ----------
    index : path
        The index.
    read : function
        Gives the tensors of one file.

    Raises
    ------
    WeightsError
        If a file is missing, or index and files contradict each other.
    """
    return join_shards(index, read_weight_map(index), read)
