"""Ports in fewer bits than float32: right ones lie within the tolerance of their unit, and what is wrong is seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf
from support.compare_samples import TANH, golden, make_trace

from npconv.golden.case import cases, every_case
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.elementwise import misfit
from npconv.golden.measures import tolerance
from npconv.golden.mistakes import MISTAKES, apply
from npconv.golden.origin import origin
from npconv.golden.report import to_text
from npconv.golden.roundings import cut_to_tf32, to_bits, to_float16
from npconv.golden.trace_file import PIXELS, Trace
from npconv.golden.truth import record
from npconv.golden.units import PRODUCTS, noise_in
from npconv.golden.values import to_values
from npconv.layers import gelu, gelu_tanh
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_plan
from npconv.plan.step import Plan
from tests.golden.tiny_models import every_model

ROUND = {
    "float16": to_float16,
    "bfloat16": lambda array: to_bits(array, 7),
    "tf32": lambda array: to_bits(array, 10),
    "tf32 cut": cut_to_tf32,
}


def port(family, unit, mistake=None):
    """A port that stores all in a unit, or takes products of factors in it, and makes a mistake wherever it can."""
    rounded, right = ROUND[unit], golden(family)
    single = {name: array.astype(np.float32) for name, array in right.params.items()}
    x = right[PIXELS].astype(np.float32)
    if not unit.startswith("tf32"):
        single, x = {name: rounded(array) for name, array in single.items()}, rounded(x)

    plan, chosen = apply(mistake, right.plan) if mistake else (right.plan, lambda step: OPERATIONS[step.operation])

    def function_of(step):
        function = chosen(step)

        def call(*inputs, **arguments):
            if not unit.startswith("tf32"):
                return rounded(function(*inputs, **arguments))
            if step.operation in PRODUCTS:
                inputs = map(rounded, inputs)
                arguments |= {name: rounded(arguments[name]) for name in step.params if name != "bias"}
            return function(*inputs, **arguments)

        return call

    made = {step.name: array for step, array in run_plan(plan, {PIXELS: x}, single, function_of)}
    return make_trace({PIXELS: x, **made}, {"input": right.about["input"]})


@pytest.mark.parametrize("family", ["convnextv2", "cvt"])
@pytest.mark.parametrize("unit", ROUND)
def test_a_right_port_does_not_diverge(family, unit):
    """With weights that no unit holds exactly. Of float32 it would be far off, and the old rule was twelve times wider.

    A quarter: the noise is measured by this very kind of run, and the tolerance is 3.5 times that.
    """
    comparison = compare(golden(family), port(family, unit), unit=unit.split()[0])
    assert comparison.first is None
    assert max(max(found.max_abs / found.tolerance, found.own) for found in comparison.differences) > 0.25
    assert not any(note.startswith("noise: that of") for note in comparison.notes)
    assert compare(golden(family), port(family, unit)).first is not None


def numpy_half(model, x):
    """What npconv itself makes in NumPy's float16, where every operation of NumPy is rounded."""
    right = record(model, x, noise=False)
    half = {
        name: array.astype(np.float16) if array.dtype.kind == "f" else array for name, array in right.params.items()
    }
    with np.errstate(all="ignore"):
        steps = list(run_plan(right.plan, {PIXELS: x.astype(np.float16)}, half))
    return right, make_trace({PIXELS: x.astype(np.float16), **{step.name: array for step, array in steps}})


@pytest.mark.parametrize("tiny", [tiny for tiny in every_model() if tiny.says in ("usual", "square", "tiny variance")])
def test_the_half_precision_of_numpy_does_not_diverge(tiny):
    comparison = compare(*numpy_half(*tiny.make()), unit="float16")
    assert comparison.first is None


def test_without_weights_the_tolerance_is_that_of_float32_grown():
    """Which is several times wider than it has to be."""
    [tiny] = [tiny for tiny in every_model() if (tiny.family, tiny.says) == ("convnextv2", "usual")]
    whole = record(*tiny.make())
    bare = make_trace(whole, whole.about)
    single = {name: array.astype(np.float32) for name, array in whole.items()}
    comparison, measured = (compare(trace, single, unit="float16") for trace in (bare, whole))
    [note] = [note for note in comparison.notes if note.startswith("noise:")]
    assert note.startswith("noise: that of float16 cannot be measured")
    assert not any(note.startswith("noise:") for note in measured.notes)
    names = [found.name for found in comparison.differences if found.name != PIXELS]
    assert np.median([comparison[name].tolerance / measured[name].tolerance for name in names]) > 3
    assert all(comparison[name].tolerance == tolerance(whole, name, "float16") for name in names)


@pytest.mark.parametrize("family", ["convnextv2", "cvt"])
@pytest.mark.parametrize("unit", ["float16", "bfloat16", "tf32"])
def test_another_gelu_is_seen_and_named(family, unit):
    """Of float16 its error, 5e-4, is less than the rounding of values of 1; of bfloat16, of values of 0.1."""
    comparison = compare(golden(family), port(family, unit, TANH), unit=unit)
    plan = golden(family).plan
    first = comparison.first
    assert plan[first.name].operation == "activation"
    assert first.own > 2
    assert first.max_abs <= first.tolerance
    assert origin(comparison).is_born_here
    stored = "" if unit == "tf32" else f", result stored in {unit}"
    suspects = diagnose(comparison)
    assert (suspects[0].says, suspects[0].fits) == (f"tanh GELU{stored}", True)
    text = to_text(comparison, origin(comparison), suspects)
    assert "single values, by up to" in text
    assert f"fits tanh GELU{stored}" in " ".join(text.split())
    assert to_values(comparison)["tensors"][first.index - 1]["own"] == first.own


@pytest.mark.parametrize("name", ["layer-norm-missing", "grn-sum", "residual-after-norm", "depthwise-shifted-up"])
@pytest.mark.parametrize("unit", ["float16", "bfloat16"])
def test_other_mistakes_are_named_as_in_float32(unit, name):
    [mistake] = [mistake for mistake in MISTAKES if mistake.name == name]
    comparison = compare(golden("convnextv2"), port("convnextv2", unit, mistake=mistake), unit=unit)
    place = next(step.name for step in golden("convnextv2").plan if mistake.at(step, golden("convnextv2").plan))
    assert comparison.first.name == place
    suspects = diagnose(comparison)
    assert (suspects[0].mistake, suspects[0].fits) == (mistake, True)


X = np.random.default_rng(0).normal(0, 2, 20_000)


@pytest.mark.parametrize("unit", ["float16", "bfloat16"])
def test_gelu_value_by_value(unit):
    rounded = ROUND[unit]
    x = rounded(X)
    assert 0.3 < misfit(x, rounded(gelu(x)), unit) < 1
    # A fused kernel takes the input before it is rounded.
    assert 0.3 < misfit(x, rounded(gelu(X)), unit) <= 1
    assert misfit(x, rounded(gelu_tanh(x)), unit) > 4
    assert misfit(x, rounded(gelu(x)) * 1.02, unit) > 2
    assert misfit(x[:0], x[:0], unit) == 0


@pytest.mark.parametrize("unit", ["float16", "bfloat16"])
@pytest.mark.parametrize("halved_first", [True, False])
def test_gelu_of_which_every_operation_is_rounded_is_right(unit, halved_first):
    """As some libraries have it, in either order; the tanh form in the same way is not."""
    r = ROUND[unit]
    x = r(X)
    factor = r(1 + r(erf(r(x / r(np.array(2**0.5))))))
    right = r(r(0.5 * x) * factor) if halved_first else r(r(x * factor) / 2)
    assert misfit(x, right, unit) <= 1
    cubic = r(x + r(r(np.array(0.044715)) * r(x * r(x * x))))
    wrong = r(r(0.5 * x) * r(1 + r(np.tanh(r(r(np.array(0.7978845608)) * cubic)))))
    assert misfit(x, wrong, unit) > 1


def test_noise_of_one_value_is_not_taken_for_none():
    """Of two logits one run may be right by luck: noise is at least four times the root mean square of all errors."""
    right = golden("convnextv2")
    noise = noise_in(right, "float16", right)
    mine = port("convnextv2", "float16")
    for name, value in noise.items():
        rms = np.sqrt(np.mean((mine[name].astype(np.float64) - right[name]) ** 2))
        assert value >= 2.8 * rms, name  # half of the runs are this one


def test_what_cannot_be_measured_is_left_out():
    right = golden("convnextv2")
    assert noise_in(dict(right), "float16", right) == {}
    assert noise_in(make_trace(right, right.about), "float16", right) == {}  # without weights
    without = make_trace({name: a for name, a in right.items() if name != PIXELS}, right.about, right.params)
    assert noise_in(without, "float16", right) == {}
    large = {name: array * (1e7 if name == "classifier.bias" else 1) for name, array in right.params.items()}
    overflows = noise_in(make_trace(right, right.about, large), "float16", right)
    assert set(right) - set(overflows) == {PIXELS, "classifier"}


@pytest.mark.parametrize("inputs", [["pixel_values"], ["wide"], ["pixel_values", "pixel_values"], []])
def test_a_gelu_of_a_stranger_that_takes_something_else_is_no_gelu(inputs):
    """Nothing is raised: arrays of another shape are not held against each other."""
    step = {"name": "act", "operation": "activation", "inputs": inputs, "layout": "NCHW", "aliases": [], "params": {},
            "attributes": {"hidden_act": "gelu"}}  # fmt: skip
    arrays = {PIXELS: np.ones((1, 3, 4, 4)), "wide": np.ones((1, 3, 4, 5)), "act": np.ones((1, 3, 4, 4))}
    trace = make_trace(arrays, {"steps": {"steps": [step], "outputs": ["act"], "hidden_states": []}})
    off = compare(trace, arrays, unit="float16")["act"].own
    assert off > 1 if inputs == ["pixel_values"] else off == 0


def test_the_steps_of_a_stranger_may_make_no_more_than_the_file_explains():
    steps = [
        {"name": f"s{i}", "operation": "pad_end", "inputs": [f"s{i - 1}" if i else PIXELS], "layout": "NCHW",
         "aliases": [], "params": {}, "attributes": {"rows": 10**5, "columns": 10**5}}
        for i in range(2)
    ]  # fmt: skip
    trace = Trace({"steps": Plan.from_json({"steps": steps, "outputs": ["s1"], "hidden_states": []}).to_json()})
    trace.add(PIXELS, np.ones((1, 3, 4, 4)))
    trace.add("s1", np.ones((1, 3, 4, 4)))
    assert noise_in(trace, "bfloat16", ["s1"]) == {}


@pytest.mark.parametrize("unit", ["float16", "bfloat16", "tf32"])
def test_cases_have_a_tolerance_in_each_unit(unit):
    """Measured as for traces: of all cases the right result, rounded to the unit, lies within."""
    for case in every_case():
        made = case.run(dtype="float32")
        if unit != "tf32" and made.dtype.kind == "f":
            made = ROUND[unit](made)
        assert np.abs(made - case.expected).max() <= case.tolerance_in(unit), (case.operation, case.name)
    assert cases("linear")[0].tolerance_in("float32") == cases("linear")[0].tolerance
