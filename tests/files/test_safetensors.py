import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from npconv.errors import InputError, WeightsError
from npconv.files import disk as files
from npconv.files import safetensors
from npconv.files.dtypes import STORED, WIDENED
from npconv.files.safetensors import load, load_file, read_metadata, save, save_file
from npconv.golden import load_trace

NATIVE = [dtype for dtype in STORED if dtype not in WIDENED]


@pytest.mark.parametrize(
    ("tensors", "metadata", "content"),
    [
        ({}, None, b"\x08\0\0\0\0\0\0\0{}      "),
        ({}, {}, b'\x18\0\0\0\0\0\0\0{"__metadata__":{}}     '),
        (
            {"a": np.array([1.0, -2.0], np.float32)},
            None,
            b'8\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  \0\0\x80?\0\0\0\xc0',
        ),
        (
            {"b": np.array(7, np.int16), "a": np.array([[True], [False]])},
            {"format": "np"},
            b'\x90\0\0\0\0\0\0\0{"__metadata__":{"format":"np"},"b":{"dtype":"I16","shape":[],"data_offsets":[0,2]},'
            b'"a":{"dtype":"BOOL","shape":[2,1],"data_offsets":[2,4]}}    \x07\0\x01\0',
        ),
        (
            {"z": np.zeros((0, 3), np.uint8), 'n"\n\x1f\x7f\\/\u00e9\U0001f600': np.array([2**64 - 1], np.uint64)},
            {"b": "\t", "a": "\u00e9"},
            b'\xa8\0\0\0\0\0\0\0{"__metadata__":{"a":"\xc3\xa9","b":"\\t"},'
            b'"n\\"\\n\\u001f\x7f\\\\/\xc3\xa9\xf0\x9f\x98\x80":{"dtype":"U64","shape":[1],"data_offsets":[0,8]},'
            b'"z":{"dtype":"U8","shape":[0,3],"data_offsets":[8,8]}}     \xff\xff\xff\xff\xff\xff\xff\xff',
        ),
    ],
)
def test_save_to_the_byte(tensors, metadata, content):
    assert save(tensors, metadata) == content
    loaded = load(content)
    assert loaded.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(loaded[name], array, strict=True)


def test_save_in_dtypes_that_numpy_lacks_to_the_byte():
    tensors = {"a": np.array([1.0, np.inf]), "b": np.array(-448, np.float16), "c": np.array([[1.5]], ">f4")}
    content = save(tensors, dtypes={"a": "BF16", "b": "F8_E4M3", "c": "F8_E5M2"})
    header = (
        b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F8_E4M3","shape":[],"data_offsets":[4,5]},'
        b'"c":{"dtype":"F8_E5M2","shape":[1,1],"data_offsets":[5,6]}}'
    )
    header += b" " * (-len(header) % 8)
    assert content == len(header).to_bytes(8, "little") + header + b"\x80\x3f\x80\x7f\xfe\x3e"
    loaded = load(content)
    np.testing.assert_array_equal(loaded["a"], np.array([1.0, np.inf], np.float32), strict=True)
    np.testing.assert_array_equal(loaded["b"], np.array(-448, np.float16), strict=True)
    np.testing.assert_array_equal(loaded["c"], np.array([[1.5]], np.float16), strict=True)


def test_tensors_stand_in_order_of_dtype_then_name():
    shuffled = ["I8", "F64", "BOOL", "U32", "F16", "U64", "I32", "U8", "I64", "F32", "I16", "U16"]
    tensors = {f"{name}{dtype}": np.zeros(1, STORED[dtype]) for dtype in shuffled for name in "ba"}
    order = ["U64", "I64", "F64", "F32", "U32", "I32", "F16", "U16", "I16", "I8", "U8", "BOOL"]
    assert list(load(save(tensors))) == [f"{name}{dtype}" for dtype in order for name in "ab"]


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=10).filter(lambda name: name != "__metadata__")
shapes = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
arrays = st.one_of(
    [
        npst.arrays(STORED[dtype].newbyteorder(byte_order), shapes)
        for dtype in NATIVE
        for byte_order in ("<>" if STORED[dtype].itemsize > 1 else "<")
    ]
)


def rearranged(array, layout):
    """The same values, lying differently in memory."""
    if layout == "transposed":
        return array.T.copy().T
    if layout == "with gaps" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "backwards" and array.ndim:
        return array[::-1].copy()[::-1]
    return array


@given(
    st.dictionaries(names, arrays, max_size=4),
    st.none() | st.dictionaries(names, names, max_size=3),
    st.sampled_from(["as it is", "transposed", "with gaps", "backwards"]),
)
def test_round_trip(tensors, metadata, layout):
    content = save({name: rearranged(array, layout) for name, array in tensors.items()}, metadata)
    assert content == save(tensors, metadata), "the layout does not show"
    assert (len(content) - sum(array.nbytes for array in tensors.values())) % 8 == 0, "the data begin aligned"
    loaded = load(content)
    assert loaded.keys() == tensors.keys()
    for name, array in tensors.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == array.dtype.newbyteorder("<")
        assert loaded[name].tobytes() == array.astype(loaded[name].dtype).tobytes(), "bit for bit, NaN too"
        assert not loaded[name].flags.writeable


def test_files_are_mapped(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {"a": np.arange(12.0).reshape(3, 4), "b": np.arange(3, dtype=np.int32)}
    save_file(tensors, path, {"format": "np"})
    assert path.read_bytes() == save(tensors, {"format": "np"})
    assert read_metadata(path) == {"format": "np"}
    for loaded in (load_file(path), load_file(str(path))):
        for name, array in tensors.items():
            np.testing.assert_array_equal(loaded[name], array, strict=True)
            assert not loaded[name].flags.owndata
            with pytest.raises(ValueError, match="read-only"):
                loaded[name][...] = 0


def test_bytes_are_not_copied():
    content = save({"a": np.arange(12.0)})
    assert np.shares_memory(load(content)["a"], np.frombuffer(content, np.uint8))
    for other in (bytearray(content), memoryview(content), np.frombuffer(content, np.uint8)):
        assert not load(other)["a"].flags.writeable


def test_unaligned_data(tmp_path):
    aligned = save({"a": np.arange(5.0)})
    length = int.from_bytes(aligned[:8], "little") + 3
    path = tmp_path / "odd.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + aligned[8 : 8 + length - 3] + b"   " + aligned[8 + length - 3 :])
    loaded = load_file(path)["a"]
    assert not loaded.flags.aligned
    np.testing.assert_array_equal(loaded + 0, np.arange(5.0))


def test_a_file_can_be_replaced_by_what_was_loaded_from_it(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": np.arange(4.0), "b": np.ones(3)}, path)
    loaded = load_file(path)
    save_file({"c": loaded["a"]}, path)
    np.testing.assert_array_equal(loaded["b"], np.ones(3))
    np.testing.assert_array_equal(load_file(path)["c"], np.arange(4.0))


def test_scalars_of_numpy_are_arrays_without_dimensions():
    assert load(save({"a": np.float32(3)}))["a"].shape == ()


def test_inputs_are_not_written_to():
    array = np.array([1.0, np.nan, 1e9])
    array.flags.writeable = False
    for dtypes in ({}, {"a": "BF16"}, {"a": "F8_E4M3"}, {"a": "F8_E5M2"}):
        save({"a": array}, dtypes=dtypes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tensor_dict": {"__metadata__": np.zeros(1)}}, "cannot be called __metadata__"),
        ({"tensor_dict": {1: np.zeros(1)}}, "name must be text, got int '1'"),
        ({"tensor_dict": {"\ud800": np.zeros(1)}}, "name must be text that UTF-8 can hold"),
        ({"tensor_dict": {"a": [1.0]}}, "expected a NumPy or CuPy array"),
        ({"tensor_dict": {"a": np.zeros(1, complex)}}, "tensor 'a' has dtype complex128"),
        ({"tensor_dict": {"a": np.array([None])}}, "tensor 'a' has dtype object"),
        ({"tensor_dict": {}, "metadata": {"a": 1}}, "metadata 'a' must be text, got int '1'"),
        ({"tensor_dict": {}, "metadata": {1: "a"}}, "metadata key must be text"),
        ({"tensor_dict": {}, "metadata": {"a": "\udfff"}}, "metadata 'a' must be text that UTF-8 can hold"),
        ({"tensor_dict": {}, "dtypes": {"a": "BF16"}}, "dtypes names 'a'"),
        ({"tensor_dict": {"a": np.zeros(1)}, "dtypes": {"a": "F16"}}, "to be stored as 'F16', expected one of BF16"),
        ({"tensor_dict": {"a": np.zeros(1, int)}, "dtypes": {"a": "BF16"}}, "expected floating-point numbers"),
        ({"tensor_dict": {"a" * 100_000_000: np.zeros(1)}}, "header would take 100000"),
    ],
)
def test_what_cannot_be_stored(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        save(**arguments)
    path = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match=message):
        save_file(**arguments, filename=path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("data", ["text", 3, None, [1]])
def test_load_takes_bytes(data):
    with pytest.raises(InputError, match="expected bytes"):
        load(data)


def test_an_error_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_file({"a": np.zeros(3)}, path)
    before = path.read_bytes()

    def full_disk(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full_disk)
    with pytest.raises(WeightsError, match=r"cannot write .*model.safetensors'.*No space left"):
        save_file({"a": np.ones(4)}, path)
    assert os.listdir(tmp_path) == ["model.safetensors"]
    assert path.read_bytes() == before


def test_an_error_halfway_leaves_no_file(tmp_path):
    def chunks():
        yield b"half"
        raise InputError("the rest")

    with pytest.raises(InputError, match="the rest"):
        files.write_file(tmp_path / "a", chunks())
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_file_gets_the_usual_permissions(tmp_path):
    save_file({}, tmp_path / "a")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_header_is_read_once_for_tensors_and_metadata(tmp_path, monkeypatch) -> None:
    safetensors.save_file({"a": np.ones(2, np.float32)}, tmp_path / "a.safetensors", {"plain": "x", "ünplain": '"\\\n'})
    calls = []
    parse = safetensors.parse_header
    monkeypatch.setattr(safetensors, "parse_header", lambda *given: calls.append(1) or parse(*given))
    tensors, header = safetensors.open_with_header(tmp_path / "a.safetensors")
    assert (list(tensors), header.metadata) == (["a"], {"plain": "x", "ünplain": '"\\\n'})
    load_trace(tmp_path / "a.safetensors")
    assert len(calls) == 2
