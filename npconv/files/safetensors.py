"""Reading and writing safetensors files, in plain NumPy.

`load`, `load_file`, `save` and `save_file` take the arguments of ``safetensors.numpy``; `open_file` is `load_file`
for those who decode what must be decoded themselves, one tensor at a time. What differs:

- Arrays are read-only views of the file, which is mapped, not read: a tensor costs nothing until it is used, and bytes
  need not be aligned. BF16 and the two 8-bit float formats, which NumPy does not have, arrive exactly as float32 and
  float16; see :mod:`npconv.files.dtypes`. They can be written as well, by naming them in `dtypes`.
- Arrays are written by value: byte order and memory layout do not matter.
- The bytes are those of the official writer. Its metadata come in a random order, here they are sorted.
- A file appears whole or not at all.
- A malformed file is refused before anything is allocated for it; see :mod:`npconv.files.header`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from npconv.backend import to_host
from npconv.errors import InputError
from npconv.files.disk import map_file, write_file
from npconv.files.dtypes import DECODED, STORED, WIDENED, DeferredArray, decode, dtype_of, encode, to_decode
from npconv.files.header import MAX_HEADER_SIZE, METADATA_NAME, Entry, Header, parse_header
from npconv.messages import quoted

__all__ = [
    "Entry",
    "Header",
    "file_chunks",
    "load",
    "load_file",
    "open_file",
    "open_with_header",
    "read_header",
    "read_metadata",
    "save",
    "save_file",
]

_RANK = {dtype: rank for rank, dtype in enumerate(STORED)}
_ALIGNMENT = 8


def load(data: bytes) -> dict[str, np.ndarray]:
    """Return the tensors in the bytes of a safetensors file.

    Parameters
    ----------
    data : bytes
        The whole file; any object with contiguous bytes will do.

    Returns
    -------
    dict of str to ndarray
        In the order of the header; read-only. Views of `data`, except those of dtypes that must be converted.

    Raises
    ------
    SafetensorsError
        If the bytes break the format, with the reason (`npconv.files.header.REASONS`).
    InputError
        If `data` is no bytes-like object.
    """
    try:
        buffer = memoryview(data).cast("B").toreadonly()
    except TypeError as error:
        raise InputError(f"expected bytes, got {type(data).__name__}; load_file takes a file name") from error
    return _tensors(buffer, parse_header(buffer, "the data"))


def load_file(filename: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the tensors of a safetensors file.

    Parameters
    ----------
    filename : str or path
        Must not be changed in place while the arrays are in use; replacing it, as `save_file` does, is harmless.

    Returns
    -------
    dict of str to ndarray
        In the order of the header; read-only. Views of the mapped file, except those of dtypes that must be converted.

    Raises
    ------
    SafetensorsError
        If the file breaks the format, with the reason (`npconv.files.header.REASONS`).
    WeightsError
        If there is no such file, or it cannot be read.
    """
    buffer = map_file(filename)
    return _tensors(buffer, parse_header(buffer, quoted(filename)))


def open_file(filename: str | os.PathLike[str]) -> dict[str, np.ndarray | DeferredArray]:
    """Return the tensors of a safetensors file as `load_file` does, but none decoded: no memory is taken for numbers.

    Those of the dtypes that must be decoded (`npconv.files.dtypes.DECODED`) are each a `DeferredArray`.
    """
    return open_with_header(filename)[0]


def open_with_header(filename: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray | DeferredArray], Header]:
    """Return the tensors as `open_file` does, and the header, which is read once for both."""
    buffer, source = map_file(filename), quoted(filename)
    header = parse_header(buffer, source)
    return _tensors(buffer, header, lazy=True), header


def read_header(filename: str | os.PathLike[str]) -> Header:
    """Return names, dtypes and shapes of the tensors in a file, and its metadata, without touching the data.

    The file is checked as by `load_file`, with its errors.
    """
    return parse_header(map_file(filename), quoted(filename))


def read_metadata(filename: str | os.PathLike[str]) -> dict[str, str]:
    """Return the metadata of a file, empty if it has none; errors as of `load_file`."""
    return read_header(filename).metadata or {}


def save(
    tensor_dict: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    dtypes: Mapping[str, str] | None = None,
) -> bytes:
    """Return the bytes of a safetensors file.

    Parameters
    ----------
    tensor_dict : mapping of str to ndarray
        Any shape, byte order and layout; float16 to float64, integers and bool. CuPy arrays are fetched. A
        `npconv.files.dtypes.DeferredArray` is made an array when its turn comes, so that a file is written with one
        tensor in memory at a time, in the dtype of its `stored`.
    metadata : mapping of str to str, optional
        Free texts for the header.
    dtypes : mapping of str to str, optional
        For tensors to be stored in a dtype that NumPy lacks: name to ``"BF16"``, ``"F8_E4M3"`` or ``"F8_E5M2"``. These
        must be floating-point; how they are rounded is said in `npconv.files.dtypes.encode`.

    Raises
    ------
    InputError
        If a name, array, dtype or metadata cannot be stored.
    """
    return b"".join(file_chunks(tensor_dict, metadata, dtypes))


def save_file(
    tensor_dict: Mapping[str, Any],
    filename: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    dtypes: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file, which appears whole or not at all.

    Parameters
    ----------
    tensor_dict, metadata, dtypes
        As for `save`.
    filename : str or path
        Replaced if it exists.

    Raises
    ------
    InputError
        As `save`.
    WeightsError
        If the file cannot be written.
    """
    write_file(filename, file_chunks(tensor_dict, metadata, dtypes))


def _tensors(buffer: memoryview, header: Header, lazy: bool = False) -> dict[str, Any]:
    """Return the arrays of a whole file; if `lazy`, a `DeferredArray` where the dtype must be decoded."""
    data = np.frombuffer(buffer, np.uint8)[header.data_start :]
    tensors: dict[str, Any] = {}
    for name, entry in header.entries.items():
        stored = data[entry.start : entry.stop]
        if lazy and entry.dtype in DECODED:
            tensors[name] = to_decode(stored, entry.dtype, entry.shape)
            continue
        array = decode(stored, entry.dtype).reshape(entry.shape)
        array.flags.writeable = False
        tensors[name] = array
    return tensors


class _Item(NamedTuple):
    """One tensor to be written: an array, or what becomes one."""

    name: str
    array: Any
    dtype: str

    @property
    def size(self) -> int:
        """The bytes it will take."""
        return self.array.size * STORED[self.dtype].itemsize


def file_chunks(
    tensor_dict: Mapping[str, Any], metadata: Mapping[str, str] | None = None, dtypes: Mapping[str, str] | None = None
) -> Iterator[Any]:
    """Yield the bytes of a file: its beginning, then one tensor after the other; arguments and errors as of `save`."""
    dtypes = {} if dtypes is None else dtypes
    check_mapping(tensor_dict, "tensors")
    check_mapping(dtypes, "dtypes")
    check_mapping({} if metadata is None else metadata, "metadata")
    for name in dtypes:
        if name not in tensor_dict:
            raise InputError(f"dtypes names {quoted(name)}, expected names of tensors only")
    items = [_item(name, value, dtypes.get(name)) for name, value in tensor_dict.items()]
    # The largest numbers first, so that none lies askew in memory; then by name.
    items.sort(key=lambda item: (_RANK[item.dtype], item.name))
    header = _header_json(items, metadata)
    yield len(header).to_bytes(8, "little") + header
    for item in items:
        yield encode(np.asarray(item.array), item.dtype)


def check_mapping(value: Any, what: str) -> None:
    """Raise `InputError` for an argument that is not a mapping."""
    if not isinstance(value, Mapping):
        raise InputError(f"expected {what} as a dict by name, got {type(value).__name__}")


def _item(name: str, value: Any, dtype: str | None) -> _Item:
    """Check one tensor; `dtype` is what to store it as, if not its own."""
    _check_text(name, "a tensor's name")
    if name == METADATA_NAME:
        raise InputError(f"a tensor cannot be called {METADATA_NAME}: the format keeps that name for the metadata")
    what = f"tensor {quoted(name)}"
    array: Any = value if isinstance(value, DeferredArray) else np.asarray(to_host(value))
    if dtype is None:
        return _Item(name, array, array.stored if isinstance(array, DeferredArray) else dtype_of(array, what))
    if not isinstance(dtype, str) or dtype not in WIDENED:
        raise InputError(f"{what} to be stored as {quoted(dtype)}, expected one of {', '.join(WIDENED)} or no dtype")
    if array.dtype.kind != "f":
        raise InputError(f"{what} has dtype {array.dtype}, expected floating-point numbers to store as {dtype}")
    return _Item(name, array, dtype)


def _header_json(items: list[_Item], metadata: Mapping[str, str] | None) -> bytes:
    """Return the header, filled up with spaces so that the data begin at a multiple of eight bytes."""
    content: dict[str, Any] = {}
    if metadata is not None:
        for key, text in metadata.items():
            _check_text(key, "a metadata key")
            _check_text(text, f"metadata {quoted(key)}")
        content[METADATA_NAME] = dict(sorted(metadata.items()))
    start = 0
    for item in items:
        offsets = [start, start + item.size]
        content[item.name] = {"dtype": item.dtype, "shape": item.array.shape, "data_offsets": offsets}
        start += item.size
    header = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    if len(header) > MAX_HEADER_SIZE:
        raise InputError(f"the header would take {len(header)} bytes, expected at most {MAX_HEADER_SIZE}; split it")
    return header


def _check_text(text: Any, what: str) -> None:
    """Refuse what is no text, or text that UTF-8 cannot hold."""
    if not isinstance(text, str):
        raise InputError(f"{what} must be text, got {type(text).__name__} {quoted(text)}; convert with str()")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{what} must be text that UTF-8 can hold, got {quoted(text)}") from None
