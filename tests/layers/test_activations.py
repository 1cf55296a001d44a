"""Activations: against ``math`` on single numbers, in every dtype, far out, and how much their flavours differ."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import naive_layers as naive
from support.rounding import FLOATS, LIBRARY, assert_rounded, normal

from npconv import layers
from npconv.errors import InputError
from npconv.layers import ACTIVATIONS, activation, gelu, gelu_tanh, quick_gelu

FUNCTIONS = {function.__name__: function for function in ACTIVATIONS.values()}
every_activation = pytest.mark.parametrize("name", FUNCTIONS)


@every_activation
@given(
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from(FLOATS),
    st.sampled_from([1e-3, 1.0, 10.0]),
    st.integers(0, 2**32 - 1),
)
@example([], "float16", 1.0, 0)  # a single number, shape ()
@example([2, 5, 3, 4], "float32", 10.0, 0)
def test_equals_its_formula(name, shape, dtype, spread, seed):
    x = np.asarray(normal(seed, *shape, dtype=dtype, spread=spread))
    y = FUNCTIONS[name](x)
    assert y.dtype == dtype
    assert np.shape(y) == x.shape
    if x.size:
        # All are x times something within 0 and 1, or less than 2 (selu): 10 operations and two library calls, none
        # of which is steeper than its argument is large.
        magnitude = 2 * np.abs(x.astype(np.float64))
        assert_rounded(np.asarray(y), getattr(naive, name)(x), magnitude, operations=10 + 2 * LIBRARY)


@every_activation
@pytest.mark.parametrize("dtype", FLOATS)
def test_far_out_there_is_neither_a_warning_nor_an_infinity(name, dtype):
    """Warnings are errors here. Far to the right each is the identity (times selu's scale), far to the left 0."""
    far = np.array([1e4, -1e4, 0.0, -0.0], dtype)
    scale, floor = (1.0507009873554805, -1.0507009873554805 * 1.6732632423543772) if name == "selu" else (1.0, 0.0)
    left = far[1] if name == "identity" else floor
    expected = np.array([scale * float(far[0]), left, 0.0, 0.0]).astype(dtype)
    np.testing.assert_allclose(FUNCTIONS[name](far), expected, rtol=2 * np.finfo(dtype).eps)


@every_activation
@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_and_infinity_pass(name, dtype):
    assert np.isnan(FUNCTIONS[name](np.array([np.nan], dtype))).all()
    assert FUNCTIONS[name](np.array([np.inf], dtype)).item() == np.inf


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_small_numbers_keep_their_digits(dtype):
    """Near 0 the GELU family and SiLU halve their argument; mish takes tanh(log 2) = 0.6 of it."""
    x = np.array([1e-20, -1e-20], dtype)
    for function in (gelu, gelu_tanh, quick_gelu, layers.silu):
        np.testing.assert_allclose(function(x), x / 2, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(layers.mish(x), 0.6 * x, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("other", "place", "difference", "digit"), [(gelu_tanh, 2.70, 4.7e-4, 1e-5), (quick_gelu, 2.27, 2.0e-2, 1e-3)]
)
def test_how_far_the_gelu_flavours_are_apart(other, place, difference, digit):
    x = np.linspace(-8, 8, 16001)
    apart = np.abs(other(x) - gelu(x))
    assert apart.max() == pytest.approx(difference, abs=digit / 2)
    assert abs(x[apart.argmax()]) == pytest.approx(place, abs=0.005)
    for side in (-place, place):
        at_place = np.abs(other(np.array([side])) - gelu(np.array([side]))).item()
        assert at_place == pytest.approx(difference, abs=digit / 2)


def test_known_values():
    """Phi(1) = 0.841344746068543, the logistic function at 1 is 0.731058578630005."""
    one = np.ones(1)
    assert gelu(one).item() == pytest.approx(0.841344746068543, abs=1e-15)
    assert layers.silu(one).item() == pytest.approx(0.731058578630005, abs=1e-15)
    assert layers.hardswish(one).item() == pytest.approx(4 / 6, abs=1e-15)
    assert layers.hardswish(np.array([-3.0, 3.0])).tolist() == [0.0, 3.0]
    assert layers.relu(np.array([-2.0, 2.0])).tolist() == [0.0, 2.0]


def test_names_stand_for_the_functions_that_transformers_means():
    tanh_names = {"gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate", "gelu_fast"}
    assert {name for name, function in ACTIVATIONS.items() if function is gelu_tanh} == tanh_names
    assert activation("gelu") is activation("gelu_python") is gelu
    assert activation("silu") is activation("swish") is layers.silu
    for name in ("quick_gelu", "relu", "selu", "mish", "hardswish"):
        assert activation(name) is getattr(layers, name)
    x = normal(0, 3)
    assert activation("linear")(x) is x
    assert activation(np.tanh) is np.tanh


@pytest.mark.parametrize("hidden_act", ["gelu_exact", "GELU", "", None, 3, ["gelu"]])
def test_an_unknown_name_is_refused_with_those_that_are_known(hidden_act):
    with pytest.raises(InputError, match=r"expected hidden_act to be .* one of gelu, .*linear; got") as refusal:
        activation(hidden_act)
    assert all(name in str(refusal.value) for name in ACTIVATIONS)


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"relu", "identity"}))
def test_refuses_integers(name):
    with pytest.raises(InputError, match="expected a floating-point array, got int64; convert"):
        FUNCTIONS[name](np.arange(3))
