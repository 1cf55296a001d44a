"""One function for all weight files: it looks at what a file holds, never at what it is called."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from npconv.errors import WeightsError
from npconv.files import archive, other, pytorch, shards
from npconv.files.disk import map_file
from npconv.files.header import MAX_HEADER_SIZE
from npconv.files.safetensors import open_file, read_header
from npconv.files.wrappings import find_tensors
from npconv.messages import listed, quoted

SAFETENSORS = "safetensors"
PYTORCH_ZIP = "PyTorch zip"
PYTORCH_STREAM = "PyTorch legacy pickle"
NUMPY_ZIP = "NumPy zip"
HDF5 = "HDF5"

#: The files of a folder in Hugging Face layout, the one to take first.
FILES = (
    *("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"),
    "tf_model.h5",
)

#: Beginnings of files that hold no weights, or in forms that are not read.
_STRANGERS = (
    (b"version https://git-lfs", "a Git LFS pointer in the place of the file; fetch the file itself"),
    (b"<", "a web page or XML; download the file itself"),
    (b"\x1f\x8b", "packed with gzip; unpack it"),
    (b"GGUF", "a GGUF file, which is not read"),
    (b"\x93NUMPY", "a single array without a name; save it with numpy.savez"),
)


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a model, and how they were found.

    Attributes
    ----------
    tensors : dict of str to ndarray or DeferredArray
        In the order of the file, read-only. Views of the mapped file where it stores them as they are; a
        `npconv.files.dtypes.DeferredArray` for bfloat16, 8-bit floats and bool, made an array by ``numpy.asarray``.
    container : str
        ``"safetensors"``, ``"PyTorch zip"``, ``"PyTorch legacy pickle"``, ``"NumPy zip"`` or ``"HDF5"``, with
        ``"sharded "`` before it for an index and its files.
    skipped : list of (str, str)
        What was neither tensor, number nor text: where it was, and its class or function.
    metadata : dict of str to object
        Numbers and texts beside the tensors, by their place.
    taken : str
        Where the tensors were, such as ``"model"``; empty if not wrapped.
    others : dict of str to int
        Other places with tensors, and how many.
    contents : object
        All of a PyTorch file: dicts, lists and tuples with arrays; the tensors for the other containers.
    """

    tensors: dict[str, Any]
    container: str
    skipped: list[tuple[str, str]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    taken: str = ""
    others: dict[str, int] = field(default_factory=dict)
    contents: Any = None


def open_checkpoint(path: str | os.PathLike[str], *, wrapping: str | None = None, check: bool = True) -> Checkpoint:
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
    path = Path(path)
    if os.path.isdir(path):
        path = _file_in(path)
    buffer = map_file(path)
    if bytes(buffer[:4096]).lstrip()[:1] == b"{" and not _is_safetensors(buffer):
        return _open_shards(path, wrapping, check)
    return _open_file(path, buffer, wrapping, check)


def _open_file(path: Path, buffer: memoryview, wrapping: str | None, check: bool) -> Checkpoint:
    """Open a file that holds tensors itself."""
    source = quoted(path)
    start = bytes(buffer[:512])
    if start.startswith(archive.MAGIC):
        return _open_zip(buffer, source, wrapping, check)
    if start.startswith(other.HDF5_MAGIC):
        arrays, skipped = other.read_hdf5(path, buffer, source)
        if not arrays:
            raise WeightsError(f"{source} is an HDF5 file without arrays, expected weights")
        return Checkpoint(arrays, HDF5, skipped, contents=arrays)
    # Before pickles: the length of one header in 32 begins with the byte that begins a pickle.
    if _is_safetensors(buffer):
        stored = open_file(path)
        return Checkpoint(stored, SAFETENSORS, metadata=dict(read_header(path).metadata or {}), contents=stored)
    if start[:1] == b"\x80":
        return _unwrapped(pytorch.read_stream(buffer, source), PYTORCH_STREAM, source, wrapping)
    raise WeightsError(f"{source} is {_what(start)}")


def _open_zip(buffer: memoryview, source: str, wrapping: str | None, check: bool) -> Checkpoint:
    """Open a zip file of PyTorch or NumPy."""
    members = archive.read_members(buffer, source)
    if members and all(name.endswith(other.NPY) for name in members):
        arrays = other.read_npz(buffer, members, source, check)
        return Checkpoint(arrays, NUMPY_ZIP, contents=arrays)
    return _unwrapped(pytorch.read_zip(buffer, members, source, check), PYTORCH_ZIP, source, wrapping)


def _unwrapped(contents: pytorch.Contents, container: str, source: str, wrapping: str | None) -> Checkpoint:
    """Return the state dict in the contents of a PyTorch file."""
    try:
        found = find_tensors(contents.value, wrapping)
    except WeightsError as error:
        raise WeightsError(f"{source}: {error}") from None
    return Checkpoint(
        found.tensors, container, contents.skipped, found.metadata, found.taken, found.others, contents.value
    )


def _open_shards(index: Path, wrapping: str | None, check: bool) -> Checkpoint:
    """Open all the files of an index."""
    parts: list[Checkpoint] = []

    def read(path: Path) -> dict[str, Any]:
        parts.append(_open_file(path, map_file(path), wrapping, check))
        return parts[-1].tensors

    tensors = shards.gather(index, read)
    containers = sorted({part.container for part in parts})
    if len(containers) > 1:
        raise WeightsError(f"{quoted(index)} names files of different kinds: {listed(containers)}; expected one kind")
    skipped = [item for part in parts for item in part.skipped]
    metadata = {key: value for part in parts for key, value in part.metadata.items()}
    return Checkpoint(tensors, f"sharded {containers[0]}", skipped, metadata, contents=tensors)


def _file_in(directory: Path) -> Path:
    """Return the file with the weights of a folder, or the index of several."""
    for name in FILES:
        if os.path.lexists(directory / name):
            return directory / name
    raise WeightsError(f"found none of {', '.join(FILES)} in {quoted(directory)}; give the path of a file")


def _is_safetensors(buffer: memoryview) -> bool:
    """Say whether a file begins as safetensors: a length that a header may have, and the header's brace."""
    return buffer[8:9] == b"{" and int.from_bytes(buffer[:8], "little") <= MAX_HEADER_SIZE


def _what(start: bytes) -> str:
    """Return what a file is that holds no weights."""
    if not start:
        return "empty; download it again"
    if start[257:262] == b"ustar":
        return "a tar file, as PyTorch wrote before version 0.2; load and save it with a newer one"
    for beginning, what in _STRANGERS:
        if start.startswith(beginning):
            return what
    return "none of the files that are read: safetensors, PyTorch, NumPy zip, HDF5, or an index of several"
