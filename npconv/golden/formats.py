"""The four forms in which a trace lies on a disk.

========================  =============================================================================================
``.safetensors``          one file, the form to prefer; what the trace says of itself is the metadata ``npconv.golden``
``.npz``                  one .npy a tensor in a zip file, and ``npconv.golden.json``
a folder                  one .npy a tensor, and ``trace.json``
``.json``                 an index of raw little-endian numbers in other files:
                          ``{"about": {...}, "tensors": {"NAME": {"file": "t.bin", "shape": [2, 3], "offset": 0}}}``
========================  =============================================================================================

The JSON of the trace may be missing in each, and so may ``"about"`` and ``"offset"`` (0) of an index; a ``"dtype"``
there is one of a safetensors file, ``"F32"`` if absent. Files of an index lie in its folder or below it.

A folder's file names are tensor names with ``.npy``. Letters that some file system changes or refuses stand as the
bytes of their UTF-8 in hexadecimal after a ``%``, as in a URL: all but a-z, 0-9, ``.``, ``_`` and ``-`` (capitals too:
some file systems do not tell ``A`` from ``a``), and the first letter of what begins with a dot or is the name of a
device (``aux``). Reading takes any file name and decodes every ``%XX``, so a foreign program may write names as they
are. The zip file does the same for backslashes, ``%`` and what is not printable ASCII.

All readers refuse what is broken before they allocate anything; arrays are views of mapped files, but for compressed
members of a .npz, which are read whole.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import string
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np

from npconv.errors import GoldenError, InputError, WeightsError
from npconv.files import archive, npy
from npconv.files.disk import MAX_JSON_SIZE, map_file, parse_json, write_file
from npconv.files.dtypes import DECODED, STORED, WIDENED, DeferredArray, decode, dtype_of, encode, to_decode
from npconv.files.locks import is_left, publish, staged, why_not_written
from npconv.messages import SHOWN_CHARACTERS, quoted

METADATA = "npconv.golden"
MEMBER = "npconv.golden.json"
FOLDER_FILE = "trace.json"

#: How many times its own size a .npz may unpack to.
MAX_INFLATION = 20

#: Of a file name in bytes, on every usual file system.
_LONGEST_NAME = 255
_PLAIN = string.ascii_lowercase + string.digits + "._-"
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
_PRINTABLE = "".join(chr(code) for code in range(32, 127) if chr(code) not in "%\\")


class Content(NamedTuple):
    """What a file holds, in its own order; `stored` names the dtypes that NumPy lacks."""

    tensors: Mapping[str, np.ndarray | DeferredArray]
    about: Any = None
    stored: Mapping[str, str] = {}


def read_npz(path: Path) -> Content:
    """Read a zip file of .npy files; the order is that of its directory."""
    buffer = map_file(path)
    members = archive.read_members(buffer, quoted(path), ratio=MAX_INFLATION, any_name=True)
    tensors: dict[str, np.ndarray | DeferredArray] = {}
    about = None
    for file, member in members.items():
        data = archive.contents(buffer, member, quoted(path), check=member.is_packed)
        if file == MEMBER:
            about = parse_json(data, f"{quoted(path)}: {quoted(file)}")
        else:
            name = _decoded(file, tensors, path)
            tensors[name] = npy.read_npy(data, f"{quoted(path)}: {quoted(file)}")
    return Content(tensors, about)


def write_npz(path: Path, content: Content) -> None:
    """Write a zip file, uncompressed so that it can be mapped, without the time of day."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as npz:

        def add(name: str, chunks: Iterable[Any]) -> None:
            with npz.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                for chunk in chunks:
                    member.write(chunk)

        for name, array in content.tensors.items():
            add(_encoded(name, _PRINTABLE) + npy.SUFFIX, npy.npy_chunks(np.asarray(array), f"tensor {quoted(name)}"))
        add(MEMBER, [to_text(content.about).encode()])
    write_file(path, [file.getbuffer()])


def read_folder(path: Path) -> Content:
    """Read the .npy files of a folder, not those of folders in it; numbers in names count as numbers for the order."""
    try:
        files = sorted((entry.name for entry in os.scandir(path) if entry.name.endswith(npy.SUFFIX)), key=_natural)
    except OSError as error:
        raise GoldenError(f"cannot read the folder {quoted(path)}: {_reason(error)}") from error
    tensors: dict[str, np.ndarray | DeferredArray] = {}
    for file in files:
        name = _decoded(file, tensors, path)
        tensors[name] = npy.read_npy(map_file(_inside(path, file)), quoted(path / file))
    about = None
    if os.path.lexists(path / FOLDER_FILE):
        about = parse_json(map_file(_inside(path, FOLDER_FILE)), quoted(path / FOLDER_FILE))
    return Content(tensors, about)


def write_folder(path: Path, content: Content) -> None:
    """Write .npy files into a new or empty folder."""
    names = {name: file_name(name) for name in content.tensors}
    with new_folder(path, FOLDER_FILE) as staging:
        for name, array in content.tensors.items():
            write_file(staging / names[name], npy.npy_chunks(np.asarray(array), f"tensor {quoted(name)}"))
        write_file(staging / FOLDER_FILE, [to_text(content.about).encode()])


@contextmanager
def new_folder(path: Path, last: str, *, force: bool = False) -> Iterator[Path]:
    """Give a folder to write in, which becomes that at `path` when all is there; the file `last` comes last.

    One that holds something is refused, unless `force` lets its files of the same names be replaced.
    """
    _refuse_occupied(path, force)
    with ExitStack() as held:
        try:
            staging = held.enter_context(staged(path))
        except WeightsError as error:
            raise GoldenError(_not_made(path, error.__cause__ or error)) from error
        except InputError as error:
            raise GoldenError(str(error)) from error
        _refuse_occupied(path, force)  # by another process, meanwhile
        yield staging
        try:
            publish(staging, path, last)
        except OSError as error:
            raise GoldenError(_not_made(path, error)) from error


def _not_made(path: Path, error: BaseException) -> str:
    """Return what is said of a folder that cannot be made."""
    return f"cannot make the folder {quoted(path)}: {_reason(error)}; give another one"


def _refuse_occupied(path: Path, force: bool) -> None:
    """Refuse a folder that holds something already, and what is no folder."""
    if os.path.lexists(path) and not path.is_dir():
        raise GoldenError(_not_made(path, FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))))
    if os.path.lexists(path) and not force and not all(map(is_left, os.listdir(path))):
        raise GoldenError(f"expected a new or empty folder, but {quoted(path)} holds something; give another one")


def _reason(error: BaseException) -> str:
    """Return what an error says, without the file's name, which may be long, and on one line."""
    said = str(getattr(error, "strerror", None) or error)
    return said if len(said) <= SHOWN_CHARACTERS and said.isprintable() else quoted(said)


def read_index(path: Path) -> Content:
    """Read the raw numbers that a JSON index describes."""
    index = parse_json(map_file(path), quoted(path))
    tensors = index.get("tensors") if isinstance(index, dict) else None
    if not isinstance(tensors, dict):
        raise GoldenError(f'{quoted(path)} has no object "tensors"; for a folder of .npy files, give the folder')
    buffers: dict[Path, memoryview] = {}
    found: dict[str, np.ndarray | DeferredArray] = {}
    stored: dict[str, str] = {}
    for name, entry in tensors.items():
        source = f"{quoted(path)}: tensor {quoted(name)}"
        file, shape, offset, dtype = _index_entry(entry, source)
        if dtype in WIDENED:
            stored[name] = dtype
        resolved = _inside(path.parent, file)
        if resolved not in buffers:
            buffers[resolved] = map_file(resolved)
        found[name] = _raw(buffers[resolved], shape, offset, dtype, source)
    return Content(found, index.get("about"), stored)


def write_index(path: Path, content: Content) -> None:
    """Write an index, and all numbers into one file beside it, each tensor at a multiple of eight bytes."""
    data_file = path.with_suffix(".bin")
    entries: dict[str, Any] = {}
    arrays: list[tuple[np.ndarray, str]] = []
    offset = 0
    for name, value in content.tensors.items():
        array = np.asarray(value)
        dtype = content.stored.get(name) or dtype_of(array, f"tensor {quoted(name)}")
        entries[name] = {"file": data_file.name, "offset": offset, "shape": list(array.shape)}
        if dtype != "F32":
            entries[name]["dtype"] = dtype
        arrays.append((array, dtype))
        offset += array.size * STORED[dtype].itemsize + -array.size * STORED[dtype].itemsize % 8
    text = to_text({"about": content.about, "tensors": entries})
    encoded = (encode(array, dtype) for array, dtype in arrays)
    with staged(path, wait=True) as staging:
        write_file(staging / data_file.name, (chunk for data in encoded for chunk in (data, bytes(-data.size % 8))))
        write_file(staging / path.name, [text.encode()])
        try:
            publish(staging, path.parent, path.name)
        except OSError as error:
            raise WeightsError(f"cannot write {quoted(path)}: {why_not_written(error)}") from error


#: Suffix -> how to read and write the form; a folder has none. That of safetensors stands with the trace.
OTHER_FORMS: dict[str, tuple[Callable[[Path], Content], Callable[[Path, Content], None]]] = {
    ".npz": (read_npz, write_npz),
    "": (read_folder, write_folder),
    ".json": (read_index, write_index),
}


def file_name(name: str) -> str:
    """Return the name of a tensor's file in a folder, see the top of this module; refuse one too long for a disk."""
    safe = _encoded(name, _PLAIN)
    if safe[:1] == "." or _DEVICE.match(safe):
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    if len(safe) + len(npy.SUFFIX) > _LONGEST_NAME:
        raise GoldenError(f"tensor {quoted(name)} has too long a name for a file; save the trace as .safetensors")
    return safe + npy.SUFFIX


def _encoded(name: str, plain: str) -> str:
    """Return `name` with all letters but the `plain` ones as the bytes of their UTF-8: ``%2F``."""
    return "".join(
        letter if letter in plain else "".join(f"%{byte:02X}" for byte in letter.encode()) for letter in name
    )


def _decoded(file: str, known: Mapping[str, Any], path: Path) -> str:
    """Return the tensor's name that a file or member has, which must be a new one."""
    if not file.endswith(npy.SUFFIX):
        raise GoldenError(f"{quoted(path)} holds {quoted(file)}, expected .npy and {MEMBER} only")
    try:
        name = unquote(file[: -len(npy.SUFFIX)], errors="strict")
        name.encode()
    except UnicodeError:
        raise GoldenError(f"{quoted(path)}: the name {quoted(file)} is no UTF-8 once its %XX are decoded") from None
    if name in known:
        raise GoldenError(f"{quoted(path)} holds tensor {quoted(name)} twice, expected every name once")
    return name


def _inside(folder: Path, file: str) -> Path:
    """Return where a file is, links followed, if that is in `folder` or below it."""
    try:
        root, found = folder.resolve(), (folder / file).resolve()
        inside = found.is_relative_to(root)
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte in the name, links in a circle
        raise GoldenError(f"cannot read {quoted(file)} in {quoted(folder)}: {_reason(error)}") from error
    if not inside:
        raise GoldenError(f"the file {quoted(file)} lies outside the folder {quoted(folder)}; move it into the folder")
    return found


def _index_entry(entry: Any, source: str) -> tuple[str, tuple[int, ...], int, str]:
    """Return file, shape, offset and dtype of an entry, of the right types."""
    entry = entry if isinstance(entry, dict) else {}
    file, shape, offset, dtype = (entry.get(key) for key in ("file", "shape", "offset", "dtype"))
    offset, dtype = 0 if offset is None else offset, "F32" if dtype is None else dtype
    numbers = [offset, *shape] if isinstance(shape, list) else [-1]
    right = isinstance(file, str) and all(type(number) is int and number >= 0 for number in numbers)
    if not right or not isinstance(dtype, str) or dtype not in STORED:
        raise GoldenError(
            f'{source}: expected {{"file": text, "shape": whole numbers, "offset": a whole number}} and, unless it is '
            f'F32, "dtype", one of {", ".join(STORED)}'
        )
    return file, tuple(shape), offset, dtype


def _raw(buffer: memoryview, shape: tuple[int, ...], offset: int, dtype: str, source: str) -> Any:
    """Return the numbers that begin at an offset of a file."""
    npy.check_shape(shape, STORED[dtype].itemsize, source)
    size = math.prod(shape) * STORED[dtype].itemsize
    if offset + size > len(buffer):
        raise GoldenError(
            f"{source} would span bytes {offset} to {offset + size} of a file of {len(buffer)}; check shape and offset"
        )
    data = np.frombuffer(buffer, np.uint8)[offset : offset + size]
    if dtype in DECODED:
        return to_decode(data, dtype, shape)
    return decode(data, dtype).reshape(shape)


def _natural(file: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in a name as numbers: layers.2 before layers.10."""
    parts = re.split(r"([0-9]+)", file)
    return [(int(part), "") if place % 2 and len(part) < 20 else (-1, part) for place, part in enumerate(parts)]


def to_text(about: Mapping[str, Any]) -> str:
    """Return JSON with sorted names, in ASCII letters: the same value gives the same text.

    Values that JSON lacks are refused, such as NaN and infinity.
    """
    try:
        text = json.dumps(dict(about), sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise GoldenError(f"expected JSON values in the about of a trace: {error}") from error
    if len(text) > MAX_JSON_SIZE:
        raise GoldenError(f"the about of a trace takes {len(text)} bytes, expected at most {MAX_JSON_SIZE}")
    return text
