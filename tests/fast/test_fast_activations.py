import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.polynomial import Polynomial, chebyshev
from scipy.optimize import linprog
from scipy.special import log_ndtr, ndtr
from support.fast_models import softplus, tiny_blocks

from npconv.errors import ConfigError
from npconv.fast.bottleneck import CHUNK, POLYNOMIALS, FoldedActivation, make_monic
from npconv.fast.engine import Scratch
from npconv.layers import ACTIVATIONS, gelu, gelu_tanh, quick_gelu, silu

NAMES = sorted(ACTIVATIONS)


def apply(hidden_act, x):
    """Return the folded activation of float32 values, as weights around it would: scaled before and after."""
    folded = FoldedActivation(hidden_act)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # as in the trunks
        y = np.atleast_2d((x * folded.before).astype(np.float32))
        folded.apply(y, Scratch())
    return (y.astype(np.float64) / folded.after).reshape(x.shape)


# The fit


def errors_of_gelu(coefficients, x):
    """Return the first-order error of ``x * Phi(x)`` for a polynomial Q, at positive x."""
    exact = (log_ndtr(x) - log_ndtr(-x)) / (2 * x)
    return 2 * x**2 * ndtr(x) * ndtr(-x) * (np.polynomial.polynomial.polyval(x**2, coefficients) - exact)


def best_fit(degree, end, points):
    """Return the coefficients of Q whose largest such error is smallest, and that error: a linear program.

    The solver takes 1e-7 for nothing, which is more than the error sought: errors are counted in units of 1e-7, and the
    polynomial is made of Chebyshev polynomials, which are all of size 1.
    """
    unit = 1e-7
    x = np.linspace(1e-3, end, points)
    weight, exact = 2 * x**2 * ndtr(x) * ndtr(-x), (log_ndtr(x) - log_ndtr(-x)) / (2 * x)
    terms = chebyshev.chebvander(2 * (x / end) ** 2 - 1, degree) * weight[:, None] / unit
    ones, target = np.ones((points, 1)), weight * exact / unit
    solution = linprog(
        [*[0] * (degree + 1), 1],
        A_ub=np.block([[terms, -ones], [-terms, -ones]]),
        b_ub=np.concatenate([target, -target]),
        bounds=[(None, None)] * (degree + 1) + [(0, None)],
    )
    assert solution.success
    to_unit_interval = Polynomial([-1, 2 / end**2])
    return Polynomial(chebyshev.cheb2poly(solution.x[:-1]))(to_unit_interval).coef, solution.x[-1] * unit


def test_the_committed_polynomial_is_the_best_fit():
    """Nine digits are committed, and the linear program sees 1500 points: both leave a thousandth or so."""
    committed = np.array(POLYNOMIALS[gelu])
    solved, least = best_fit(len(committed) - 1, 6.0, 1500)
    x = np.linspace(1e-3, 30, 50_001)
    assert least == pytest.approx(6.7e-8, rel=0.01)  # the figure in the module's docstring
    assert np.abs(errors_of_gelu(committed, x)).max() <= 1.01 * least
    assert np.abs(errors_of_gelu(solved, x)).max() <= 1.01 * least
    np.testing.assert_allclose(committed, solved, rtol=1e-4)


def test_a_lower_degree_would_not_do():
    assert best_fit(5, 6.0, 600)[1] > 5e-7


def test_beyond_the_fit_the_polynomial_only_saturates_harder():
    """Q never falls below 1/2 where Phi is 0 or 1 in float32: the argument has the right sign and is large enough."""
    x = np.geomspace(6, 1e15, 2000)
    for polynomial in POLYNOMIALS.values():
        q = np.polynomial.polynomial.polyval(x**2, polynomial)
        assert (q >= 0.5).all()


@pytest.mark.parametrize("layer", POLYNOMIALS, ids=lambda layer: layer.__name__)
def test_the_monic_form_is_the_same_polynomial(layer):
    scale, coefficients = make_monic(POLYNOMIALS[layer])
    x = np.linspace(-5, 5, 101)
    y = scale * x
    monic = np.polyval([1.0, *(float(c) for c in coefficients)], y * y)
    expected = x * np.polynomial.polynomial.polyval(x * x, POLYNOMIALS[layer])
    # Coefficients are rounded to float32; terms of either sign add up.
    size = np.polyval([1.0, *(abs(float(c)) for c in coefficients)], y * y) * np.abs(y)
    assert (np.abs(y * monic - expected) <= 2.0**-23 * size).all()


# The error


@pytest.mark.parametrize("layer", [gelu, gelu_tanh, quick_gelu, silu], ids=lambda layer: layer.__name__)
def test_the_error_is_below_a_millionth_over_60_units(layer):
    x = np.linspace(-30, 30, 600_001).astype(np.float32)
    error = np.abs(apply(layer, x) - layer(x.astype(np.float64)))
    worst = (error / np.maximum(1, np.abs(x))).max()
    print(f"{layer.__name__}: {worst:.2e}")
    assert worst < 1e-6


@pytest.mark.parametrize("layer", [gelu, gelu_tanh, quick_gelu, silu], ids=lambda layer: layer.__name__)
def test_the_limits(layer):
    """x far to the right, 0 far to the left, 0 at 0, and nothing warns."""
    large = np.geomspace(100, 1e38, 200).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(apply(layer, large), large.astype(np.float64), rtol=2.0**-22)  # scaled, and back
        np.testing.assert_array_equal(apply(layer, -large), 0)
        assert apply(layer, np.zeros(3, np.float32)).tolist() == [0, 0, 0]
        assert np.isnan(apply(layer, np.array([np.nan], np.float32))).all()
        tiny = np.array([1e-45, -1e-45, 1e-40, 1e-30], np.float32)
        assert (np.abs(apply(layer, tiny)) <= np.abs(tiny) + 2.0**-148).all()


@pytest.mark.parametrize("hidden_act", [*NAMES, softplus], ids=lambda act: getattr(act, "__name__", act))
def test_every_activation_is_the_explicit_one(hidden_act):
    layer = ACTIVATIONS.get(hidden_act, hidden_act) if isinstance(hidden_act, str) else hidden_act
    x = np.random.default_rng(0).normal(0, 5, (7, 13)).astype(np.float32)
    expected = layer(x.astype(np.float64))
    np.testing.assert_allclose(apply(hidden_act, x), expected, rtol=1e-6, atol=1e-6)  # the error above


def test_only_activations_with_a_polynomial_are_scaled():
    for name in NAMES:
        has_polynomial = ACTIVATIONS[name] in POLYNOMIALS
        folded = FoldedActivation(name)
        assert (folded.coefficients is not None) == has_polynomial
        assert ((folded.before, folded.after) != (1, 1)) == has_polynomial


@given(rows=st.integers(0, 40), columns=st.integers(1, 40), name=st.sampled_from(["gelu", "silu", "mish"]))
def test_parts_do_not_show(rows, columns, name):
    y = np.random.default_rng([rows, columns]).normal(0, 3, (rows, columns)).astype(np.float32)
    assert y.size < CHUNK
    whole, parts, folded = y.copy(), y.copy(), FoldedActivation(name)
    folded.apply(whole, Scratch())
    with tiny_blocks():
        folded.apply(parts, Scratch())
    np.testing.assert_array_equal(whole, parts)


# A user's own function


def softmax_over_channels(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("function", [softmax_over_channels, lambda x: x - x.mean(), lambda x: x.sum(keepdims=True)])
def test_a_function_that_looks_at_other_elements_is_refused(function):
    with pytest.raises(ConfigError, match=r"hidden_act to be a function of each element by itself.*engine='explicit'"):
        FoldedActivation(function)


@pytest.mark.parametrize("function", [np.tanh, softplus, lambda x: np.where(x > 0, x, 0.1 * x), np.log1p])
def test_a_function_of_each_element_is_taken_even_where_it_is_undefined(function):
    x = np.array([[0.5, -0.25, 2.0]], np.float32)
    np.testing.assert_allclose(apply(function, x), function(x.astype(np.float64)), rtol=1e-6)  # a few roundings
