"""Of more mistakes than can be tried, the likely ones come first; and nothing is run that cannot tell anything."""

import functools

import numpy as np
import pytest

import npconv
from npconv.bench.architectures import make_random_model
from npconv.golden import compare, diagnose, record
from npconv.golden.kinds import search
from npconv.golden.kinds.change import Change
from npconv.golden.likely import SIDE, Costs, small_segment, unlikeliness
from npconv.golden.mistakes import MISTAKES, apply
from npconv.golden.segment import make_segment
from npconv.plan.run import run_plan

NAMED = {mistake.name: mistake for mistake in MISTAKES}


@functools.cache
def golden():
    fields = {"hidden_sizes": [6, 10], "depths": [1, 1], "num_stages": 2, "num_labels": 20}
    pixels = np.random.default_rng(1).standard_normal((1, 3, 2 * SIDE, 2 * SIDE + 8), np.float32)
    return record(make_random_model(npconv.ConvNextConfig(**fields)), pixels)


def compared(name, only=()):
    """Return the comparison of a port's logits that makes a mistake wherever it can, or in some steps."""
    plan, function_of = apply(NAMED[name], golden().plan, only or set(golden()))
    results = run_plan(plan, {"pixel_values": golden()["pixel_values"]}, golden().params, function_of)
    logits = {step.name: array for step, array in results if step.name == "classifier"}
    return compare(golden(), {"pixel_values": golden()["pixel_values"], **logits})


def changed(mistake, steps):
    return [Change("", mistake.says, step, mistake.function) for step in steps]


def segment_of(comparison):
    return make_segment(comparison, comparison.first)


@pytest.mark.parametrize(
    ("name", "only"),
    [("gelu-tanh", ()), ("gelu-tanh", ("convnext.encoder.stages.1.layers.0.act",)), ("layer-scale-missing", ())],
)
def test_a_mistake_is_found_that_comes_late_in_the_catalogue(name, only, monkeypatch):
    monkeypatch.setattr("npconv.golden.judge.BUDGET", 8_000_000)
    monkeypatch.setattr("npconv.golden.likely.STARTED", 0)  # in a model of this size starts cost more than all numbers
    suspects = diagnose(compared(name, only))
    assert suspects.tried < suspects.known / 2
    assert suspects[0].fits
    assert suspects[0].mistake.name == name
    if only:
        assert suspects[0].step.name in only


def test_a_small_picture_tells_a_likely_mistake_from_an_unlikely_one():
    comparison = compared("gelu-tanh")
    segment = segment_of(comparison)
    small = small_segment(segment, golden())
    share = comparison.first.relative
    acts = [step for step in segment.steps if step.operation == "activation"]
    likely, unlikely = (
        unlikeliness(small, changed(NAMED[name], acts), share, golden()) for name in ("gelu-tanh", "activation-missing")
    )
    assert likely < np.log(10) < unlikely < np.inf


def test_what_starts_from_a_small_map_has_no_smaller_picture():
    comparison = compared("gelu-tanh")
    segment = segment_of(comparison)
    segment.start["pixel_values"] = segment.start["pixel_values"][:, :, : 2 * SIDE - 1]
    assert small_segment(segment, golden()) is None


def test_a_sum_that_rounds_each_product_costs_as_much_as_the_products():
    segment = segment_of(compared("gelu-tanh"))
    costs = Costs(segment)
    products = [step for step in segment.steps if step.operation == "pointwise_conv2d"]
    slow, quick = (
        costs.of(changed(NAMED[name], products), NAMED[name]) for name in ("pointwise-float16", "pointwise-no-bias")
    )
    assert slow > 3 * quick == 3 * costs.after(products[0])


def test_nothing_is_run_before_a_good_tensor_where_nothing_is_changed(monkeypatch):
    arrays = {name: golden()[name].astype(np.float32) for name in golden()}
    arrays["classifier"] = arrays["classifier"] + 1
    comparison = compare(golden(), arrays)
    asked = []
    monkeypatch.setattr(search, "make_segment", lambda comparison, good: asked.append(good.name))
    step = golden().plan["classifier"]
    assert not search.is_refuted(comparison, [Change("", "", step, lambda x, **arguments: x)])
    assert asked == []
