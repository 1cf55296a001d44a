"""The fifteen number formats a safetensors file may use here, what NumPy array each becomes, and arrays not read yet.

Twelve are NumPy's own. Three are not, and NumPy holds their values exactly in the next larger format:

- ``BF16`` is the upper half of a float32 (8 exponent bits, 7 of mantissa), so reading one means appending 16 zero
  bits.
- ``F8_E5M2`` is the upper half of a float16 (5 exponent bits, 2 of mantissa), read as float16.
- ``F8_E4M3`` has 4 exponent bits (bias 7) and 3 of mantissa. It is the variant without infinities, also called
  "fn": all bits set is NaN, and the codes just below it are ordinary numbers, up to 448. Read as float16.

Each is at most doubled in size: a file never needs more than twice its own size in memory.

Sources: the safetensors format description; Micikevicius et al., "FP8 Formats for Deep Learning" (2022), section 3.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npconv.errors import InputError
from npconv.messages import shown

#: Dtype in the file -> the NumPy dtype of its bytes, in the order in which a file's tensors are written.
STORED: dict[str, np.dtype] = {
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "BF16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F8_E4M3": np.dtype("u1"),
    "F8_E5M2": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}

#: The dtypes that NumPy lacks -> the NumPy dtype their values are held in.
WIDENED: dict[str, np.dtype] = {
    "BF16": np.dtype(np.float32),
    "F8_E4M3": np.dtype(np.float16),
    "F8_E5M2": np.dtype(np.float16),
}

#: The dtypes that `decode` cannot return as a view: their values have to be made.
DECODED = (*WIDENED, "BOOL")

_OF_ARRAY = {stored: name for name, stored in STORED.items() if name not in WIDENED}


def _e5m2_values() -> np.ndarray:
    """Return the float16 value of each of the 256 F8_E5M2 codes."""
    values = (np.arange(256, dtype=np.uint16) << 8).view(np.float16)
    values[np.isnan(values)] = np.nan  # one quiet NaN: some of the six would warn when calculated with
    return values


def _e4m3_values() -> np.ndarray:
    """Return the float16 value of each of the 256 F8_E4M3 codes."""
    code = np.arange(256)
    sign = np.where(code & 0b1000_0000, -1.0, 1.0)
    exponent = (code >> 3) & 0b1111
    mantissa = (code & 0b111) / 8
    normal = np.ldexp(1 + mantissa, exponent - 7)
    subnormal = np.ldexp(mantissa, -6)
    values = sign * np.where(exponent == 0, subnormal, normal)
    values[(code & 0b0111_1111) == 0b0111_1111] = np.nan
    return values.astype(np.float16)


_FLOAT8_VALUES = {"F8_E4M3": _e4m3_values(), "F8_E5M2": _e5m2_values()}

#: The code that values beyond the largest finite one become: 448 itself, and infinity.
_FLOAT8_LARGEST_CODE = {"F8_E4M3": 0x7E, "F8_E5M2": 0x7C}
_FLOAT8_NAN_CODE = 0x7F


def held_dtype(name: str) -> np.dtype:
    """Return the dtype of the array that a tensor stored as `name` becomes."""
    stored = stored_dtype(name)
    return WIDENED.get(name, stored)


def stored_dtype(name: str) -> np.dtype:
    """Return the dtype of the bytes of a tensor stored as `name`; an InputError if there is no such format."""
    if not isinstance(name, str) or name not in STORED:
        raise InputError(f"expected the format of numbers as one of {', '.join(STORED)}, got {shown(name)}")
    return STORED[name]


def decode(data: np.ndarray, name: str) -> np.ndarray:
    """Return the values of bytes (uint8) stored as `name`, a key of `STORED`.

    Returns
    -------
    ndarray, shape (values,)
        A view of `data` where NumPy has the dtype; a new array for BF16, F8_E4M3 and F8_E5M2, and for BOOL, where any
        byte but 0 is true (NumPy itself relies on every boolean being 0 or 1).
    """
    stored = data.view(stored_dtype(name))
    if name == "BF16":
        return np.left_shift(stored, 16, dtype=np.uint32).view(np.float32)
    if name in _FLOAT8_VALUES:
        return _FLOAT8_VALUES[name][stored]
    if name == "BOOL":
        return data != 0
    return stored


def encode(array: np.ndarray, name: str) -> np.ndarray:
    """Return the bytes of `array` stored as `name`.

    A value between two of BF16, F8_E4M3 or F8_E5M2 goes to the nearer, or from the middle to the one with an even code
    (float64 is rounded to float32 first, as PyTorch does). NaN stays NaN. A value too large for BF16 or F8_E5M2
    becomes infinity. F8_E4M3 has none, so there it becomes the largest number, 448 or -448, and so do the infinities
    (as in PyTorch 2.13; older versions make it NaN).

    Parameters
    ----------
    array : ndarray
        Of the dtype that `name` stands for, in any byte order and layout; of any float dtype where NumPy has none.
    name : str
        A key of `STORED`.

    Returns
    -------
    ndarray, shape (bytes,), uint8
        In C order, little-endian; a view of `array` where that is how it lies in memory.
    """
    stored = stored_dtype(name)
    if name in WIDENED:
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is beyond each of the three as well
            values = array.reshape(-1).astype(np.float32)
        array = _bfloat16_codes(values) if name == "BF16" else _float8_codes(values, name)
    return np.ascontiguousarray(array, dtype=stored).reshape(-1).view(np.uint8)


def _bfloat16_codes(values: np.ndarray) -> np.ndarray:
    """Return float32 `values` rounded to BF16 codes, uint16."""
    bits = values.view(np.uint32)
    # Half of the last kept bit, less one when that bit is 0: a tie then carries only into an odd code.
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    # NaN apart: the carry could turn one into infinity. Setting a mantissa bit keeps it NaN, and its sign.
    return np.where(np.isnan(values), (bits >> 16) | 0x0040, rounded).astype(np.uint16)


def _float8_codes(values: np.ndarray, name: str) -> np.ndarray:
    """Return float32 `values` rounded to F8_E4M3 or F8_E5M2 codes, uint8."""
    magnitude = np.abs(values)
    # Codes without the sign bit count the numbers from zero up: a value's code is how many bounds it has reached.
    code = np.searchsorted(_rounding_bounds(name), magnitude, side="right").astype(np.uint8)
    code = np.where(np.isnan(values), np.uint8(_FLOAT8_NAN_CODE), code)
    return code | (np.signbit(values).astype(np.uint8) << 7)


def _rounding_bounds(name: str) -> np.ndarray:
    """Return, for each code from 1 to the largest, the smallest float32 magnitude that rounds to it or above."""
    values = _FLOAT8_VALUES[name][: _FLOAT8_LARGEST_CODE[name] + 1].astype(np.float32)
    if np.isinf(values[-1]):
        values[-1] = 2 * values[-2] - values[-3]  # infinity begins where the next number would have been
    middle = (values[:-1] + values[1:]) / 2
    # A middle belongs to the even code: the upper one of each pair counted 0-1, 1-2, 2-3 is even every second time.
    upper_is_odd = np.arange(1, len(values)) % 2 == 1
    return np.where(upper_is_odd, np.nextafter(middle, np.float32(np.inf)), middle)


def dtype_of(array: np.ndarray, what: str) -> str:
    """Return the name in the file of an array's own dtype; `what` names the array in the error.

    Raises
    ------
    InputError
        If a safetensors file cannot hold the dtype (complex, text, objects, long double).
    """
    try:
        return _OF_ARRAY[array.dtype.newbyteorder("<")]
    except (KeyError, TypeError):  # the latter from dtypes that have no byte order
        raise InputError(
            f"{what} has dtype {array.dtype}, expected float16 to float64, an integer or bool; convert with .astype()"
        ) from None


class DeferredArray:
    """An array that stays as its file stores it, and becomes numbers when ``numpy.asarray`` asks, each time anew.

    A model in BF16 takes twice its file as float32. Decoded at once, all of that lies in memory beside the parameters
    that are made from it; decoded one by one, only the largest array does.

    Every array of a dtype that must be decoded is new and writable, and ``array[a:b]`` decodes some of its rows only.
    Its `shape` and `dtype` are those of the array that it becomes; a file holds it, or is to hold it, as `stored`.

    Parameters
    ----------
    codes : ndarray
        A view of the file with any strides, which must not change while it is in use: of the dtype in `STORED`, or
        uint8 for BOOL.
    stored : str
        The dtype it is stored in, a key of `STORED`.
    """

    __slots__ = ("_codes", "_format", "_steps", "dtype", "shape", "stored")

    def __init__(self, codes: np.ndarray, stored: str) -> None:
        self._codes = codes
        self._format = stored
        self._steps: tuple[Callable[[Any], Any], ...] = ()
        self.shape: tuple[int, ...] = codes.shape
        self.stored = stored
        self.dtype = held_dtype(stored)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of the array that it becomes."""
        return self.size * self.dtype.itemsize

    def map(
        self, function: Callable[[Any], Any], *, shape: tuple[int, ...] | None = None, stored: str | None = None
    ) -> DeferredArray:
        """Return what becomes `function` of the array: another layout, other numbers.

        It is applied when the array is read, after those of earlier calls. Without a shape, that of the result is found
        by laying out one byte repeated, which takes no memory. A file is to hold it as `stored`; as before when unset.
        """
        result = copy.copy(self)
        result._steps = (*self._steps, function)
        result.shape = function(np.broadcast_to(np.uint8(0), self.shape)).shape if shape is None else shape
        result.stored = stored or self.stored
        result.dtype = held_dtype(result.stored)
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the array, converted to `dtype` if one is given; what NumPy calls.

        Raises
        ------
        InputError
            If `copy` is False and it must be decoded, which always makes an array.
        """
        if self._format in DECODED:
            if copy is False:
                raise InputError(f"expected copy=None or copy=True: an array stored as {self._format} must be decoded")
            copy = None
        return np.array(self._read(self._codes), dtype, copy=copy)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return a slice along the first axis; the other rows are not decoded.

        Raises
        ------
        InputError
            If `rows` is no slice, or there is no axis.
        """
        if not isinstance(rows, slice) or not self.shape:
            raise InputError(
                f"expected a slice of the rows of a tensor with at least one axis, got {type(rows).__name__} "
                f"for shape {self.shape}; index numpy.asarray(tensor) instead"
            )
        return np.asarray(self)[rows] if self._steps else self._read(self._codes[rows])

    def _read(self, codes: np.ndarray) -> np.ndarray:
        """Return the numbers of some codes, after all steps."""
        values = codes
        if self._format in DECODED:
            flat = np.ascontiguousarray(codes).reshape(-1).view(np.uint8)
            values = decode(flat, self._format).reshape(codes.shape)
        for step in self._steps:
            values = step(values)
        return values

    def __repr__(self) -> str:
        return f"DeferredArray(shape={self.shape}, dtype={self.dtype}, stored as {self.stored})"


def to_decode(data: np.ndarray, stored: str, shape: tuple[int, ...]) -> DeferredArray:
    """Return an array of that shape to be decoded from exactly these bytes (uint8), stored as one of `DECODED`.

    Raises
    ------
    InputError
        If it need not be decoded.
    """
    if stored not in DECODED:
        raise InputError(f"expected a dtype to decode, one of {', '.join(DECODED)}, got {stored}; take a view")
    return DeferredArray(data.view(np.uint8 if stored == "BOOL" else STORED[stored]).reshape(shape), stored)


def mapped(array: Any, function: Callable[[Any], Any]) -> Any:
    """Return `function` of an array: at once, or when it is read if it is a `DeferredArray`."""
    return array.map(function) if isinstance(array, DeferredArray) else function(array)
