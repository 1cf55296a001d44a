"""Traces by strangers: whatever is wrong with the file, one line says so, and nothing large is allocated for it."""

import io
import json
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npconv.errors import GoldenError
from npconv.files.npy import npy_chunks, read_npy
from npconv.files.safetensors import save_file
from npconv.golden.formats import MEMBER, METADATA
from npconv.golden.trace_file import Trace, load_trace

pytestmark = pytest.mark.long

HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"


def npy(header: str = HEADER, data: bytes = bytes(8), version: int = 1) -> bytes:
    """The bytes of a .npy file with any header."""
    text = header.encode("latin-1")
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text + data


def refused(path: Path, match: str) -> None:
    """Assert that loading says `match` on one line, and allocates nothing worth naming."""
    tracemalloc.start()
    try:
        with pytest.raises(GoldenError, match=match) as caught:
            load_trace(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert peak < 3_000_000 + 30 * (path.stat().st_size if path.is_file() else 0)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2)),
        np.arange(4, dtype=">i2"),
        np.array([True, False]),
        np.float16(0.1),
        np.zeros((3, 0, 2), np.uint64),
        np.zeros((1,) * 20),
    ],
)
def test_npy_files_are_those_of_numpy(tmp_path, array) -> None:
    np.save(tmp_path / "a.npy", array)
    found = read_npy(memoryview((tmp_path / "a.npy").read_bytes()), "a.npy")
    np.testing.assert_array_equal(found, array, strict=True)
    ours = b"".join(bytes(chunk) for chunk in npy_chunks(np.asarray(array), "a"))
    assert len(ours) % 64 == array.nbytes % 64  # the data begin where NumPy lets them begin
    again = np.load(io.BytesIO(ours), allow_pickle=False)
    np.testing.assert_array_equal(again, array)
    assert again.shape == array.shape
    assert again.dtype == array.dtype.newbyteorder("<")


@pytest.mark.parametrize("version", [2, 3])
def test_other_writers_of_npy(version) -> None:
    header = '  {"shape":(1,2),"descr":"<f4","fortran_order":True}\n'
    found = read_npy(memoryview(npy(header, np.float32([3, 4]).tobytes(), version)), "a")
    np.testing.assert_array_equal(found, [[3, 4]])
    # Any byte but 0 is true, so that no boolean is neither.
    header = HEADER.replace("<f4", "|b1")
    assert read_npy(memoryview(npy(header, b"\x02\x00")), "a").tobytes() == b"\x01\x00"


BROKEN_NPY = {
    "empty": (b"", "does not begin"),
    "short": (b"\x93NUMPY\x01\x00\x05", "does not begin"),
    "text": (b"hello, this is no array", "does not begin"),
    "version": (npy(version=7), "version 7"),
    "header beyond the file": (b"\x93NUMPY\x01\x00\xff\x20" + b" " * 40, "claims a header"),
    "huge header": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 40, "claims a header of 4294967295"),
    "truncated": (npy(data=bytes(7)), "has 7 bytes of data, expected 8"),
    "too long": (npy(data=bytes(9)), "has 9 bytes of data, expected 8"),
    "lying shape": (npy(HEADER.replace("(2,)", "(2000000000, 1000)")), "expected 8000000000000"),
    "overflowing shape": (npy(HEADER.replace("(2,)", "(4294967296, 4294967296)")), "expected at most 64 axes"),
    "overflow behind a zero": (npy(HEADER.replace("(2,)", f"(0, {2**62}, {2**62})"), b""), "at most 64 axes"),
    "endless number": (npy(HEADER.replace("(2,)", "(" + "9" * 4000 + ",)")), "expected whole numbers"),
    "axes": (npy(HEADER.replace("(2,)", "(" + "1," * 65 + ")"), bytes(4)), "at most 64 axes"),
    "negative": (npy(HEADER.replace("(2,)", "(-2,)")), "has the header"),
    "nested": (npy(HEADER.replace("(2,)", "(" * 4000)), "has the header"),
    "objects": (npy(HEADER.replace("<f4", "|O"), b"cos\nsystem\n."), "has dtype '|O'"),
    "records": (npy(HEADER.replace("'<f4'", "[('a', '<f4')]")), "no Python objects, no records"),
    "bfloat16": (npy(HEADER.replace("<f4", "<V2"), bytes(4)), r"bfloat16 too\) as float32"),
    "complex": (npy(HEADER.replace("<f4", "<c8")), "has dtype '<c8'"),
    "long double": (npy(HEADER.replace("<f4", "<f16")), "has dtype '<f16'"),
    "no such float": (npy(HEADER.replace("<f4", "<f1")), "has dtype '<f1'"),
    "a field twice": (npy(HEADER.replace("{", "{'shape': (1,), ")), "has the header"),
    "a field missing": (npy("{'descr': '<f4', 'shape': (2,)}"), "has the header"),
    "a field more": (npy(HEADER.replace("{", "{'code': 'x', ")), "has the header"),
    "a call": (npy("__import__('os').abort()"), "has the header"),
    "not a truth value": (npy(HEADER.replace("False", "(0,)")), "has the header"),
}


@pytest.mark.parametrize("name", BROKEN_NPY)
@pytest.mark.filterwarnings("error")
def test_broken_npy(tmp_path, name) -> None:
    content, message = BROKEN_NPY[name]
    (tmp_path / "a.npy").write_bytes(content)
    refused(tmp_path, message)
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("a.npy", content)
    refused(tmp_path / "t.npz", message)


BROKEN_ABOUT = {
    "[1, 2]": "expected a JSON object",
    "{": "not the JSON",
    '{"order": ["a"], "order": ["a"]}': "same name twice",
    '{"noise": {"a": {"explicit": NaN}}}': "expected finite ones",
    '{"noise": {"a": {"explicit": 1e999}}}': "expected finite ones",
    '{"noise": {"a": {"explicit": ' + "1" * 5000 + "}}}": "a number of 5000 digits",
    '{"noise": {"a": {"explicit": -1}}}': "positive numbers",
    '{"noise": {"a": {"explicit": true}}}': "positive numbers",
    '{"noise": {"a": 3}}': "positive numbers",
    '{"noise": []}': "positive numbers",
    '{"order": "a"}': "a list of different names",
    '{"order": ["a", "a"]}': "a list of different names",
    '{"order": ["a", 1]}': "a list of different names",
    '{"aliases": {"b": 1}}': "texts by name",
    '{"layouts": ["NCHW"]}': "texts by name",
    '{"config": "tiny"}': "a JSON object as 'config'",
    '{"input": 5}': "text as 'input'",
    '{"format": 99}': "is of format '99'",
    '{"format": "1"}': "is of format '1'",
    '{"steps": [1]}': "the steps of a plan",
    '{"steps": {"steps": [{}], "outputs": [], "hidden_states": []}}': "the steps of a plan",
    '{"steps": {"steps": 1, "outputs": [], "hidden_states": []}}': "the steps of a plan",
    '{"steps": {"steps": [], "outputs": [[]], "hidden_states": []}}': "the steps of a plan",
    "[" * 100_000 + "]" * 100_000: "JSON",
    " " * 10_000_001: "expected at most 10000000 of JSON",
}


@pytest.mark.parametrize("about", BROKEN_ABOUT, ids=lambda text: text[:40])
def test_broken_descriptions(tmp_path, about) -> None:
    message = BROKEN_ABOUT[about]
    save_file({"a": np.zeros(2)}, tmp_path / "t.safetensors", {METADATA: about})
    refused(tmp_path / "t.safetensors", message)
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("a.npy", npy())
        archive.writestr(MEMBER, about)
    refused(tmp_path / "t.npz", message)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "trace.json").write_text(about)
    refused(folder, message)
    (tmp_path / "t.json").write_text('{"tensors": {}, "about": ' + about + "}")
    refused(tmp_path / "t.json", message)


def test_steps_with_wrong_types(tmp_path) -> None:
    right = {
        "name": "a",
        "operation": "linear",
        "inputs": ["b"],
        "params": {"weight": "w"},
        "attributes": {},
        "layout": "NC",
        "aliases": [],
    }
    wrong = [("name", 1), ("inputs", "b"), ("inputs", [1]), ("params", {"w": 1}), ("aliases", [None]), ("layout", None)]
    for steps in ([{**right, name: value} for name, value in wrong], [{**right, "code": "x"}]):
        for step in steps:
            about = json.dumps({"steps": {"steps": [step], "outputs": [], "hidden_states": []}})
            save_file({"a": np.zeros(2)}, tmp_path / "t.safetensors", {METADATA: about})
            refused(tmp_path / "t.safetensors", "the steps of a plan")


def members(path: Path, *members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_compressed_archives(tmp_path) -> None:
    arrays = {"a": np.arange(1000.0), "b": np.zeros((2, 3), np.float32)}
    np.savez_compressed(tmp_path / "t.npz", **arrays)
    trace = load_trace(tmp_path / "t.npz")
    assert list(trace) == ["a", "b"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(trace[name], array, strict=True)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_broken_archives(tmp_path) -> None:
    path = tmp_path / "t.npz"
    bomb = npy(HEADER.replace("(2,)", "(25000000,)"), bytes(100_000_000))
    refused(members(path, ("a.npy", bomb)), "would unpack to 100000074, expected at most 20 times")
    refused(
        members(path, *((f"{i}.npy", bytes(900_000)) for i in range(3))),
        "would unpack to 2700000, expected at most 20 times",
    )
    refused(members(path, ("a.npy", npy()), ("a.npy", npy())), "'a.npy' twice")
    refused(members(path, ("a.npy", npy()), ("%61.npy", npy())), "tensor 'a' twice")
    refused(members(path, ("a.pkl", b"x")), "holds 'a.pkl'")
    refused(members(path, ("%ff.npy", npy())), "no UTF-8")
    refused(members(path, ("a.npy", npy()), compression=zipfile.ZIP_LZMA), "packed in an unknown way")
    path.write_bytes(b"no archive")
    refused(path, "not a whole zip file")
    content = members(path, ("a.npy", npy(data=b"12345678")), compression=zipfile.ZIP_STORED).read_bytes()
    directory = content.index(b"PK\x01\x02")
    # The directory says that the member is larger than the file, where it is not, and encrypted.
    for place, new, message in (
        (20, b"\x60\xea\0\0\x60\xea\0\0", "reaches beyond the data"),
        (24, b"\xff", "encrypted, packed in an unknown way"),
        (42, b"\x01", "not where the directory says"),
        (42, b"\xff\xff\xff\x7f", "not where the directory says"),
        (8, b"\x01", "encrypted"),
    ):
        start = directory + place
        path.write_bytes(content[:start] + new + content[start + len(new) :])
        refused(path, message)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_archives_give_one_line_or_a_trace(tmp_path_factory, data) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    compression = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    content = bytearray(members(path, ("a.npy", npy()), (MEMBER, b"{}"), compression=compression).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    with suppress(GoldenError):
        assert sum(array.size for array in load_trace(path).values()) <= 2


ENTRY = {"file": "t.bin", "shape": [2], "offset": 4}
BROKEN_INDEX = {
    "[]": 'no object "tensors"',
    '{"tensors": []}': 'no object "tensors"',
    '{"tensors": {"a": {}, "a": {}}}': "same name twice",
    '{"tensors": {"a": 1}}': "expected {",
    **{
        json.dumps({"tensors": {"a": {**ENTRY, **change}}}): message
        for change, message in (
            ({"file": None}, "expected {"),
            ({"file": "../t.bin"}, "lies outside the folder"),
            ({"file": "/etc/hostname"}, "lies outside the folder"),
            ({"file": "link.bin"}, "lies outside the folder"),
            ({"file": "circle"}, "cannot read|does not exist"),
            ({"file": "."}, "is a directory"),
            ({"file": "gone.bin"}, "does not exist"),
            ({"file": "a\0b"}, "cannot read"),
            ({"shape": 2}, "expected {"),
            ({"shape": [2.0]}, "expected {"),
            ({"shape": [True]}, "expected {"),
            ({"shape": [-1]}, "expected {"),
            ({"shape": [3]}, "would span bytes 4 to 16 of a file of 12"),
            ({"shape": [10**12]}, "would span"),
            ({"shape": [2**40, 2**40]}, "at most 64 axes and"),
            ({"shape": [0, 2**40, 2**40]}, "at most 64 axes and"),
            ({"shape": [1] * 65}, "at most 64 axes"),
            ({"offset": -4}, "expected {"),
            ({"offset": 10**30}, "would span"),
            ({"dtype": "F31"}, "expected {"),
            ({"dtype": ["F32"]}, "expected {"),
        )
    },
}


@pytest.mark.parametrize("index", BROKEN_INDEX, ids=lambda text: text[:80])
def test_broken_indexes(tmp_path, index) -> None:
    folder = tmp_path / "trace"
    folder.mkdir()
    for file in (tmp_path / "t.bin", folder / "t.bin"):
        file.write_bytes(bytes(12))
    (folder / "link.bin").symlink_to(tmp_path / "t.bin")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "t.json").write_text(index)
    refused(folder / "t.json", BROKEN_INDEX[index])


def test_an_index_of_several_files(tmp_path) -> None:
    (tmp_path / "raw").mkdir()
    np.arange(6, dtype="<f4").tofile(tmp_path / "raw" / "one.f32")
    np.arange(3, dtype="<f4").tofile(tmp_path / "two.f32")
    tensors = {
        "b": {"file": "raw/one.f32", "shape": [2, 2], "offset": 8},
        "a": {"file": "two.f32", "shape": [3]},
        "odd": {"file": "two.f32", "shape": [1], "offset": 1, "dtype": "BF16"},
    }
    (tmp_path / "t.json").write_text(json.dumps({"tensors": tensors}))
    trace = load_trace(tmp_path / "t.json")
    assert list(trace) == ["b", "a", "odd"]
    np.testing.assert_array_equal(trace["b"], np.float32([[2, 3], [4, 5]]), strict=True)
    np.testing.assert_array_equal(trace["a"], np.float32([0, 1, 2]), strict=True)
    assert trace["odd"].dtype == np.float32


def test_broken_safetensors(tmp_path) -> None:
    trace = Trace()
    trace.add("a", np.arange(4.0))
    path = tmp_path / "t.safetensors"
    trace.save(path)
    content = path.read_bytes()
    for stop in (0, 5, 30, len(content) - 1):
        path.write_bytes(content[:stop])
        refused(path, "HeaderTooSmall|InvalidHeaderLength|InvalidOffset")


def test_no_trace_at_all(tmp_path) -> None:
    refused(tmp_path / "gone.safetensors", "there is no trace")
    refused(tmp_path / "gone", "there is no trace")
    (tmp_path / "t.pt").touch()
    refused(tmp_path / "t.pt", r"expected a \.safetensors, \.npz or \.json file or a folder")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "cannot read the folder")
    (tmp_path / "folder.npz").mkdir()
    assert list(load_trace(tmp_path / "folder.npz")) == []
    for name in ("%ff.npy", "a.npy"):
        (tmp_path / "folder.npz" / name).write_bytes(npy())
    refused(tmp_path / "folder.npz", "no UTF-8")


@pytest.mark.parametrize("name", ["x" * 60_000, "a\0b", "\x1b[2J\n" * 100])
@pytest.mark.parametrize(
    "call",
    [
        lambda trace, folder, name: trace.save(folder / name),
        lambda trace, folder, name: trace.save(folder / f"t{name}.unknown"),
        lambda trace, folder, name: trace.add(name, np.ones(2)),
        lambda trace, folder, name: load_trace(folder / name),
        lambda trace, folder, name: load_trace(folder / f"{name}.npz"),
        lambda trace, folder, name: load_index_of(folder, name),
    ],
)
def test_long_and_strange_names_are_one_short_line(call, name, tmp_path):
    trace = Trace()
    trace.add(name, np.ones(2, np.float32))
    with pytest.raises(GoldenError) as failure:
        call(trace, tmp_path, name)
    assert len(str(failure.value)) < 1000  # 200 characters of a name, each at most four letters when escaped
    assert str(failure.value).isprintable()


def load_index_of(folder, name):
    """Load an index whose only tensor lies in a file that cannot be there."""
    path = folder / "index.json"
    path.write_text(json.dumps({"tensors": {name: {"file": name, "shape": [2]}}}))
    load_trace(path)
