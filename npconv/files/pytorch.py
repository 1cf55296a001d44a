"""The files of ``torch.save``: a zip file with one member a storage, and the older form, one stream.

Zip (since PyTorch 1.6), every member stored, not packed::

    NAME/data.pkl  NAME/byteorder  NAME/version  NAME/data/0  NAME/data/1 ...

Stream: five pickles (a magic number, a version, the machine's number formats, the object, the list of storage keys),
then for each key the number of values in eight bytes, and the values.

A tensor is a storage, an offset and strides. NumPy's own constructor would read whatever lies at the strides it is
given, so offset, shape and strides are compared with the storage first. Tensors may share a storage and repeat its
values (an expanded tensor has a stride of 0), so a small file can describe many numbers; `Budget` bounds them for all
the tensors of a file together.

Source: ``torch/serialization.py`` of PyTorch 2.13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npconv.errors import WeightsError
from npconv.files import archive
from npconv.files.dtypes import DECODED, STORED, DeferredArray, held_dtype
from npconv.files.header import MAX_ADDRESS
from npconv.files.pickle_names import Global, Skipped, Storage, Tensor
from npconv.files.pickles import read_pickle
from npconv.messages import quoted

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
PICKLE_NAME = "data.pkl"

MAX_DEPTH = 64
MAX_PATH = 1000
MAX_VALUES = 400_000
MAX_SKIPPED = 20_000
#: All tensors of a file may take this much, or so many times the file: tied weights and expanded buffers are few.
MAX_SHARED = 1_000_000
MAX_RATIO = 16


class Contents(NamedTuple):
    """What a file holds: dicts, lists and tuples with arrays in the place of tensors, and what was not made."""

    value: Any
    skipped: list[tuple[str, str]]


def read_zip(buffer: memoryview, members: dict[str, archive.Member], source: str, check: bool) -> Contents:
    """Return the contents of a zip file of ``torch.save``.

    Raises
    ------
    WeightsError
        If it is not such a file, is damaged, or its pickle asks for something outside the closed table.
    """
    root = _root(members, source)
    data = {}
    for name, member in members.items():
        if member.is_packed:
            raise WeightsError(f"{source}: {quoted(name)} is packed, which torch.save never does; save it again")
        must_check = check or name == root + PICKLE_NAME
        data[name.removeprefix(root)] = archive.contents(buffer, member, source, must_check)
    if bytes(data.get("byteorder", b"little")) != b"little":
        raise WeightsError(f"{source} was written on a big-endian machine; save it again on a little-endian one")
    pickle = read_pickle(data[PICKLE_NAME], source)
    if pickle.stop != len(data[PICKLE_NAME]):
        raise WeightsError(f"{source} has bytes after its pickle; download it again")

    def data_of(storage: Storage) -> memoryview:
        return _part(data.get(f"data/{storage.key}"), storage, source)

    return _Settler(data_of, Budget(len(buffer), source), source).settle(pickle.value)


def read_stream(buffer: memoryview, source: str) -> Contents:
    """Return the contents of a file of ``torch.save`` in the older form.

    Raises
    ------
    WeightsError
        As `read_zip`.
    """
    magic = read_pickle(buffer, source)
    if magic.value != MAGIC_NUMBER:
        raise WeightsError(f"{source} is a pickle, but not one of torch.save; expected weights")
    version = read_pickle(buffer, source, magic.stop)
    system = read_pickle(buffer, source, version.stop)
    is_little = type(system.value) is dict and system.value.get("little_endian") is True
    if version.value != PROTOCOL_VERSION or not is_little:
        raise WeightsError(f"{source} is of an unknown version or from a big-endian machine; save it again")
    content = read_pickle(buffer, source, system.stop)
    keys = read_pickle(buffer, source, content.stop)
    data = _stream_storages(buffer, keys.value, keys.stop, content.storages, source)

    def data_of(storage: Storage) -> memoryview:
        return _part(data.get(storage.key), storage, source)

    return _Settler(data_of, Budget(len(buffer), source), source).settle(content.value)


def _stream_storages(
    buffer: memoryview, keys: Any, position: int, storages: dict[str, Storage], source: str
) -> dict[str, memoryview]:
    """Return the bytes of the storages that stand one after the other at the end of a stream."""
    if type(keys) is not list or not all(type(key) is str for key in keys) or len(set(keys)) < len(keys):
        raise WeightsError(f"{source} has no list of its storages; download it again")
    data: dict[str, memoryview] = {}
    for key in keys:
        if key not in storages:
            raise WeightsError(f"{source} has a storage {quoted(key)} that no tensor uses; download it again")
        storage = storages[key]
        start = position + 8
        position = start + storage.size
        if position > len(buffer) or int.from_bytes(buffer[start - 8 : start], "little") != storage.count:
            raise WeightsError(
                f"{source}: storage {quoted(key)} is shorter than the {storage.count} values that its tensors say, or "
                "is of another size; download it again"
            )
        data[key] = buffer[start:position]
    if position != len(buffer):
        raise WeightsError(f"{source} has {len(buffer)} bytes, expected {position}; download it again")
    return data


def _root(members: dict[str, archive.Member], source: str) -> str:
    """Return the folder in the zip file that all members are in, with its slash."""
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/" + PICKLE_NAME)]
    root = pickles[0].removesuffix(PICKLE_NAME) if len(pickles) == 1 else None
    if root is None or not all(name.startswith(root) for name in members):
        raise WeightsError(f"{source} is a zip file without one NAME/{PICKLE_NAME}, expected a file of torch.save")
    if root + "constants.pkl" in members or any(name.startswith(root + "code/") for name in members):
        raise WeightsError(f"{source} is a TorchScript program, expected weights; save its state_dict()")
    return root


def _part(data: memoryview | None, storage: Storage, source: str) -> memoryview:
    """Return the bytes of a storage, which must be as many as the pickle says."""
    if data is None:
        raise WeightsError(f"{source} has no storage {quoted(storage.key)}, which a tensor uses; download it again")
    if len(data) != storage.size:
        raise WeightsError(
            f"{source}: storage {quoted(storage.key)} has {len(data)} bytes, expected {storage.size} for the "
            f"{storage.count} values that its tensors say; download it again"
        )
    if storage.view is None:
        return data
    first, count = storage.view
    if first + count > storage.count:
        raise WeightsError(f"{source}: a view of storage {quoted(storage.key)} reaches beyond it; download it again")
    return data[first * storage.itemsize : (first + count) * storage.itemsize]


class _Extent(NamedTuple):
    """How far a value reaches when all that it shares is counted each time: values, levels, letters of a name."""

    values: int
    levels: int
    letters: int


class _Settler:
    """Puts arrays in the place of tensors. What occurs twice is made once; what contains itself is refused."""

    def __init__(self, data_of: Callable[[Storage], memoryview], budget: Budget, source: str) -> None:
        self.data_of = data_of
        self.budget = budget
        self.source = source
        self.made: dict[int, tuple[Any, _Extent]] = {}
        self.open: set[int] = set()
        self.skipped: list[tuple[str, str]] = []

    def settle(self, value: Any) -> Contents:
        """Return the contents."""
        return Contents(self.of(value, ())[0], self.skipped)

    def of(self, value: Any, path: tuple[Any, ...]) -> tuple[Any, _Extent]:
        """Return what stands for a value at a path, and its extent."""
        if type(value) in (str, int, float, bool, bytes, type(None)):
            return value, _Extent(1, 1, 0)
        if type(value) in (Skipped, Global, Storage):
            return self.skip(value, path), _Extent(1, 1, 0)
        if id(value) not in self.made:
            if type(value) is Tensor:
                array = array_of(value, dotted(path), self.data_of, self.budget, self.source)
                self.made[id(value)] = array, _Extent(1, 1, 0)
            else:
                self.made[id(value)] = self.group(value, path)
        return self.made[id(value)]

    def group(self, value: Any, path: tuple[Any, ...]) -> tuple[Any, _Extent]:
        """Return a dict, list or tuple with settled values, and its extent."""
        if id(value) in self.open:
            raise WeightsError(f"{self.source}: {quoted(dotted(path))} contains itself, expected weights")
        if len(path) == MAX_DEPTH:
            raise WeightsError(f"{self.source} nests more than {MAX_DEPTH} dicts and lists in each other")
        self.open.add(id(value))
        settled: dict[Any, Any] = {}
        values, levels, letters = 1, 1, 0
        for key, part in value.items() if type(value) is dict else enumerate(value):
            settled[key], extent = self.of(part, (*path, key))
            values += extent.values
            levels = max(levels, extent.levels + 1)
            letters = max(letters, extent.letters + len(str(key)) + 1)
        self.open.remove(id(value))
        if values > MAX_VALUES or levels > MAX_DEPTH or letters > MAX_PATH:
            raise WeightsError(
                f"{self.source} holds over {MAX_VALUES} values, or nests over {MAX_DEPTH} dicts and lists in each "
                f"other, or has names of over {MAX_PATH} letters; expected weights"
            )
        return settled if type(value) is dict else type(value)(settled.values()), _Extent(values, levels, letters)

    def skip(self, value: Any, path: tuple[Any, ...]) -> Skipped:
        """Note something that is no tensor."""
        if len(self.skipped) == MAX_SKIPPED:
            raise WeightsError(f"{self.source} holds over {MAX_SKIPPED} things that are no tensors, expected weights")
        what = "a storage without a tensor" if type(value) is Storage else str(value)
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

    def take(self, count: int, name: str) -> None:
        """Count the bytes of one tensor; raise a WeightsError if all take more than a file of this size can mean."""
        self.left -= count
        if self.left < 0:
            raise WeightsError(
                f"{self.source}: up to {quoted(name)} the tensors take more than {self.size} bytes, expected at most "
                f"{MAX_RATIO} times the file: they repeat or share its numbers"
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
