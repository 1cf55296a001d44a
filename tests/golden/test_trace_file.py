"""Traces: what goes in comes out of each of the four forms, in order, and the same trace gives the same bytes."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from npconv.errors import GoldenError
from npconv.files.dtypes import STORED, WIDENED
from npconv.files.safetensors import read_header, save_file
from npconv.golden.formats import METADATA
from npconv.golden.trace_file import Trace, check_output, load_trace
from npconv.plan.step import Plan, Step

FORMS = ["t.safetensors", "t.npz", "t", "t.json"]
NATIVE = sorted({dtype for name, dtype in STORED.items() if name not in WIDENED}, key=str)
PLAN = Plan((Step("b", "linear", ("pixel_values",), {"weight": "b.weight"}, {"eps": 0.5}, "NC", ("B",)),), ("b",))
ABOUT = {
    "task": "backbone",
    "config": {"eps": 1e-12, "depths": [1, 2], "large": 2**53 + 1},
    "noise": {"b": {"explicit": 0.25}},
    "aliases": {"B": "b"},
    "steps": json.loads(json.dumps(PLAN.to_json())),
    "photo": None,
}


def small_trace() -> Trace:
    trace = Trace(ABOUT, {"w.2": np.arange(3, dtype=np.float32), "w.10": np.ones((), np.float64)})
    trace.add("z", np.arange(6.0).reshape(2, 3))
    trace.add("b", np.float32([[1.5], [-2.0]]))
    trace.add("pixel_values", np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4).transpose(0, 3, 1, 2))
    return trace


def assert_same(actual: Trace, expected: Trace) -> None:
    assert list(actual) == list(expected)
    assert set(actual.params) == set(expected.params)
    for mine, other in ((actual, expected), (actual.params, expected.params)):
        for name in other:
            expected = other[name].astype(other[name].dtype.newbyteorder("<"))
            np.testing.assert_array_equal(mine[name], expected, strict=True)


def content(path: Path) -> dict[str, bytes]:
    """The bytes of a trace: of the file, those beside it, or those in the folder."""
    return {file.name: file.read_bytes() for file in (path.iterdir() if path.is_dir() else path.parent.iterdir())}


@pytest.mark.parametrize("form", FORMS)
def test_what_goes_in_comes_out(tmp_path, form) -> None:
    trace = small_trace()
    trace.save(tmp_path / form)
    loaded = load_trace(tmp_path / form)
    assert_same(loaded, trace)
    assert loaded.about == {**ABOUT, "format": 1, "order": ["z", "b", "pixel_values"]}
    assert loaded.plan == PLAN
    assert repr(loaded) == "<Trace of 3 tensors and 2 weights>"
    assert not any(array.flags.writeable for array in loaded.values())


@pytest.mark.parametrize("form", FORMS)
def test_the_same_trace_gives_the_same_bytes(tmp_path, form) -> None:
    first, second, third = (tmp_path / name / form for name in ("1", "2", "3"))
    for path in (first, second, third):
        path.parent.mkdir()
    small_trace().save(first)
    trace = small_trace()
    trace.about = dict(reversed(trace.about.items()))
    trace.save(second)
    load_trace(first).save(third)
    assert content(first) == content(second) == content(third)


#: But not those that the file uses itself, which are refused.
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda name: name != "__metadata__" and not name.startswith("parameters.")
)
arrays = npst.arrays(
    st.sampled_from(NATIVE).flatmap(lambda dtype: st.sampled_from([dtype, dtype.newbyteorder(">")])),
    npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, deadline=None)
@given(tensors=st.dictionaries(names, arrays, max_size=5), weights=st.dictionaries(names, arrays, max_size=2))
def test_any_names_and_dtypes(form, tensors, weights) -> None:
    trace = Trace(params=weights)
    for name, array in tensors.items():
        trace.add(name, array.T)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, form)
        trace.save(path)
        loaded = load_trace(path)
        assert_same(loaded, trace)
        del loaded


@pytest.mark.parametrize("dtype", sorted(WIDENED))
@pytest.mark.parametrize("form", FORMS)
def test_dtypes_that_numpy_lacks(tmp_path, form, dtype) -> None:
    values = np.float32([[0.5, -448.0], [0.0, 1.125]])
    save_file({"a": values, "parameters.w": values[0]}, tmp_path / "in.safetensors", dtypes={"a": dtype})
    foreign = load_trace(tmp_path / "in.safetensors")
    assert foreign.stored == {"a": dtype}
    expected = values if dtype != "F8_E5M2" else np.float32([[0.5, -448.0], [0.0, 1.0]])
    np.testing.assert_array_equal(foreign["a"].astype(np.float32), expected)
    assert foreign["a"].dtype == WIDENED[dtype]
    foreign.save(tmp_path / form)
    again = load_trace(tmp_path / form)
    assert_same(again, foreign)
    if form in ("t.safetensors", "t.json"):
        assert again.stored == {"a": dtype}
    if form == "t.safetensors":
        assert read_header(tmp_path / form).entries["a"].dtype == dtype


def test_the_order_is_that_of_the_run_not_of_the_file(tmp_path) -> None:
    arrays = {"a": np.zeros(2, np.float32), "b": np.zeros(3), "c": np.zeros(1, np.int8), "d": np.zeros(1)}
    metadata = {METADATA: json.dumps({"order": ["c", "gone", "a"]}), "producer": "somebody"}
    save_file(arrays, tmp_path / "t.safetensors", metadata)
    assert list(load_trace(tmp_path / "t.safetensors")) == ["c", "a", "b", "d"]
    save_file(arrays, tmp_path / "t.safetensors")  # by where their numbers lie: the largest dtypes first
    assert list(load_trace(tmp_path / "t.safetensors")) == ["b", "d", "a", "c"]


def test_the_metadata_is_one_sorted_value(tmp_path) -> None:
    small_trace().save(tmp_path / "t.safetensors")
    metadata = read_header(tmp_path / "t.safetensors").metadata
    assert set(metadata) == {METADATA}
    value = json.loads(metadata[METADATA])
    assert metadata[METADATA] == json.dumps(value, sort_keys=True, separators=(",", ":"))


def test_a_foreign_folder_is_read_in_the_order_of_its_numbers(tmp_path) -> None:
    for name in ("layers.10", "layers.9", "Stage_1%2Fnorm", "parameters.w"):
        np.save(tmp_path / f"{name}.npy", np.zeros(2))
    (tmp_path / "notes.txt").write_text("not an array")
    (tmp_path / "more").mkdir()
    trace = load_trace(tmp_path)
    assert list(trace) == ["Stage_1/norm", "layers.9", "layers.10"]
    assert list(trace.params) == ["w"]
    assert trace.about == {}
    assert trace.plan is None


def test_names_that_a_file_system_dislikes(tmp_path) -> None:
    names = ["a/b", "A/b", "a/B", "..", ".", "", "aux", "AUX", "con.x", "a:b?*", "ü", "a%2Fb", "trailing. ", "\0"]
    trace = Trace()
    for place, name in enumerate(names):
        trace.add(name, np.int64(place))
    trace.save(tmp_path / "folder")
    files = [file.name for file in (tmp_path / "folder").iterdir()]
    assert len({file.casefold() for file in files}) == len(names) + 1
    assert all(re.fullmatch(r"[a-z0-9%._A-F-]+", file) for file in files)
    assert [file for file in files if file.startswith(".")] == [".npy"]  # that of the name without letters
    assert_same(load_trace(tmp_path / "folder"), trace)


def test_numpy_reads_what_is_written(tmp_path) -> None:
    trace = small_trace()
    trace.save(tmp_path / "t.npz")
    trace.save(tmp_path / "t")
    trace.save(tmp_path / "t.json")
    with np.load(tmp_path / "t.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["pixel_values"], trace["pixel_values"], strict=True)
    array = np.load(tmp_path / "t" / "z.npy", allow_pickle=False)
    np.testing.assert_array_equal(array, trace["z"], strict=True)
    entry = json.loads((tmp_path / "t.json").read_text())["tensors"]["b"]
    assert set(entry) == {"file", "shape", "offset"}  # float32, so that a reader of a few lines needs no dtype
    raw = np.fromfile(tmp_path / entry["file"], "<f4", count=2, offset=entry["offset"])
    np.testing.assert_array_equal(raw, [1.5, -2.0])


def test_a_trace_is_one_run() -> None:
    trace = Trace()
    array = np.zeros(2)
    trace.add("a", array)
    with pytest.raises(GoldenError, match="has a tensor 'a' already"):
        trace.add("a", array)
    with pytest.raises(GoldenError, match=r"does not begin with 'parameters\.'"):
        trace.add("parameters.a", array)
    with pytest.raises(ValueError, match="read-only"):
        trace["a"][0] = 1
    array[0] = 1  # the caller's own array stays as it was
    assert "b" not in trace
    assert "a" in trace


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda trace: trace.about.update(noise={"z": {"explicit": float("nan")}}), "expected JSON values"),
        (lambda trace: trace.about.update(model=np.float32(1)), "expected JSON values"),
        (lambda trace: trace.add("c", np.zeros(2, complex)), "has dtype complex128"),
        (lambda trace: trace.add("c", np.array([{}], object)), "has dtype object"),
        (lambda trace: trace.add("\ud800", np.zeros(2)), "UTF-8"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_what_cannot_be_saved(tmp_path, form, change, message) -> None:
    trace = small_trace()
    change(trace)
    with pytest.raises(GoldenError, match=message) as caught:
        trace.save(tmp_path / form)
    assert "\n" not in str(caught.value)


def test_where_it_cannot_be_saved(tmp_path) -> None:
    trace = small_trace()
    with pytest.raises(GoldenError, match=r"expected a \.safetensors"):
        trace.save(tmp_path / "t.pt")
    trace.save(tmp_path / "t.pt", format=".npz")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "stale.npy").touch()
    with pytest.raises(GoldenError, match="new or empty folder"):
        trace.save(tmp_path / "full")
    for form in FORMS:
        with pytest.raises(GoldenError, match=r"cannot (write|make)"):
            trace.save(tmp_path / "t.pt" / form)
    trace.add("x" * 300, np.zeros(2))
    with pytest.raises(GoldenError, match=r"too long a name for a file; save the trace as \.safetensors"):
        trace.save(tmp_path / "long")


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.npz").mkdir()
    for name in ("new", "new.npz", "empty"):
        check_output(tmp_path / name)
    for name in ("full", "empty.npz"):
        with pytest.raises(GoldenError, match=f"expected a file or a new or empty folder .*{name}' is a folder"):
            check_output(tmp_path / name)
    with pytest.raises(GoldenError, match=r"there is no folder .*nowhere' to write to; make it first"):
        check_output(tmp_path / "nowhere" / "new.npz")
