"""Golden traces: float64 truth, what correct float32 runs are off by, and the tolerance that follows from it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fast_models import BACKBONES, CLASSIFIERS, KINDS, pictures, small

import npconv
from npconv.errors import GoldenError, InputError, NpconvError
from npconv.golden.measures import FLOOR, MULTIPLE, UNMEASURED, last_place, noise_of, tolerance
from npconv.golden.preprocessing import (
    DECODED,
    IMAGE,
    image_of,
    layouts,
    make_preprocessing_plan,
    record_preprocessing,
)
from npconv.golden.roundings import perturbed
from npconv.golden.trace_file import Trace, load_trace
from npconv.golden.tracing import task_of
from npconv.golden.truth import add_noise, load_model, record
from npconv.models.plans import make_plan
from npconv.plan.run import run_plan

pytestmark = pytest.mark.long

FAMILIES = list(CLASSIFIERS)
X = pictures((2, 3, 40, 48))


def outputs(model, x):
    """The hidden states, and the logits, feature maps or pooled features."""
    output = model(x, output_hidden_states=True)
    first = next(value for name, value in output.items() if name != "last_hidden_state" and name != "hidden_states")
    return output.hidden_states, first


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_the_truth_is_the_model_in_float64(kind, family) -> None:
    model = small(family, kind, engine="explicit")
    trace = record(model, X)
    exact = type(model)(model.config, model.state_dict(), dtype="float64")
    plan = trace.plan
    assert plan == make_plan(model.config, task_of(model))
    assert list(trace) == ["pixel_values", *(step.name for step in plan)]
    for name, expected in zip(plan.hidden_states, exact(X, output_hidden_states=True).hidden_states, strict=True):
        np.testing.assert_array_equal(trace[name], expected, strict=True)
    np.testing.assert_array_equal(trace["pixel_values"], X, strict=True)
    assert {array.dtype for name, array in trace.items() if name != "pixel_values"} == {np.dtype("float64")}
    assert trace.about["dtype"] == "float64"
    assert set(trace.params) == set(model.state_dict())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(trace.params[name], array, strict=True)


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_noise_is_measured_of_every_tensor(kind, family) -> None:
    trace = record(small(family, kind, engine="explicit"), X)
    noise, plan = trace.about["noise"], trace.plan
    assert set(noise) == {step.name for step in plan}
    fast = {*plan.hidden_states, *plan.outputs}
    for name, runs in noise.items():
        assert set(runs) == {"explicit", "perturbed", *(["fast"] if name in fast else [])}, name
        assert runs["perturbed"] > 0
        # Rounding of small models: 30 unit roundoffs at the largest over 24 random ones, so 1000 would be no rounding.
        assert max(runs.values()) < 1000 * 2.0**-24 * np.abs(trace[name]).max(), name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_float32_run_lies_within_the_tolerance(family) -> None:
    model = small(family, engine="explicit", seed=3)
    trace = record(model, X)
    # Weights off by a rounding as no measured run has them; a mistake of a thousandth is seen.
    for seed in range(100, 110):
        for step, result in run_plan(trace.plan, {"pixel_values": X}, perturbed(dict(trace.params), seed)):
            assert np.abs(result - trace[step.name]).max() <= tolerance(trace, step.name), (seed, step.name)
    for step in trace.plan:
        assert tolerance(trace, step.name) < 1e-3 * np.abs(trace[step.name]).max(), step.name


@pytest.mark.parametrize("family", FAMILIES)
def test_float16_lies_within_its_tolerance_and_not_within_that_of_float32(family) -> None:
    model = small(family, engine="explicit")
    trace = record(model, X)
    half = type(model)(model.config, model.state_dict(), dtype="float16")
    logits = half(X).logits.astype(np.float64)
    difference = np.abs(logits - trace["classifier"]).max()
    assert difference <= tolerance(trace, "classifier", "float16")
    assert difference > tolerance(trace, "classifier")


def test_the_same_run_gives_the_same_bytes(tmp_path) -> None:
    for name in ("1", "2"):
        record(small("convnextv2", engine="explicit"), X).save(tmp_path / f"{name}.safetensors")
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    trace = load_trace(tmp_path / "1.safetensors")
    assert tolerance(trace, "classifier") == MULTIPLE * max(trace.about["noise"]["classifier"].values())


def test_parts_of_a_trace() -> None:
    model = small("convnext", engine="explicit")
    whole, part = record(model, X), record(model, X, only="encoder.stages.1.layers.0.*")
    block = "convnext.encoder.stages.1.layers.0"
    assert list(part) == ["pixel_values", *(name for name in whole if name.startswith(f"{block}."))]
    assert set(part.params) == {name for name in whole.params if name.startswith(f"{block}.")}
    assert part.about["noise"] == {name: runs for name, runs in whole.about["noise"].items() if name in part}
    assert part.about["checkpoint"] == whole.about["checkpoint"]
    bare = record(model, X, noise=False, weights=False)
    assert "noise" not in bare.about
    assert len(bare.params) == 0
    single = record(model, X, dtype="float32")
    assert "noise" not in single.about
    assert single["classifier"].dtype == np.float32
    np.testing.assert_array_equal(single["classifier"], model(X).logits)


@pytest.mark.parametrize("engine", ["explicit", "fast"])
def test_models_in_any_form_give_the_same_trace(engine) -> None:
    model = small("cvt", engine="explicit")
    expected = record(model, X, noise=False)
    other = (
        small("cvt", engine=engine)
        if engine == "fast"
        else type(model)(model.config, model.state_dict(), dtype="float64")
    )
    trace = record(other, X.astype(np.float64), noise=False)
    assert trace.about == expected.about
    for name, array in expected.items():
        np.testing.assert_array_equal(trace[name], array, strict=True)
    assert {array.dtype for array in trace.params.values()} == {array.dtype for array in expected.params.values()}


def test_a_name_stands_for_the_class_of_its_config(tmp_path) -> None:
    for family in BACKBONES:
        model = small(family, BACKBONES, engine="explicit")
        model.save_pretrained(tmp_path / family)
        assert type(load_model(tmp_path / family)) is type(model)
    trace = record("convnextv2-cifar10", X[:1, :, :32, :32], noise=False, weights=False, only="classifier")
    assert list(trace) == ["pixel_values", "classifier"]


@pytest.mark.parametrize(
    ("arguments", "kwargs", "error", "message"),
    [
        (("no-such-model", X), {}, NpconvError, "no model"),
        ((None, X[0]), {}, InputError, r"of shape \(N, C, H, W\)"),
        ((None, X > 0), {}, InputError, "got bool"),
        ((None, X[:, :2]), {}, InputError, r"of shape \(N, 3, H, W\)"),
        ((None, X), {"dtype": "float16"}, GoldenError, "expected dtype to be one of float64, float32"),
        ((None, X), {"only": "nothing.*"}, GoldenError, "fits none"),
        ((None, X * np.float32(np.nan)), {}, NpconvError, "NaN|finite"),
    ],
)
def test_what_cannot_be_recorded(arguments, kwargs, error, message) -> None:
    model, x = arguments
    with pytest.raises(error, match=message):
        record(small("convnext", engine="explicit") if model is None else model, x, **kwargs)


def test_a_model_that_overflows_in_float32_only() -> None:
    model = small("convnext", engine="explicit")
    weights = {name: array.astype(np.float32) for name, array in model.state_dict().items()}
    weights["classifier.weight"] = np.full_like(weights["classifier.weight"], 3e38)
    large = type(model)(model.config, weights)
    with pytest.raises(GoldenError, match="classifier: the model overflows in float32"):
        record(large, X)
    assert np.isfinite(record(large, X, noise=False)["classifier"]).all()
    with pytest.raises(GoldenError, match="classifier: NaN or infinity in float32"):
        record(large, X, dtype="float32")


def test_perturbed_weights() -> None:
    weights = {"b": np.float32([[1, -3]]), "a": np.full(1000, 0.7, np.float32), "n": np.array(5)}
    first, again, other = perturbed(weights, 1), perturbed(weights, 1), perturbed(weights, 2)
    assert first["n"] == 5
    for name in ("a", "b"):
        assert first[name].dtype == np.float32
        np.testing.assert_array_equal(first[name], again[name])
        # Up to 2**-23 of the value, then rounded by up to half of a unit in the last place.
        assert (np.abs(first[name] - weights[name]) <= 1.5 * 2.0**-23 * np.abs(weights[name]) + 1e-12).all()
    assert (first["a"] != weights["a"]).mean() > 0.4
    assert (first["a"] != other["a"]).any()


def test_perturbed_weights_may_overflow_without_a_warning() -> None:
    largest = np.full(64, np.finfo(np.float32).max)
    assert np.isinf(perturbed({"a": largest}, 1)["a"]).any()


def trace_of(array, **runs) -> Trace:
    trace = Trace({"noise": {"a": runs}} if runs else {})
    trace.add("a", np.asarray(array))
    return trace


def test_tolerance() -> None:
    trace = trace_of([1.0, -3.0], explicit=1e-6, perturbed=2e-6)
    assert noise_of(trace, "a") == 2e-6
    assert tolerance(trace, "a") == MULTIPLE * 2e-6
    assert tolerance(trace, "a", "float16") == MULTIPLE * 2e-6 * 2**13
    assert tolerance(trace, "a", "bfloat16") == MULTIPLE * 2e-6 * 2**16
    assert tolerance(trace, "a", atol=0.5) == 0.5
    assert tolerance(trace, "a", rtol=0.1, atol=0.5) == pytest.approx(0.8)
    assert tolerance(trace, "a", rtol=0.0) == 0.0
    assert tolerance(trace, "a", rtol=1.0, largest=7.0) == 7.0
    exact = trace_of([1.0, -3.0], explicit=0.0)
    assert tolerance(exact, "a") == FLOOR * 2.0**-22  # 3 is between 2 and 4: a unit in the last place is 2**-22
    assert tolerance(exact, "a", "float16") == FLOOR * 2.0**-9
    foreign = trace_of([1.0, -3.0])
    assert noise_of(foreign, "a") is None
    assert tolerance(foreign, "a") == pytest.approx(MULTIPLE * UNMEASURED * 2.0**-24 * 3)
    assert tolerance({"a": np.array([3, -4], np.int8)}, "a") > 0
    assert tolerance(trace_of(np.zeros((0, 3)), explicit=0.0), "a") == FLOOR * 2.0**-149


@pytest.mark.parametrize(("unit", "dtype"), [("float32", np.float32), ("float16", np.float16)])
@given(value=st.floats(0, 6e4))
def test_units_in_the_last_place_are_those_of_numpy(unit, dtype, value) -> None:
    value = float(dtype(value))
    assert last_place(value, unit) == float(np.spacing(dtype(value)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "float8"}, "expected unit to be one of float32, float16, bfloat16, tf32"),
        ({"rtol": -1.0}, "expected rtol to be a finite number of at least 0"),
        ({"atol": math.nan}, "expected atol"),
        ({"atol": math.inf}, "expected atol"),
    ],
)
def test_arguments_of_tolerance(arguments, message) -> None:
    with pytest.raises(GoldenError, match=message):
        tolerance(trace_of([1.0]), "a", **arguments)


SETTINGS = [
    {"size": 16},
    {"size": 384},
    {"size": 20, "crop_pct": 1.0, "resample": 2, "image_mean": [0.4, 0.5, 0.6]},
    {"size": 20, "do_center_crop": True, "crop_size": 12},
    {"do_resize": False, "do_normalize": False},
    {"size": 16, "image_mean": 0.5, "image_std": 0.25},
    {"do_resize": False, "do_rescale": False, "do_normalize": False},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("shape", [(30, 41), (41, 30), (16, 16), (2, 5)])
def test_the_steps_of_preprocessing_are_those_of_the_processor(settings, shape) -> None:
    processor = npconv.ConvNextImageProcessor(**settings)
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    arrays, about = record_preprocessing(processor, picture)
    np.testing.assert_array_equal(arrays[DECODED], picture, strict=True)
    np.testing.assert_array_equal(arrays["pixel_values"], processor(picture)["pixel_values"], strict=True)
    plan = make_preprocessing_plan(processor, *shape)
    assert list(arrays) == [DECODED, *(step.name for step in plan), "pixel_values"]
    assert about["decoded"] == list(shape)
    # A trace can say all of it, and the steps run again from what it holds.
    trace = Trace({"preprocessing": about, "layouts": layouts(arrays)})
    assert set(trace.about["layouts"]) == set(arrays) - {"pixel_values"}
    for step, result in run_plan(plan, {IMAGE: image_of(arrays[DECODED])}, {}):
        np.testing.assert_array_equal(result, arrays[step.name], strict=True)


def test_names_of_preprocessing() -> None:
    names = [step.name for step in make_preprocessing_plan(npconv.ConvNextImageProcessor(size=224), 300, 400)]
    assert names == [f"preprocessing.{name}" for name in ("resized", "cropped", "rescaled", "normalized")]
    names = [step.name for step in make_preprocessing_plan(npconv.ConvNextImageProcessor(size=384), 300, 400)]
    assert names == [f"preprocessing.{name}" for name in ("resized", "rescaled", "normalized")]


def test_a_stage_without_blocks_has_the_hidden_state_of_the_one_before(tmp_path) -> None:
    """So one name stands for two hidden states, which is no reason to refuse the file."""
    config = npconv.ConvNextConfig(hidden_sizes=[4, 6], depths=[0, 1], num_stages=2, patch_size=2, num_labels=3)
    golden = record(npconv.ConvNextForImageClassification(config), np.zeros((1, 3, 9, 8), np.float32))
    golden.save(tmp_path / "golden.safetensors")
    loaded = load_trace(tmp_path / "golden.safetensors")
    assert loaded.plan.hidden_states == golden.plan.hidden_states
    assert len(set(loaded.plan.hidden_states)) < len(loaded.plan.hidden_states)


def test_a_recorded_run_counts_as_noise() -> None:
    model, name = small("cvt", engine="explicit"), "classifier"
    golden = record(model, X)
    off = 0.5 * tolerance(golden, name)
    run, wrong = Trace(), Trace()
    for trace, changed in ((run, golden[name] + off), (wrong, golden[name] + 1)):
        for other, array in record(model, X, dtype="float32").items():
            trace.add(other, changed.astype(np.float32) if other == name else array)
    before = tolerance(golden, name)
    add_noise(golden, run)
    assert golden.about["noise"][name]["recorded"] == pytest.approx(off, rel=0.1)  # less its rounding to float32
    assert tolerance(golden, name) > before
    with pytest.raises(GoldenError, match=f"diverges at {name}, so it is no noise"):
        add_noise(golden, wrong)
    with pytest.raises(GoldenError, match="got one without"):
        add_noise(record(model, X, noise=False), run)
