"""The header of a safetensors file: read and checked whole before a single tensor is touched.

A file is eight bytes that hold the length of the header (little-endian), the header, and the data::

    {"__metadata__": {"format": "pt"},
     "conv.weight": {"dtype": "F32", "shape": [8, 3, 7, 7], "data_offsets": [0, 4704]}, ...}

Offsets count from the end of the header. The tensors must cover the data exactly: no gap, no overlap, nothing left.

The header is JSON of this one form, and is read by a small reader of this one form rather than by ``json.loads``,
which builds whatever the text describes before anything can be checked: 100 MB of ``[[],[],[],...`` become
gigabytes, ten thousand ``[`` exhaust the stack, and of two tensors with one name it silently keeps the last.

A tensor as writers write it is read by one expression. Only what that does not match is read symbol by symbol, and
either found good after all or refused with the place of what is wrong.

Source: the format section of the safetensors documentation, and the behaviour of the official reader, version 0.8:
like that, this one takes white space before the ``{``, which the format once forbade. Beyond what that reader refuses,
this one refuses what the format forbids or no writer writes: a name twice, a field of a tensor other than the three, a
tensor as ``["F32", [1], [0, 4]]``; the dtypes not listed in :mod:`npconv.files.dtypes`, and shapes that no NumPy array
can have.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from npconv.errors import SafetensorsError
from npconv.files.dtypes import STORED, held_dtype
from npconv.files.strangers import BEGINNING, what_begins
from npconv.messages import quoted

#: The reasons a :class:`npconv.errors.SafetensorsError` may give.
REASONS = {
    "HeaderTooSmall": "the file is shorter than the eight bytes of the header's length",
    "HeaderTooLarge": "the header claims to be longer than 100 MB",
    "InvalidHeaderLength": "the header claims to be longer than the file",
    "InvalidHeaderStart": "the header does not begin with {, after spaces or none",
    "InvalidUtf8": "a name is not UTF-8, or half of a surrogate pair",
    "MalformedHeader": "the header is no JSON, or JSON of another form than the format's",
    "DuplicateName": "a tensor, a field or a metadata key appears twice",
    "UnknownDtype": "a dtype is none of those that npconv reads",
    "ShapeTooLarge": "a shape is beyond what a computer can address",
    "SizeMismatch": "shape and dtype ask for another number of bytes than the offsets span",
    "InvalidOffset": "tensors overlap, leave a gap or reach beyond the end of the file",
    "TrailingBytes": "bytes follow the last tensor",
}

MAX_HEADER_SIZE = 100_000_000
MAX_DIMENSIONS = 64  # of a NumPy array
MAX_ADDRESS = 2**63 - 1

METADATA_NAME = "__metadata__"
_LENGTH_BYTES = 8
_JSON = json.JSONDecoder()
_PIECE = 65_536
_DTYPES = {name.encode(): name for name in STORED}
_STORED_BYTES = {name: stored.itemsize for name, stored in STORED.items()}
_HELD_BYTES = {name: held_dtype(name).itemsize for name in STORED}
_FIELDS = ("dtype", "shape", "data_offsets")

_SPACE = re.compile(rb"[ \t\n\r]*")
# At most a thousand escapes at a time: the expression remembers each, to be able to go back.
_STRING_PART = re.compile(rb'[^"\\]*(?:\\.[^"\\]*){0,1000}', re.DOTALL)
#: Most strings: nothing in them is escaped or beyond ASCII.
_PLAIN_STRING = re.compile(rb'"([ !#-\[\]-~]*)"')
# 20 digits hold every offset of 64 bits; a fraction or exponent makes a number another kind of JSON value.
_WHOLE_NUMBER = re.compile(rb"(?:0|[1-9][0-9]{0,19})(?![0-9.eE])")


def _tensor_expression() -> re.Pattern[bytes]:
    """Return the expression of a tensor's name, its fields in any order, and a comma.

    A field that comes twice leaves no place for another, whose groups are then empty.
    """
    number = rb"(?:0|[1-9][0-9]{0,19})"
    fields = (
        rb'"dtype"@:@"(?P<dtype>[A-Z0-9_]{1,16})"',
        rb'"shape"@:@\[@(?P<shape>(?:%b@(?:,@%b@){0,%d})?)\]' % (number, number, MAX_DIMENSIONS - 1),
        rb'"data_offsets"@:@\[@(?P<start>%b)@,@(?P<stop>%b)@\]' % (number, number),
    )
    name = rb'@"(?P<name>[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*){0,1000})"@:@'
    any_three = rb'(?:(?:%b)@(?:,@(?=")|(?=\}))){3}' % rb"|".join(fields)
    return re.compile((name + rb"\{@" + any_three + rb"\}@,").replace(b"@", rb"[ \t\n\r]*"))


_TENSOR = _tensor_expression()


class Entry(NamedTuple):
    """What a header says of one tensor; its bytes are ``start`` to ``stop`` of the data."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Header(NamedTuple):
    """A checked header: the tensors in the file's order, its metadata if it has any, and where the data begin."""

    entries: dict[str, Entry]
    metadata: dict[str, str] | None
    data_start: int


def parse_header(buffer: memoryview, source: str) -> Header:
    """Read and check the header of a whole safetensors file.

    Raises
    ------
    SafetensorsError
        If the file breaks the format, with one of `REASONS`.
    """
    if len(buffer) < _LENGTH_BYTES:
        raise SafetensorsError(
            "HeaderTooSmall",
            f"{source} has {len(buffer)} bytes, expected 8 and a header; is it a safetensors file, and whole?",
        )
    length = int.from_bytes(buffer[:_LENGTH_BYTES], "little")
    if length > MAX_HEADER_SIZE:
        raise SafetensorsError(
            "HeaderTooLarge",
            f"{source} claims a header of {length} bytes, expected at most {MAX_HEADER_SIZE}; {_what_else(buffer)}",
        )
    data_start = _LENGTH_BYTES + length
    if data_start > len(buffer):
        raise SafetensorsError(
            "InvalidHeaderLength",
            f"{source} claims a header of {length} bytes but has only {len(buffer)}; download it again",
        )
    reader = _HeaderReader(buffer, _LENGTH_BYTES, data_start, source)
    entries, metadata = reader.header()
    _check_layout(entries, len(buffer) - data_start, source)
    return Header(entries, metadata, data_start)


class _HeaderReader:
    """Reads the JSON of a header from front to back, and builds nothing that it has not recognised."""

    def __init__(self, buffer: memoryview, start: int, stop: int, source: str) -> None:
        self.buffer = buffer
        self.position = start
        self.stop = stop
        self.source = source

    def refuse(self, reason: str, message: str) -> NoReturn:
        """Raise an error that says where in the file the reader stands."""
        raise SafetensorsError(reason, f"{self.source}, byte {self.position}: {message}")

    def header(self) -> tuple[dict[str, Entry], dict[str, str] | None]:
        """Read the whole header."""
        entries: dict[str, Entry] = {}
        metadata: dict[str, str] | None = None
        has_metadata = False
        self.skip(_SPACE)
        if not self.has(b"{", self.position):
            self.refuse("InvalidHeaderStart", "expected a header that begins with '{'; is it a safetensors file?")
        for _ in self.items(b"{", b"}"):
            self.plain_entries(entries)
            name = self.name()
            if name in entries or (name == METADATA_NAME and has_metadata):
                self.refuse("DuplicateName", f"tensor {quoted(name)} a second time, expected every name once")
            if name == METADATA_NAME:
                metadata = self.metadata()
                has_metadata = True
            else:
                entries[name] = self.entry(name)
        self.skip(_SPACE)
        if self.position < self.stop:
            self.refuse("MalformedHeader", "expected nothing but spaces after the last '}' of the header")
        return entries, metadata

    def plain_entries(self, entries: dict[str, Entry]) -> None:
        """Read tensors that are as writers write them, and a comma after each, up to one that is not."""
        piece, at = b"", 0
        while True:
            match = _TENSOR.match(piece, at)
            if match is None and self.position + len(piece) - at < self.stop and (at or not piece):
                piece, at = bytes(self.buffer[self.position : min(self.position + _PIECE, self.stop)]), 0
                match = _TENSOR.match(piece, at)
            if match is None:
                return
            raw, raw_dtype, sizes, start, stop = match.group("name", "dtype", "shape", "start", "stop")
            if raw_dtype is None or sizes is None or start is None:
                return
            name, dtype = _plain_name(raw), _DTYPES.get(raw_dtype)
            if name is None or dtype is None or name in entries:
                return
            shape = tuple(map(int, sizes.split(b","))) if sizes else ()
            entries[name] = Entry(dtype, shape, int(start), int(stop))
            self.position += match.end() - at
            at = match.end()

    def metadata(self) -> dict[str, str] | None:
        """Read the metadata: texts by name, or null."""
        if self.accept(b"null"):
            return None
        metadata: dict[str, str] = {}
        for _ in self.items(b"{", b"}"):
            key = self.name()
            if key in metadata:
                self.refuse("DuplicateName", f"metadata {quoted(key)} a second time, expected every key once")
            metadata[key] = self.string()
        return metadata

    def entry(self, name: str) -> Entry:
        """Read what the header says of tensor `name`: the three fields, in any order."""
        fields: dict[str, Any] = {}
        for _ in self.items(b"{", b"}"):
            field = self.name()
            if field in fields:
                self.refuse("DuplicateName", f"field {field!r} of tensor {quoted(name)} a second time")
            if field == "dtype":
                fields[field] = self.dtype(name)
            elif field == "shape":
                fields[field] = self.whole_numbers(0, MAX_DIMENSIONS)
            elif field == "data_offsets":
                fields[field] = self.whole_numbers(2, 2)
            else:
                self.refuse("MalformedHeader", f"field {quoted(field)} of tensor {quoted(name)}, expected {_FIELDS}")
        if len(fields) < len(_FIELDS):
            missing = ", ".join(field for field in _FIELDS if field not in fields)
            self.refuse("MalformedHeader", f"tensor {quoted(name)} has no {missing}, expected {_FIELDS}")
        start, stop = fields["data_offsets"]
        return Entry(fields["dtype"], tuple(fields["shape"]), start, stop)

    def dtype(self, name: str) -> str:
        """Read the dtype of tensor `name`."""
        dtype = self.string()
        if dtype not in STORED:
            self.refuse(
                "UnknownDtype", f"tensor {quoted(name)} has dtype {quoted(dtype)}, expected one of {', '.join(STORED)}"
            )
        return dtype

    def whole_numbers(self, fewest: int, most: int) -> list[int]:
        """Read an array of at least `fewest` and at most `most` whole numbers."""
        numbers: list[int] = []
        for _ in self.items(b"[", b"]"):
            if len(numbers) == most:
                self.refuse("MalformedHeader", f"expected at most {most} numbers in this list")
            self.skip(_SPACE)
            match = _WHOLE_NUMBER.match(self.buffer, self.position, self.stop)
            if not match:
                self.refuse("MalformedHeader", "expected a whole number of at most 20 digits")
            self.position = match.end()
            numbers.append(int(match[0]))
        if len(numbers) < fewest:
            self.refuse("MalformedHeader", f"expected {fewest} numbers in this list, got {len(numbers)}")
        return numbers

    def items(self, opening: bytes, closing: bytes) -> Iterator[None]:
        """Read the brackets and commas of a JSON object or array; the caller reads an item at each step."""
        self.expect(opening)
        if self.accept(closing):
            return
        yield
        while not self.accept(closing):
            self.expect(b",")
            yield

    def name(self) -> str:
        """Read a name and the colon after it."""
        name = self.string()
        self.expect(b":")
        return name

    def string(self) -> str:
        """Read a JSON string."""
        self.skip(_SPACE)
        start = self.position
        if plain := _PLAIN_STRING.match(self.buffer, start, self.stop):
            self.position = plain.end()
            return plain[1].decode()
        self.expect(b'"')
        before = -1
        while before < self.position:
            before = self.position
            self.skip(_STRING_PART)
        self.expect(b'"')
        try:
            text = json.loads(str(self.buffer[start : self.position], "utf-8"))
            text.encode("utf-8")  # fails where an escape has made half of a surrogate pair, which is no character
        except UnicodeError:
            self.refuse("InvalidUtf8", "expected a string in UTF-8 without halves of surrogate pairs")
        except ValueError as error:
            self.refuse("MalformedHeader", f"expected a JSON string: {error}")
        return text

    def skip(self, pattern: re.Pattern[bytes]) -> None:
        """Go to the end of what `pattern` matches here, if it does."""
        match = pattern.match(self.buffer, self.position, self.stop)
        if match:
            self.position = match.end()

    def has(self, symbol: bytes, position: int) -> bool:
        """Say whether `symbol` stands at a position of the header."""
        end = position + len(symbol)
        return end <= self.stop and self.buffer[position:end] == symbol

    def accept(self, symbol: bytes) -> bool:
        """Read `symbol` if it comes next, and say whether it did."""
        self.skip(_SPACE)
        found = self.has(symbol, self.position)
        if found:
            self.position += len(symbol)
        return found

    def expect(self, symbol: bytes) -> None:
        """Read `symbol`, which must come next."""
        if not self.accept(symbol):
            self.refuse("MalformedHeader", f"expected {symbol.decode()!r}")


def _what_else(buffer: memoryview) -> str:
    """Return what a file is that is not safetensors."""
    start = bytes(buffer[:BEGINNING])
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return "it looks like a file of PyTorch, which npconv convert reads"
    what = what_begins(start)
    return f"it is {what}" if what else "is it a safetensors file?"


def _plain_name(raw: bytes) -> str | None:
    """Return a tensor's name as it stands between its quotes; None if it must be looked at symbol by symbol."""
    try:
        name = raw.decode()
        if "\\" in name:
            name, _ = _JSON.raw_decode(f'"{name}"')
            name.encode()  # fails for half of a surrogate pair
    except ValueError:
        return None
    return None if name == METADATA_NAME else name


def _check_layout(entries: dict[str, Entry], data_size: int, source: str) -> None:
    """Refuse entries that do not cover the data exactly, or whose shapes are not what their offsets span."""
    if _covers(entries, data_size):
        return
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        what = f"{source}: tensor {quoted(name)}"
        if _extent(entry) > MAX_ADDRESS:
            raise SafetensorsError("ShapeTooLarge", f"{what} has shape {entry.shape}, expected less than 2**63 bytes")
        if entry.start != end or not entry.start <= entry.stop <= data_size:
            raise SafetensorsError(
                "InvalidOffset",
                f"{what} spans bytes {entry.start} to {entry.stop} of the data, expected from {end}, where the tensor "
                f"before ends, to at most {data_size}, where the file ends; download it again",
            )
        expected = math.prod(entry.shape) * _STORED_BYTES[entry.dtype]
        if entry.stop - entry.start != expected:
            raise SafetensorsError(
                "SizeMismatch",
                f"{what} has {entry.stop - entry.start} bytes, expected {expected} for {entry.dtype} {entry.shape}",
            )
        end = entry.stop
    if end != data_size:
        raise SafetensorsError(
            "TrailingBytes", f"{source} has {data_size - end} bytes after its last tensor; download it again"
        )


def _covers(entries: dict[str, Entry], data_size: int) -> bool:
    """Say whether tensors cover the data in the order of the header, as in all files that the official writer makes."""
    end = 0
    for entry in entries.values():
        dtype, shape, start, stop = entry
        if start != end or stop - start != math.prod(shape) * _STORED_BYTES[dtype]:
            return False
        if start == stop and _extent(entry) > MAX_ADDRESS:
            return False
        end = stop
    return end == data_size


def _extent(entry: Entry) -> int:
    """Return the bytes that NumPy counts for a shape: it refuses one too large to address even if a size is zero."""
    return math.prod(size for size in entry.shape if size) * _HELD_BYTES[entry.dtype]
