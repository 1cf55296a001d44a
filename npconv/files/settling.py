"""From what a pickle says to arrays: no more than its file can mean is made, and what is no tensor is named.

A tensor is a storage, an offset and strides. NumPy's own constructor would read whatever lies at the strides it is
given, so offset, shape and strides are compared with the storage first. Tensors may share a storage and repeat its
values (an expanded tensor has a stride of 0), so a small file can describe many numbers; `Budget` bounds them for all
the tensors of a file together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npconv.errors import WeightsError
from npconv.files.dtypes import DECODED, STORED, DeferredArray, held_dtype
from npconv.files.header import MAX_ADDRESS
from npconv.files.npy import is_of_numbers
from npconv.files.pickle_calls import is_sizes
from npconv.files.pickle_values import NumpyArray, NumpyType, Object, Skipped, Storage, Tensor
from npconv.messages import quoted

MAX_DEPTH = 64
MAX_PATH = 1000
MAX_VALUES = 400_000
#: A byte of a pickle stands for so many values, of so many letters in their names, at most: a value that occurs again
#: takes two bytes, and few dicts and lists do.
MAX_SHARING = 4
MEAN_LETTERS = 16
MAX_SKIPPED = 20_000
#: All tensors of a file may take this much, or so many times the file: tied weights and expanded buffers are few.
MAX_SHARED = 1_000_000
MAX_RATIO = 16


class Contents(NamedTuple):
    """What a file holds: dicts, lists and tuples with arrays in the place of tensors, and what was not made."""

    value: Any
    skipped: list[tuple[str, str]]


class Settler:
    """Puts arrays in the place of tensors. What contains itself is refused, and what shares more than the file holds.

    A value that occurs twice is walked through twice, so that a few bytes could stand for very many: values, and the
    letters of their places, are counted as they are met.
    """

    def __init__(self, data_of: Callable[[Storage], memoryview], file_size: int, pickle_size: int, source: str) -> None:
        self.data_of = data_of
        self.budget = Budget(file_size, source)
        self.source = source
        self.values = min(MAX_VALUES, 1000 + MAX_SHARING * pickle_size)
        self.letters = 100_000 + MEAN_LETTERS * self.values
        self.arrays: dict[int, tuple[np.ndarray | DeferredArray, int]] = {}
        #: How many arrays were met, how many objects are open that are no modules, and those without arrays in them.
        self.met = 0
        self.inside = 0
        self.empty: set[int] = set()
        self.in_module = False
        self.open: set[int] = set()
        self.skipped: list[tuple[str, str]] = []

    def settle(self, value: Any) -> Contents:
        """Return the contents."""
        return Contents(self.of(value, (), 0), self.skipped)

    def of(self, value: Any, path: tuple[Any, ...], letters: int) -> Any:
        """Return what stands for a value at a path whose name has so many letters."""
        self.values -= 1
        self.letters -= letters
        if self.values < 0 or self.letters < 0 or letters > MAX_PATH:
            raise WeightsError(
                f"{self.source} holds over {MAX_VALUES} values or has names of over {MAX_PATH} letters, or more of "
                "either than its size can mean; expected weights"
            )
        if type(value) in (str, int, float, bool, bytes, type(None)):
            return value
        if type(value) in (Tensor, NumpyArray):
            return self.array(value, path)
        if type(value) is Object:
            return self.object(value, path, letters)
        if type(value) in (dict, list, tuple):
            return self.group(value, value, path, letters)
        return self.skip(value, path)

    def array(self, value: Tensor | NumpyArray, path: tuple[Any, ...]) -> Any:
        """Return the array that stands for a tensor, the same at each place that it has, each of which counts."""
        self.met += 1
        if id(value) in self.arrays:
            known, size = self.arrays[id(value)]
            self.budget.take(size, *path)
            return known
        before = self.budget.left
        if isinstance(value, NumpyArray):
            array: Any = numpy_array_of(value, dotted(path), self.budget, self.source)
        else:
            array = array_of(value, dotted(path), self.data_of, self.budget, self.source)
        if array is None:
            self.met -= 1
            return self.skip(value, path)
        self.arrays[id(value)] = array, before - self.budget.left
        return array

    def group(self, value: Any, parts: Any, path: tuple[Any, ...], letters: int) -> Any:
        """Return a dict, list or tuple with settled values; or what is in an object, by name."""
        if self.inside and (id(value) in self.open or len(path) == MAX_DEPTH):
            return Skipped("more of the same")
        if id(value) in self.open:
            raise WeightsError(f"{self.source}: {quoted(dotted(path))} contains itself, expected weights")
        if len(path) == MAX_DEPTH:
            raise WeightsError(f"{self.source} nests more than {MAX_DEPTH} dicts and lists in each other")
        self.open.add(id(value))
        settled = {
            key: self.of(part, (*path, key), letters + len(str(key)) + 1)
            for key, part in (parts.items() if type(parts) is dict else enumerate(parts))
        }
        self.open.remove(id(value))
        return settled if type(parts) is dict else type(parts)(settled.values())

    def object(self, value: Object, path: tuple[Any, ...], letters: int) -> Any:
        """Return what is in an object that has tensors in it; others are skipped, and walked through once."""
        if "_parameters" in value.state and "_modules" in value.state:
            return self.module(value, path, letters)
        skipped, met = len(self.skipped), self.met
        if id(value) not in self.empty:
            self.inside += 1
            self.values -= len(value.state) + len(value.items)
            found = self.group(value, {**value.state, **value.items}, path, letters)
            self.inside -= 1
            if self.met > met:
                return found
            self.empty.add(id(value))
        del self.skipped[skipped:]
        return self.skip(value, path)

    def module(self, value: Object, path: tuple[Any, ...], letters: int) -> Any:
        """Return the state dict of a module of PyTorch: parameters, buffers, and the parts of other modules."""
        if not self.in_module:
            self.skipped.append((dotted(path), f"{value.what}, of which the weights are taken"))
        absent = value.state.get("_non_persistent_buffers_set")
        members = absent.members if type(absent) is Skipped else []
        self.values -= len(members)
        left_out = {name for name in members if type(name) is str}
        parts: dict[Any, Any] = {}
        for place in ("_parameters", "_buffers", "_modules"):
            held = value.state.get(place)
            if type(held) is dict:
                self.values -= len(held)
                parts.update((key, part) for key, part in held.items() if part is not None and key not in left_out)
        outside, self.in_module = self.in_module, True
        found = self.group(value, parts, path, letters)
        self.in_module = outside
        return found

    def skip(self, value: Any, path: tuple[Any, ...]) -> Skipped:
        """Note something that is no tensor."""
        if len(self.skipped) == MAX_SKIPPED:
            raise WeightsError(f"{self.source} holds over {MAX_SKIPPED} things that are no tensors, expected weights")
        what = "a storage without a tensor" if type(value) is Storage else str(value)
        if type(value) is memoryview:
            what = f"{len(value)} bytes"
        self.skipped.append((dotted(path), what))
        return Skipped(what)


def dotted(path: tuple[Any, ...]) -> str:
    """Return the name of a place: its keys with dots between."""
    return ".".join(map(str, path))


class Budget:
    """How many more bytes the tensors of a file may take."""

    def __init__(self, file_size: int, source: str) -> None:
        self.source = source
        self.size = max(MAX_SHARED, MAX_RATIO * file_size)
        self.left = self.size

    def take(self, count: int, *names: Any) -> None:
        """Count the bytes of one tensor; raise a WeightsError if all take more than a file of this size can mean."""
        self.left -= count
        if self.left < 0:
            raise WeightsError(
                f"{self.source}: up to {quoted(dotted(names))} the tensors take more than {self.size} bytes, "
                f"expected at most {MAX_RATIO} times the file: they repeat or share its numbers"
            )


def array_of(
    tensor: Tensor, name: str, data_of: Callable[[Storage], memoryview], budget: Budget, source: str
) -> np.ndarray | DeferredArray:
    """Return the array that a pickle describes, called `name` in errors; deferred if its dtype must be decoded.

    Raises
    ------
    WeightsError
        If it reaches beyond its storage, or asks for more than the budget of the file.
    """
    itemsize = STORED[tensor.dtype].itemsize
    nonzero = math.prod(size for size in tensor.shape if size)
    if nonzero * held_dtype(tensor.dtype).itemsize > MAX_ADDRESS:
        raise WeightsError(f"{source}: tensor {quoted(name)} has shape {tensor.shape}, expected less than 2**63 bytes")
    data = data_of(tensor.storage)
    count = len(data) // itemsize
    is_empty = 0 in tensor.shape
    # Along an axis of one, PyTorch may write any stride: nothing is that far away.
    strides = [stride if size > 1 else 0 for size, stride in zip(tensor.shape, tensor.strides, strict=True)]
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, strides, strict=True))
    if (tensor.offset > count) if is_empty else (last >= count):
        raise WeightsError(
            f"{source}: tensor {quoted(name)} of shape {tensor.shape}, strides {tensor.strides} and offset "
            f"{tensor.offset} reaches beyond its storage of {count} values of {tensor.dtype}; download it again"
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


def numpy_array_of(array: NumpyArray, name: str, budget: Budget, source: str) -> Any:
    """Return the array that a pickle has of NumPy, a view of its bytes; None if it holds texts, objects or the like.

    Raises
    ------
    WeightsError
        If it has other bytes than its shape and dtype say, or asks for more than the budget of the file.
    """
    dtype, data = array.dtype, array.data
    if type(dtype) is not NumpyType or not is_of_numbers(dtype.text) or type(data) in (list, tuple):
        return None
    if type(data) is str:  # a str of Python 2 whose bytes are UTF-8 by chance
        data = data.encode("utf-8")
    if not is_sizes(array.shape) or type(data) not in (bytes, memoryview):
        raise WeightsError(f"{source}: array {quoted(name)} has no shape or no bytes; save it again")
    stored = np.dtype(dtype.text).newbyteorder(dtype.order)
    size = math.prod(array.shape) * stored.itemsize
    if len(data) != size:
        raise WeightsError(
            f"{source}: array {quoted(name)} has {len(data)} bytes, expected {size} for {stored} {tuple(array.shape)}"
        )
    if math.prod(size for size in array.shape if size) * stored.itemsize > MAX_ADDRESS:
        raise WeightsError(f"{source}: array {quoted(name)} has shape {array.shape}, expected less than 2**63 bytes")
    budget.take(size, name)
    values = np.frombuffer(data, np.uint8) if size else np.empty(0, np.uint8)
    flat = values != 0 if stored.kind == "b" else values.view(stored).astype(stored.newbyteorder("="), copy=False)
    made = flat.reshape(array.shape, order="F" if array.is_fortran else "C")
    made.flags.writeable = False
    return made
