"""The index of a checkpoint in several files ("shards"), which says what tensor is where.

``model.safetensors.index.json`` and ``pytorch_model.bin.index.json`` have one form::

    {"metadata": {"total_size": 28589128}, "weight_map": {"classifier.weight": "model-00003-of-00003.safetensors", ...}}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from npconv.errors import WeightsError
from npconv.files.disk import read_json
from npconv.messages import listed, quoted

MAX_SHARDS = 10_000


def read_weight_map(index: Path, suffix: str = "") -> dict[str, str]:
    """Return which file each tensor is in, every one the plain name of a file in the same folder.

    Parameters
    ----------
    index : Path
    suffix : str
        That all names must have, such as ``".safetensors"``.

    Raises
    ------
    WeightsError
        If the index is damaged or points outside its folder.
    """
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{quoted(index)} is JSON without a 'weight_map', expected weights or an index of them")
    for name, file in weight_map.items():
        if not (isinstance(file, str) and is_plain_name(file) and file.endswith(suffix)) or file == index.name:
            raise WeightsError(
                f"{quoted(index)} places tensor {quoted(name)} in {quoted(file)}, expected the plain name of a "
                f"{suffix or 'weight'} file in the same folder; do not use it if you do not trust its source"
            )
    if len(set(weight_map.values())) > MAX_SHARDS:
        raise WeightsError(f"{quoted(index)} names more than {MAX_SHARDS} files, expected fewer")
    return weight_map


def is_plain_name(file: str) -> bool:
    """Say whether a name stays in its folder on any system. Where a link of that name leads is its owner's business."""
    is_plain = PurePosixPath(file).name == file == PureWindowsPath(file).name
    return is_plain and file.isprintable() and file not in ("", "..")


def gather(index: Path, weight_map: Mapping[str, str], read: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the tensors of all files that an index names, each of which holds what the index says.

    Parameters
    ----------
    index : Path
    weight_map : mapping of str to str
        Tensor name -> name of a file in the folder of the index.
    read : function
        Returns the tensors of one file.

    Raises
    ------
    WeightsError
        If two files hold a tensor of the same name, or index and files contradict each other.
    """
    tensors: dict[str, Any] = {}
    home: dict[str, str] = {}
    for file in sorted(set(weight_map.values())):
        for name, tensor in read(index.parent / file).items():
            if name in tensors:
                raise WeightsError(f"tensor {quoted(name)} is in both {quoted(home[name])} and {quoted(file)}")
            tensors[name], home[name] = tensor, file
    misplaced = [
        f"{quoted(name)} (index: {weight_map.get(name, 'nowhere')}, found: {home.get(name, 'nowhere')})"
        for name in {**weight_map, **home}
        if weight_map.get(name) != home.get(name)
    ]
    if misplaced:
        raise WeightsError(
            f"{quoted(index)} and the shards contradict each other about {listed(misplaced)}; "
            "get index and shards from the same place again"
        )
    return tensors
