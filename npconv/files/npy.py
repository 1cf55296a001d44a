"""NumPy's .npy, one array a file, and .npz, a zip file of them: read without unpickling, and no header is believed.

``numpy.load`` reads the header as a Python literal and allocates what it asks for. Here the header is matched against
the one form that writers use, and the array is a view of bytes that are already there.

Source: the format section of NumPy's documentation (``numpy.lib.format``), versions 1.0 to 3.0.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator

import numpy as np

from npconv.errors import WeightsError
from npconv.files import archive
from npconv.files.dtypes import STORED, dtype_of, encode
from npconv.files.header import MAX_ADDRESS, MAX_DIMENSIONS
from npconv.messages import quoted

SUFFIX = ".npy"
MAGIC = b"\x93NUMPY"

#: Of a header in bytes; NumPy has the same limit. A shape of 64 axes takes less than 1500.
MAX_HEADER = 10_000
_ALIGNMENT = 64

_FIELD = re.compile(
    r"""\s*(?P<quote>['"])(?P<key>descr|fortran_order|shape)(?P=quote)\s*:\s*"""
    r"""(?P<value>'[^'\\]*'|"[^"\\]*"|True|False|\([0-9,\s]*\))\s*(?:,|$)"""
)
_DESCRIPTION = re.compile(r"[<>|=]?[fiub][1248]")
_NO_NUMBERS = "expected float16 to float64, an integer or bool; save other dtypes (bfloat16 too) as float32"


def read_npy(buffer: memoryview, source: str) -> np.ndarray:
    """Return the array in the bytes of a .npy file, a read-only view of them.

    Raises
    ------
    WeightsError
        If the bytes are no such file, hold another dtype than a safetensors file could (Python objects above all), or
        are more or fewer than the header says.
    """
    start, text = _header(buffer, source)
    fields = _fields(text, source)
    description = fields["descr"][1:-1]
    if not is_of_numbers(description):
        raise WeightsError(f"{source} has dtype {quoted(description)}, {_NO_NUMBERS}")
    dtype = np.dtype(description)
    shape = _shape(fields["shape"], source)
    size = math.prod(shape) * dtype.itemsize
    check_shape(shape, dtype.itemsize, source)
    if len(buffer) - start != size:
        raise WeightsError(
            f"{source} has {len(buffer) - start} bytes of data, expected {size} for {dtype} {shape}; save it again"
        )
    values = np.frombuffer(buffer, np.uint8)[start:]
    # A byte other than 0 and 1 is no boolean that NumPy can count on.
    flat = values != 0 if dtype.kind == "b" else values.view(dtype)
    array = flat.reshape(shape, order="F" if fields["fortran_order"] == "True" else "C")
    array.flags.writeable = False
    return array


def read_npz(buffer: memoryview, members: dict[str, archive.Member], source: str, check: bool) -> dict[str, np.ndarray]:
    """Return the arrays of a ``.npz`` file of these members; those of ``numpy.savez_compressed`` are unpacked.

    Raises
    ------
    WeightsError
        If a member is damaged, or holds Python objects, texts, records or complex numbers.
    """
    contents = {name: archive.contents(buffer, member, source, check) for name, member in members.items()}
    return {name.removesuffix(SUFFIX): read_npy(data, f"{source}: {quoted(name)}") for name, data in contents.items()}


def npy_chunks(array: np.ndarray, what: str) -> Iterator[bytes | np.ndarray]:
    """Yield the bytes of a .npy file of version 1.0, little-endian and in C order, the same with every NumPy.

    Raises
    ------
    InputError
        If a safetensors file could not hold the dtype.
    """
    stored = dtype_of(array, what)
    description = np.lib.format.dtype_to_descr(STORED[stored])
    text = f"{{'descr': {description!r}, 'fortran_order': False, 'shape': {array.shape!r}, }}"
    padding = -(len(MAGIC) + 4 + len(text) + 1) % _ALIGNMENT
    header = text.encode("latin-1") + b" " * padding + b"\n"
    yield MAGIC + b"\x01\x00" + len(header).to_bytes(2, "little") + header
    yield encode(array, stored)


def check_shape(shape: tuple[int, ...], itemsize: int, source: str) -> None:
    """Raise `WeightsError` for a shape that no array can have."""
    if len(shape) > MAX_DIMENSIONS or math.prod(size for size in shape if size) * itemsize > MAX_ADDRESS:
        raise WeightsError(f"{source} has shape {quoted(shape)}, expected at most 64 axes and 2**63 bytes")


def is_of_numbers(description: str) -> bool:
    """Say whether a dtype, as NumPy writes it, is one that a safetensors file could hold."""
    return _DESCRIPTION.fullmatch(description) is not None and description[-2:] not in ("f1", "b2", "b4", "b8")


def _header(buffer: memoryview, source: str) -> tuple[int, str]:
    """Return where the data begin, and the text before them."""
    if len(buffer) < 12 or buffer[:6] != MAGIC:
        raise WeightsError(f"{source} does not begin as a .npy file does; write it with numpy.save")
    if buffer[6] not in (1, 2, 3):
        raise WeightsError(f"{source} is a .npy file of version {buffer[6]}, expected 1 to 3")
    width = 2 if buffer[6] == 1 else 4
    length = int.from_bytes(buffer[8 : 8 + width], "little")
    start = 8 + width + length
    if length > MAX_HEADER or start > len(buffer):
        raise WeightsError(
            f"{source} claims a header of {length} bytes, expected at most {MAX_HEADER} and a whole file; save it again"
        )
    return start, bytes(buffer[8 + width : start]).decode("latin-1").strip()


def _fields(text: str, source: str) -> dict[str, str]:
    """Return the three fields of a header as they are written."""
    fields: dict[str, str] = {}
    inside = text[1:-1].strip() if text[:1] == "{" and text[-1:] == "}" else ""
    position = 0
    while match := _FIELD.match(inside, position):
        if match["key"] in fields:
            break
        fields[match["key"]] = match["value"]
        position = match.end()
    kinds = {key: value[0] for key, value in fields.items()}
    right = kinds.get("descr") in ("'", '"') and kinds.get("fortran_order") in ("T", "F") and kinds.get("shape") == "("
    if position < len(inside) or not right:
        raise WeightsError(
            f"{source} has the header {quoted(text)}, expected one dtype (no Python objects, no records), "
            "fortran_order and shape"
        )
    return fields


def _shape(text: str, source: str) -> tuple[int, ...]:
    """Return the shape that a text such as ``(2, 3)`` stands for."""
    digits = [part.strip() for part in text[1:-1].split(",")]
    if digits[-1] == "":
        digits.pop()
    if not all(part.isdigit() and len(part) < len(str(sys.maxsize)) + 1 for part in digits):
        raise WeightsError(f"{source} has the shape {quoted(text)}, expected whole numbers")
    return tuple(map(int, digits))
