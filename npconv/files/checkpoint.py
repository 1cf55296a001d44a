"""All the weights of a model: one safetensors file, or several ("shards") with an index that says what is where.

A folder in Hugging Face layout holds ``model.safetensors``, or shards ``model-00001-of-00003.safetensors`` and so on
with ``model.safetensors.index.json``. That index, and ``pytorch_model.bin.index.json``, have one form::

    {"metadata": {"total_size": 28589128}, "weight_map": {"classifier.weight": "model-00003-of-00003.safetensors", ...}}
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from npconv.errors import InputError, WeightsError, WeightsNotFoundError
from npconv.files.disk import SUFFIX, as_path, read_json, write_file
from npconv.files.dtypes import STORED, DeferredArray
from npconv.files.locks import publish, why_not_written
from npconv.files.safetensors import check_mapping, load_file, open_file, save_file
from npconv.files.strangers import what_is_in
from npconv.messages import listed, quoted

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_SHARD_FILE = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")

#: Endings of the weight files of other frameworks, which npconv does not read: some of them run code when opened.
_FOREIGN_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".npz", ".onnx", ".gguf", ".pkl", ".tflite")

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}

MAX_SHARDS = 10_000


def read_weight_map(index: Path, suffix: str = "") -> dict[str, str]:
    """Return which file each tensor is in: plain names of files in the same folder, all with the `suffix`.

    Raises
    ------
    WeightsError
        If the index is damaged or points outside its folder.
    """
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{quoted(index)} is JSON without a 'weight_map', expected weights or an index of them")
    files = {file for file in weight_map.values() if isinstance(file, str)}
    plain = {file for file in files if is_plain_name(file) and file.endswith(suffix) and file != index.name}
    for name, file in weight_map.items():
        if not isinstance(file, str) or file not in plain:
            raise WeightsError(
                f"{quoted(index)} places tensor {quoted(name)} in {quoted(file)}, expected the plain name of a "
                f"{suffix or 'weight'} file in the same folder; do not use it if you do not trust its source"
            )
    if len(plain) > MAX_SHARDS:
        raise WeightsError(f"{quoted(index)} names more than {MAX_SHARDS} files, expected fewer")
    return weight_map


def is_plain_name(file: str) -> bool:
    """Say whether a name stays in its folder on any system. Where a link of that name leads is its owner's business."""
    is_plain = PurePosixPath(file).name == file == PureWindowsPath(file).name
    return is_plain and file.isprintable() and file not in ("", "..")


def gather(index: Path, weight_map: Mapping[str, str], read: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the tensors of all files that an index names, each of which holds what the index says.

    `weight_map` is that of `read_weight_map`; `read` returns the tensors of one file.

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


def load_checkpoint(path: str | os.PathLike[str], *, lazy: bool = False) -> dict[str, Any]:
    """Return the tensors of a model.

    Parameters
    ----------
    path : str or path
        A folder with ``model.safetensors``, or with ``model.safetensors.index.json`` and the shards it names; or a
        ``.safetensors`` file, or such an index.
    lazy : bool
        Leave tensors that must be decoded (BF16, 8-bit floats, BOOL) as they are stored. They then take no memory until
        each is made an array: ``np.array(tensor, dtype)``.

    Returns
    -------
    dict of str to ndarray, or to ndarray and DeferredArray if `lazy`
        By the names in the files; read-only, see `npconv.files.safetensors.load_file` and `open_file`.

    Raises
    ------
    WeightsError
        If there are no weights in safetensors files, or index and shards contradict each other.
    SafetensorsError
        If a file breaks the format.
    """
    load = open_file if lazy else load_file
    found = _find(path)
    if not _is_index(found):
        return load(found)

    def load_shard(file: Path) -> dict[str, Any]:
        if not os.path.lexists(file):
            raise WeightsNotFoundError(
                f"{found.name} names {quoted(file.name)}, which is not in {quoted(file.parent)}; get it"
            )
        return load(file)

    return gather(found, read_weight_map(found, SUFFIX), load_shard)


def checkpoint_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that a model's tensors are read from: one, or the shards in the order of their names.

    Raises
    ------
    WeightsError
        As `load_checkpoint`, if there are no weights or the index is damaged.
    """
    found = _find(path)
    if not _is_index(found):
        return [found]
    return [found.parent / name for name in sorted(set(read_weight_map(found, SUFFIX).values()))]


def _is_index(path: Path) -> bool:
    """Say whether a file is named as an index, such as that of a variant, ``model.safetensors.index.fp16.json``."""
    return path.name.startswith(f"{SINGLE_FILE}.index.") and path.suffix == ".json"


def _find(path: str | os.PathLike[str]) -> Path:
    """Return the file of a checkpoint, or its index."""
    path = as_path(path)
    if not os.path.isdir(path):
        if path.suffix != SUFFIX and not _is_index(path):
            raise WeightsError(f"expected a folder or a {SUFFIX} file, got {quoted(path)}")
        return path
    for name in (SINGLE_FILE, INDEX_FILE):
        if os.path.lexists(path / name):
            return path / name
    raise WeightsNotFoundError(f"no {SINGLE_FILE} and no {INDEX_FILE} in {quoted(path)}; {_what_is_there(path)}")


def save_checkpoint(
    directory: str | os.PathLike[str],
    tensors: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    max_shard_size: int | str | None = None,
) -> None:
    """Write the tensors of a model into a folder, as ``transformers`` reads them.

    What an earlier save has left there (``model.safetensors``, its index, files named as shards are) and is not
    written again is removed, so that nobody loads it by mistake. No other file is touched.

    Parameters
    ----------
    directory : str or path
        Made if it does not exist.
    tensors : mapping of str to ndarray
        As for `npconv.files.safetensors.save`.
    metadata : mapping of str to str, optional
        For the header of every file; ``{"format": "pt"}`` if not given, without which some readers refuse a file.
    max_shard_size : int or str, optional
        The most bytes of tensors in one file (a single larger tensor gets a file of its own), as a number or text
        such as ``"5GB"`` or ``"200MiB"``. Without it there is one file.

    Raises
    ------
    InputError
        If `max_shard_size` is no such size, or a tensor cannot be stored.
    WeightsError
        If a file cannot be written.
    """
    directory = as_path(directory)
    metadata = {"format": "pt"} if metadata is None else metadata
    files = shard_files(tensors, max_shard_size)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot make folder {quoted(directory)}: {error}") from error
    for file_name, shard in files.items():
        save_file(shard, directory / file_name, metadata)
    if len(files) > 1:
        write_file(directory / INDEX_FILE, [index_json(files)])
    _remove_others(directory, {*files, INDEX_FILE} if len(files) > 1 else set(files))


def publish_checkpoint(staging: Path, directory: Path, last: str) -> None:
    """Move a checkpoint, with the file that speaks of it (`last`), from where it was staged; see `locks.publish`.

    Raises
    ------
    WeightsError
        If the files cannot be moved, or those of an earlier save not be removed.
    """
    written = os.listdir(staging)
    try:
        publish(staging, directory, last)
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot write {quoted(directory)}: {why_not_written(error)}") from error
    _remove_others(directory, written)


def shard_files(tensors: Mapping[str, Any], max_shard_size: int | str | None = None) -> dict[str, dict[str, Any]]:
    """Return the files that tensors are to be written in: name of a file -> its tensors, in their order.

    Raises
    ------
    InputError
        If `max_shard_size` is no such size as `save_checkpoint` takes.
    """
    check_mapping(tensors, "tensors")
    shards = _split(tensors, _bytes(max_shard_size))
    if len(shards) == 1:
        return {SINGLE_FILE: shards[0]}
    return {f"model-{i:05d}-of-{len(shards):05d}{SUFFIX}": shard for i, shard in enumerate(shards, 1)}


def is_weight_file(name: str) -> bool:
    """Say whether a file of this name is one that `save_checkpoint` writes."""
    return name in (SINGLE_FILE, INDEX_FILE) or _SHARD_FILE.fullmatch(name) is not None


def _what_is_there(directory: Path) -> str:
    """Return what a folder without a checkpoint holds instead, and what to do about it."""
    if what := what_is_in(directory):
        return f"the folder is {what}"
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        return f"and the folder cannot be listed: {error}"
    others = [quoted(name) for name in names if name.endswith(SUFFIX)]
    if others:
        return f"there is {listed(others)}: give the path of the file itself, or rename it"
    foreign = [quoted(name) for name in names if name.endswith(_FOREIGN_SUFFIXES)]
    if foreign:
        return f"there is {listed(foreign)}, but models are loaded from safetensors: npconv convert"
    return f"the folder holds {listed([quoted(name) for name in names]) or 'nothing'}"


def _bytes(size: int | str | None) -> float:
    """Return a shard size in bytes."""
    if size is None:
        return float("inf")
    match = re.fullmatch(r"(\d{1,15})\s*([A-Z]*)", str(size).upper(), re.ASCII)
    if isinstance(size, bool) or not match or match[2] not in _UNITS or int(match[1]) == 0:
        raise InputError(f"expected max_shard_size as bytes or text such as '5GB' or '200MiB', got {quoted(size)}")
    return int(match[1]) * _UNITS[match[2]]


def _split(tensors: Mapping[str, Any], limit: float) -> list[dict[str, Any]]:
    """Return the tensors in their order, as groups of at most `limit` bytes or a single tensor."""
    shards: list[dict[str, Any]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        size = _size(tensor)
        if shards[-1] and filled + size > limit:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor
        filled += size
    return shards


def _size(tensor: Any) -> int:
    """Return the bytes of a tensor in a file; what is no array is refused when it is saved."""
    if isinstance(tensor, DeferredArray):
        return tensor.size * STORED[tensor.stored].itemsize
    return getattr(tensor, "nbytes", 0)


def index_json(files: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the index of some shards."""
    weight_map = {name: file_name for file_name, shard in files.items() for name in shard}
    total_size = sum(_size(tensor) for shard in files.values() for tensor in shard.values())
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    return (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()


def _remove_others(directory: Path, written: Collection[str]) -> None:
    """Remove the files of earlier saves. The index first: without it, shards are only shards."""
    try:
        for name in sorted(os.listdir(directory), key=lambda name: name != INDEX_FILE):
            if is_weight_file(name) and name not in written:
                (directory / name).unlink()
    except OSError as error:
        raise WeightsError(f"cannot remove the files of an earlier save: {error}; remove them") from error
