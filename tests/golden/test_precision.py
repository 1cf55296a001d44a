"""Ports that compute or store in fewer bits than float32 are told which: TF32, bfloat16, float16."""

from __future__ import annotations

import numpy as np
import pytest
from support.compare_samples import golden, make_trace, small

from npconv.golden.case import cases, explain
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.mistakes import MISTAKES
from npconv.golden.report import to_text
from npconv.golden.roundings import (
    ROUNDOFF,
    SMALLEST,
    UNITS,
    cut_to_tf32,
    flipped_distance,
    stored_distance,
    stored_in,
    to_bits,
)
from npconv.golden.trace_file import PIXELS
from npconv.models.plans import make_plan
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_step

pytestmark = pytest.mark.long

PRODUCTS = ("conv2d", "depthwise_conv2d", "pointwise_conv2d", "linear", "attention_scores", "attention_context")
BY_NAME = {mistake.name: mistake for mistake in MISTAKES}


def test_the_formats():
    """As NumPy has them; bfloat16 is float32 without 16 of its 23 bits, TF32 without 13."""
    for dtype in (np.float32, np.float16):
        info = np.finfo(dtype)
        assert (ROUNDOFF[info.dtype.name], SMALLEST[info.dtype.name]) == (info.eps / 2, info.smallest_subnormal)
    single = np.finfo(np.float32)
    assert ROUNDOFF["bfloat16"] == single.eps / 2 * 2**16
    assert SMALLEST["bfloat16"] == single.smallest_subnormal * 2**16
    assert ROUNDOFF["tf32"] == single.eps / 2 * 2**13
    assert {**{name: name for name in SMALLEST}, "tf32": "float32"} == UNITS


def to_bfloat16(array):
    return to_bits(array, 7)


def to_float16(array):
    return array.astype(np.float16).astype(np.float32)


def to_tf32(array):
    return to_bits(array, 10)


def same(array):
    return array


def port(family, *, factors=same, weights=same, stored=same):
    """A port in float32 that rounds the factors of its products, its weights, and each result."""
    plan, model = make_plan(small(family).config, "image_classification"), small(family)
    arrays = {PIXELS: golden(family)[PIXELS].astype(np.float32)}
    params = {name: weights(value) if value.dtype.kind == "f" else value for name, value in model.state_dict().items()}
    for step in plan:
        inputs, own = [arrays[name] for name in step.inputs], params
        if step.operation in PRODUCTS:
            inputs = list(map(factors, inputs))
            own = {full: factors(params[full]) for name, full in step.params.items() if name != "bias"}
            own = {**params, **own}
        arrays[step.name] = stored(run_step(step, inputs, own))
    return make_trace(arrays, {"input": golden(family).about["input"]})


PORTS = {
    "TF32": ({"factors": to_tf32}, "products of TF32 or float16 factors, summed in float32"),
    "TF32 without rounding": ({"factors": cut_to_tf32}, "products of TF32 (cut, not rounded) factors"),
    "bfloat16 factors": ({"factors": to_bfloat16}, "products of bfloat16 factors, summed in float32"),
    "float16 factors": ({"factors": to_float16}, "products of TF32 or float16 factors, summed in float32"),
    "bfloat16 weights": ({"weights": to_bfloat16}, "weights stored in bfloat16"),
    "float16 weights": ({"weights": to_float16}, "weights stored in float16"),
    "float16 results": ({"stored": to_float16}, "result stored in float16"),
    "bfloat16 results": ({"stored": to_bfloat16}, "result stored in bfloat16"),
    "float16 all over": (
        {"factors": to_float16, "weights": to_float16, "stored": to_float16},
        "input, weight and bias in float16, summed in float32, result stored in float16",
    ),
    "bfloat16 all over": (
        {"factors": to_bfloat16, "weights": to_bfloat16, "stored": to_bfloat16},
        "input, weight and bias in bfloat16, summed in float32, result stored in bfloat16",
    ),
}


@pytest.mark.parametrize("family", ["convnextv2", "cvt"])
@pytest.mark.parametrize("what", PORTS)
def test_fewer_bits_are_named(what, family):
    how, says = PORTS[what]
    comparison = compare(golden(family), port(family, **how))
    suspects = diagnose(comparison)
    assert suspects[0].fits
    assert suspects[0].says.startswith(says)
    assert f"fits {says}" in " ".join(to_text(comparison, None, suspects).split())


@pytest.mark.parametrize("family", ["convnextv2", "cvt"])
@pytest.mark.parametrize("what", ["TF32", "bfloat16 factors", "float16 results"])
def test_fewer_bits_from_some_step_on_are_named_there(what, family):
    """What comes before is right; later kinds of steps get their turn."""
    how, says = PORTS[what]
    right, wrong = golden(family), port(family, **how)
    plan = make_plan(small(family).config, "image_classification")
    operations = PRODUCTS if "factors" in how else tuple(OPERATIONS)
    for operation in operations:
        step = next((step for step in plan if step.operation == operation), None)
        if step is None:
            continue
        made = run_step(step, [right[name].astype(np.float32) for name in step.inputs], small(family).state_dict())
        if "factors" in how:
            params = {name: how["factors"](small(family).state_dict()[name]) for name in step.params.values()}
            params |= {full: small(family).state_dict()[full] for name, full in step.params.items() if name == "bias"}
            made = run_step(step, [how["factors"](right[name].astype(np.float32)) for name in step.inputs], params)
        else:
            made = how["stored"](made)
        mine = {name: array.astype(np.float32) for name, array in right.items()}
        comparison = compare(right, make_trace({**mine, step.name: made}, wrong.about))
        if comparison.first is None:  # its numbers are exact in fewer bits, such as those of one channel
            continue
        assert comparison.first.name == step.name
        assert diagnose(comparison)[0].says.startswith(says), (step.name, diagnose(comparison)[:2])


def test_a_mistake_of_a_port_that_stores_in_float16_is_still_named():
    from support.compare_samples import TANH

    plan = make_plan(small("convnextv2").config, "image_classification")
    step = next(step for step in plan if step.operation == "activation")
    right = golden()
    mine = {name: array.astype(np.float32) for name, array in right.items()}
    mine[step.name] = to_float16(TANH.function(mine[step.inputs[0]], hidden_act="gelu"))
    comparison = compare(right, make_trace(mine, {"input": right.about["input"]}), strict=True)
    assert diagnose(comparison)[0].says == "tanh GELU, result stored in float16"


def test_cases_tell_it_too():
    for operation in ("layer_norm", "linear", "softmax", "global_response_norm"):
        case = cases(operation)[0]
        for stored, name in ((to_float16, "float16"), (to_bfloat16, "bfloat16")):
            actual = stored(case.run(dtype="float32").astype(np.float32))
            assert explain(case, actual)[0].startswith(f"fits result stored in {name}: ")


def test_rounding_is_that_of_the_formats():
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    np.testing.assert_array_equal(to_tf32(values), to_float16(values * 2**10) / np.float32(2**10))
    ties = np.float32([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 1 + 2**-8 + 2**-20])
    np.testing.assert_array_equal(to_bfloat16(ties), np.float32([1, 1 + 2**-6, -1, 1 + 2**-7]))
    assert (cut_to_tf32(np.float32([1 + 2**-11 + 2**-12, -(1 + 2**-11)])) == [1, -1]).all()


def test_what_an_array_is_stored_in():
    values = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    assert stored_in(values) == stored_in(values.astype(np.float64)) == ""
    assert stored_in(to_float16(values)) == stored_in(values.astype(np.float16)) == "float16"
    assert stored_in(to_bfloat16(values)) == stored_in(np.arange(5.0)) == "bfloat16"
    assert stored_in(np.array([np.inf])) == stored_in(np.array([1, 2])) == stored_in(np.float64([1 + 2**-40])) == ""
    assert stored_in(np.float64([1e300])) == ""  # nor does float32, and no warning says so
    assert stored_distance(values, to_float16(values), "float16") == 0
    assert stored_distance(values, to_bfloat16(values), "bfloat16") == 0
    assert stored_distance(values, to_bfloat16(values), "float16") > 0
    assert stored_distance(values, values[:9], "float16") == np.inf
    assert stored_distance(np.full(3, 1e-3), np.zeros(3), "bfloat16") == pytest.approx(1e-3)  # 0 is not near it


def test_a_few_values_may_be_rounded_either_way():
    """A softmax in float16: its scores differ in their last bit, by another BLAS, and one becomes another float16."""
    values = np.linspace(1, 2, 4096, endpoint=False).astype(np.float16).astype(np.float64)
    other = values.copy()
    other[:3] += 2.0**-9  # two places
    assert flipped_distance(values, other, "float16") == 0
    other[3] += 2.0**-7
    assert flipped_distance(values, other, "float16") == 2.0**-7
    assert flipped_distance(values, values + 2.0**-10, "float16") == 2.0**-10  # not a few


@pytest.mark.parametrize("unit", ["float16", "bfloat16"])
def test_files_of_outputs_without_steps_are_told_too(unit):
    exact = np.random.default_rng(0).standard_normal((2, 40)).astype(np.float32)
    stored = exact.astype(np.float16).astype(np.float32) if unit == "float16" else to_bits(exact, 7)
    suspects = diagnose(compare({"logits": exact}, {"logits": stored}))
    assert (suspects[0].says, suspects[0].fits) == (f"result stored in {unit}", True)
    assert not any(suspect.fits for suspect in diagnose(compare({"logits": exact}, {"logits": stored * 1.001})))
