"""From a storage, an offset and strides to an array: a read-only view of the mapped file.

NumPy's own constructor would read whatever lies at the strides it is given, so offset, shape and strides are compared
with the storage first. Tensors may share a storage and repeat its values (an expanded tensor has a stride of 0), so a
small file can describe many numbers; `Budget` bounds them for all the tensors of a file together.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from npconv.errors import WeightsError
from npconv.files.dtypes import DECODED, STORED, DeferredArray, held_dtype
from npconv.files.header import MAX_ADDRESS
from npconv.files.pickle_names import Storage, Tensor
from npconv.messages import quoted

#: All tensors of a file may take this much, or so many times the file: tied weights and expanded buffers are few.
MAX_SHARED = 1_000_000
MAX_RATIO = 16


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
) -> np.ndarray | DeferredArray:
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
    ndarray or DeferredArray
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
    return DeferredArray(codes, tensor.dtype) if tensor.dtype in DECODED else codes
