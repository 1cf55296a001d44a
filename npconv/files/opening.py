"""One function for all weight files: it looks at what a file holds, never at what it is called.

A training script may wrap the state dict: ``{"model": {...}, "optimizer": {...}, "epoch": 299}``. It is found inside.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import InputError, WeightsError, WeightsNotFoundError
from npconv.files import archive, hdf5, npy, pytorch
from npconv.files.checkpoint import gather, read_weight_map
from npconv.files.disk import MAX_JSON_SIZE, as_path, map_file
from npconv.files.dtypes import DeferredArray
from npconv.files.header import MAX_HEADER_SIZE
from npconv.files.pickle_values import Skipped
from npconv.files.safetensors import open_with_header
from npconv.files.settling import Contents, dotted
from npconv.files.strangers import BEGINNING, what_begins, what_is_called, what_is_in
from npconv.messages import listed, quoted, shown

SAFETENSORS = "safetensors"
PYTORCH_ZIP = "PyTorch zip"
PYTORCH_STREAM = "PyTorch legacy pickle"
PICKLE = "pickle"
NUMPY_ZIP = "NumPy zip"
HDF5 = "HDF5"
KERAS = "Keras zip"
#: In a ``.keras`` file.
KERAS_WEIGHTS = "model.weights.h5"

#: The files of a folder in Hugging Face layout, the one to take first.
FILES = (
    *("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"),
    *("tf_model.h5", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
)

#: Keys that hold a model's tensors, the one to take first.
WRAPPINGS = (
    *("model", "state_dict", "model_state_dict", "model_state", "module", "params", "net", "network"),
    *("model_ema", "state_dict_ema", "ema_state_dict", "ema", "params_ema", "student", "teacher"),
)
#: Keys of what training carries along; never a model.
EXTRAS = {
    *("optimizer", "optimizers", "optimizer_state_dict", "optimizer_states", "hyper_parameters", "config", "args"),
    *("lr_scheduler", "lr_schedulers", "scheduler", "scaler", "loss_scaler", "amp", "amp_scaler", "grad_scaler"),
    *("rng_state", "rng_states", "torch_rng_state", "cuda_rng_state", "random_state", "callbacks", "loops", "cfg"),
    "meta",
}

_BRACE = re.compile(rb"[ \t\n\r]*\{")
_NOT_PLAIN = (dict, list, tuple, np.ndarray, DeferredArray, Skipped)


@dataclass(frozen=True)
class OpenedWeights:
    """The tensors of a model, and how they were found."""

    #: In the order of the file, read-only; the keys of nested dicts with dots between. Views of the mapped file where
    #: it stores them as they are; a `npconv.files.dtypes.DeferredArray` for bfloat16, 8-bit floats and bool, made an
    #: array by ``numpy.asarray``.
    tensors: dict[str, Any]
    #: One of the names above, with ``"sharded "`` before it for an index and its files.
    container: str = ""
    #: What was neither tensor, number nor text: where it was, and its class or function.
    skipped: list[tuple[str, str]] = field(default_factory=list)
    #: Numbers and texts beside the tensors, by their place.
    metadata: dict[str, Any] = field(default_factory=dict)
    #: Where the tensors were, such as ``"model"``; empty if not wrapped.
    taken: str = ""
    #: Other places with tensors, and how many.
    others: dict[str, int] = field(default_factory=dict)


def open_weights(path: str | os.PathLike[str], *, wrapping: str | None = None, check: bool = True) -> OpenedWeights:
    """Open a file of weights of any framework, without that framework.

    Parameters
    ----------
    path : str or path
        A file, an index of several, or a folder in Hugging Face layout. It must not be changed in place while the
        arrays are in use.
    wrapping : str, optional
        Which of several state dicts in a PyTorch file to take, such as ``"model_ema"``.
    check : bool
        Compare the members of zip files with their checksums, which reads the whole file once.

    Raises
    ------
    WeightsError
        If the file is none of the containers, is damaged, or asks to run something.
    UnavailableError
        If it is an HDF5 file and h5py is not installed.
    """
    if wrapping is not None and not isinstance(wrapping, str):
        raise InputError(f"expected wrapping as the name of a place, such as 'model_ema', got {shown(wrapping)}")
    path = _file_at(path)
    return _open_index(path, wrapping, check) if _is_index(map_file(path)) else _open_file(path, wrapping, check)


def _open_index(path: Path, wrapping: str | None, check: bool) -> OpenedWeights:
    """Open the files that an index names."""
    parts: list[OpenedWeights] = []

    def read(shard: Path) -> Mapping[str, Any]:
        parts.append(_open_file(shard, wrapping, check))
        return parts[-1].tensors

    tensors = gather(path, read_weight_map(path), read)
    containers = sorted({part.container for part in parts})
    if len(containers) > 1:
        raise WeightsError(f"{quoted(path)} names files of different kinds: {listed(containers)}; expected one kind")
    skipped = [item for part in parts for item in part.skipped]
    metadata = {key: value for part in parts for key, value in part.metadata.items()}
    return OpenedWeights(tensors, f"sharded {containers[0]}", skipped, metadata)


def weight_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that `open_weights` reads: one, or an index and all that it names.

    Raises
    ------
    WeightsError
        If the first is missing or damaged.
    """
    path = _file_at(path)
    weight_map = read_weight_map(path) if _is_index(map_file(path)) else {}
    return [path, *(path.parent / name for name in sorted(set(weight_map.values())))]


def _file_at(path: str | os.PathLike[str]) -> Path:
    """Return a file, or that with the weights of a folder, or the index of several."""
    path = as_path(path)
    if not os.path.isdir(path):
        if not os.path.lexists(path) and os.path.lexists(f"{path}.index"):
            raise WeightsError(f"{quoted(path)} is {what_is_called(f'{path.name}.ckpt.index')}")
        return path
    for name in FILES:
        if os.path.lexists(path / name):
            return path / name
    if what := what_is_in(path):
        raise WeightsError(f"{quoted(path)} is {what}")
    raise WeightsNotFoundError(f"found none of {', '.join(FILES)} in {quoted(path)}; give the path of a file")


def _is_index(buffer: memoryview) -> bool:
    return bytes(buffer[:4096]).lstrip()[:1] == b"{" and not _is_safetensors(buffer)


def _is_safetensors(buffer: memoryview) -> bool:
    """Say whether a file begins as safetensors: a length that a header may have, and the header's brace."""
    return int.from_bytes(buffer[:8], "little") <= MAX_HEADER_SIZE and _BRACE.match(buffer, 8) is not None


def _open_file(path: Path, wrapping: str | None, check: bool) -> OpenedWeights:
    """Open a file that holds tensors itself."""
    buffer = map_file(path)
    source = quoted(path)
    start = bytes(buffer[:BEGINNING])
    if start.startswith(archive.MAGIC):
        members = archive.read_members(buffer, source)
        if members and all(name.endswith(npy.SUFFIX) for name in members):
            return OpenedWeights(npy.read_npz(buffer, members, source, check), NUMPY_ZIP)
        if KERAS_WEIGHTS in members:
            return _open_keras(path, buffer, members, source, check)
        return _unwrapped(pytorch.read_zip(buffer, members, source, check), PYTORCH_ZIP, source, wrapping)
    if start.startswith(hdf5.MAGIC):
        return _keras(hdf5.read_hdf5(path, buffer, source), HDF5, source)
    # Before pickles: the length of one header in 32 begins with the byte that begins a pickle.
    if _is_safetensors(buffer):
        tensors, header = open_with_header(path)
        return OpenedWeights(tensors, SAFETENSORS, metadata=dict(header.metadata or {}))
    if pytorch.is_stream(buffer):
        return _unwrapped(pytorch.read_stream(buffer, source), PYTORCH_STREAM, source, wrapping)
    if start[:1] == b"\x80":
        return _unwrapped(pytorch.read_plain(buffer, source), PICKLE, source, wrapping)
    unknown = "none of the files that are read: safetensors, PyTorch, NumPy, HDF5 and Keras, or an index of several"
    what = what_begins(start) or what_is_called(path.name) or unknown
    raise WeightsError(f"{source} is {what}" if start else f"{source} is empty; download it again")


def _open_keras(
    path: Path, buffer: memoryview, members: dict[str, archive.Member], source: str, check: bool
) -> OpenedWeights:
    """Open a ``.keras`` file: a zip file with the weights as HDF5, and texts on the model that are kept as metadata."""
    member = members[KERAS_WEIGHTS]
    if member.is_packed:
        raise WeightsError(f"{source}: {KERAS_WEIGHTS} is packed, which Keras never does; save it with Keras again")
    data = archive.contents(buffer, member, source, check)
    opened = _keras(hdf5.read_hdf5(path, data, source, member.start), KERAS, source)
    texts: dict[str, Any] = {
        name: str(archive.contents(buffer, members[name], source), "utf-8", "replace")
        for name in ("config.json", "metadata.json")
        if name in members and members[name].size <= MAX_JSON_SIZE
    }
    return replace(opened, metadata=texts)


def _keras(found: hdf5.Hdf5, container: str, source: str) -> OpenedWeights:
    if not found.arrays:
        raise WeightsError(f"{source} is an HDF5 file without arrays, expected weights")
    return OpenedWeights(found.arrays, container, found.skipped, taken=found.taken, others=found.others)


def _unwrapped(contents: Contents, container: str, source: str, wrapping: str | None) -> OpenedWeights:
    """Return the state dict in the contents of a PyTorch file."""
    if isinstance(contents.value, dict) and "StructuredToParameterName@@" in contents.value:
        raise WeightsError(f"{source} is {what_is_called('.pdparams')}")
    try:
        found = find_tensors(contents.value, wrapping)
    except WeightsError as error:
        raise WeightsError(f"{source}: {error}") from None
    return replace(found, container=container, skipped=contents.skipped)


def find_tensors(contents: Any, wrapping: str | None = None) -> OpenedWeights:
    """Return the tensors of the model in what a training script has saved: dicts, lists and tuples with arrays.

    Without `wrapping`, the place to take, a dict that has tensors itself is taken whole. One that has none, or fewer
    and by names that no part of a model has, is searched for the keys that training scripts use, in the order of
    `WRAPPINGS`; failing these it is taken without the optimizer and its like.

    Raises
    ------
    WeightsError
        If there are no tensors, or none at `wrapping`, or two have one name.
    """
    if _is_tensor(contents):
        raise WeightsError("the file holds a single tensor without a name, expected a dict of tensors")
    place, node = _unwrap(contents, ()) if wrapping is None else _at(contents, wrapping)
    excluded = EXTRAS if wrapping is None and isinstance(node, dict) and not _own_tensors(node) else ()
    depth = len(place)
    tensors: dict[str, Any] = {}
    others: dict[str, int] = {}
    metadata: dict[str, Any] = {}
    for path, value in _leaves(contents, ()):
        if not _is_tensor(value):
            metadata[dotted(path)] = value
        elif path[:depth] == place and (len(path) > depth and path[depth] not in excluded):
            name = dotted(path[depth:])
            if name in tensors:
                raise WeightsError(f"two tensors have the name {quoted(name)}, expected every name once")
            tensors[name] = value
        else:
            beginning = dotted(path[: 1 + (path[:depth] == place) * depth])
            others[beginning] = others.get(beginning, 0) + 1
    if not tensors:
        where = f"at {quoted(wrapping)}" if wrapping is not None else "that a model could have"
        held = f"; there are tensors at {listed([quoted(name) for name in others])}" if others else ""
        raise WeightsError(f"found no tensors {where}{held}")
    return OpenedWeights(tensors, metadata=metadata, taken=dotted(place), others=others)


def _unwrap(node: Any, place: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """Go into the wrappings around a state dict."""
    while isinstance(node, dict):
        key = next((key for key in WRAPPINGS if next(_leaves(node.get(key), (), True), None)), None)
        own = _own_tensors(node)
        # Beside a model there may be a history or the like; what has the name of a part of a model is not such.
        if key is None or any("." in str(name) for name in own):
            break
        if own and sum(1 for _ in _leaves(node[key], (), True)) <= len(own):
            break
        place, node = (*place, key), node[key]
    return place, node


def _at(node: Any, wrapping: str) -> tuple[tuple[Any, ...], Any]:
    """Return the place that a dotted name means; a key may itself have dots, and a list has numbers."""
    place: tuple[Any, ...] = ()
    rest = wrapping
    while rest:
        parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list | tuple) else ()
        keys = {str(key): key for key, _ in parts if isinstance(key, str | int) and str(key)}
        name = next((key for key in sorted(keys, key=len, reverse=True) if f"{rest}.".startswith(f"{key}.")), None)
        if name is None:
            there = listed([quoted(key) for key in keys]) or "no part"
            raise WeightsError(f"found nothing at {quoted(wrapping)}; there is {there}")
        place, node, rest = (*place, keys[name]), node[keys[name]], rest[len(name) + 1 :]
    return place, node


def _own_tensors(node: dict[Any, Any]) -> list[Any]:
    """Return the keys of the tensors in a dict itself, but for metrics, states of random generators and the like."""
    return [
        key
        for key, value in node.items()
        if _is_tensor(value) and value.ndim > 0 and value.dtype != np.uint8 and key not in EXTRAS
    ]


def _leaves(node: Any, path: tuple[Any, ...], only_tensors: bool = False) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the tensors, numbers, texts and lists of such below a value, with the keys that lead to each."""
    is_group = isinstance(node, dict) or (
        isinstance(node, list | tuple) and any(isinstance(child, _NOT_PLAIN) for child in node)
    )
    if is_group:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(child, (*path, key), only_tensors)
    elif _is_tensor(node) or not (only_tensors or isinstance(node, Skipped)):
        yield path, node


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray | DeferredArray)
