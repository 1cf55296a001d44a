"""Activations backwards, against differences, at their bends and far out."""

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

FUNCTIONS = {function.__name__: function for function in layers.ACTIVATIONS.values()}
every_activation = pytest.mark.parametrize("name", sorted(FUNCTIONS))


@every_activation
@given(st.lists(st.integers(1, 4), min_size=0, max_size=4), st.sampled_from([1, 2, 4]), st.integers(0, 999))
def test_each_activation(name, shape, spread, seed):
    assert_is_gradient(Case("", FUNCTIONS[name], {"x": np.asarray(spread * numbers(seed, *shape))}), seed)


@pytest.mark.parametrize("hidden_act", sorted(layers.ACTIVATIONS))
def test_each_name_has_the_backward_function_of_its_activation(hidden_act):
    function = gradients.activation_backward(hidden_act)
    assert function is getattr(gradients, f"{layers.ACTIVATIONS[hidden_act].__name__}_backward")


@pytest.mark.parametrize("hidden_act", ["jump", "", None])
def test_a_name_that_is_none_is_refused(hidden_act):
    with pytest.raises(InputError, match="expected hidden_act to be a callable or one of gelu, "):
        gradients.activation_backward(hidden_act)


@pytest.mark.parametrize(
    ("name", "at", "slope"),
    [
        ("relu", 0.0, 0.0),
        ("relu", -0.0, 0.0),
        ("selu", 0.0, 1.6732632423543772 * 1.0507009873554805),
        ("hardswish", -3.0, 0.0),
        ("hardswish", 3.0, 1.0),
        ("hardswish", 0.0, 0.5),
        ("gelu", 0.0, 0.5),
        ("gelu_tanh", 0.0, 0.5),
        ("silu", 0.0, 0.5),
        ("mish", 0.0, 0.6),  # tanh(log(2)) = (4 - 1) / (4 + 1)
    ],
)
def test_slopes_that_are_known(name, at, slope):
    """At a bend that of the piece outside is taken, as PyTorch does."""
    found = getattr(gradients, f"{name}_backward")(np.ones(1), np.array([at]))
    assert found.item() == pytest.approx(slope, rel=1e-15, abs=0)


@every_activation
@pytest.mark.parametrize("dtype", FLOATS)
def test_far_out_the_slope_is_that_of_a_straight_line(name, dtype):
    """Neither a warning nor NaN: 0 or 1 times the scale, or 1 for what changes nothing."""
    x = np.array([-1000.0, 1000.0], dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        below, above = getattr(gradients, f"{name}_backward")(np.ones(2, dtype), x)
    scale = 1.0507009873554805 if name == "selu" else 1.0
    assert above == np.array(scale, dtype)
    assert below == (1.0 if name == "identity" else 0.0)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"identity"}))
@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (3,), ()])
def test_an_upstream_gradient_of_another_shape_is_refused(name, shape):
    """Also one that could be stretched."""
    with pytest.raises(InputError, match=rf"{name}_backward: expected grad_y .*, got ") as refusal:
        getattr(gradients, f"{name}_backward")(np.ones(shape), np.ones((2, 3)))
    assert "\n" not in str(refusal.value)
