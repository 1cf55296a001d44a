"""What is tried where no mistake of the catalogue fits; ``test_unlisted.py`` has a hundred mistakes for it."""

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import zoom
from support.compare_samples import BLOCK, P, golden, make_trace, run, small

from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.kinds import geometry, parameters, structure
from npconv.golden.kinds.numbers import in_words, rounded
from npconv.golden.kinds.parameters import order_in_words, order_of
from npconv.golden.kinds.pictures import STATISTICS, _grey, _linear, _luma, _sampled
from npconv.golden.kinds.search import is_refuted
from npconv.golden.origin import origin
from npconv.golden.report import to_text
from npconv.golden.trace_file import Trace
from npconv.golden.values import to_values
from npconv.models.plans import make_plan
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_plan
from npconv.plan.step import Plan, Step


def ported(params=None, function_of=None):
    """A comparison with a port in float32 that has other weights or operations."""
    model = small("convnextv2")
    weights = {**model.state_dict(), **(params or {})}
    pixels = {"pixel_values": golden()["pixel_values"].astype(np.float32)}
    plan = make_plan(model.config, "image_classification")
    arrays = {step.name: array for step, array in run_plan(plan, pixels, weights, function_of)}
    return compare(golden(), make_trace({**pixels, **arrays}))


def at(name, function):
    return lambda step: function if step.name == name else OPERATIONS[step.operation]


@pytest.mark.parametrize(
    ("number", "near", "words"),
    [
        (0.50000001, 0.5, "0.5"),
        (1 / 3 * (1 + 1e-7), 1 / 3, "0.333333"),
        (2**0.5 * (1 - 1e-8), 2**0.5, "sqrt(2)"),
        (-((2 / np.pi) ** 0.5), -((2 / np.pi) ** 0.5), "-sqrt(2 / pi)"),
        (1.2347678e-5, 1.2347678e-5, "1.23477e-05"),
        (0.12340001, 0.1234, "0.1234"),
        (0.12345001, 0.12345001, "0.12345"),
        (1 / 0.30120001, 1 / 0.3012, "3.32005"),
        (1 / 0.30125001, 1 / 0.30125001, "3.3195"),
        (0.0, 0.0, "0"),
    ],
)
def test_a_number_is_the_one_that_is_meant(number, near, words):
    assert rounded(number) == pytest.approx(near, rel=1e-15)
    assert in_words(rounded(number)) == words


NAMES = {
    **{"sqrt(2)": 2**0.5, "sqrt(3)": 3**0.5, "sqrt(pi)": np.pi**0.5, "sqrt(2 / pi)": (2 / np.pi) ** 0.5},
    **{"pi": np.pi, "e": np.e, "1/255": 1 / 255},
}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", NAMES)
def test_a_number_with_a_name(name, sign):
    before = "-" if sign < 0 else ""
    for text, number in ((name, NAMES[name]), (f"1 / {name}", 1 / NAMES[name])):
        near = rounded(sign * number * (1 + 1e-7))
        assert near == pytest.approx(sign * number, rel=1e-15)
        assert in_words(near) == before + text or name == "1/255"
        assert in_words(sign * number * (1 + 3e-6)) == f"{sign * number * (1 + 3e-6):.6g}"
    assert in_words(sign / 255) == before + "1/255"


def test_only_the_very_number_has_a_name():
    assert in_words(np.pi * (1 + 1e-13)) == "pi"
    assert in_words(np.pi * (1 + 1e-11)) == "3.14159"
    assert in_words(-np.pi * (1 + 1e-11)) == "-3.14159"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([3, 2, 1, 0], "reversed along axis 0"),
        ([3, 0, 1, 2], "rolled by 1 along axis 0"),
        ([0, 2, 4, 1, 3, 5], "with groups of 2 along axis 0 taken as groups of 3"),
        ([0, 3, 2, 1], "with entries 1 and 3 along axis 0 exchanged"),
        ([0, 0, 2, 3], "with entries along axis 0 taken twice (1 of 4 are others)"),
        ([2, 0, 1, 4, 3], "in another order along axis 0 (5 of 5 moved)"),
    ],
)
def test_an_order_is_found_and_said(order, words):
    right = np.random.default_rng(1).normal(size=(len(order), 3))
    found = order_of(right, right[order])
    assert found.tolist() == order
    assert order_in_words(found, 0) == words


def test_no_order_is_found_where_there_is_none():
    right = np.random.default_rng(1).normal(size=(4, 3))
    assert order_of(right, right) is None
    assert order_of(right, right + 1) is None
    assert order_of(right, right[:3]) is None


def test_a_reason_is_a_sentence_and_a_record():
    comparison = ported(
        {f"{BLOCK}.pwconv1.weight": np.roll(small("convnextv2").state_dict()[f"{BLOCK}.pwconv1.weight"], 2, 1)}
    )
    suspects = diagnose(comparison)
    [best] = [suspect for suspect in suspects if suspect.fits]
    assert best.kind == "parameters"
    assert best.says == f"{BLOCK}.pwconv1.weight rolled by 2 along axis 1"
    assert best.values["parameter"] == f"{BLOCK}.pwconv1.weight"
    text = " ".join(to_text(comparison, origin(comparison), suspects, width=10_000).split())
    assert f"fits {best.says} ({BLOCK}.pwconv1):" in text
    assert "other explanations the nearest leaves" in text
    [value] = [found for found in to_values(comparison, None, suspects)["suspects"] if found["fits"]]
    assert json.loads(json.dumps(value))["values"]["axis"] == 1


def test_two_mistakes_in_one_step():
    def wrong(x, weight, bias):
        return 0.5 * OPERATIONS["pointwise_conv2d"](x, weight)

    [best] = [suspect for suspect in diagnose(ported(function_of=at(f"{BLOCK}.pwconv1", wrong))) if suspect.fits]
    assert f"{BLOCK}.pwconv1.bias is left out (0), and" in best.says
    assert "times 0.5" in best.says


def test_a_reason_that_a_good_tensor_refutes_is_none():
    comparison = ported(
        function_of=at(f"{BLOCK}.dwconv", lambda x, **others: 2 * OPERATIONS["depthwise_conv2d"](x, **others))
    )
    [best] = [suspect for suspect in diagnose(comparison) if suspect.fits]
    change = replace(best, says="")  # of another step: what comes before is right
    assert change.step.name == f"{BLOCK}.dwconv"
    before = next(
        step
        for step in make_plan(small("convnextv2").config, "image_classification")
        if step.name == f"{P}embeddings.layernorm"
    )

    class Changed:
        step, function = before, staticmethod(lambda x, **others: 3 * OPERATIONS["layer_norm"](x, **others))

    assert is_refuted(comparison, [Changed])


def test_a_norm_may_be_over_any_axes_one_or_all():
    step = SimpleNamespace(operation="layer_norm")
    tried = [change.values["axes"] for change in structure._norms(SimpleNamespace(step=step), 3, 1)]
    assert tried == [[0], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]]


def test_the_outputs_of_a_projection_may_be_in_another_order():
    """Reversed, rolled by one, and as groups of two or three, such as heads; a norm is no projection."""
    weight, bias = np.arange(24.0).reshape(6, 4), np.arange(6.0)

    def changes(**arguments):
        step = SimpleNamespace(params={name: f"a.{name}" for name in arguments})
        place = SimpleNamespace(step=step, arguments=arguments, function=lambda **others: others)
        return list(parameters._outputs(place))

    found = changes(weight=weight, bias=bias)
    orders = [change.values["order"] for change in found]
    rolled = [[5, 0, 1, 2, 3, 4], [1, 2, 3, 4, 5, 0]]
    assert orders == [[5, 4, 3, 2, 1, 0], *rolled, [0, 3, 1, 4, 2, 5], [0, 2, 4, 1, 3, 5]]
    for change, order in zip(found, orders, strict=True):
        made = change.function(weight=weight, bias=bias)
        assert made["bias"].tolist() == order
        np.testing.assert_array_equal(made["weight"], weight[order])
        assert change.values["parameters"] == ["a.weight", "a.bias"]
    assert len(changes(weight=weight[:, :, None, None], bias=bias)) == len(found)
    assert changes(weight=bias, bias=bias) == changes(weight=weight) == []


@pytest.mark.parametrize("around", [(1, 1), (0, 2)])
@pytest.mark.parametrize("operation", ["depthwise_conv2d", "conv2d"])
def test_a_padding_with_other_numbers_is_told_by_its_result(operation, around):
    rng = np.random.default_rng(1)
    x, numbers = rng.normal(size=(2, 3, 6, 7)), [0.5, -1.0, 2.0]
    weight = rng.normal(size=(3, 1, 3, 3) if operation == "depthwise_conv2d" else (4, 3, 3, 3))
    function = partial(OPERATIONS[operation], weight=weight, bias=rng.normal(size=len(weight)))
    sides = [(0, 0), *((side, side) for side in around)]
    padded = np.stack([np.pad(x[:, c], sides, constant_values=n) for c, n in enumerate(numbers)], axis=1)
    mine, right = function(padded), function(x, padding=around)
    step = SimpleNamespace(name="a", operation=operation)
    place = SimpleNamespace(mine=mine, right=right, inputs=[x], run=function, function=function, step=step)
    after, before = geometry._constant(place, around)
    np.testing.assert_allclose(before.values["values"], numbers, rtol=1e-9)
    np.testing.assert_allclose(before.function(x, padding=around), mine, rtol=1e-9, atol=1e-12)
    assert before.says == "padded with the value 0.5, -1, 2 of each channel"
    np.testing.assert_allclose(after.function(x, padding=around), np.pad(function(x), [(0, 0), *sides]))
    assert list(geometry._constant(place, (0, 0))) == []
    place.mine = None  # not known
    assert len(list(geometry._constant(place, around))) == 1
    place.mine = mine * np.nan
    assert len(list(geometry._constant(place, around))) == 1


@pytest.mark.parametrize("degree", [0, 1, 3])
@pytest.mark.parametrize("aligned", [True, False])
def test_single_places_are_looked_up_as_scipy_zooms(degree, aligned):
    image = np.random.default_rng(2).normal(size=(3, 9, 12))
    zooms = (1, 21 / 9, 17 / 12)
    expected = np.stack([zoom(c, zooms[1:], order=degree, mode="nearest", grid_mode=not aligned) for c in image])
    border = 0 if aligned else 2  # nothing is looked up outside of the picture here
    inner = np.s_[:, border : 21 - border, border : 17 - border]
    np.testing.assert_allclose(_sampled((21, 17), degree, aligned, image)[inner], expected[inner], rtol=1e-9, atol=1e-9)
    levels = np.random.default_rng(3).integers(0, 256, (3, 9, 12), np.uint8)
    exact = _sampled((21, 17), degree, aligned, levels.astype(np.float64))
    np.testing.assert_array_equal(_sampled((21, 17), degree, aligned, levels), np.rint(exact).clip(0, 255))


def test_light_in_place_of_srgb():
    """As IEC 61966-2-1 has it; of middle grey a fifth is left."""
    shares = np.array([0.0, 0.04, 0.5, 0.8, 1.0])
    light = np.array([0.0, 0.04 / 12.92, 0.2140411, 0.6038273, 1.0])
    np.testing.assert_allclose(_linear(shares), light, rtol=1e-6)
    np.testing.assert_allclose(_linear(255 * shares), 255 * light, rtol=1e-6)
    levels = np.array([0, 5, 10, 11, 188, 255], np.uint8)
    assert _linear(levels).tolist() == [0, 0, 1, 1, 128, 255]


def test_brightness_and_colour_are_those_of_pillow():
    image = np.random.default_rng(1).integers(0, 256, (3, 20, 30), np.uint8)
    made = Image.fromarray(image.transpose(1, 2, 0)).convert("YCbCr")
    assert np.abs(_luma(image).astype(int) - np.asarray(made).transpose(2, 0, 1)).max() <= 1  # its tables are rounded
    grey = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))
    np.testing.assert_array_equal(_grey(image), np.broadcast_to(grey, image.shape))
    floats = image.astype(np.float64)
    assert np.abs(_grey(floats) - _grey(image)).max() <= 1
    assert np.abs(_luma(floats) - _luma(image)).max() <= 0.5 + 1e-9


def test_noise_has_no_reason():
    noise = np.random.default_rng(2)

    def change(step, made):
        return made + noise.normal(size=made.shape).astype(np.float32) if step.name == f"{BLOCK}.act" else made

    assert not any(suspect.fits for suspect in diagnose(compare(golden(), make_trace(run(change=change)))))


def test_an_array_of_many_axes_is_no_reason_to_try_all_of_them():
    x = np.random.default_rng(4).normal(size=(2,) * 12)
    step = Step("norm", "layer_norm", ("x",), {"weight": "w", "bias": "b"}, {"eps": 1e-6, "axis": -1}, "")
    params = {"w": np.ones(2), "b": np.zeros(2)}
    reference = Trace({"steps": Plan((step,), ("norm",)).to_json()}, params)
    for name, array in {
        "x": x,
        "norm": OPERATIONS["layer_norm"](x, np.ones(2), np.zeros(2), eps=1e-6, axis=-1),
    }.items():
        reference.add(name, array)
    suspects = diagnose(compare(reference, {"x": x, "norm": np.random.default_rng(5).normal(size=x.shape)}), ())
    assert not any(suspect.fits for suspect in suspects)
    assert not any(suspect.says.startswith("over the axes") for suspect in suspects)


def test_a_search_ends_with_its_budget(monkeypatch):
    monkeypatch.setattr("npconv.golden.judge.BUDGET", 200_000)
    noise = np.random.default_rng(2).normal(size=golden()[f"{BLOCK}.act"].shape).astype(np.float32)
    arrays = run(change=lambda step, made: made + noise if step.name == f"{BLOCK}.act" else made)
    suspects = diagnose(compare(golden(), make_trace(arrays)), ())
    assert 10 < suspects.tried < suspects.known


def test_statistics_of_pixels_are_those_of_values_from_0_to_1():
    for means, deviations in STATISTICS.values():
        assert all(0 <= mean <= 1 for mean in means)
        assert all(0 < deviation <= 1 for deviation in deviations)
    assert STATISTICS["CIFAR-10's"][1] == [0.247, 0.2435, 0.2616]


def test_other_parameters_come_nearest_first_and_of_two_the_one_before():
    """Whatever hashes of names are in this process: what is tried first is what is said."""
    names = [f"layers.{number}.{name}" for number in range(3) for name in ("gamma", "shift", "weight")]
    place = SimpleNamespace(weights=SimpleNamespace(data={name: np.zeros(3, np.float32) for name in names}))
    found = parameters._others(place, "layers.1.shift", (3,))
    same_name, near = ["layers.0.shift", "layers.2.shift"], ["layers.1.gamma", "layers.1.weight"]
    assert found[:4] == same_name + near
    assert found[4:] == ["layers.0.weight", "layers.2.gamma", "layers.0.gamma", "layers.2.weight"][: len(found) - 4]
