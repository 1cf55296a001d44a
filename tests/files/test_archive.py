"""Zip files, field by field of their directory: what is read of a good one, and which other numbers are refused."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest

from npconv.errors import WeightsError
from npconv.files import archive
from npconv.files.archive import contents, read_members

A, B = b"first bytes", b"b" * 3000


def zipped(*, packed: bool = False, names: tuple[str, ...] = ("a/one", "two"), comment: bytes = b"") -> bytearray:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        for name, content in zip(names, (A, B), strict=False):
            file.writestr(name, content)
        file.comment = comment
    return bytearray(stream.getvalue())


def patched(data: bytearray, mark: bytes, offset: int, form: str, *values: int) -> bytearray:
    """Return a file with other numbers at a place behind the first of some marks."""
    struct.pack_into(form, data, data.index(mark) + offset, *values)
    return data


ENTRY, END, LOCAL = b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("comment", [b"", b"c" * 65535])
def test_members(packed, comment):
    data = memoryview(bytes(zipped(packed=packed, comment=comment)))
    members = read_members(data, "s")
    assert list(members) == ["a/one", "two"]
    for (name, member), content in zip(members.items(), (A, B), strict=True):
        assert (member.name, member.size, member.is_packed) == (name, len(content), packed)
        assert member.checksum == zlib.crc32(content)
        assert bytes(contents(data, member, "s")) == content
    assert read_members(memoryview(bytes(zipped(names=()))), "s") == {}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (patched(zipped(), END, 0, "<4s", b"none"), "it has no directory at its end"),
        (zipped() + b"x", "has bytes after its end"),
        (patched(zipped(comment=b"abc"), END, 20, "<H", 2), "has bytes after its end"),
        (patched(zipped(), END, 4, "<H", 1), "contradicts itself or is in several files"),
        (patched(zipped(), END, 6, "<H", 1), "contradicts itself or is in several files"),
        (patched(zipped(), END, 8, "<H", 1), "contradicts itself or is in several files"),
        (patched(zipped(), END, 8, "<2H", 1, 1), "has a directory of another size than it says"),
        (patched(zipped(), END, 8, "<2H", 3, 3), "ends within its directory"),
        (patched(zipped(), END, 12, "<L", 7), "contradicts itself or is in several files"),
        (patched(zipped(), END, 16, "<L", 7), "contradicts itself or is in several files"),
        (patched(zipped(), ENTRY, 0, "<4s", b"none"), "has a damaged directory"),
        (patched(zipped(), ENTRY, 32, "<H", 60000), "has a damaged directory"),
        (patched(zipped(), ENTRY, 8, "<H", 1), "is encrypted, packed in an unknown way or in several files"),
        (patched(zipped(), ENTRY, 10, "<H", 12), "is encrypted, packed in an unknown way or in several files"),
        (patched(zipped(), ENTRY, 34, "<H", 1), "is encrypted, packed in an unknown way or in several files"),
        (patched(zipped(), ENTRY, 20, "<L", len(A) - 1), "is encrypted, packed in an unknown way or in several files"),
        (patched(zipped(), ENTRY, 10, "<H", 8), "is not where the directory says"),
        (patched(zipped(), ENTRY, 42, "<L", 1), "is not where the directory says"),
        (patched(zipped(), ENTRY, 42, "<L", 10**6), "is not where the directory says"),
        (patched(zipped(), LOCAL, 8, "<H", 8), "is not where the directory says"),
        (patched(zipped(), LOCAL, 30, "<B", 0x62), "is not where the directory says"),
        (patched(zipped(), ENTRY, 20, "<2L", 10**6, 10**6), "reaches beyond the data"),
        (patched(zipped(), ENTRY, 20, "<2L", len(A) + 1, len(A) + 1), "overlap"),
        (patched(zipped(), ENTRY, 20, "<2L", 2**32 - 1, 2**32 - 1), "has no size"),
        (zipped(names=("pp", "qq")).replace(b"qq", b"pp"), "has 'pp' twice"),
    ],
)
def test_a_directory_that_is_wrong(data, said):
    with pytest.raises(WeightsError, match=said):
        read_members(memoryview(bytes(data)), "s")


@pytest.mark.parametrize("name", ["../a", "a/../b", "/a", "a//b", "a\\b", "c:a", "a\nb", "./a", "a/."])
def test_names_that_lead_out_of_a_folder(name):
    data = zipped(names=("x" * len(name),))
    data = memoryview(bytes(data.replace(b"x" * len(name), name.encode())))
    with pytest.raises(WeightsError, match="expected a name that stays in its folder"):
        read_members(data, "s")
    assert list(read_members(data, "s", any_name=True)) == [name]


def test_a_name_is_utf_8_where_it_says_so_and_else_may_be_of_the_ibm_pc():
    data = zipped(names=("xyz",)).replace(b"xyz", b"xy\x81")
    assert list(read_members(memoryview(bytes(data)), "s")) == ["xy\u00fc"]
    assert list(read_members(memoryview(bytes(data.replace(b"xy\x81", b"x\xc3\xbc"))), "s")) == ["x\u00fc"]
    with pytest.raises(WeightsError, match="expected a name that stays in its folder"):
        read_members(memoryview(bytes(patched(data, ENTRY, 8, "<H", 1 << 11))), "s")


def test_contents_are_checked_piece_by_piece(monkeypatch):
    monkeypatch.setattr(archive, "_PIECE", 7)
    data = memoryview(bytes(zipped()))
    for member in read_members(data, "s").values():
        assert len(contents(data, member, "s")) == member.size


def test_how_much_it_may_unpack_to(monkeypatch):
    data = memoryview(bytes(zipped(packed=True)))
    total = len(A) + len(B)
    monkeypatch.setattr(archive, "MAX_UNPACKED", total)
    assert len(read_members(data, "s", ratio=1)) == 2
    monkeypatch.setattr(archive, "MAX_UNPACKED", total - 1)
    with pytest.raises(WeightsError, match=rf"would unpack to {total}, expected at most 1 times as many"):
        read_members(data, "s", ratio=1)
    assert len(read_members(data, "s", ratio=-(-total // len(data)))) == 2
    assert len(read_members(memoryview(bytes(zipped())), "s", ratio=0)) == 2, "nothing of it is packed"


def test_how_many_members_there_may_be(monkeypatch):
    data = memoryview(bytes(zipped()))
    size = len(data) - 22 - bytes(data).index(ENTRY)
    for name, most in (("MAX_MEMBERS", 2), ("MAX_DIRECTORY", size)):
        monkeypatch.setattr(archive, name, most)
        assert len(read_members(data, "s")) == 2
        monkeypatch.setattr(archive, name, most - 1)
        with pytest.raises(WeightsError, match=f"claims 2 members and a directory of {size} bytes"):
            read_members(data, "s")
        monkeypatch.undo()


@pytest.mark.parametrize("packed", [False, True])
def test_contents_that_are_not_what_the_directory_says(packed):
    data = memoryview(bytes(zipped(packed=packed)))
    member = read_members(data, "s")["two"]
    wrong = member._replace(checksum=member.checksum ^ 1)
    with pytest.raises(WeightsError, match="'two' is damaged"):
        contents(data, wrong, "s")
    assert bytes(contents(data, wrong, "s", check=False)) == B
    assert bytes(contents(data, member._replace(checksum=0), "s")) == B
    if packed:
        for size in (len(B) - 1, len(B) + 1):
            with pytest.raises(WeightsError, match=f"unpacks to another size than {size} bytes"):
                contents(data, member._replace(size=size), "s")
        with pytest.raises(WeightsError, match="cannot be unpacked"):
            contents(memoryview(b"\xff" * len(data)), member, "s")


def zipped64(at: int = 0, mark: bytes = b"PK\x06\x06", start: int = 0) -> memoryview:
    """Return a file with the directory of 64 bits; with another place or beginning of it than the right one."""
    data = bytes(zipped())
    end = len(data) - 22
    count, size, right = struct.unpack_from("<H2L", data, end + 10)
    wide = struct.pack("<4sQ2H2L4Q", mark, 44, 45, 45, 0, 0, count, count, size, right + start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end + at, 1)
    full = struct.pack("<4s4H2LH", END, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    return memoryview(data[:end] + wide + locator + full)


def test_a_directory_of_64_bits():
    data = zipped64()
    members = read_members(data, "s")
    assert [bytes(contents(data, member, "s")) for member in members.values()] == [A, B]
    for wrong, said in (
        (zipped64(at=1), "has its directory beyond its end"),
        (zipped64(at=-1), "has no directory where it says"),
        (zipped64(mark=b"none"), "has no directory where it says"),
        (zipped64(start=1), "contradicts itself"),
    ):
        with pytest.raises(WeightsError, match=said):
            read_members(wrong, "s")
