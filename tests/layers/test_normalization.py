"""Normalizations: against loops, in every dtype, where eps, a large mean or a tiny variance show."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import naive_layers as naive
from support.rounding import FLOATS, UNIT_ROUNDOFF, assert_rounded, gamma, normal

from npconv.errors import InputError
from npconv.layers import (
    batch_norm,
    batch_norm_training,
    global_response_norm,
    layer_norm,
    num_batches_tracked,
    running_mean,
    running_var,
)

small = st.integers(1, 4)
dtypes = st.sampled_from(FLOATS)
seeds = st.integers(0, 2**32 - 1)


def layer_norm_magnitude(x, weight, bias, *, eps, axis):
    """Return what the roundings of a layer norm act on.

    The mean is off by up to gamma(C) * mean|x|, a shift of every deviation; scaled by the standard deviation, that is
    the first term. The same shift, doubled, changes the variance; the rest is relative to the result itself.
    """
    moved = np.moveaxis(unit_magnitude(x, eps=eps, axis=axis), axis, -1)
    return np.moveaxis(moved * np.abs(weight) + np.abs(bias), -1, axis)


def unit_magnitude(x, *, eps, axis):
    """Return what the roundings act on before the weights and biases, of statistics over an axis or several."""
    x = np.asarray(x, np.float64)
    deviation = x - x.mean(axis, keepdims=True)
    spread = np.sqrt((deviation**2).mean(axis, keepdims=True) + eps)
    shift = np.abs(x).mean(axis, keepdims=True) / spread
    unit = np.abs(deviation) / spread
    return shift + unit * (1 + 2 * shift)


@given(
    st.lists(st.integers(1, 4), min_size=0, max_size=3),
    st.integers(2, 9),
    st.data(),
    st.sampled_from([1e-12, 1e-6, 1e-5]),
    st.sampled_from([0.0, 3.0]),
    dtypes,
    seeds,
)
def test_layer_norm(other_axes, channels, data, eps, mean, dtype, seed):
    axis = data.draw(st.integers(-len(other_axes) - 1, len(other_axes)))
    shape = list(other_axes)
    shape.insert(axis % (len(other_axes) + 1), channels)
    x = normal(seed, *shape, dtype=dtype, mean=mean)
    weight, bias = normal(seed, channels, dtype=dtype), normal(seed + 1, channels, dtype=dtype)

    y = layer_norm(x, weight, bias, eps=eps, axis=axis)
    assert y.dtype == dtype
    expected = naive.layer_norm(x, weight, bias, eps=eps, axis=axis)
    magnitude = layer_norm_magnitude(x, weight, bias, eps=eps, axis=axis)
    # Second-order terms: a tiny variance next to the mean's error is a case of its own, below.
    assert_rounded(y, expected, 2 * magnitude, operations=channels + 8)


def four_sigma_line(channels, spread):
    """Return a line of exact mean 0 and standard deviation `spread` with values 4 deviations out."""
    inner = np.sqrt((channels - 32) / (channels - 2))
    line = spread * np.array([4.0, -4.0] + [inner, -inner] * ((channels - 2) // 2))
    assert line.mean() == pytest.approx(0, abs=1e-17)
    assert line.std() == pytest.approx(spread, rel=1e-12)
    return line[None]


@pytest.mark.parametrize(("spread", "difference"), [(1.0, 2e-6), (0.01, 2e-2), (0.001, 1.2)])
def test_layer_norm_eps_shows_at_tiny_variance_only(spread, difference):
    """1e-12 (transformers' final norm) against 1e-6 (everything else), on values up to 4 deviations out."""
    x, weight, bias = four_sigma_line(96, spread), np.ones(96), np.zeros(96)
    measured = np.abs(
        layer_norm(x, weight, bias, eps=1e-12, axis=-1) - layer_norm(x, weight, bias, eps=1e-6, axis=-1)
    ).max()
    assert measured == pytest.approx(difference, rel=0.03)  # the figures have one or two digits


def test_layer_norm_divides_by_the_number_of_channels_not_one_less():
    """Bessel's correction would be off by 2e-2, on values up to 4 deviations out of 96."""
    x = four_sigma_line(96, 1.0)
    y = layer_norm(x, np.ones(96), np.zeros(96), eps=1e-12, axis=-1)
    assert np.abs(y - x / x.std(ddof=1)).max() == pytest.approx(2e-2, rel=0.06)
    np.testing.assert_allclose(y, x, rtol=1e-11)  # eps alone is half a 1e-12 off


def test_layer_norm_float32_keeps_its_digits_at_a_large_mean():
    """The variance at mean 100, found from the spread of the result: the one-pass form loses most digits."""
    x = normal(7, 4, 768, dtype="float32", mean=100.0)
    variance = x.astype(np.float64).var(axis=-1)
    one_pass = (x * x).mean(axis=-1) - x.mean(axis=-1) ** 2
    assert one_pass.dtype == np.float32
    assert np.abs(one_pass / variance - 1).max() > 1e-4

    y = layer_norm(x, np.ones(768, np.float32), np.zeros(768, np.float32), eps=0.0, axis=-1)
    found = variance / y.astype(np.float64).var(axis=-1)
    # NumPy sums 768 numbers pairwise: with the rest of the formula at most 30 roundings of 6e-8 on positive terms.
    assert np.abs(found / variance - 1).max() < 2e-6


@pytest.mark.parametrize("dtype", FLOATS)
def test_layer_norm_of_a_constant_image_is_the_bias(dtype):
    """The deviations are zero, or the rounding of the mean, which eps keeps small: no division by zero."""
    x = np.full((2, 7, 3, 5), 0.7, dtype)
    weight, bias = np.ones(7, dtype), normal(0, 7, dtype=dtype)
    y = layer_norm(x, weight, bias, eps=1e-6, axis=1)
    shift = gamma(8, dtype) * 0.7 / np.sqrt(1e-6)
    stored = UNIT_ROUNDOFF[np.dtype(dtype)] * (np.abs(bias).max() + shift)
    assert np.abs(y.astype(np.float64) - bias.astype(np.float64)[:, None, None]).max() <= shift + stored


def test_layer_norm_float16_survives_deviations_whose_square_overflows():
    """float16 ends at 65504: squares of deviations beyond 255.9 are infinite in it."""
    x = np.array([[-300.0, 300.0, 900.0, -900.0, 40.0]], np.float16)
    with np.errstate(over="ignore"):
        assert np.isinf(np.square(x - x.mean(axis=-1, keepdims=True))).any()
    weight, bias = np.ones(5, np.float16), np.zeros(5, np.float16)
    options = {"eps": 1e-6, "axis": -1}
    magnitude = layer_norm_magnitude(x, weight, bias, **options)
    assert_rounded(layer_norm(x, weight, bias, **options), naive.layer_norm(x, weight, bias, **options), magnitude, 13)


def test_layer_norm_float16_means_over_5000_channels_do_not_stagnate():
    x = normal(3, 1, 5000, dtype="float16", mean=3.0, spread=0.5)
    assert np.cumsum(x, dtype=np.float16)[-1] < 0.9 * 5000 * 3
    weight, bias = np.ones(5000, np.float16), np.zeros(5000, np.float16)
    options = {"eps": 1e-6, "axis": -1}
    magnitude = layer_norm_magnitude(x, weight, bias, **options)
    expected = naive.layer_norm(x, weight, bias, **options)
    assert_rounded(layer_norm(x, weight, bias, **options), expected, magnitude, 5008)


@given(st.integers(1, 2), st.integers(1, 5), st.tuples(small, small), st.sampled_from([1e-5, 1e-3]), dtypes, seeds)
@example(2, 5, (3, 4), 1e-5, "float16", 0)
def test_batch_norm(batch, channels, size, eps, dtype, seed):
    x = normal(seed, batch, channels, *size, dtype=dtype)
    weight, bias, running_mean = (normal(seed + k, channels, dtype=dtype) for k in range(3))
    running_var = np.abs(normal(seed + 3, channels, dtype=dtype))
    y = batch_norm(x, weight, bias, running_mean, running_var, eps=eps)
    assert y.dtype == dtype
    expected = naive.batch_norm(x, weight, bias, running_mean, running_var, eps=eps)
    sizes = np.abs(x), np.abs(weight), np.abs(bias), -np.abs(running_mean)  # x - running_mean: the sum of their sizes
    assert_rounded(y, expected, naive.batch_norm(*sizes, running_var, eps=eps), operations=8)


def test_batch_norm_takes_no_statistic_of_the_input():
    """One sample alone gives what it gives in a batch; the count of batches has no effect."""
    x = normal(0, 2, 3, 4, 5)
    params = (normal(1, 3), normal(2, 3), normal(3, 3), np.abs(normal(4, 3)))
    y = batch_norm(x, *params, np.array(17), eps=1e-5)
    np.testing.assert_array_equal(batch_norm(x[1:], *params, eps=1e-5), y[1:])


def test_batch_norm_eps_shows_at_tiny_variance():
    x, one, zero = np.full((1, 1, 1, 1), 0.01), np.ones(1), np.zeros(1)
    y = batch_norm(x, one, zero, zero, np.array([1e-4]), eps=1e-5)
    assert y.item() == pytest.approx(0.01 / np.sqrt(1.1e-4), rel=1e-12)  # five operations of 1e-16


@given(st.integers(1, 3), st.integers(1, 5), st.tuples(small, small), st.sampled_from([1e-5, 1e-3]), dtypes, seeds)
@example(2, 5, (3, 4), 1e-5, "float16", 0)
@example(1, 5, (1, 1), 1e-5, "float32", 0)
def test_batch_norm_training(batch, channels, size, eps, dtype, seed):
    x = normal(seed, batch, channels, *size, dtype=dtype)
    weight, bias = normal(seed, channels, dtype=dtype), normal(seed + 1, channels, dtype=dtype)
    y = batch_norm_training(x, weight, bias, eps=eps)
    assert y.dtype == dtype
    expected = naive.batch_norm_training(x, weight, bias, eps=eps)
    unit = unit_magnitude(x, eps=eps, axis=(0, 2, 3))
    magnitude = unit * np.abs(weight)[:, None, None] + np.abs(bias)[:, None, None]
    assert_rounded(y, expected, 2 * magnitude, operations=batch * size[0] * size[1] + 8)  # as for a layer norm


@given(st.integers(2, 3), st.integers(1, 5), st.tuples(small, small), st.sampled_from([0.1, 0.5, 1.0]), dtypes, seeds)
@example(2, 5, (3, 4), 0.1, "float16", 0)
def test_running_statistics(batch, channels, size, momentum, dtype, seed):
    x = normal(seed, batch, channels, *size, dtype=dtype)
    mean, variance = normal(seed, channels, dtype=dtype), np.abs(normal(seed + 1, channels, dtype=dtype))
    operations = batch * size[0] * size[1] + 8
    new_mean = running_mean(x, mean, momentum=momentum)
    assert new_mean.dtype == dtype
    magnitude = naive.running_mean(np.abs(x), np.abs(mean), momentum=momentum)
    assert_rounded(new_mean, naive.running_mean(x, mean, momentum=momentum), magnitude, operations)
    new_variance = running_var(x, variance, momentum=momentum)
    assert new_variance.dtype == dtype
    # A deviation is off by the mean's error, which mean|x| bounds: relative to the squares it counts twice.
    deviation = np.abs(x.astype(np.float64)).max(axis=(0, 2, 3)) * 2
    magnitude = variance + 2 * batch * size[0] * size[1] * deviation**2
    assert_rounded(new_variance, naive.running_var(x, variance, momentum=momentum), magnitude, operations)


def test_running_statistics_by_hand():
    """A tenth of the batch: of 1, 2, 3 and 6 the mean is 3, and the squared deviations add up to 14."""
    x = np.array([1.0, 2, 3, 6]).reshape(2, 1, 1, 2)
    assert running_mean(x, np.array([5.0])).item() == pytest.approx(0.9 * 5 + 0.1 * 3, rel=1e-15)
    assert running_var(x, np.array([2.0])).item() == pytest.approx(0.9 * 2 + 0.1 * 14 / 3, rel=1e-15)  # by n - 1
    assert num_batches_tracked(x, np.array(41)) == 42


def test_batch_norm_takes_the_newest_statistics_as_batch_norm_training_does():
    """With a momentum of 1, and the variance by n in place of n - 1, they are those of the batch."""
    x, weight, bias = normal(0, 2, 3, 4, 5), normal(1, 3), normal(2, 3)
    mean, variance = running_mean(x, np.zeros(3), momentum=1.0), running_var(x, np.zeros(3), momentum=1.0)
    stored = batch_norm(x, weight, bias, mean, variance * 39 / 40, eps=1e-5)
    # Some 40 roundings of 1.1e-16 on values below 10.
    np.testing.assert_allclose(batch_norm_training(x, weight, bias, eps=1e-5), stored, rtol=0, atol=1e-13)


def test_one_number_a_channel_has_no_variance():
    x, one = np.ones((1, 3, 1, 1)), np.ones(3)
    with pytest.raises(InputError, match=r"running_var: expected at least 2 numbers a channel, got 1; use a larger"):
        running_var(x, one)
    np.testing.assert_array_equal(batch_norm_training(x, one, 2 * one, eps=1e-5), 2 * x)
    np.testing.assert_allclose(running_mean(x, 0 * one), 0.1 * one, rtol=1e-15)


@given(st.integers(1, 2), st.integers(1, 6), st.tuples(small, small), st.sampled_from([1e-6, 1e-2]), dtypes, seeds)
@example(2, 5, (3, 4), 1e-6, "float16", 0)
@example(1, 5, (1, 1), 1e-6, "float32", 0)
def test_global_response_norm(batch, channels, size, eps, dtype, seed):
    x = normal(seed, batch, channels, *size, dtype=dtype)
    weight, bias = normal(seed, channels, dtype=dtype), normal(seed + 1, channels, dtype=dtype)
    y = global_response_norm(x, weight, bias, eps=eps)
    assert y.dtype == dtype
    expected = naive.global_response_norm(x, weight, bias, eps=eps)
    magnitude = naive.global_response_norm(np.abs(x), np.abs(weight), np.abs(bias), eps=eps)
    assert_rounded(y, expected, magnitude, operations=size[0] * size[1] + channels + 10)


def test_global_response_norm_takes_its_parameters_in_either_shape():
    x, weight, bias = normal(0, 2, 3, 4, 5), normal(1, 3), normal(2, 3)
    np.testing.assert_array_equal(
        global_response_norm(x, weight, bias, eps=1e-6),
        global_response_norm(x, weight.reshape(1, 1, 1, 3), bias.reshape(1, 1, 1, 3), eps=1e-6),
    )
    np.testing.assert_array_equal(
        global_response_norm(x, weight.reshape(1, 3, 1, 1), bias.reshape(3, 1, 1), eps=1e-6),
        global_response_norm(x, weight, bias, eps=1e-6),
    )


def test_global_response_norm_is_taken_in_each_sample_by_itself():
    """Taken over the batch it would differ, but never for a single sample."""
    x, weight, bias = normal(0, 2, 12, 4, 5) * np.array([1.0, 2.0])[:, None, None, None], normal(1, 12), normal(2, 12)

    def over_the_batch(x):
        strength = np.sqrt((x * x).sum(axis=(0, 2, 3), keepdims=True))
        relative = strength / (strength.mean(axis=1, keepdims=True) + 1e-6)
        return weight[:, None, None] * (x * relative) + bias[:, None, None] + x

    y = global_response_norm(x, weight, bias, eps=1e-6)
    assert np.abs(y - over_the_batch(x)).max() > 0.1
    for n in range(2):
        alone = global_response_norm(x[n : n + 1], weight, bias, eps=1e-6)
        np.testing.assert_array_equal(alone, y[n : n + 1])
        np.testing.assert_allclose(alone, over_the_batch(x[n : n + 1]), rtol=1e-13)  # 30 roundings of 1e-16


@pytest.mark.parametrize(("side", "rms"), [(56, 4.6), (28, 9.2), (14, 18.5), (7, 37.0)])
def test_global_response_norm_float16_survives_where_float16_sums_overflow(side, rms):
    """A channel's sum of squares passes 65504, the end of float16."""
    x = np.stack([np.full((side, side), rms), np.full((side, side), -rms / 3)]).astype(np.float16)[None]
    with np.errstate(over="ignore"):
        assert np.isinf(np.square(x[0, 0]).sum(dtype=np.float16))
    weight, bias = np.array([0.5, -0.25], np.float16), np.array([0.125, 1.0], np.float16)
    expected = naive.global_response_norm(x, weight, bias, eps=1e-6)
    magnitude = naive.global_response_norm(np.abs(x), np.abs(weight), np.abs(bias), eps=1e-6)
    assert_rounded(global_response_norm(x, weight, bias, eps=1e-6), expected, magnitude, operations=side * side + 12)


def test_global_response_norm_of_silence_is_the_bias():
    x = np.zeros((1, 3, 2, 2), np.float32)
    y = global_response_norm(x, np.ones(3, np.float32), np.arange(3, dtype=np.float32), eps=1e-6)
    assert y[0, :, 0, 0].tolist() == [0.0, 1.0, 2.0]


def test_global_response_norm_eps_shows_for_faint_channels():
    x, one, zero = np.full((1, 1, 1, 1), 1e-6), np.ones(1), np.zeros(1)
    assert global_response_norm(x, one, zero, eps=1e-6).item() == pytest.approx(1.5e-6, rel=1e-12)


X, ONES = normal(0, 2, 4, 5, 6), np.ones(4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layer_norm(X, ONES, ONES, eps=1e-6, axis=-1), "layer_norm: the weights expect 4 channels on axis -1"),
        (lambda: layer_norm(X, ONES, ONES, eps=1e-6, axis=4), "layer_norm: the weights expect 4 channels on axis 4"),
        (lambda: layer_norm(X, ONES, ONES[:3], eps=1e-6, axis=1), "bias"),
        (lambda: layer_norm(X, ONES, ONES[:1], eps=1e-6, axis=1), "bias"),
        (lambda: layer_norm(X, ONES[:, None], ONES, eps=1e-6, axis=1), "weight"),
        (lambda: layer_norm(X.astype(int), ONES, ONES, eps=1e-6, axis=1), "expected a floating-point array, got int64"),
        (lambda: layer_norm(X.tolist(), ONES, ONES, eps=1e-6, axis=1), "expected a NumPy or CuPy array"),
        (lambda: batch_norm(X[0], ONES, ONES, ONES, ONES, eps=1e-5), r"batch_norm: expected x of shape \(N, C, H, W\)"),
        (lambda: batch_norm(X, ONES[:3], ONES, ONES, ONES, eps=1e-5), "batch_norm: the weights expect 3 channels"),
        (lambda: batch_norm(X, ONES, ONES[:3], ONES, ONES, eps=1e-5), "bias"),
        (lambda: batch_norm(X, ONES, ONES, ONES[:3], ONES, eps=1e-5), "running_mean"),
        (lambda: batch_norm(X, ONES, ONES, ONES, ONES[:1], eps=1e-5), "running_var"),
        (lambda: batch_norm(X, ONES[None], ONES, ONES, ONES, eps=1e-5), "weight"),
        (lambda: batch_norm(X.astype(int), ONES, ONES, ONES, ONES, eps=1e-5), "expected a floating-point array"),
        (lambda: batch_norm_training(X[0], ONES, ONES, eps=1e-5), r"batch_norm_training: expected x of shape"),
        (lambda: batch_norm_training(X, ONES[:3], ONES, eps=1e-5), "the weights expect 3 channels on axis 1"),
        (lambda: batch_norm_training(X, ONES, ONES[:1], eps=1e-5), "bias"),
        (lambda: running_mean(X, ONES[:3]), r"running_mean: expected running_mean of shape \(4,\), got \(3,\)"),
        (lambda: running_var(X, ONES[:, None]), r"running_var: expected running_var of shape \(4,\), got \(4, 1\)"),
        (lambda: running_var(X.astype(int), ONES), "expected a floating-point array"),
        (lambda: global_response_norm(X[0], ONES, ONES, eps=1e-6), r"global_response_norm: expected x of shape"),
        (lambda: global_response_norm(X, ONES[:3], ONES, eps=1e-6), "the weights expect 3 channels on axis 1"),
        (lambda: global_response_norm(X, ONES, ONES[:3], eps=1e-6), "bias"),
        (lambda: global_response_norm(X, ONES, ONES[:1], eps=1e-6), "bias"),
        (lambda: global_response_norm(X.astype(int), ONES, ONES, eps=1e-6), "expected a floating-point array"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)
