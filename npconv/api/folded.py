"""Folded weights in a file: the fast engine's arrays, worked out once and mapped by every process that runs the model.

What it saves is memory: processes that map one file share its pages, and each would otherwise have folded weights of
its own. Time it does not save: folding ConvNeXt-T takes 0.08 s, and to see that the file still belongs to the
checkpoint and is whole takes as long (SHA-256 of 114 MB in 0.07 s, CRC-32 in 0.02 s).

The file is a safetensors file. Its tensors are those of ``fold`` in the family's ``fast.py``, its metadata say what it
was made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from npconv._version import __version__
from npconv.errors import InputError, NpconvWarning, UnavailableError, WeightsError
from npconv.files.checkpoint import checkpoint_files
from npconv.files.disk import SUFFIX, embedded_models, hash_file
from npconv.files.safetensors import load_file, read_metadata, save_file
from npconv.forks import whole_to_forks
from npconv.models import PretrainedConfig, family_of
from npconv.models.parameters import Shapes, flatten, nest
from npconv.workers.loader import Loader
from npconv.workers.pool import WorkerPool


def cached_fold(
    cache: bool | str | os.PathLike[str],
    model: Path,
    config: PretrainedConfig,
    shapes: Shapes,
    fold: Callable[[], Mapping[str, Any]],
) -> Mapping[str, Any]:
    """Return folded weights, mapped from a file; `fold` makes them and the file is written if it is not there.

    The file is in the folder `cache`; with True, in that of the `model`. One that is damaged, was made of other weights
    or by another version is written anew, with a warning. If it cannot be written, a warning says so, and the weights
    are in memory alone. The file's ending is not that of weights, lest another program takes it for the model; its name
    is another for each set of parameters, since models of one checkpoint differ in their heads.
    """
    if not isinstance(cache, bool | str | os.PathLike):
        raise InputError(f"expected cache to be True, False or a folder, got {cache!r}")
    parameters = _describe(config, shapes)
    folder = Path(cache) if not isinstance(cache, bool) else model if model.is_dir() else model.parent
    name = "folded" if model.is_dir() else f"{model.name.removesuffix(SUFFIX)}.folded"
    file = folder / f"{name}.{hashlib.sha256(parameters.encode()).hexdigest()[:8]}.npconv"
    weights = " ".join(map(hash_file, checkpoint_files(model)))
    source = {"npconv": __version__, "parameters": parameters, "weights": weights}
    if os.path.lexists(file):
        try:
            kept = _read(file, source)
            _check_tree(config, kept)
        except WeightsError as error:
            warnings.warn(f"the cache {file} is made anew: {error}", NpconvWarning, stacklevel=4)
        else:
            return kept
    with whole_to_forks():
        folded = fold()
    try:
        _write(file, folded, source)
        return nest(load_file(file))
    except WeightsError as error:
        warnings.warn(f"the folded weights are kept in memory only: {error}", NpconvWarning, stacklevel=4)
        return folded


def shared_loader(executor: Executor, load: Callable[..., Any], *, model: str | Path, **arguments: Any) -> Loader:
    """Return what loads a model in the workers, such that those of this machine share its folded weights.

    The file is in the folder of the workers and written by this process: if each of them did, each would map its own.
    Only a :class:`WorkerPool` has such a folder; with another executor, each process folds for itself, unless the
    arguments of `load` say ``cache``. Arguments that cannot be sent are an `InputError`; what `load` raises is raised.
    """
    arguments["model"] = findable(model)
    loader = Loader.of(load, **arguments)
    if not isinstance(executor, WorkerPool) or arguments.get("engine") != "fast":
        return loader
    if not arguments.get("cache"):
        try:
            folder = executor.folder / hashlib.sha256(loader.content).hexdigest()[:16]
            folder.mkdir(exist_ok=True)
        except (OSError, UnavailableError):  # no place for it: each has weights of its own
            return loader
        arguments["cache"] = folder
        if any(folder.iterdir()):
            return Loader.of(load, **arguments)
    load(**arguments)
    return Loader.of(load, **arguments)


def findable(model: str | Path) -> str:
    """Return the name of a model such that a process in another folder finds the same one."""
    name = str(model)
    is_path = os.path.exists(name) and not (isinstance(model, str) and model in embedded_models())
    return os.path.abspath(name) if is_path else name


#: Fields of configurations that folded weights depend on, beside the shapes: the activation has a scale that is folded,
#: and the others are first values of parameters that a file lacks.
FIELDS = ("hidden_act", "initializer_range", "layer_scale_init_value")


def _describe(config: PretrainedConfig, shapes: Shapes) -> str:
    """Return what folded weights depend on beside the checkpoint and the version."""
    fields = {name: getattr(config, name, None) for name in FIELDS}
    if callable(fields["hidden_act"]):
        fields["hidden_act"] = "a function"  # which one does not matter: nothing of it is folded
    return json.dumps({**fields, "shapes": {name: list(shape) for name, shape in shapes.items()}}, sort_keys=True)


def _check_tree(config: PretrainedConfig, folded: Mapping[str, Any]) -> None:
    """Refuse arrays that no engine can be made with."""
    try:
        family_of(config).part("fast").make_engine(config, folded, threads=1)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"it holds other arrays than a folded model ({error})") from error


def _read(file: Path, source: Mapping[str, str]) -> dict[str, Any]:
    """Return the tree in a file; one that is damaged or made of something else is a `WeightsError`."""
    found = read_metadata(file)
    for name, expected in source.items():
        if found.get(name) != expected:
            raise WeightsError(f"it is of other {name}" if name != "npconv" else "another version of npconv wrote it")
    tensors = load_file(file)
    if any(tensor.dtype != np.float32 for tensor in tensors.values()):
        raise WeightsError("it holds other numbers than float32")
    if found.get("crc32") != _crc32(tensors):
        raise WeightsError("it is damaged")
    return nest(tensors)


def _write(file: Path, folded: Mapping[str, Any], source: Mapping[str, str]) -> None:
    """Write a tree and what it is made of."""
    tensors = flatten(folded)
    # In the order in which they will be read.
    in_order = dict(sorted(tensors.items()))
    save_file(in_order, file, {**source, "crc32": _crc32(in_order)})


def _crc32(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the checksum of the names, shapes and bytes of some arrays."""
    checksum = 0
    for name, array in tensors.items():
        checksum = zlib.crc32(f"{name} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, checksum)
    return f"{checksum:08x}"
