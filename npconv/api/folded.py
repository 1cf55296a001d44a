"""Folded weights in a file: the fast engine's arrays, worked out once and mapped by every process that runs the model.

What it saves is memory: processes that map one file share its pages, and each would otherwise have folded weights of
its own. Time it does not save: folding ConvNeXt-T takes 0.08 s, and to see that the file still belongs to the
checkpoint and is whole takes as long (SHA-256 of 114 MB in 0.07 s, CRC-32 in 0.02 s).

The file is a safetensors file. Its tensors are those of ``npconv.fast.fold``, its metadata say what it was made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from npconv._version import __version__
from npconv.api.recipes import Recipe
from npconv.errors import NpconvWarning, WeightsError
from npconv.fast.workers import WorkerPool
from npconv.models import PretrainedConfig
from npconv.weights.checkpoint import SUFFIX, checkpoint_files
from npconv.weights.files import map_file
from npconv.weights.safetensors import load_file, read_metadata, save_file
from npconv.weights.tree import flatten, nest

#: Bytes that are hashed at a time.
CHUNK = 1 << 24


def cache_file(model: Path, class_name: str) -> Path:
    """Return where the folded weights of a model are kept: in its folder, or beside its file.

    The ending is not that of weights, lest another program takes them for the model's.
    """
    name = f"folded.{class_name}.npconv"
    return model / name if model.is_dir() else model.with_name(f"{model.name.removesuffix(SUFFIX)}.{name}")


def cached_fold(
    file: Path, model: Path, class_name: str, config: PretrainedConfig, fold: Callable[[], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Return folded weights, mapped from a file; they are folded and the file written if it is not there.

    A file that is damaged, or was made of other weights, with another configuration or by another version, is written
    anew, with a warning. If it cannot be written, a warning says so, and the weights are in memory alone.

    Parameters
    ----------
    file : Path
    model : Path
        Folder or file of the checkpoint.
    class_name : str
        Of the model: classes of one checkpoint differ in their heads.
    config : PretrainedConfig
    fold : callable
        Returns the tree of folded weights.
    """
    source = _source(model, class_name, config)
    if os.path.lexists(file):
        try:
            return _read(file, source)
        except WeightsError as error:
            warnings.warn(f"the cache {file} is made anew: {error}", NpconvWarning, stacklevel=4)
    folded = fold()
    try:
        _write(file, folded, source)
        return nest(load_file(file))
    except WeightsError as error:
        warnings.warn(f"the folded weights are kept in memory only: {error}", NpconvWarning, stacklevel=4)
        return folded


def shared_recipe(executor: Executor, load: Callable[..., Any], **arguments: Any) -> Recipe:
    """Return the recipe by which workers load a model so that those of this machine share its folded weights.

    The file is in the folder of the workers and written by this process: if each of them did, each would map its own.

    Parameters
    ----------
    executor : Executor
        A :class:`WorkerPool` has a folder; with another, each process folds for itself, unless the arguments say
        ``cache``.
    load : callable
        Loads the model.
    **arguments
        Of `load`: ``engine``, ``cache`` and others.

    Raises
    ------
    NpconvError
        If the arguments cannot be sent, or what `load` raises.
    """
    recipe = Recipe.of(load, **arguments)
    if not isinstance(executor, WorkerPool) or arguments.get("engine") != "fast" or arguments.get("cache"):
        return recipe
    file = executor.folder / f"{hashlib.sha256(recipe.content).hexdigest()[:16]}.npconv"
    shared = {**arguments, "cache": file}
    if not file.exists():
        load(**shared)
    return Recipe.of(load, **shared)


def _source(model: Path, class_name: str, config: PretrainedConfig) -> dict[str, str]:
    """Return what folded weights depend on."""
    fields = json.dumps(config.to_dict(), sort_keys=True, default=_name_of)
    digest = hashlib.sha256()
    for file in checkpoint_files(model):
        for chunk in _chunks(map_file(file)):
            digest.update(chunk)
    return {"npconv": __version__, "class": class_name, "configuration": fields, "weights": digest.hexdigest()}


def _name_of(function: Any) -> str:
    """Return the name of an activation that is a function; what it computes is not folded."""
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"


def _read(file: Path, source: Mapping[str, str]) -> dict[str, Any]:
    """Return the tree in a file.

    Raises
    ------
    WeightsError
        If it is damaged or made of something else.
    """
    found = read_metadata(file)
    for name, expected in source.items():
        if found.get(name) != expected:
            raise WeightsError(f"it is of other {name}" if name != "npconv" else "another version of npconv wrote it")
    tensors = load_file(file)
    if found.get("crc32") != _crc32(tensors.values()):
        raise WeightsError("it is damaged")
    return nest(tensors)


def _write(file: Path, folded: Mapping[str, Any], source: Mapping[str, str]) -> None:
    """Write a tree and what it is made of."""
    tensors = flatten(folded)
    # In the order in which they will be read.
    in_order = dict(sorted(tensors.items()))
    save_file(in_order, file, {**source, "crc32": _crc32(in_order.values())})


def _crc32(arrays: Iterable[np.ndarray]) -> str:
    """Return the checksum of the bytes of some arrays."""
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, checksum)
    return f"{checksum:08x}"


def _chunks(data: memoryview) -> Iterable[memoryview]:
    """Yield the bytes of a file in pieces."""
    return (data[first : first + CHUNK] for first in range(0, len(data), CHUNK))
