"""Normalizations backwards, against differences; what a dead channel gives, and what a gradient cannot contain."""

import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from support.gradient_cases import assert_is_gradient, numbers
from support.layer_cases import Case
from support.rounding import FLOATS

from npconv import gradients, layers
from npconv.errors import InputError

seeds = st.integers(0, 999)
small = st.integers(1, 3)
epsilons = st.sampled_from([1e-6, 1e-3, 0.1])


@st.composite
def lines(draw):
    """Draw a shape, one of its axes, and the length of that axis: three at least, so that they spread."""
    others, length = draw(st.lists(small, min_size=0, max_size=3)), draw(st.integers(3, 6))
    axis = draw(st.integers(-len(others) - 1, len(others)))
    shape = list(others)
    shape.insert(axis % (len(others) + 1), length)
    return shape, axis, length


@given(lines(), epsilons, seeds)
def test_layer_norm(line, eps, seed):
    shape, axis, length = line
    arrays = {"x": numbers(seed, *shape), "weight": numbers(seed, length), "bias": numbers(seed + 1, length)}
    assert_is_gradient(Case("", layers.layer_norm, arrays, {"eps": eps, "axis": axis}), seed)


@pytest.mark.parametrize("layer", [layers.rms_norm, layers.simple_norm], ids=lambda layer: layer.__name__)
@given(lines(), epsilons, seeds)
def test_norms_without_a_bias(layer, line, eps, seed):
    shape, axis, length = line
    arrays = {"x": numbers(seed, *shape), "weight": numbers(seed, length)}
    assert_is_gradient(Case("", layer, arrays, {"eps": eps, "axis": axis}), seed)


@given(small, small, small, small, epsilons, seeds)
def test_batch_norm(batch, channels, height, width, eps, seed):
    """Of what is stored nothing is wanted."""
    names = ("weight", "bias", "running_mean")
    arrays = {"x": numbers(seed, batch, channels, height, width)}
    arrays |= {name: numbers(seed + number, channels) for number, name in enumerate(names)}
    arrays["running_var"] = np.abs(numbers(seed + 3, channels)) + 0.5
    assert_is_gradient(Case("", layers.batch_norm, arrays, {"eps": eps}), seed)


@given(st.integers(2, 3), small, small, st.integers(2, 3), epsilons, seeds)
def test_batch_norm_training(batch, channels, height, width, eps, seed):
    arrays = {"x": numbers(seed, batch, channels, height, width)}
    arrays |= {"weight": numbers(seed, channels), "bias": numbers(seed + 1, channels)}
    assert_is_gradient(Case("", layers.batch_norm_training, arrays, {"eps": eps}), seed)


#: How the parameters of a GRN may lie: -1 stands for the channels.
PARAMETER_SHAPES = st.sampled_from([(-1,), (-1, 1, 1), (1, -1, 1, 1), (1, 1, 1, -1)])


@given(small, st.integers(1, 4), small, small, PARAMETER_SHAPES, epsilons, seeds)
def test_global_response_norm(batch, channels, height, width, shape, eps, seed):
    arrays = {"x": numbers(seed, batch, channels, height, width)}
    arrays |= {"weight": numbers(seed, channels).reshape(shape), "bias": numbers(seed + 1, channels).reshape(shape)}
    assert_is_gradient(Case("", layers.global_response_norm, arrays, {"eps": eps}), seed)
    strength = layers.grn_strength(arrays["x"])
    assert_is_gradient(Case("", layers.grn_strength, {"x": arrays["x"]}), seed)
    assert_is_gradient(Case("", layers.grn_relative, {"strength": strength}, {"eps": eps}), seed)
    relative = numbers(seed + 2, batch, channels, 1, 1)
    assert_is_gradient(Case("", layers.grn_apply, {**arrays, "relative": relative}), seed)


@given(small, small, small, small, seeds)
def test_layer_scale(batch, channels, height, width, seed):
    arrays = {"x": numbers(seed, batch, channels, height, width), "layer_scale_parameter": numbers(seed, channels)}
    assert_is_gradient(Case("", layers.layer_scale, arrays), seed)


@given(lines(), seeds)
def test_a_layer_norm_gives_nothing_back_along_what_it_takes_out(line, seed):
    """To add a constant to a line or, without eps, to stretch its deviations changes nothing."""
    shape, axis, length = line
    x, weight, grad_y = numbers(seed, *shape), numbers(seed, length), numbers(seed + 1, *shape)
    grad_x, _, _ = gradients.layer_norm_backward(grad_y, x, weight, eps=0.0, axis=axis)
    deviation = x - x.mean(axis=axis, keepdims=True)
    spread = np.sqrt((deviation**2).mean(axis=axis, keepdims=True))
    # Some ten roundings of 1.1e-16 on terms of the size of |grad_y * weight| / spread, of which six are summed up.
    allowed = 1e-13 * (np.abs(grad_y).max() * np.abs(weight).max() / spread)
    assert (np.abs(grad_x.sum(axis=axis, keepdims=True)) <= allowed).all()
    assert (np.abs((grad_x * deviation / spread).sum(axis=axis, keepdims=True)) <= allowed).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_dead_channel_gets_no_gradient_through_its_strength(dtype):
    """0, and neither NaN nor a warning: what is left is its way by itself, ``grad_y * (weight * 0 + 1)``."""
    x = numbers(0, 2, 3, 4, 5).astype(dtype)
    x[:, 1] = 0
    x[1] = 0  # in this sample all are dead
    weight, bias, grad_y = (numbers(seed, *shape).astype(dtype) for seed, shape in enumerate([(3,), (3,), x.shape]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gradients.global_response_norm_backward(grad_y, x, weight, bias, eps=1e-6)
        strength = layers.grn_strength(x)
        through = gradients.grn_strength_backward(np.ones_like(strength), x, strength)
    assert all(np.isfinite(gradient).all() for gradient in found)
    np.testing.assert_array_equal(found[0][:, 1], grad_y[:, 1])
    np.testing.assert_array_equal(found[0][1], grad_y[1])
    assert found[1][1] == 0
    assert not through[:, 1].any()
    assert not through[1].any()
    assert through[0, 0].any()


def test_every_sample_of_a_batch_has_a_part_in_the_gradient_of_every_other():
    """In training; by stored statistics each has its own alone."""
    x, one, grad_y = numbers(0, 2, 3, 4, 5), np.ones(3), np.zeros((2, 3, 4, 5))
    grad_y[0, :, 1, 2] = 1
    in_training, _, _ = gradients.batch_norm_training_backward(grad_y, x, one, eps=1e-5)
    stored, _, _ = gradients.batch_norm_backward(grad_y, x, one, 0 * one, one, eps=1e-5)
    assert in_training[1].all()
    assert not stored[1].any()


X, ONES, EPS = np.ones((2, 4, 5, 6)), np.ones(4), {"eps": 1e-6}
AXIS = {**EPS, "axis": 1}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradients.layer_norm_backward(X[:1], X, ONES, **AXIS), r"grad_y of shape \(2, 4, 5, 6\).*got \(1, 4"),
        (lambda: gradients.layer_norm_backward(X, X, ONES[:3], **AXIS), "the weights expect 3 channels on axis 1"),
        (lambda: gradients.layer_norm_backward(X, X, ONES, eps=1e-6, axis=7), "layer_norm_backward: .* axis 7"),
        (lambda: gradients.rms_norm_backward(X[:, :1], X, ONES, **AXIS), r"rms_norm_backward: .*got .*\(2, 1, 5, 6\)"),
        (lambda: gradients.simple_norm_backward(X[..., :1], X, ONES, **AXIS), "simple_norm_backward: expected grad_y"),
        (
            lambda: gradients.batch_norm_backward(X, X, ONES, ONES[:3], ONES, **EPS),
            r"running_var of one shape \(4,\), got",
        ),
        (lambda: gradients.batch_norm_backward(X[:1], X, ONES, ONES, ONES, **EPS), r"one shape .*, got .*\(1, 4"),
        (lambda: gradients.batch_norm_training_backward(X[:1], X, ONES, **EPS), r"one shape .*, got .*\(1, 4"),
        (
            lambda: gradients.global_response_norm_backward(X[:1], X, ONES, ONES, **EPS),
            r"one shape .*, got .*\(1, 4",
        ),
        (lambda: gradients.global_response_norm_backward(X, X, ONES, ONES[:3], **EPS), "expected .*bias of"),
        (
            lambda: gradients.grn_strength_backward(X, X, ONES),
            r"y and grad_y of one shape \(2, 4, 1, 1\)",
        ),
        (lambda: gradients.grn_relative_backward(X[:1], X, **EPS), r"grn_relative_backward: expected grad_y of shape"),
        (lambda: gradients.grn_apply_backward(X, X, X[:1, :, :1, :1], ONES, ONES), "expected relative of shape"),
        (lambda: gradients.layer_scale_backward(X, X, ONES[:1]), "expected layer_scale_parameter of shape"),
        (lambda: gradients.layer_scale_backward(X[:1], X, ONES), r"one shape .*, got .*\(1, 4"),
        (lambda: gradients.layer_norm_backward(X.astype(int), X, ONES, **AXIS), "a floating-point array, got int64"),
        (
            lambda: gradients.layer_norm_backward(X.tolist(), X, ONES, **AXIS),
            "a NumPy or CuPy array, got list",
        ),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)
