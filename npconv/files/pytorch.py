"""The files of ``torch.save``: a zip file with one member a storage, and the older form, one stream.

Zip (since PyTorch 1.6), every member stored, not packed::

    NAME/data.pkl  NAME/byteorder  NAME/version  NAME/data/0  NAME/data/1 ...

Stream: five pickles (a magic number, a version, the machine's number formats, the object, the list of storage keys),
then for each key the number of values in eight bytes, and the values.

Source: ``torch/serialization.py`` of PyTorch 2.13.
"""

from __future__ import annotations

from typing import Any

from npconv.errors import WeightsError
from npconv.files import archive
from npconv.files.pickle_values import Storage
from npconv.files.pickles import read_pickle
from npconv.files.settling import Contents, Settler
from npconv.messages import quoted

#: A whole number of ten bytes: 0x1950A86A20F9469CFC6C.
_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL_VERSION = 1001
PICKLE_NAME = "data.pkl"


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

    return Settler(data_of, len(buffer), pickle.stop, source).settle(pickle.value)


def read_stream(buffer: memoryview, source: str) -> Contents:
    """Return the contents of a file of ``torch.save`` in the older form.

    Raises
    ------
    WeightsError
        As `read_zip`.
    """
    magic = read_pickle(buffer, source)
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

    return Settler(data_of, len(buffer), content.stop - system.stop, source).settle(content.value)


def read_plain(buffer: memoryview, source: str) -> Contents:
    """Return the contents of a pickle that is all of a file, as Detectron2 writes: dicts of arrays of NumPy.

    Raises
    ------
    WeightsError
        As `read_zip`.
    """
    pickle = read_pickle(buffer, source)
    if pickle.stop != len(buffer):
        raise WeightsError(f"{source} has bytes after its pickle, and is not a file of torch.save; download it again")

    def data_of(storage: Storage) -> memoryview:
        raise WeightsError(f"{source} has a tensor without its numbers: it is not whole; save it with torch.save")

    return Settler(data_of, len(buffer), len(buffer), source).settle(pickle.value)


def is_stream(buffer: memoryview) -> bool:
    """Say whether a pickle begins as the older form does: with a magic number."""
    return bytes(buffer[:1]) == b"\x80" and _MAGIC in bytes(buffer[2:24])  # protocol 4 has eleven bytes before


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
