"""Zip files, mapped: every member that is stored is a view of the file, and nothing is ever unpacked to a folder.

The directory at the end of the file is read by a small reader rather than by ``zipfile``, which believes it: names
twice, members that overlap or lie in the directory, a name in the directory that is not the member's. Each is refused.

Source: PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.14 to 4.3.16, of which the 64-bit form.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import NamedTuple

from npconv.errors import WeightsError
from npconv.messages import quoted

MAGIC = b"PK\x03\x04"
MAX_MEMBERS = 100_000
MAX_DIRECTORY = 50_000_000
#: Of all members that are packed, when unpacked: this much, or so many times the file.
MAX_UNPACKED = 1_000_000
MAX_RATIO = 16

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_PIECE = 4_194_304
#: The flag of a member whose name is UTF-8.
_UTF8 = 1 << 11


class Member(NamedTuple):
    """One file in a zip file: where its bytes are, packed (DEFLATE) or not, and what they should be."""

    name: str
    start: int
    stop: int
    size: int
    checksum: int
    is_packed: bool


def read_members(
    buffer: memoryview, source: str, *, ratio: int = MAX_RATIO, any_name: bool = False
) -> dict[str, Member]:
    """Return the members of a zip file by name, in the order of its directory.

    Its packed members may unpack to `ratio` times the file, all together. With `any_name` names may lead out of a
    folder: for those who make no files of them.

    Raises
    ------
    WeightsError
        If the file is not whole, contradicts itself, has a name that leads out of a folder, or is encrypted.
    """
    try:
        members = _read_members(buffer, source, any_name)
    except struct.error:
        raise WeightsError(f"{source} ends within its directory; download it again") from None
    unpacked = sum(member.size for member in members.values() if member.is_packed)
    if unpacked > max(MAX_UNPACKED, ratio * len(buffer)):
        raise WeightsError(
            f"{source} has {len(buffer)} bytes and would unpack to {unpacked}, expected at most {ratio} times as "
            "many; save it uncompressed"
        )
    return members


def contents(buffer: memoryview, member: Member, source: str, check: bool = True) -> memoryview:
    """Return the bytes of a member: a view of the file, or unpacked if they are packed.

    With `check` they are compared with their checksum, if they have one (PyTorch can be told to write 0).

    Raises
    ------
    WeightsError
        If they are not as long as the directory says, or differ from the checksum.
    """
    data = buffer[member.start : member.stop]
    if member.is_packed:
        try:
            unpacked = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        except zlib.error as error:
            raise WeightsError(f"{source}: {quoted(member.name)} cannot be unpacked: {error}") from None
        if len(unpacked) != member.size:
            raise WeightsError(f"{source}: {quoted(member.name)} unpacks to another size than {member.size} bytes")
        data = memoryview(unpacked)
    if check and member.checksum:
        checksum = 0
        for start in range(0, len(data), _PIECE):
            checksum = zlib.crc32(data[start : start + _PIECE], checksum)
        if checksum != member.checksum:
            raise WeightsError(f"{source}: {quoted(member.name)} is damaged (its checksum differs); download it again")
    return data


def _read_members(buffer: memoryview, source: str, any_name: bool) -> dict[str, Member]:
    count, size, start = _directory(buffer, source)
    if count > MAX_MEMBERS or size > MAX_DIRECTORY or start + size > len(buffer):
        raise WeightsError(f"{source} claims {count} members and a directory of {size} bytes, more than a file has")
    members: dict[str, Member] = {}
    spans = []
    position = start
    for _ in range(count):
        member, begin, position = _member(buffer[: start + size], position, source, any_name)
        if member.name in members:
            raise WeightsError(f"{source} has {quoted(member.name)} twice, expected every name once")
        if member.stop > start:
            raise WeightsError(f"{source}: {quoted(member.name)} reaches beyond the data; download it again")
        members[member.name] = member
        spans.append((begin, member.stop, member.name))
    if position != start + size:
        raise WeightsError(f"{source} has a directory of another size than it says; download it again")
    spans.sort()
    for (_, stop, name), (begin, _, other) in itertools.pairwise(spans):
        if begin < stop:
            raise WeightsError(f"{source}: {quoted(name)} and {quoted(other)} overlap; do not use this file")
    return members


def _directory(buffer: memoryview, source: str) -> tuple[int, int, int]:
    """Return how many members the directory has, its size and where it begins."""
    tail = bytes(buffer[-_END.size - 65535 :])
    found = tail.rfind(b"PK\x05\x06")
    if found < 0:
        raise WeightsError(f"{source} is not a whole zip file: it has no directory at its end; download it again")
    _, disk, first, here, count, size, start, comment = _END.unpack_from(tail, found)
    end = len(buffer) - len(tail) + found
    if end + _END.size + comment != len(buffer):
        raise WeightsError(f"{source} has bytes after its end; download it again")
    if end >= _LOCATOR.size and bytes(buffer[end - _LOCATOR.size : end - _LOCATOR.size + 4]) == b"PK\x06\x07":
        _, disk, position, _ = _LOCATOR.unpack_from(buffer, end - _LOCATOR.size)
        if position > end - _LOCATOR.size - _END64.size:
            raise WeightsError(f"{source} has its directory beyond its end; download it again")
        end = position
        mark, _, _, _, disk, first, here, count, size, start = _END64.unpack_from(buffer, position)
        if mark != b"PK\x06\x06":
            raise WeightsError(f"{source} has no directory where it says; download it again")
    if disk or first or here != count or start + size != end:
        raise WeightsError(f"{source} has a directory that contradicts itself or is in several files")
    return count, size, start


def _member(directory: memoryview, position: int, source: str, any_name: bool) -> tuple[Member, int, int]:
    """Read one entry of the directory and what stands before the member; also return where either begins and ends."""
    fields = _ENTRY.unpack_from(directory, position)
    mark, _, _, flags, method, _, _, checksum, packed, size, name_length, extra_length, comment, disk, _, _, at = fields
    name_start = position + _ENTRY.size
    stop = name_start + name_length + extra_length + comment
    if mark != b"PK\x01\x02" or stop > len(directory):
        raise WeightsError(f"{source} has a damaged directory; download it again")
    raw_name = bytes(directory[name_start : name_start + name_length])
    name = _checked_name(raw_name, bool(flags & _UTF8), source, any_name)
    extra = directory[name_start + name_length : stop - comment]
    size, packed, at = _wide(extra, [size, packed, at], name, source)
    if flags & 1 or method not in (0, 8) or disk or (method == 0 and size != packed):
        raise WeightsError(f"{source}: {quoted(name)} is encrypted, packed in an unknown way or in several files")
    local = _LOCAL.unpack_from(directory, at) if at <= len(directory) else (b"",)
    if local[0] != MAGIC or local[3] != method or directory[at + _LOCAL.size :][: local[9]] != raw_name:
        raise WeightsError(f"{source}: {quoted(name)} is not where the directory says; download it again")
    start = at + _LOCAL.size + local[9] + local[10]
    return Member(name, start, start + packed, size, checksum, method == 8), at, stop


def _wide(extra: memoryview, values: list[int], name: str, source: str) -> list[int]:
    """Return sizes and place, from the 64-bit field where the 32-bit ones are full."""
    position = 0
    missing = [index for index, value in enumerate(values) if value == 0xFFFFFFFF]
    while missing and position + 4 <= len(extra):
        identity, length = struct.unpack_from("<2H", extra, position)
        if identity == 1:
            for index, value in zip(missing, struct.unpack_from(f"<{len(missing)}Q", extra, position + 4), strict=True):
                values[index] = value
            return values
        position += 4 + length
    if missing:
        raise WeightsError(f"{source}: {quoted(name)} has no size; download it again")
    return values


def _checked_name(raw: bytes, is_utf8: bool, source: str, any_name: bool) -> str:
    """Return a member's name if it stays in its folder on any system.

    It is UTF-8 where the member says so, and also where it does not and could be; else it is of the IBM PC, which the
    format began with and Windows still writes (APPNOTE, appendix D).
    """
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = "" if is_utf8 else raw.decode("cp437")
    parts = name.split("/")
    leads_out = not name.isprintable() or "" in parts[:-1] or {".", ".."} & set(parts) or {"\\", ":"} & set(name)
    if not name or (leads_out and not any_name):
        raise WeightsError(
            f"{source} has a member {quoted(raw.decode('latin-1'))}, expected a name that stays in its folder; do not "
            "use this file if you do not trust its source"
        )
    return name
