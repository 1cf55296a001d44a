"""Against the official reader and writer."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from support.hostile_files import MALICIOUS, ODD, STRICTER, mutated_files
from test_mutated_files import COUNT, original_files

from npconv.errors import SafetensorsError
from npconv.files import safetensors
from npconv.files.dtypes import STORED, WIDENED, decode, encode

pytestmark = pytest.mark.reference

TORCH_NAMES = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda text: text != "__metadata__")
shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
one_metadata = st.none() | st.dictionaries(texts, texts, max_size=1)


def official_tensors(content):
    """Return what the official reader finds, or None if it refuses the file."""
    official = pytest.importorskip("safetensors")
    try:
        found = official.deserialize(content)
    except official.SafetensorError:
        return None
    return {name: (fields["dtype"], tuple(fields["shape"]), bytes(fields["data"])) for name, fields in found}


def our_tensors(content):
    try:
        return safetensors.load(content)
    except SafetensorsError:
        return None


def torch_values(data, dtype):
    """Return the values of bytes as float64, by PyTorch."""
    torch = pytest.importorskip("torch")
    codes = torch.tensor(np.frombuffer(data, np.uint8).copy())
    return codes.view(getattr(torch, TORCH_NAMES[dtype])).to(torch.float64).numpy()


@given(
    st.dictionaries(
        texts,
        st.one_of([npst.arrays(STORED[dtype], shapes) for dtype in STORED if dtype not in WIDENED]),
        max_size=6,
    ),
    one_metadata,
)
@settings(max_examples=300)
def test_same_bytes_as_the_official_writer(tensors, metadata):
    official = pytest.importorskip("safetensors.numpy")
    if not tensors and metadata == {}:
        # The one file that we write otherwise: the official writer, version 0.8, begins it with "{},", and then
        # refuses to read it.
        assert safetensors.load(safetensors.save(tensors, metadata)) == {}
        return
    assert safetensors.save(tensors, metadata) == official.save(tensors, metadata)


@given(
    st.dictionaries(texts, st.tuples(st.sampled_from(list(WIDENED)), npst.arrays(np.float32, shapes)), max_size=5),
    one_metadata.filter(lambda metadata: metadata != {}),
)
@settings(max_examples=200)
def test_same_bytes_as_the_official_writer_in_dtypes_that_numpy_lacks(tensors, metadata):
    torch = pytest.importorskip("torch")
    official = pytest.importorskip("safetensors.torch")
    # Numbers that the dtype holds: how others are rounded is compared below.
    held = {
        name: decode(encode(np.nan_to_num(array), dtype), dtype).reshape(array.shape)
        for name, (dtype, array) in tensors.items()
    }
    dtypes = {name: dtype for name, (dtype, _) in tensors.items()}
    theirs = {name: torch.tensor(array).to(getattr(torch, TORCH_NAMES[dtypes[name]])) for name, array in held.items()}
    assert safetensors.save(held, metadata, dtypes=dtypes) == official.save(theirs, metadata)


def test_several_metadata_keys_differ_in_their_order_only():
    official = pytest.importorskip("safetensors.numpy")
    metadata = {key: key * 3 for key in "hgfedcba"}
    tensors = {"a": np.arange(3.0)}
    ours, theirs = safetensors.save(tensors, metadata), official.save(tensors, metadata)
    assert len(ours) == len(theirs)
    assert sorted(ours) == sorted(theirs)
    assert ours[-24:] == theirs[-24:]


@pytest.mark.parametrize("content", [content for content, _ in ODD.values()], ids=ODD)
def test_the_official_reader_accepts_what_we_call_odd_but_good(content):
    assert official_tensors(content).keys() == our_tensors(content).keys()


@pytest.mark.parametrize("what", MALICIOUS)
def test_the_official_reader_refuses_what_we_refuse(what):
    accepted = official_tensors(MALICIOUS[what][1]) is not None
    assert accepted == (what in STRICTER)


def test_mutated_files_are_refused_by_both_or_read_alike():
    stricter = []
    for content in mutated_files(original_files(), COUNT):
        theirs, ours = official_tensors(content), our_tensors(content)
        if theirs is None or ours is None:
            if theirs is not None:
                stricter.append(content)
            assert ours is None, "never accept what the official reader refuses"
            continue
        assert ours.keys() == theirs.keys()
        for name, (dtype, shape, data) in theirs.items():
            assert ours[name].shape == shape
            if dtype in WIDENED:
                with np.errstate(invalid="ignore"):  # of signalling NaN
                    values = ours[name].reshape(-1).astype(np.float64)
                np.testing.assert_array_equal(values, torch_values(data, dtype))
            else:
                right = np.frombuffer(data, STORED[dtype])
                assert ours[name].tobytes() == (data if dtype != "BOOL" else (right.view(np.uint8) != 0).tobytes())
    assert stricter
    for content in stricter:
        assert names_something_twice_or_has_another_field(content)


def names_something_twice_or_has_another_field(content):
    """Say whether a damaged file is one of those kinds in STRICTER that damage is likely to make."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")], object_pairs_hook=list)
    names = [name for name, _ in header]
    fields = [[field for field, _ in value] for name, value in header if name != "__metadata__"]
    return len(set(names)) < len(names) or any(len(own) != 3 for own in fields)


def test_every_code_reads_as_in_pytorch():
    for dtype in WIDENED:
        codes = np.arange(2**16, dtype="<u2") if dtype == "BF16" else np.arange(256, dtype="u1")
        with np.errstate(invalid="ignore"):
            ours = decode(codes.view(np.uint8), dtype).astype(np.float64)
        theirs = torch_values(codes.tobytes(), dtype)
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(np.signbit(ours)[ours == 0], np.signbit(theirs)[ours == 0])


@pytest.mark.parametrize("dtype", WIDENED)
@pytest.mark.parametrize("source", ["float16", "float32", "float64"])
def test_numbers_are_rounded_as_in_pytorch(dtype, source):
    torch = pytest.importorskip("torch")
    if source == "float16":
        values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    else:
        # Every upper half of a float32 with lower halves at and beside the middle between two BF16 numbers.
        lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
        values = ((np.arange(2**16, dtype=np.uint32) << 16)[:, None] + lower).reshape(-1).view(np.float32)
        with np.errstate(invalid="ignore"):
            values = values.astype(source)
        if source == "float64":
            beside = [np.nextafter(values, limit) for limit in (np.inf, -np.inf)]
            values = np.concatenate([values, *beside, [1e300, -1e300]])
    if dtype == "F8_E4M3" and torch.tensor(1e9).to(torch.float8_e4m3fn).isnan():
        values = values[np.abs(values) <= 464]  # older PyTorch: beyond, NaN
    ours = encode(values, dtype)
    theirs = torch.tensor(values).to(getattr(torch, TORCH_NAMES[dtype])).view(torch.uint8).numpy()
    nan = np.isnan(values)
    ours, theirs = ours.view(STORED[dtype]), theirs.view(STORED[dtype])
    np.testing.assert_array_equal(ours[~nan], theirs[~nan])
    assert np.isnan(decode(ours[nan].view(np.uint8), dtype)).all()


def test_transformers_would_find_the_shards(tmp_path):
    """The index is the one that the official tools write for the same split."""
    hub = pytest.importorskip("huggingface_hub")
    from npconv.files.checkpoint import INDEX_FILE, save_checkpoint
    from npconv.files.disk import read_json

    tensors = {f"layers.{i}.weight": np.zeros((i % 7 + 1, 10), np.float32) for i in range(30)}
    save_checkpoint(tmp_path, tensors, max_shard_size=1000)
    torch = pytest.importorskip("torch")
    theirs = hub.split_torch_state_dict_into_shards(
        {name: torch.tensor(array) for name, array in tensors.items()},
        max_shard_size=1000,
        filename_pattern="model{suffix}.safetensors",
    )
    ours = read_json(tmp_path / INDEX_FILE)
    assert ours["weight_map"] == theirs.tensor_to_filename
    assert ours["metadata"]["total_size"] == theirs.metadata["total_size"]
