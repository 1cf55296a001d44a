"""Weight files that want to run something, lie about their sizes or are damaged: one line, and nothing happens."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from support.container_files import (
    call,
    group,
    mapping,
    name,
    number,
    pickled,
    storage,
    streamed,
    tensor,
    text,
    zip_bytes,
    zipped,
)

from npconv.errors import NpconvError, WeightsError
from npconv.files.opening import open_weights

pytestmark = pytest.mark.long

VALUES = np.arange(24, dtype=np.float32) - 7.5
GOOD = mapping(a=tensor(storage("0", 24), (2, 3, 4), (12, 4, 1)), b=tensor(storage("1", 5, "LongStorage"), (5,), (1,)))
STORAGES = {"0": VALUES, "1": np.arange(5)}
EXPECTED = {"a": VALUES.reshape(2, 3, 4), "b": np.arange(5)}
#: Far above what reading a small file takes, far below what the bombs ask for.
MEMORY = 20_000_000


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """A function that opens bytes, which must be refused in one line, and nothing run, written or allocated."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights"

    def open_bytes(data, message):
        path.write_bytes(data)
        tracemalloc.start()
        try:
            with pytest.raises(WeightsError, match=message) as caught:
                open_weights(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert str(caught.value).count("\n") == 0
        assert len(str(caught.value)) < 1500
        assert peak < MEMORY + 4 * len(data)
        assert os.listdir(tmp_path) == ["weights"]

    return open_bytes


class _Reduces:
    def __init__(self, *made):
        self.made = made

    def __reduce__(self):
        return self.made


RUN = text("touch canary")
PROGRAMS = {
    "os.system": (call("os", "system", RUN), "asks for 'os.system', .* was not run"),
    "posix.system": (call("posix", "system", RUN), "posix.system"),
    "builtins.eval": (call("builtins", "eval", text("open('canary', 'w')")), "builtins.eval"),
    "Python 2": (call("__builtin__", "eval", RUN), "__builtin__.eval"),
    "builtins.getattr": (call("builtins", "getattr", name("os", "path"), text("os")), "builtins.getattr"),
    "getattr of a stand-in": (call("builtins", "getattr", name("torch", "Size"), text("x")), "builtins.getattr"),
    "in an argument": (call("collections", "OrderedDict", b"](" + call("os", "system", RUN) + b"e"), "os.system"),
    "in a state": (name("argparse", "Namespace") + b")\x81" + mapping(x=call("os", "system", RUN)) + b"b", "os.system"),
    "in a storage": (group(text("storage"), call("os", "system", RUN)) + b"Q", "os.system"),
    "copyreg": (call("copyreg", "__newobj__", name("torch", "Size")), "copyreg.__newobj__"),
    "torch.load": (call("torch.serialization", "load", text("x")), "torch.serialization.load"),
    "numpy.load": (call("numpy", "load", text("x")), "numpy.load"),
    "storage from bytes": (call("torch.storage", "_load_from_bytes", text("x")), "_load_from_bytes"),
    "a dotted name": (b"\x8c\x02os\x8c\x0bpath.system\x93", "os.path.system"),
    "a name with a line break": (text("os\nx") + text("system") + b"\x93", r"os\\nx.system"),
    "on the stack": (text("os") + text("system") + b"\x93" + group(RUN) + b"R", "os.system"),
    "a number as a name": (number(1) + text("x") + b"\x93", "a module and a name"),
    "an extension": (b"\x82\x01", "EXT1"),
    "a large extension": (b"\x84\x01\x00\x00\x00", "EXT4"),
    "a text identifier": (b"Pstorage\n", "PERSID"),
    "INST": (b"(ios\nsystem\n", "INST"),
    "OBJ": (b"(" + name("torch", "Size") + b"o", "OBJ"),
    "a buffer": (b"\x97", "NEXT_BUFFER"),
    "call of a made thing": (name("argparse", "Namespace") + b")R)R", "a call of a global with a tuple, got"),
    "call of a text": (text("os.system") + group(RUN) + b"R", "a call of a global with a tuple, got a str"),
    "call of a class by a dict": (name("argparse", "Namespace") + b"}R", "got 'argparse.Namespace' and a dict"),
    "keywords": (name("torch", "Size") + b")" + mapping(x=b"N") + b"\x92", "without keywords"),
    "state of a global": (name("torch", "Size") + b"}b", "an object to set the state of"),
    "items of a global": (name("torch", "Size") + text("a") + text("b") + b"s", "a dict to add to"),
    "rebuild of a type": (
        call("torch._tensor", "_rebuild_from_type_v2", name("torch", "Size"), name("torch", "Size"), b")", b"}"),
        "does not write",
    ),
    "complex numbers": (storage("0", 3, "ComplexFloatStorage"), "torch.ComplexFloatStorage, expected float16"),
}


@pytest.mark.parametrize("write", [zipped, streamed], ids=["zip", "stream"])
@pytest.mark.parametrize(("body", "message"), PROGRAMS.values(), ids=PROGRAMS)
def test_programs(refused, write, body, message):
    refused(write(mapping(a=tensor(storage("0", 24), (24,), (1,)), z=body), {"0": VALUES}), message)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_programs_by_pickle_itself(refused, protocol):
    nested = _Reduces(dict, ([("x", _Reduces(eval, ("open('canary', 'w')",)))],))
    for thing in (_Reduces(os.system, ("touch canary",)), nested):
        data = pickle.dumps({"model": thing}, protocol)
        refused(zip_bytes({"m/data.pkl": data}), "asks for '(posix|nt|builtins|__builtin__).(system|eval)'")
        refused(data, "asks for '(posix|nt|builtins|__builtin__).(system|eval)'")


STORED = storage("0", 24)
LIES = {
    "one value too many": tensor(STORED, (25,), (1,)),
    "offset": tensor(STORED, (24,), (1,), offset=1),
    "stride": tensor(STORED, (2, 2), (23, 2)),
    "offset of nothing": tensor(STORED, (0,), (1,), offset=25),
    "negative size": tensor(STORED, (-1, -24), (1, 1)),
    "negative stride": tensor(STORED, (24,), (-1,), offset=23),
    "negative offset": tensor(STORED, (3,), (1,), offset=-1),
    "overflowing size": tensor(STORED, (2**32, 2**32), (0, 0)),
    "overflowing empty size": tensor(STORED, (0, 2**62, 2**62), (1, 1, 1)),
    "overflowing stride": tensor(STORED, (2,), (2**62,)),
    "a size beyond 64 bits": tensor(STORED, (2**64,), (1,)),
    "many axes": tensor(STORED, (1,) * 65, (1,) * 65),
    "more sizes than strides": tensor(STORED, (2, 3), (1,)),
    "repeated": tensor(STORED, (2**40,), (0,)),
    "repeated, to be decoded": tensor(storage("0", 48, "BFloat16Storage"), (2**40,), (0,)),
    "storage longer than the file's": tensor(storage("0", 25), (24,), (1,)),
    "storage shorter than the file's": tensor(storage("0", 23), (23,), (1,)),
    "storage of another dtype": tensor(storage("0", 24, "DoubleStorage"), (24,), (1,)),
    "storage of very many": tensor(storage("0", 2**62), (24,), (1,)),
    "negative storage": tensor(storage("0", -1), (0,), (1,)),
    "no storage": tensor(storage("7", 24), (24,), (1,)),
    "storage elsewhere": tensor(storage("../data.pkl", 24), (24,), (1,)),
    "view beyond": tensor(storage("0", 24, last=group(text("v"), number(20), number(5))), (1,), (1,)),
    "bool as a size": call(
        "torch._utils", "_rebuild_tensor_v2", STORED, number(0), group(b"\x88"), group(number(1)), b"\x89", b"N"
    ),
    "text as a size": call(
        "torch._utils", "_rebuild_tensor_v2", STORED, number(0), group(text("24")), group(number(1)), b"\x89", b"N"
    ),
    "no storage at all": call("torch._utils", "_rebuild_tensor_v2", b"N", number(0), b")", b")", b"\x89", b"N"),
    "too few arguments": call("torch._utils", "_rebuild_tensor_v2", STORED),
    "a parameter of nothing": call("torch._utils", "_rebuild_parameter", b"N", b"\x88", b"N"),
}


@pytest.mark.parametrize("write", [zipped, streamed], ids=["zip", "stream"])
@pytest.mark.parametrize("body", LIES.values(), ids=LIES)
def test_lies_about_sizes(refused, write, body):
    refused(write(mapping(a=body), {"0": VALUES}), "^'.*'[:, ]")


def nested_tuples(depth, width):
    """A tuple of `width` times the same tuple of `width` times the same ...: one opcode an item, however deep."""
    body = b"N\x85q\x00"
    return body + (b"0(" + b"h\x00" * width + b"tq\x00") * depth


BOMBS = {
    "a list in itself": (b"]q\x05h\x05a", "contains itself"),
    "a dict in itself": (b"}q\x05" + text("x") + b"h\x05s", "contains itself"),
    "deep": (b"N" + b"\x85" * 50_000, "nests more than 64"),
    "deep, shared from above": (b"](Nq\x05" + b"h\x05\x85q\x05" * 200 + b"e", "nests more than 64"),
    "exponential": (nested_tuples(60, 2), "over 400000 values"),
    "exponential key": (b"}" + nested_tuples(60, 2) + b"Ns", "keys of a dict"),
    "marks": (b"(" * 100_000, "at most 1000 groups"),
    "opcodes": (b"N0" * 60_000 + b"N", "at most 100000 opcodes"),
    "colliding keys": (b"}(" + b"".join(number(k * (2**61 - 1)) + b"N" for k in range(9, 20)) + b"u", "keys of a dict"),
    "a list as a key": (b"}]Ns", "keys of a dict"),
    "a huge key": (mapping(**{"k" * 2000: b"N"}), "keys of a dict"),
    "a long path": (mapping(**{"k" * 900: mapping(**{"l" * 900: b"]"})}), "names of over 1000"),
    "a huge number": (b"\x8b" + struct.pack("<I", 2**31) + b"x", "at most 255 bytes"),
    "a text longer than the file": (b"X" + struct.pack("<I", 2**31), "more bytes"),
    "bytes longer than all files": (b"\x8e" + struct.pack("<Q", 2**63), "more bytes"),
    "an endless name": (b"c" + b"a" * 5000, "the end of a name"),
    "no value": (b"0" * 9, "a value on the stack"),
    "a value below a mark": (b"N(\x85", "a value on the stack"),
    "no mark": (b"t", "a mark on the stack"),
    "nothing noted": (b"h\x09", "noted before"),
    "odd items": (b"}(Nu", "as many values as keys"),
    "no text": (b"X\x01\x00\x00\x00\xff", "UTF-8"),
    "many skipped": (b"](" + name("torch", "float32") + b"q\x05" + b"h\x05" * 20_000 + b"e", "over 20000 things"),
}


@pytest.mark.parametrize("write", [zipped, streamed], ids=["zip", "stream"])
@pytest.mark.parametrize(("body", "message"), BOMBS.values(), ids=BOMBS)
def test_bombs(refused, write, body, message, monkeypatch):
    # The same bounds on a smaller scale: tracing memory makes each opcode slow.
    monkeypatch.setattr("npconv.files.pickles.MAX_OPCODES", 100_000)
    refused(write(mapping(a=tensor(STORED, (24,), (1,)), z=body), {"0": VALUES}), message)


@pytest.mark.parametrize(
    "member",
    ["../evil", "m/../../evil", "/etc/evil", "m//evil", "m\\evil", "C:evil", "m/./evil", "m/a\nb", "evil"],
)
def test_members_that_lead_out_of_the_folder(refused, member):
    data = {"m/data.pkl": pickled(GOOD), "m/data/0": VALUES.tobytes(), "m/data/1": np.arange(5).tobytes()}
    refused(zip_bytes({**data, member: b"x"}), "stays in its folder|without one NAME/data.pkl")


def test_packed_members(refused):
    refused(zipped(GOOD, STORAGES, compression=8), "is packed, which torch.save never does")
    refused(zipped(GOOD, STORAGES, compression=12), "packed in an unknown way")
    zeros = zip_bytes({"a.npy": bytes(50_000_000)}, compression=8)
    assert len(zeros) < 100_000
    refused(zeros, "would unpack to 50000000, expected at most 16 times")


def test_a_packed_member_that_is_longer_than_it_says(refused):
    data = bytearray(zip_bytes({"a.npy": bytes(50_000_000)}, compression=8))
    directory = data.rfind(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 1000)
    refused(bytes(data), "unpacks to another size")


def entry_changed(change):
    """Return a good file, the first entry of its directory changed by a function of file and place."""
    data = bytearray(zipped(GOOD, STORAGES))
    change(data, data.find(b"PK\x01\x02"))
    return bytes(data)


def put(at, form, value):
    return lambda data, place: struct.pack_into(form, data, place + at, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(8, "<H", 1), "encrypted"),
        (put(34, "<H", 1), "in several files"),
        (put(24, "<L", 9), "encrypted, packed"),
        (put(42, "<L", 7), "not where the directory says"),
        (put(42, "<L", 0xFFFFFFF0), "not where the directory says"),
        (put(42, "<L", 0xFFFFFFFF), "has no size"),
        (put(46, "<B", ord("n")), "not where the directory says"),
        (lambda data, place: struct.pack_into("<2L", data, place + 20, 10**9, 10**9), "reaches beyond"),
        (lambda data, place: struct.pack_into("<2L", data, place + 20, 500, 500), "overlap"),
        (lambda data, place: data.extend(b"x"), "bytes after its end"),
        (
            lambda data, place: struct.pack_into("<2H", data, len(data) - 14, 9999, 9999),
            "damaged directory|its directory",
        ),
        (lambda data, place: struct.pack_into("<2H", data, len(data) - 14, 2, 2), "another size than it says"),
    ],
)
def test_directories_that_lie(refused, change, message):
    refused(entry_changed(change), message)


def test_names_twice(refused):
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = _twice()
    refused(data, "'m/data.pkl' twice")


def _twice():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/data.pkl", pickled(GOOD))
        archive.writestr("m/data.pkl", pickled(b"}"))
    return file.getvalue()


def npz_bytes():
    file = io.BytesIO()
    np.savez_compressed(file, **EXPECTED)
    return file.getvalue()


FILES = {"zip": zipped(GOOD, STORAGES), "stream": streamed(GOOD, STORAGES), "npz": npz_bytes()}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_truncated_at_every_byte(tmp_path, data):
    path = tmp_path / "weights"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(WeightsError) as caught:
            open_weights(path)
        assert "\n" not in str(caught.value)


def mutated(data, draw):
    """Return the bytes with a few changed, taken out, put in or moved."""
    data = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 5])):
        at = draw.randrange(len(data))
        kind = draw.randrange(5)
        if kind == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, *b"(.RQbtuc"])
        elif kind == 2:
            del data[at : at + draw.choice([1, 4, 50])]
        elif kind == 3:
            data[at:at] = draw.choice([b"\x00", b"R", b"Q", b"h\x00", b"\xff" * 8, data[at : at + 30]])
        else:
            other = draw.randrange(len(data))
            data[at : at + 4], data[other : other + 4] = data[other : other + 4], data[at : at + 4]
        data = data or bytearray(1)
    return bytes(data)


def arrays_or_none(path):
    """Return the arrays of a file, None if it is refused by a named error in one line."""
    try:
        return {key: np.array(tensor) for key, tensor in open_weights(path).tensors.items()}
    except NpconvError as error:
        if "\n" in str(error):
            raise
        return None


@pytest.mark.parametrize("kind", FILES)
def test_mutated_files(tmp_path, kind):
    """Zip files have checksums: the right tensors or an error. The older form has none: no other kind of error."""
    path = tmp_path / "weights"
    draw = random.Random(kind)
    outcomes = {True: 0, False: 0}
    for _ in range(300):
        data = mutated(FILES[kind], draw)
        path.write_bytes(data)
        arrays = arrays_or_none(path)
        outcomes[arrays is not None] += 1
        if arrays is not None and kind != "stream":
            assert arrays.keys() == EXPECTED.keys()
            for key, array in EXPECTED.items():
                np.testing.assert_array_equal(arrays[key], array, strict=True)
    assert outcomes[False] > 100  # the mutations do reach what matters
    assert os.listdir(tmp_path) == ["weights"]


def test_mutated_pickles(tmp_path):
    """The pickle alone, its checksum made anew: every mutation reaches the machine."""
    path = tmp_path / "weights"
    draw = random.Random(1)
    body = pickled(GOOD)
    data = {"m/data/0": VALUES.tobytes(), "m/data/1": np.arange(5).tobytes()}
    refusals = 0
    for _ in range(300):
        path.write_bytes(zip_bytes({"m/data.pkl": mutated(body, draw), **data}))
        refusals += arrays_or_none(path) is None
    assert refusals > 100
