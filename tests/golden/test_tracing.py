"""Traces of model calls: what they hold, what they say of themselves, what is refused, and what is free when off."""

import hashlib
import threading

import numpy as np
import pytest
from support import fast_models

import npconv
from npconv.api.heads import OBSERVER
from npconv.errors import GoldenError, InputError
from npconv.golden import tracing
from npconv.golden.course import Course
from npconv.golden.trace_file import FORMAT
from npconv.golden.tracing import describe, hash_array, hash_parameters, trace
from npconv.images.versions import library_versions
from npconv.models.plans import make_plan
from npconv.plan.step import Plan

PIXELS = fast_models.pictures((2, 3, 33, 40))


def explicit(family, kind=fast_models.CLASSIFIERS, **options):
    return fast_models.small(family, kind, engine="explicit", **options)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("kind", "family"), fast_models.KINDS)
def test_a_trace_holds_every_step(kind, family, dtype):
    model = explicit(family, kind, dtype=dtype)
    with trace() as recorded:
        output = model(PIXELS, output_hidden_states=True)
    plan = make_plan(model.config, tracing.task_of(model))
    assert list(recorded) == ["pixel_values", *(step.name for step in plan)]
    np.testing.assert_array_equal(recorded["pixel_values"], PIXELS)
    assert recorded["pixel_values"].dtype == dtype
    for name, hidden_state in zip(plan.hidden_states, output.hidden_states, strict=True):
        np.testing.assert_array_equal(recorded[name], hidden_state)
    assert not recorded.params


def test_what_a_trace_says_of_itself():
    model = explicit("convnextv2")
    with trace() as recorded:
        model(PIXELS)
    about = recorded.about
    assert about["format"] == FORMAT
    assert "order" not in about  # the trace itself has it, and its file
    assert (about["task"], about["family"], about["dtype"]) == ("image_classification", "convnextv2", "float32")
    assert type(model.config).from_dict(about["config"]) == model.config
    assert about["versions"] == library_versions()
    assert about["input"] == hashlib.sha256(PIXELS.tobytes()).hexdigest()
    plan = Plan.from_json(about["steps"])
    assert plan == make_plan(model.config, "image_classification")
    assert about["layouts"]["pixel_values"] == "NCHW"
    assert about["layouts"]["classifier"] == "NK"
    assert about["aliases"]["convnextv2.embeddings"] == "convnextv2.embeddings.layernorm"
    assert set(about["layouts"]) == set(recorded)
    assert describe(model, Course(plan), PIXELS) == about


def test_hashes_are_of_the_float32_numbers():
    config = fast_models.CONFIGS["cvt"](**fast_models.SMALL["cvt"])
    model_class = fast_models.CLASSIFIERS["cvt"]
    rng = np.random.default_rng(0)
    shapes = model_class.parameter_shapes(config)
    tensors = {name: rng.uniform(0.5, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    tensors |= {name: np.asarray(3) for name in shapes if name.endswith("num_batches_tracked")}
    single, double, half = (
        hash_parameters(model_class(config, tensors, dtype=dtype).state_dict())
        for dtype in ("float32", "float64", "float16")
    )
    assert single == double != half
    assert hash_parameters(dict(reversed(tensors.items()))) == single
    counted = {name: array + (array.dtype.kind == "i") for name, array in tensors.items()}
    assert hash_parameters(counted) == single
    first = next(iter(tensors))
    assert hash_parameters({**tensors, first: -tensors[first]}) != single
    assert hash_parameters({**tensors, first: tensors[first].ravel()}) != single
    a = np.array([[1.0, 2.0, 3.0]], np.float32)
    assert hash_parameters({"a": a}) == hashlib.sha256(b"a\x001,3\x00" + a.tobytes()).hexdigest()
    assert hash_array(a.T.astype(np.float64)) == hashlib.sha256(a.tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("only", "count"),
    [
        ("encoder.stages.1.*", 2 + 7 + 7),
        ("convnext.encoder.stages.1.layers.0.*", 6),
        (["classifier", "convnext.pooled"], 2),
        ("embeddings", 1),  # an alias of embeddings.layernorm
        (["*.act", "encoder.stages.0.layers.0.act"], 4),
        ("pixel_values", 0),
    ],
)
def test_patterns(only, count):
    model = explicit("convnext")
    with trace(only) as recorded:
        model(PIXELS)
    names = list(recorded)
    assert names[0] == "pixel_values"
    with trace() as everything:
        model(PIXELS)
    assert names == [name for name in everything if name in names]
    for name in names:
        np.testing.assert_array_equal(recorded[name], everything[name])
    assert recorded.about["steps"] == everything.about["steps"]
    assert len(names) == 1 + count


def test_a_pattern_that_fits_nothing():
    message = "got 'encoder.stages.7.*', which fits none; such as convnext.encoder.stages"
    with pytest.raises(GoldenError, match=message), trace("encoder.stages.7.*"):
        explicit("convnext")(PIXELS)


def test_the_caller_may_write_to_the_pixel_values_afterwards():
    pixel_values = PIXELS.copy()
    with trace() as recorded:
        explicit("convnext")(pixel_values)
    pixel_values[:] = 0
    np.testing.assert_array_equal(recorded["pixel_values"], PIXELS)


def test_a_call_gives_what_it_gives_without_a_trace():
    model = explicit("cvt")
    expected = model(PIXELS)
    with trace():
        output = model(PIXELS)
    assert list(output) == list(expected) == ["logits"]
    np.testing.assert_array_equal(output.logits, expected.logits)


def test_one_call_a_trace():
    model = explicit("convnext")
    with trace() as recorded:
        model(PIXELS)
        with pytest.raises(GoldenError, match="expected one model call in a trace, got a second"):
            model(PIXELS[:1])
    assert len(recorded["classifier"]) == 2
    with pytest.raises(GoldenError, match="expected a model call in the trace, got none"), trace():
        pass
    with pytest.raises(InputError), trace():  # and not that there was no call
        model(PIXELS[0])


def test_other_threads_are_not_seen():
    model = explicit("convnext")
    with trace() as recorded:
        thread = threading.Thread(target=model, args=[PIXELS[:1]])
        thread.start()
        thread.join()
        model(PIXELS)
    assert len(recorded["classifier"]) == 2


def test_models_that_cannot_be_traced():
    with (
        pytest.raises(GoldenError, match="expected a model with engine='explicit' to trace, got engine='fast'"),
        trace(),
    ):
        fast_models.small("convnext")(PIXELS)
    with pytest.raises(GoldenError, match="expected a call with training=False"), trace():
        explicit("convnext")(PIXELS, training=True)
    config = npconv.ConvNextConfig(**fast_models.SMALL["convnext"], hidden_act=fast_models.softplus)
    with pytest.raises(GoldenError, match="expected hidden_act to be the name of an activation"), trace():
        npconv.ConvNextModel(config)(PIXELS)


@pytest.mark.parametrize("which", ["logits", "hidden_states"])
def test_a_model_that_computes_something_else(monkeypatch, which):
    model = explicit("cvt")
    module = npconv.CvtForImageClassification.family.part("model")
    function = module.image_classification

    def other(*args, **kwargs):
        logits, hidden_states = function(*args, **kwargs)
        changed = logits if which == "logits" else hidden_states[1]
        changed.flat[3] = np.nextafter(changed.flat[3], np.inf)
        return logits, hidden_states

    monkeypatch.setattr(module, "image_classification", other)
    name = "classifier" if which == "logits" else "cvt.encoder.stages.1"
    with pytest.raises(GoldenError, match=f"{name}: the plan's result is not bit for bit the model's"), trace():
        model(PIXELS)


def test_numbers_that_are_none_are_the_same_too():
    model = explicit("convnext")
    pixel_values = PIXELS.copy()
    pixel_values[0, 0, 5, 5] = np.nan
    with trace() as recorded:
        model(pixel_values)
    assert np.isnan(recorded["classifier"][0]).all()
    assert not np.isnan(recorded["classifier"][1]).any()


def test_nothing_is_done_when_off(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("a plan was made")

    monkeypatch.setattr(tracing, "make_course", fail)
    model = explicit("convnext")
    model(PIXELS)
    with pytest.raises(AssertionError, match="a plan was made"), trace():
        model(PIXELS)
    assert OBSERVER.get() is None
    model(PIXELS)


def test_a_trace_of_a_device_is_on_the_host(device_stub):
    model = explicit("cvt", device="stub")
    with trace() as recorded:
        model(PIXELS)
    assert {type(array) for array in recorded.values()} == {np.ndarray}
    with trace() as expected:
        explicit("cvt")(PIXELS)
    assert recorded.about == expected.about
    for name in expected:
        np.testing.assert_array_equal(recorded[name], expected[name])


def test_a_long_pattern_is_cut_in_the_message():
    plan = make_plan(explicit("cvt").config, "image_classification")
    with pytest.raises(GoldenError, match=r"got 'x+'\.\.\., which fits none") as failure:
        tracing.choose_names(plan, "x" * 60_000 + "\x1b[2J")
    assert len(str(failure.value)) < 500
