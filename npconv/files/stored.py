"""A tensor that stays as its file stores it, and becomes numbers when it is asked for them.

A model in BF16 takes twice its file as float32. Decoded at once, all of that lies in memory beside the parameters that
are made from it; decoded one by one, only the largest tensor does.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npconv.errors import InputError
from npconv.files.dtypes import DECODED, decode, held_dtype


class DeferredTensor:
    """What becomes an array when ``numpy.asarray`` asks: it has `shape`, `dtype` and `size` before that."""

    __slots__ = ()

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the array; what NumPy calls."""
        raise NotImplementedError


class StoredTensor(DeferredTensor):
    """A tensor of a dtype that must be decoded, not yet decoded.

    ``np.array(tensor, dtype)`` and ``np.asarray(tensor, dtype)`` decode it, ``tensor[a:b]`` decodes some of its rows,
    each time anew: nothing is kept. Every array they return is new and writable.

    Parameters
    ----------
    data : ndarray, shape (bytes,), uint8
        The bytes of the tensor, kept as a view: they must not change while it is in use.
    stored : str
        The dtype they are stored in, one of `npconv.files.dtypes.DECODED`.
    shape : tuple of int
        Of the tensor; the caller has checked that it takes exactly these bytes.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
        Of the decoded array: float32 for BF16, float16 for F8_E4M3 and F8_E5M2, bool for BOOL.
    """

    __slots__ = ("_data", "_stored", "dtype", "shape")

    def __init__(self, data: np.ndarray, stored: str, shape: tuple[int, ...]) -> None:
        if stored not in DECODED:
            raise InputError(f"expected a dtype to decode, one of {', '.join(DECODED)}, got {stored}; take a view")
        self._data = data
        self._stored = stored
        self.shape = shape
        self.dtype = held_dtype(stored)

    @property
    def stored(self) -> str:
        """The dtype that the file stores it in."""
        return self._stored

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of the decoded array."""
        return self.size * self.dtype.itemsize

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the decoded array, converted to `dtype` if one is given; what NumPy calls.

        Raises
        ------
        ValueError
            If `copy` is False: decoding always makes an array.
        """
        if copy is False:
            raise InputError(f"expected copy=None or copy=True: a tensor stored as {self._stored} has to be decoded")
        values = decode(self._data, self._stored).reshape(self.shape)
        return values if dtype is None else values.astype(dtype, copy=False)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return the decoded array of a slice along the first axis; the other rows are not decoded.

        Raises
        ------
        InputError
            If `rows` is no slice, or the tensor has no axis.
        """
        if not isinstance(rows, slice) or not self.shape:
            raise InputError(
                f"expected a slice of the rows of a tensor with at least one axis, got {type(rows).__name__} "
                f"for shape {self.shape}; index numpy.asarray(tensor) instead"
            )
        count, *rest = self.shape
        # As many bytes a row as there are, not -1: NumPy cannot infer that of a tensor without values.
        chosen = self._data.reshape(count, self._data.size // max(count, 1))[rows]
        return decode(chosen.reshape(-1), self._stored).reshape(len(chosen), *rest)

    def __repr__(self) -> str:
        return f"StoredTensor(shape={self.shape}, dtype={self.dtype}, stored as {self._stored})"
