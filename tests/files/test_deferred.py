"""Lazy loading gives what eager loading gives, and takes the memory of one tensor instead of the whole file's."""

import json
import math
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from support.hostile_files import MALICIOUS, raw_file

from npconv.errors import InputError, SafetensorsError, WeightsError
from npconv.files import dtypes as dtypes_module
from npconv.files.checkpoint import INDEX_FILE, SINGLE_FILE, load_checkpoint
from npconv.files.dtypes import DECODED, STORED, WIDENED, DeferredArray, held_dtype, to_decode
from npconv.files.safetensors import load, load_file, open_file, save, save_file
from npconv.models.parameters import LoadReport, match

pytestmark = pytest.mark.long

#: Memory beyond the arrays: Python's objects, and NumPy's buffers while it converts, 8192 values at a time (70 kB).
CONSTANT = 100_000

shapes = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def file_of(tensors):
    """A file of (dtype, shape, bytes), called 0, 1 ... in their order, that begin wherever the header ends."""
    header, data = {}, b""
    for i, (dtype, shape, content) in enumerate(tensors):
        offsets = [len(data), len(data) + len(content)]
        header[str(i)] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    return raw_file(json.dumps(header), data)


@st.composite
def one_stored(draw, dtypes=DECODED, shapes=shapes):
    """A dtype, a shape and as many bytes, whatever they mean: NaN of all kinds, and booleans that are not 0 or 1."""
    dtype, shape = draw(st.sampled_from(dtypes)), draw(shapes)
    size = math.prod(shape) * STORED[dtype].itemsize
    return dtype, shape, draw(st.binary(min_size=size, max_size=size))


def loaded_both_ways(content):
    """The tensors of a file: eager, lazy. The latter are mapped, and Windows removes no file that is."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / SINGLE_FILE
        path.write_bytes(content)
        return load(content), load_checkpoint(path, lazy=True)


def converted(array, dtype):
    with np.errstate(over="ignore", invalid="ignore"):  # BF16 beyond float16, signalling NaN
        return array.astype(dtype)


def assert_identical(array, expected):
    assert isinstance(array, np.ndarray)
    assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
    assert array.tobytes() == expected.tobytes(), "bit for bit, NaN too"


@given(st.lists(one_stored(dtypes=list(STORED)), max_size=4))
def test_lazy_is_equal_to_eager(tensors):
    eager, lazy = loaded_both_ways(file_of(tensors))
    assert list(lazy) == list(eager)
    for (dtype, _, _), tensor, array in zip(tensors, lazy.values(), eager.values(), strict=True):
        assert isinstance(tensor, DeferredArray) == (dtype in DECODED)
        for attribute in ("shape", "dtype", "ndim", "size", "nbytes"):
            assert getattr(tensor, attribute) == getattr(array, attribute), attribute
        assert_identical(np.asarray(tensor), array)


@given(one_stored(), st.sampled_from([np.float16, np.float32, np.float64, "float32", ">f8"]))
def test_conversions_are_equal_to_eager(tensor, dtype):
    eager, lazy = (tensors["0"] for tensors in loaded_both_ways(file_of([tensor])))
    expected = converted(eager, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for array in (np.array(lazy, dtype), np.asarray(lazy, dtype), np.array(lazy, dtype, order="C")):
            assert_identical(array, expected)
        assert_identical(lazy.__array__(dtype), expected)  # as NumPy 1 calls it


@given(st.data(), one_stored(shapes=npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6)))
def test_rows_are_equal_to_eager(data, tensor):
    eager, lazy = (tensors["0"] for tensors in loaded_both_ways(file_of([tensor])))
    # Beyond the ends as well, forwards and backwards.
    ends = st.none() | st.integers(-9, 9)
    rows = data.draw(st.builds(slice, ends, ends, st.none() | st.integers(-3, 3).filter(bool)))
    assert_identical(lazy[rows], eager[rows])


def stored(dtype, *shape):
    """A tensor without a file, of codes that are all different in a row of up to 251 bytes."""
    size = math.prod(shape) * STORED[dtype].itemsize
    return to_decode((np.arange(size) % 251).astype(np.uint8), dtype, shape)


@pytest.mark.parametrize("index", [0, -1, None, ..., (slice(1), 0), [0, 1], np.array([True, False])])
def test_what_is_no_slice_of_rows(index):
    with pytest.raises(InputError, match=r"expected a slice of the rows .* numpy.asarray"):
        stored("BF16", 2, 3)[index]


def test_a_scalar_has_no_rows():
    with pytest.raises(InputError, match=r"at least one axis, got slice for shape \(\)"):
        stored("BF16")[:1]


@pytest.mark.parametrize("dtype", DECODED)
def test_every_array_is_new_and_writable(dtype):
    tensor = stored(dtype, 4, 5)
    before = np.asarray(tensor).copy()
    for make in (np.asarray, np.array, lambda it: np.array(it, it.dtype), lambda it: it[:], lambda it: it[1:3]):
        first, second = make(tensor), make(tensor)
        assert not np.shares_memory(first, second)
        first[...] = 0
    assert_identical(np.asarray(tensor), before)


def test_an_array_without_a_copy_cannot_be_had():
    with pytest.raises(InputError, match="copy=None or copy=True"):
        np.asarray(stored("F8_E4M3", 2), copy=False)


@pytest.mark.parametrize("dtype", [name for name in STORED if name not in DECODED])
def test_what_need_not_be_decoded_is_a_view(dtype):
    with pytest.raises(InputError, match=f"expected a dtype to decode, one of BF16.*got {dtype}"):
        to_decode(np.zeros(8, np.uint8), dtype, (1,))


def test_its_text_says_how_it_is_stored():
    assert repr(stored("BF16", 2, 3)) == "DeferredArray(shape=(2, 3), dtype=float32, stored as BF16)"


@pytest.mark.parametrize("dtype", ["BF16", "F8_E5M2", "BOOL"])
def test_what_is_mapped_is_laid_out_when_it_is_read(dtype, monkeypatch):
    tensor = stored(dtype, 2, 3, 4)
    expected = np.asarray(tensor).transpose(2, 0, 1).reshape(4, -1)
    with monkeypatch.context() as patch:
        patch.setattr(dtypes_module, "decode", None)
        laid_out = tensor.map(lambda x: x.transpose(2, 0, 1)).map(lambda x: x.reshape(4, -1))
        assert (laid_out.shape, laid_out.dtype, laid_out.stored) == ((4, 6), tensor.dtype, dtype)
    assert_identical(np.asarray(laid_out), expected)
    assert_identical(laid_out[1:3], expected[1:3])
    assert tensor.shape == (2, 3, 4)


def test_what_is_mapped_may_be_of_another_dtype():
    tensor = DeferredArray(np.float32([1.5, 2.5]), "F32")
    rounded = tensor.map(lambda x: np.round(x).astype(np.float16), shape=(2,), stored="F16")
    assert (rounded.dtype, rounded.stored, rounded.nbytes) == (np.float16, "F16", 4)
    assert_identical(np.asarray(rounded), np.float16([2, 2]))
    assert load(save({"a": rounded, "b": tensor}))["a"].dtype == np.float16


def test_a_view_need_not_be_copied():
    codes = np.float32([1.5, 2.5])
    tensor = DeferredArray(codes, "F32")
    assert np.shares_memory(np.asarray(tensor), codes)
    assert np.shares_memory(np.asarray(tensor, copy=False), codes)
    assert not np.shares_memory(np.array(tensor), codes)


def test_a_file_keeps_the_dtype_in_which_it_was_stored():
    tensor = stored("BF16", 3, 4)
    content = save({"a": tensor})
    assert content == save({"a": np.asarray(tensor)}, dtypes={"a": "BF16"})


WEIGHTS = {name: np.random.default_rng(i).normal(size=(i + 2, 3)) for i, name in enumerate(["f64", *WIDENED])}


def write_shards(folder):
    """BF16 and float64 in the first of two files, the 8-bit floats in the second."""
    groups = {"a.safetensors": ["BF16", "f64"], "b.safetensors": ["F8_E4M3", "F8_E5M2"]}
    for file_name, names in groups.items():
        dtypes = {name: name for name in names if name in WIDENED}
        save_file({name: WEIGHTS[name] for name in names}, folder / file_name, dtypes=dtypes)
    weight_map = {name: file_name for file_name, names in groups.items() for name in names}
    (folder / INDEX_FILE).write_text(json.dumps({"weight_map": weight_map}))


def test_lazy_checkpoints(tmp_path):
    (tmp_path / "sharded").mkdir()
    (tmp_path / "single").mkdir()
    write_shards(tmp_path / "sharded")
    save_file(WEIGHTS, tmp_path / "single" / SINGLE_FILE, dtypes={name: name for name in WIDENED})
    for path in (tmp_path / "sharded", tmp_path / "single", str(tmp_path / "single" / SINGLE_FILE)):
        eager, lazy = load_checkpoint(path), load_checkpoint(path, lazy=True)
        assert list(lazy) == list(eager) == list(load_checkpoint(path, lazy=False))
        assert {name for name, tensor in lazy.items() if isinstance(tensor, DeferredArray)} == set(WIDENED)
        assert all(type(array) is np.ndarray and not array.flags.writeable for array in eager.values())
        assert not lazy["f64"].flags.owndata
        assert not lazy["f64"].flags.writeable
        for name, tensor in lazy.items():
            assert_identical(np.asarray(tensor), eager[name])


def test_lazy_shards_are_checked(tmp_path):
    write_shards(tmp_path)
    save_file({"BF16": WEIGHTS["BF16"], "F8_E4M3": WEIGHTS["F8_E4M3"]}, tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match="'BF16' is in both"):
        load_checkpoint(tmp_path, lazy=True)
    save_file({"F8_E4M3": WEIGHTS["F8_E4M3"]}, tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match=r"contradict each other about 'F8_E5M2'"):
        load_checkpoint(tmp_path, lazy=True)


@pytest.mark.parametrize("what", MALICIOUS)
def test_malicious_files_are_refused_before_anything_is_decoded(what, tmp_path):
    reason, content = MALICIOUS[what]
    (tmp_path / SINGLE_FILE).write_bytes(content)
    with pytest.raises(SafetensorsError) as caught:
        load_checkpoint(tmp_path, lazy=True)
    assert caught.value.reason == reason


def test_a_file_may_be_replaced_before_its_tensors_are_decoded(tmp_path):
    path = tmp_path / SINGLE_FILE
    save_file({"BF16": WEIGHTS["BF16"]}, path, dtypes={"BF16": "BF16"})
    eager, lazy = load_file(path)["BF16"], open_file(path)["BF16"]
    save_file({"other": np.zeros(100)}, path)
    assert_identical(np.asarray(lazy), eager)


def test_match_decodes_nothing(monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(dtypes_module, "decode", refuse)
    tensors = {"m.w": stored("BF16", 2, 3), "m.grn.gamma": stored("F8_E4M3", 4)}
    matched, report = match(tensors, {"w": (2, 3), "grn.weight": (4,)}, prefix="m.")
    assert report == LoadReport()
    assert matched["w"] is tensors["m.w"]
    assert matched["grn.weight"] is tensors["m.grn.gamma"]
    with pytest.raises(WeightsError, match=r"'m.w' has shape \(2, 3\), expected \(3, 2\)"):
        match(tensors, {"w": (3, 2), "grn.weight": (4,)}, prefix="m.")
    with pytest.raises(WeightsError, match=r"no place for 'm.grn.gamma' of shape \(4,\)"):
        match(tensors, {"w": (2, 3)}, prefix="m.")


def peak_of(function):
    """The most bytes that are allocated at a time while `function` runs; mapped files do not count."""
    function()  # what the first call alone allocates, and keeps, is not the question
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", DECODED)
@pytest.mark.parametrize("target", [None, np.float16, np.float32, np.float64])
def test_an_array_costs_itself_and_at_most_the_decoded_one(dtype, target):
    tensor = stored(dtype, 1000, 400)
    target = tensor.dtype if target is None else np.dtype(target)
    decoded = 0 if target == tensor.dtype else tensor.nbytes
    bound = tensor.size * target.itemsize + decoded

    def quietly(make):
        with np.errstate(over="ignore", invalid="ignore"):
            return make()

    for make in (lambda: np.array(tensor, target), lambda: np.asarray(tensor, target)):
        assert bound <= peak_of(lambda make=make: quietly(make)) <= bound + CONSTANT


@pytest.mark.parametrize("dtype", DECODED)
def test_rows_cost_only_themselves(dtype):
    tensor = stored(dtype, 1000, 400)
    rows = 250 * 400
    assert peak_of(lambda: tensor[500:750]) <= rows * tensor.dtype.itemsize + CONSTANT
    as_float64 = peak_of(lambda: np.asarray(tensor[500:750], np.float64))
    assert as_float64 <= rows * (tensor.dtype.itemsize + 8) + CONSTANT


@pytest.fixture(params=DECODED)
def checkpoint(request, tmp_path):
    """A folder with eight tensors of one dtype, one of them twice as large as the others; and that dtype."""
    sizes = [100_000] * 7 + [200_000]
    tensors = [(request.param, [size], bytes(size * STORED[request.param].itemsize)) for size in sizes]
    (tmp_path / SINGLE_FILE).write_bytes(file_of(tensors))
    return tmp_path, held_dtype(request.param), sizes


def test_lazy_loading_costs_nothing(checkpoint):
    path, held, sizes = checkpoint
    assert peak_of(lambda: load_checkpoint(path, lazy=True)) <= CONSTANT
    assert peak_of(lambda: load_checkpoint(path)) >= sum(sizes) * held.itemsize, "the measure sees decoded arrays"


def test_tensor_by_tensor_costs_the_largest(checkpoint):
    path, held, sizes = checkpoint

    def use_each():
        for tensor in load_checkpoint(path, lazy=True).values():
            np.asarray(tensor, np.float64)

    assert peak_of(use_each) <= max(sizes) * (held.itemsize + 8) + CONSTANT


@pytest.mark.parametrize("target", [np.float32, np.float64])
def test_making_all_parameters_costs_them_and_the_largest(checkpoint, target):
    """What a model's loading does: the arrays that it makes stay, and nothing else but one decoded tensor at a time."""
    path, held, sizes = checkpoint

    def make_parameters():
        return {name: np.array(tensor, target) for name, tensor in load_checkpoint(path, lazy=True).items()}

    decoded = 0 if held == target else max(sizes) * held.itemsize
    assert peak_of(make_parameters) <= sum(sizes) * np.dtype(target).itemsize + decoded + CONSTANT
