"""From a storage, an offset and strides to an array: a read-only view of the mapped file.

NumPy's own constructor would read whatever lies at the strides it is given, so offset, shape and strides are compared
with the storage first. Tensors may share a storage and repeat its values (an expanded tensor has a stride of 0), so a
small file can describe many numbers; `Budget` bounds them for all the tensors of a file together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npconv.errors import InputError, WeightsError
from npconv.files.dtypes import DECODED, STORED, decode, held_dtype
from npconv.files.header import MAX_ADDRESS
from npconv.files.pickle_names import Storage, Tensor
from npconv.files.stored import StoredTensor
from npconv.messages import quoted

#: All tensors of a file may take this much, or so many times the file: tied weights and expanded buffers are few.
MAX_SHARED = 1_000_000
MAX_RATIO = 16


class StridedTensor(StoredTensor):
    """A tensor that must be decoded and does not lie in one piece; as `npconv.files.stored.StoredTensor` otherwise.

    Parameters
    ----------
    codes : ndarray
        Of the dtype in `npconv.files.dtypes.STORED`, or uint8 for BOOL; a view with any strides.
    stored : str
        One of `npconv.files.dtypes.DECODED`.
    """

    __slots__ = ("_codes",)

    def __init__(self, codes: np.ndarray, stored: str) -> None:
        super().__init__(np.empty(0, np.uint8), stored, codes.shape)
        self._codes = codes

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the decoded array; what NumPy calls."""
        if copy is False:
            raise InputError(f"expected copy=None or copy=True: a tensor stored as {self._stored} has to be decoded")
        return np.asarray(_in_one_piece(self._codes, self._stored), dtype)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return the decoded array of a slice along the first axis."""
        return _in_one_piece(self._codes[rows], self._stored)


class Budget:
    """How many more bytes the tensors of a file may take."""

    def __init__(self, file_size: int) -> None:
        self.size = max(MAX_SHARED, MAX_RATIO * file_size)
        self.left = self.size

    def take(self, count: int, name: str) -> None:
        """Count the bytes of one tensor.

        Raises
        ------
        WeightsError
            If all tensors together take more than a file of this size can mean.
        """
        self.left -= count
        if self.left < 0:
            raise WeightsError(
                f"up to {quoted(name)} the tensors take more than {self.size} bytes, expected at most {MAX_RATIO} "
                "times the file: they repeat or share its numbers"
            )


def array_of(
    tensor: Tensor, name: str, data_of: Callable[[Storage], memoryview], budget: Budget
) -> np.ndarray | StoredTensor:
    """Return the array that a pickle describes.

    Parameters
    ----------
    tensor : Tensor
        Its sizes, strides and offset are not negative.
    name : str
        What to call it in errors.
    data_of : function
        Gives the bytes of a storage.
    budget : Budget
        Of the file.

    Returns
    -------
    ndarray or StoredTensor
        The latter for the dtypes that must be decoded.

    Raises
    ------
    WeightsError
        If it reaches beyond its storage, or asks for more than the budget.
    """
    itemsize = STORED[tensor.dtype].itemsize
    nonzero = math.prod(size for size in tensor.shape if size)
    if nonzero * held_dtype(tensor.dtype).itemsize > MAX_ADDRESS:
        raise WeightsError(f"tensor {quoted(name)} has shape {tensor.shape}, expected less than 2**63 bytes")
    data = data_of(tensor.storage)
    count = len(data) // itemsize
    is_empty = 0 in tensor.shape
    # Along an axis of one, PyTorch may write any stride: nothing is that far away.
    strides = [stride if size > 1 else 0 for size, stride in zip(tensor.shape, tensor.strides, strict=True)]
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, strides, strict=True))
    if (tensor.offset > count) if is_empty else (last >= count):
        raise WeightsError(
            f"tensor {quoted(name)} of shape {tensor.shape}, strides {tensor.strides} and offset {tensor.offset} "
            f"reaches beyond its storage of {count} values of {tensor.dtype}; download it again"
        )
    budget.take(0 if is_empty else nonzero * itemsize, name)
    stored = np.dtype(np.uint8) if tensor.dtype == "BOOL" else STORED[tensor.dtype]
    if is_empty:
        codes = np.empty(tensor.shape, stored)
    else:
        steps = [stride * itemsize for stride in strides]
        codes = np.ndarray(tensor.shape, stored, data, tensor.offset * itemsize, steps)
    codes.flags.writeable = False
    if tensor.dtype not in DECODED:
        return codes
    # NumPy counts axes of one as lying in one piece whatever their strides.
    return stored_tensor(codes, tensor.dtype)


def stored_tensor(codes: np.ndarray, dtype: str) -> StoredTensor:
    """Return a tensor to be decoded, from a view of its codes."""
    if codes.flags.c_contiguous:
        return StoredTensor(codes.reshape(-1).view(np.uint8), dtype, codes.shape)
    return StridedTensor(codes, dtype)


def _in_one_piece(codes: np.ndarray, dtype: str) -> np.ndarray:
    """Return the values of codes that lie anywhere."""
    return decode(np.ascontiguousarray(codes).reshape(-1).view(np.uint8), dtype).reshape(codes.shape)
