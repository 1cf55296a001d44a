"""Comparing traces: what diverges and what does not, hostile traces, inputs, and the memory it takes."""

import time
import tracemalloc

import numpy as np
import pytest
from support.compare_samples import BLOCK, SUM, TANH, P, golden, make_trace, port, run

from npconv import ConvNextImageProcessor
from npconv.errors import GoldenError
from npconv.golden.align import read
from npconv.golden.compare import LOCATED, Comparison, compare
from npconv.golden.diagnose import diagnose
from npconv.golden.measures import MULTIPLE, UNMEASURED
from npconv.golden.preprocessing import DECODED, layouts, record_preprocessing
from npconv.golden.trace_file import Trace, load_trace
from tests.golden.specimens import model_specimen
from tests.golden.tiny_models import every_model

pytestmark = pytest.mark.long

FAMILIES = ["convnextv2", "cvt"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_right_port_does_not_diverge(family):
    comparison = compare(golden(family), port(family))
    assert comparison.first is None
    assert comparison.missing == comparison.extra == []
    assert [d.name for d in comparison.differences] == list(golden(family))
    assert comparison.last_good is comparison.differences[-1]
    assert any(d.max_abs > 0 for d in comparison.differences)
    assert comparison.notes == ["input: the same"]


def test_the_first_divergent_tensor_is_named():
    comparison = compare(golden(), port(mistake=SUM))
    names = list(golden())
    first = comparison.first
    assert first is not None
    assert first.name == f"{P}encoder.stages.0.layers.0.grn.relative"
    assert first.index == names.index(first.name) + 1
    assert comparison.last_good is not None
    assert comparison.last_good.name == names[first.index - 2]
    assert first.outside == 1.0
    assert comparison[first.name] is first
    assert sum(bool(d.whereabouts) for d in comparison.differences) == LOCATED


def test_a_tensor_of_another_layout_is_read_and_said():
    arrays = {
        name: np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array
        for name, array in port().items()
    }
    comparison = compare(golden(), make_trace(arrays))
    assert comparison.first is None
    found = comparison[f"{BLOCK}.dwconv"]
    assert (found.layout, found.shape_mine) == ("read as NHWC", arrays[f"{BLOCK}.dwconv"].shape)
    np.testing.assert_array_equal(comparison.array(found), port()[f"{BLOCK}.dwconv"])
    strict = compare(golden(), make_trace({**arrays, "pixel_values": port()["pixel_values"]}), layout="strict")
    assert strict.first is not None
    assert strict.first.whereabouts == "the shapes do not fit"
    assert strict.first.max_abs == np.inf


def test_names_from_a_map():
    arrays = {f"mlx/{name}": array for name, array in port().items()}
    renamed = {f"mlx/{name}": name for name in list(golden())[1:]}
    comparison = compare(golden(), make_trace(arrays), names=renamed)
    assert comparison.first is None
    assert comparison.missing == comparison.extra == []  # of mlx/pixel_values too: what is in front does not matter


def test_missing_and_extra_names_are_no_divergence():
    arrays = {name: array for name, array in port().items() if "stages.0" not in name}
    comparison = compare(golden(), make_trace({**arrays, "loss": np.zeros(())}))
    assert comparison.first is None
    assert comparison.extra == ["loss"]
    assert comparison.missing == [name for name in golden() if "stages.0" in name]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_diverges(value):
    arrays = dict(port())
    arrays[f"{BLOCK}.act"] = arrays[f"{BLOCK}.act"].copy()
    arrays[f"{BLOCK}.act"][1, 2, 3, 4] = value
    first = compare(golden(), make_trace(arrays), atol=1e30).first
    assert first is not None
    assert (first.name, first.finite, first.max_abs) == (f"{BLOCK}.act", False, np.inf)
    assert first.whereabouts.startswith("1 ")


def test_a_reference_that_is_not_finite_is_told():
    arrays = {"a": np.array([1.0, np.nan])}
    first = compare(arrays, arrays).first
    assert first is not None
    assert first.whereabouts == "1 NaN of 2 values of mine; 1 NaN of 2 values of the reference"


def test_a_coarser_unit_has_a_larger_tolerance():
    halves = {name: array.astype(np.float16).astype(np.float32) for name, array in port().items()}
    assert compare(golden(), make_trace(halves), unit="float16").first is None
    halves["pixel_values"] = port()["pixel_values"]
    assert compare(golden(), make_trace(halves)).first is not None


def test_a_tolerance_of_ones_own():
    wrong = port(mistake=TANH)
    assert compare(golden(), wrong, rtol=1e-2, atol=1e-2).first is None
    exact = compare(golden(), port(), rtol=0.0, atol=0.0)
    assert exact.first is not None
    assert exact.first.tolerance == 0


def test_without_measured_noise_the_tolerance_is_told_to_be_general():
    reference = make_trace(run())
    comparison = compare(reference, port())
    assert comparison.first is None
    assert f"{MULTIPLE * UNMEASURED} unit roundoffs" in comparison.notes[-1]
    assert not any(note.startswith("noise") for note in compare(reference, port(), rtol=1e-3).notes)
    assert compare(reference, port(mistake=SUM)).first is not None


def with_about(**about) -> Trace:
    return make_trace({"classifier": np.ones((2, 5))}, about)


@pytest.mark.parametrize(
    ("reference", "mine", "note"),
    [
        ({"input": "a"}, {"input": "a"}, "input: the same"),
        ({"input": "a"}, {}, "input: could not be checked to be the same; MINE does not tell it"),
        ({}, {}, "input: could not be checked to be the same; REFERENCE and MINE does not tell it"),
        ({"photo": "p"}, {"input": "a", "photo": "p"}, "input: could not be checked to be the same; REFERENCE"),
    ],
)
def test_how_inputs_were_checked(reference, mine, note):
    assert compare(with_about(**reference), with_about(**mine)).notes[0].startswith(note)


@pytest.mark.parametrize(
    ("reference", "mine", "said"),
    [
        ({"input": "a"}, {"input": "b"}, "different inputs"),
        ({"input": "a", "photo": "p"}, {"input": "a", "photo": "q"}, "different photos"),
        ({"input": "a", "photo": "p"}, {"input": "b", "photo": "p"}, "different inputs"),
    ],
)
def test_different_inputs_are_refused(reference, mine, said):
    with pytest.raises(GoldenError, match=said):
        compare(with_about(**reference), with_about(**mine))


def test_pixel_values_themselves_tell_that_inputs_differ():
    arrays = {**port(), "pixel_values": port()["pixel_values"][::-1]}
    with pytest.raises(GoldenError, match="pixel_values differ"):
        compare(golden(), make_trace(arrays))
    assert compare(golden(), make_trace(dict(port()))).notes[0] == "input: the same pixel_values"


def test_of_one_photo_other_pixel_values_are_a_divergence():
    arrays = {**port(), "pixel_values": port()["pixel_values"] + np.float32(0.1)}
    reference = make_trace(dict(golden()), {**golden().about, "photo": "p"})
    comparison = compare(reference, make_trace(arrays, {"photo": "p", "input": "other"}))
    assert comparison.first is not None
    assert comparison.first.name == "pixel_values"


def test_other_weights_are_told():
    notes = compare(with_about(checkpoint="a" * 64), with_about(checkpoint="b" * 64)).notes
    assert "weights: their hashes differ (aaaaaaaaaaaa and bbbbbbbbbbbb)" in notes


@pytest.mark.parametrize("wrong", [{"unit": "float8"}, {"layout": "NHWC"}, {"rtol": -1.0}, {"atol": float("nan")}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(GoldenError, match="expected"):
        compare(golden(), port(), **wrong)


def test_empty_tensors_and_scalars():
    arrays = {"a": np.zeros((0, 3)), "b": np.float32(2.0), "c": np.zeros((2, 2))}
    comparison = compare(arrays, arrays)
    assert comparison.first is None
    assert all(np.isfinite(d.cosine) for d in comparison.differences)


LARGEST = 1 << 20


def large_traces(tmp_path, tensors: int, layout: str, sizes: int) -> tuple[Trace, Trace, int]:
    """Two traces on disk of maps of which the largest has LARGEST values, and the bytes of one."""
    rng = np.random.default_rng(0)
    reference, mine = {}, {}
    for number in range(tensors):
        array = rng.standard_normal((1, 64, 128, LARGEST // 64 // 128 // (1 + number % sizes)), np.float32)
        reference[f"layer.{number}"] = array
        other = array + np.float32(1e-8)
        mine[f"layer.{number}"] = np.ascontiguousarray(other.transpose(0, 2, 3, 1)) if layout == "NHWC" else other
    traces = []
    for name, arrays in (("reference", reference), ("mine", mine)):
        layouts = dict.fromkeys(arrays, "NCHW")
        make_trace(arrays, {"layouts": layouts}).save(tmp_path / f"{name}.safetensors")
        traces.append(load_trace(tmp_path / f"{name}.safetensors"))
    return traces[0], traces[1], sum(array.nbytes for array in reference.values())


def peak_of(reference: Trace, mine: Trace) -> tuple[Comparison, int]:
    tracemalloc.start()
    try:
        comparison = compare(reference, mine, atol=1e-5)
        return comparison, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_memory_beyond_the_maps_is_less_than_three_times_the_largest_tensor(tmp_path, layout):
    reference, mine, _ = large_traces(tmp_path, 6, layout, 3)
    comparison, peak = peak_of(reference, mine)
    assert comparison.first is None
    assert peak < 3 * 4 * LARGEST
    wrong = {name: array + np.float32(1) for name, array in reference.items()}
    comparison, peak = peak_of(reference, make_trace(wrong))  # the arrays of `wrong` are there before it is measured
    assert comparison.first is not None
    assert peak < 3 * 4 * LARGEST


def test_the_time_for_a_large_trace(tmp_path, capsys):
    reference, mine, size = large_traces(tmp_path, 12, "NCHW", 1)
    start = time.perf_counter()
    read = sum(float(array.sum()) for trace in (reference, mine) for array in trace.values())
    middle = time.perf_counter()
    assert compare(reference, mine, atol=1e-5).first is None
    end = time.perf_counter()
    assert np.isfinite(read)
    with capsys.disabled():
        print(f"\n{size / 1e6:.0f} MB: read and summed in {middle - start:.2f} s, compared in {end - middle:.2f} s")


@pytest.fixture(scope="module")
def square() -> tuple[Trace, dict[str, np.ndarray]]:
    """A golden trace of square pictures, and the arrays of a right port."""
    specimen = model_specimen(next(tiny for tiny in every_model() if tiny.says == "square"))
    right = {name: array.astype(np.float32) for name, array in specimen.golden.items()}
    assert compare(specimen.golden, right).first is None
    return specimen.golden, right


DWCONV = "convnext.encoder.stages.1.layers.0.dwconv"


@pytest.mark.parametrize("last", [False, True])
def test_one_square_map_with_rows_and_columns_exchanged_diverges(square, last):
    golden, arrays = square
    if last:
        arrays = {name: np.moveaxis(a, 1, -1) if a.ndim == 4 else a for name, a in arrays.items()}
    wrong = {**arrays, DWCONV: np.swapaxes(arrays[DWCONV], 1 if last else 2, 2 if last else 3)}
    [island] = compare(golden, make_trace(wrong)).islands
    assert (island.names, island.kind, island.values) == ((DWCONV,), "layout", {"read_as": "NCWH read as NCHW"})
    comparison = compare(golden, make_trace(wrong), strict=True)
    assert [found.name for found in comparison.differences if found.diverges] == [DWCONV]
    best = diagnose(comparison)[0]
    assert (best.fits, best.says) == (True, "NCWH read as NCHW")
    notes = [note for note in comparison.notes if note.startswith("layout")]
    maps = [name for name in golden if golden[name].ndim == 4]
    assert notes == ([f"layout: {len(maps)} tensors read as NHWC (first pixel_values)"] if last else [])


def test_a_whole_trace_with_rows_and_columns_exchanged_is_a_layout(square):
    golden, arrays = square
    swapped = {name: array.swapaxes(2, 3) if array.ndim == 4 else array for name, array in arrays.items()}
    comparison = compare(golden, make_trace(swapped))
    assert comparison.first is None
    assert any("read as NCWH (first pixel_values)" in note for note in comparison.notes)


def test_a_wrong_square_map_is_read_as_the_good_ones_are(square):
    reference, mine = square
    channels_last = {name: np.moveaxis(array, 1, -1) if array.ndim == 4 else array for name, array in mine.items()}
    maps = [name for name, array in mine.items() if array.ndim == 4]
    wrong = maps[-1]
    rng = np.random.default_rng(0)
    others = set()
    for _ in range(20):  # whatever is in it, and whichever order that happens to be nearest in
        channels_last[wrong] = rng.normal(size=channels_last[wrong].shape) * np.abs(reference[wrong]).max()
        found = compare(reference, channels_last, strict=True)
        assert found[wrong].diverges
        assert found[wrong].layout == found[maps[1]].layout == "read as NHWC"
        truth = np.asarray(reference[wrong])
        others.add(read(truth, channels_last[wrong], 1e-6, letters="NCHW")[0].says)
    assert len(others) > 1


def photographed(picture: np.ndarray) -> Trace:
    arrays, about = record_preprocessing(ConvNextImageProcessor(size=24, crop_pct=0.75), picture)
    return make_trace({**arrays, "classifier": np.ones((1, 2))}, {"preprocessing": about, "layouts": layouts(arrays)})


@pytest.mark.parametrize("unit", ["float32", "bfloat16"])
def test_what_is_done_to_a_photo_is_compared_in_float32_whatever_the_unit(unit):
    picture = np.random.default_rng(2).integers(100, 103, (40, 53, 3), np.uint8)
    reference = photographed(picture)
    for trace in (reference, mine := photographed(picture[..., ::-1])):
        trace.about["photo"] = "p"
    first = compare(reference, mine, unit=unit).first
    assert first is not None
    assert (first.name, first.tolerance) == (DECODED, 0.5)
    off = dict(reference)
    name = "preprocessing.rescaled"
    off[name] = off[name] * np.float32(255 / 256)
    first = compare(reference, make_trace(off, reference.about), unit=unit, strict=True).first
    assert first is not None
    assert first.name == name
    off[name] = np.nextafter(reference[name], np.float32(2))
    assert compare(reference, make_trace(off, reference.about), unit=unit).first is None


def test_the_same_decoded_photo_is_the_same_input():
    reference = photographed(np.random.default_rng(2).integers(0, 256, (40, 53, 3), np.uint8))
    wrong = {name: reference[name] for name in (DECODED, "pixel_values", "classifier")}
    wrong["pixel_values"] = wrong["pixel_values"][:, ::-1]
    comparison = compare(reference, make_trace(wrong))
    assert comparison.notes[0] == "input: the same decoded photo"
    assert comparison.first is not None
    assert comparison.first.name == "pixel_values"
    with pytest.raises(GoldenError, match=r"different inputs: .*BGR.*, or record preprocessing\.decoded in MINE"):
        compare(reference, make_trace({name: wrong[name] for name in ("pixel_values", "classifier")}))


def test_pixels_that_may_not_be_moved_are_not_read_as_moved_and_in_another_order():
    reference = photographed(np.random.default_rng(2).integers(0, 256, (40, 53, 3), np.uint8))
    last = np.ascontiguousarray(reference["pixel_values"][:, ::-1].transpose(0, 2, 3, 1))
    mine = make_trace({"pixel_values": last, "classifier": reference["classifier"]})
    with pytest.raises(GoldenError, match="BGR"):
        compare(reference, mine)
    with pytest.raises(GoldenError, match="shapes do not fit"):
        compare(reference, mine, layout="strict")


def test_outputs_are_paired_behind_a_prefix_of_all_names():
    arrays = {f"net/{name.replace('.', '/')}": array for name, array in port().items()}
    arrays["net/logits"] = arrays.pop("net/classifier") + np.float32(1)
    comparison = compare(golden(), make_trace(arrays))
    assert comparison.first is not None
    assert (comparison.first.name, comparison.first.mine) == ("classifier", "net/logits")


@pytest.mark.parametrize("wrong", ["embeddings", "embeddings.layernorm"])
def test_a_second_tensor_of_the_same_name_is_compared_too(wrong):
    arrays = dict(port())
    arrays[f"{P}embeddings"] = arrays[f"{P}embeddings.layernorm"]
    assert compare(golden(), make_trace(arrays)).first is None
    arrays[f"{P}{wrong}"] = arrays[f"{P}{wrong}"] + np.float32(1)
    comparison = compare(golden(), make_trace(arrays), strict=True)
    assert comparison.first is not None
    assert (comparison.first.name, comparison.first.mine) == (f"{P}embeddings.layernorm", f"{P}{wrong}")
    assert any(note.startswith("names: MINE holds 2 tensors") for note in comparison.notes)
    arrays[f"{P}embeddings"] = arrays[f"{P}embeddings.layernorm"] = arrays[f"{P}{wrong}"]
    assert not any(note.startswith("names: MINE holds") for note in compare(golden(), make_trace(arrays)).notes)
    arrays[f"{P}embeddings"] = arrays[f"{P}embeddings"].transpose(0, 2, 3, 1)  # as one library gives it out of a module
    assert not any(note.startswith("names: MINE holds") for note in compare(golden(), make_trace(arrays)).notes)
    arrays[f"{P}embeddings"] = arrays[f"{P}embeddings.layernorm"] = np.full_like(arrays[f"{P}{wrong}"], np.nan)
    assert not any(note.startswith("names: MINE holds") for note in compare(golden(), make_trace(arrays)).notes)


def test_tensors_within_their_noise_are_told():
    small = {name: np.abs(array).max() for name, array in golden().items()}
    names = [name for name, largest in small.items() if largest <= np.median(list(small.values()))]
    note = f"noise: {len(names)} tensors cannot be told from noise (first {names[0]})"
    assert note in compare(golden(), port(), atol=float(np.median(list(small.values())))).notes
    assert not any("cannot be told" in note for note in compare(golden(), port()).notes)


def test_float16_pixel_values_are_told_to_be_such():
    halves = {name: array.astype(np.float16) for name, array in port().items()}
    with pytest.raises(GoldenError, match="or --unit float16"):
        compare(golden(), make_trace(halves))
    assert compare(golden(), make_trace(halves), unit="float16").first is None


def test_pixel_values_of_another_layout_are_refused_if_it_is_strict():
    arrays = {**port(), "pixel_values": np.moveaxis(port()["pixel_values"], 1, -1)}
    with pytest.raises(GoldenError, match="--layout auto: read as NHWC"):
        compare(golden(), make_trace(arrays), layout="strict")
    assert compare(golden(), make_trace(arrays)).first is None
