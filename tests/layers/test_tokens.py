"""Linear, softmax and attention: against loops over random shapes, in every dtype, far out, and what they refuse."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import naive_layers as naive
from support.rounding import FLOATS, LIBRARY, UNIT_ROUNDOFF, assert_rounded, gamma, normal

from npconv.errors import InputError
from npconv.layers import attention, linear, softmax

dtypes = st.sampled_from(FLOATS)
seeds = st.integers(0, 2**32 - 1)
small = st.integers(1, 5)


@given(st.lists(st.integers(1, 3), max_size=3), st.integers(1, 7), st.integers(1, 6), st.booleans(), dtypes, seeds)
@example([2, 3], 7, 5, True, "float16", 0)
def test_linear(other_axes, channels, out_channels, has_bias, dtype, seed):
    x, weight = normal(seed, *other_axes, channels, dtype=dtype), normal(seed, out_channels, channels, dtype=dtype)
    bias = normal(seed, out_channels, dtype=dtype) if has_bias else None
    y = linear(x, weight, bias)
    assert y.dtype == dtype
    sizes = [None if array is None else np.abs(array) for array in (x, weight, bias)]
    assert_rounded(y, naive.linear(x, weight, bias), naive.linear(*sizes), operations=channels + 2)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data(), st.sampled_from([0.01, 1.0, 30.0]), dtypes, seeds
)
def test_softmax(shape, data, spread, dtype, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = normal(seed, *shape, dtype=dtype, spread=spread)
    y = softmax(x, axis=axis)
    assert y.dtype == dtype
    expected = naive.softmax(x, axis=axis)
    # Rounding a difference of scores by u of it changes its exponential by that much, the sum no more.
    steepness = 1 + 2 * (x.max(initial=0) - x.min(initial=0)).astype(np.float64)
    assert_rounded(y, expected, expected * steepness, operations=shape[axis] + 4 + 2 * LIBRARY)


@given(st.integers(1, 50), dtypes, seeds)
def test_softmax_sums_to_one(length, dtype, seed):
    sums = softmax(normal(seed, 3, length, dtype=dtype, spread=4.0), axis=-1).astype(np.float64).sum(axis=-1)
    stored = UNIT_ROUNDOFF[np.dtype(dtype)] * 2 + length * float(np.finfo(dtype).smallest_subnormal)
    assert np.abs(sums - 1).max() <= gamma(length + 4 + LIBRARY, dtype) + stored


def test_softmax_of_huge_scores_neither_overflows_nor_warns():
    scores = np.array([[1e30, 1e30, -1e30], [-1e30, 0.0, 1.0], [-1e30, -1e30, -1e30]], np.float32)
    expected = [[0.5, 0.5, 0.0], [0.0, 1 / (1 + np.e), np.e / (1 + np.e)], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(softmax(scores, axis=-1), expected, rtol=1e-6)  # ten roundings of 6e-8
    assert softmax(np.array([65504.0, -65504.0], np.float16), axis=0).tolist() == [1.0, 0.0]


def test_softmax_ignores_a_constant_that_is_added_to_all_scores():
    scores = np.array([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(softmax(scores + 1024, axis=0), softmax(scores, axis=0))  # exact sums


def attention_magnitude(query, key, value, *, num_heads, scale, **chance):
    """Return what the roundings of attention act on.

    The error of a score is gamma times the sum of its products' sizes; it changes the probabilities, relative to their
    size, by twice as much at most; and so does rounding the difference from the largest score.
    """
    sizes = [np.abs(array.astype(np.float64)) for array in (query, key, value)]
    largest = sum(np.abs(array.astype(np.float64)).max() ** 2 for array in (query, key)) / 2
    steepness = 1 + 6 * largest * abs(scale) * query.shape[2] / num_heads
    probabilities_times_sizes = naive.attention(query, key, sizes[2], num_heads=num_heads, scale=scale, **chance)
    return steepness * probabilities_times_sizes


@given(st.integers(1, 2), small, small, st.integers(1, 3), st.integers(1, 3), dtypes, seeds)
@example(2, 5, 3, 2, 3, "float16", 0)
@example(1, 1, 1, 1, 1, "float32", 0)
def test_attention(batch, tokens, seen, num_heads, head_channels, dtype, seed):
    embed_dim = num_heads * head_channels
    query = normal(seed, batch, tokens, embed_dim, dtype=dtype)
    key, value = (normal(seed + k, batch, seen, embed_dim, dtype=dtype) for k in (1, 2))
    options = {"num_heads": num_heads, "scale": embed_dim**-0.5}
    y = attention(query, key, value, **options)
    assert y.dtype == dtype
    magnitude = attention_magnitude(query, key, value, **options)
    operations = head_channels + 2 * seen + 6 + 2 * LIBRARY
    assert_rounded(y, naive.attention(query, key, value, **options), magnitude, operations)


@given(st.floats(0.0, 1.0), dtypes, seeds)
def test_attention_drops_probabilities_in_training(rate, dtype, seed):
    query = normal(seed, 2, 4, 6, dtype=dtype)
    key, value = normal(seed, 2, 3, 6, dtype=dtype), normal(seed + 1, 2, 3, 6, dtype=dtype)
    options = {"num_heads": 2, "scale": 0.5, "dropout_rate": rate}

    def rng():
        return np.random.default_rng(seed)

    y = attention(query, key, value, **options, rng=rng())
    assert y.dtype == dtype
    expected = naive.attention(query, key, value, **options, rng=rng())
    magnitude = attention_magnitude(query, key, value, **options, rng=rng())
    if np.abs(magnitude).max() < 1e4:  # float16 ends at 65504; a rate next to 1 scales beyond it
        assert_rounded(y, expected, magnitude, operations=3 + 2 * 3 + 7 + 2 * LIBRARY)
    without_rng = attention(query, key, value, **options)
    np.testing.assert_array_equal(without_rng, attention(query, key, value, num_heads=2, scale=0.5))


def test_the_heads_and_the_scale_matter():
    """A fixture on which swapped heads, or one scale for the other, cannot hide."""
    query, key, value = normal(0, 1, 3, 6), normal(1, 1, 4, 6), normal(2, 1, 4, 6)
    whole = attention(query, key, value, num_heads=2, scale=6**-0.5)
    head = attention(query, key, value, num_heads=2, scale=3**-0.5)
    assert np.abs(whole - head).max() > 1e-2
    assert np.abs(whole - attention(query, key, value, num_heads=3, scale=6**-0.5)).max() > 1e-2


def test_float16_sums_over_5000_do_not_stagnate():
    ones = np.ones((1, 5000, 1), np.float16)
    assert linear(ones[:, :, 0], ones[:, :, 0]).item() == 5000
    probability = softmax(np.zeros(5000, np.float16), axis=0)
    assert (probability == np.float16(1 / 5000)).all()
    mean_of_ones = attention(ones[:, :1], ones, ones, num_heads=1, scale=1.0).item()
    assert mean_of_ones == pytest.approx(1, abs=2.0**-11)  # 1 or the float16 number below it


def test_float16_scores_may_exceed_float16():
    """A score of 90,000, beyond float16, before the scale brings it back."""
    query = np.full((1, 1, 1), 300, np.float16)
    key, value = np.array([300, -300], np.float16).reshape(1, 2, 1), np.array([3, 5], np.float16).reshape(1, 2, 1)
    assert attention(query, key, value, num_heads=1, scale=1.0).item() == 3
    assert linear(np.full((1, 2), 300, np.float16), np.array([[300, -299]], np.float16)).item() == 300


X, WEIGHT = normal(0, 2, 3, 8), normal(0, 5, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear(X, WEIGHT[0]), r"linear: expected a weight with 2 axes, got shape \(8,\)"),
        (
            lambda: linear(X, WEIGHT.T),
            r"linear: the weights expect 5 channels on axis -1 of x, got x of shape \(2, 3, 8\)",
        ),
        (lambda: linear(np.array(1.0), WEIGHT), "linear: the weights expect 8 channels"),
        (lambda: linear(X, WEIGHT, np.ones(8)), "bias"),
        (lambda: linear(X, WEIGHT, np.ones(1)), "bias"),
        (lambda: linear(X.astype(int), WEIGHT), "expected a floating-point array, got int64"),
        (lambda: linear(X.tolist(), WEIGHT), "expected a NumPy or CuPy array, got list"),
        (lambda: softmax(np.arange(3), axis=0), "expected a floating-point array, got int64"),
        (lambda: attention(X[0], X, X, num_heads=2, scale=1.0), r"attention: expected x of shape \(N, T, D\)"),
        (
            lambda: attention(X, X[:1], X[:1], num_heads=2, scale=1.0),
            r"expected key and value of one shape \(2, S, 8\)",
        ),
        (lambda: attention(X, X, X[:, :2], num_heads=2, scale=1.0), r"got \(2, 3, 8\) and \(2, 2, 8\)"),
        (lambda: attention(X, X[..., :4], X[..., :4], num_heads=2, scale=1.0), r"got \(2, 3, 4\) and \(2, 3, 4\)"),
        (lambda: attention(X, X[0, 0], X[0, 0], num_heads=2, scale=1.0), r"got \(8,\) and \(8,\)"),
        (lambda: attention(X, X, X, num_heads=3, scale=1.0), "expected num_heads to divide the 8 channels, got 3"),
        (lambda: attention(X, X, X, num_heads=0, scale=1.0), "expected num_heads to divide the 8 channels, got 0"),
        (lambda: attention(X, X, X, num_heads=2, scale=1.0, dropout_rate=2.0), "expected a rate from 0 to 1, got 2.0"),
        (lambda: attention(X.astype(int), X, X, num_heads=2, scale=1.0), "expected a floating-point array"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)
