"""Convolutions: against seven loops over random shapes, in every dtype, and what they refuse."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import naive_layers as naive
from support.rounding import FLOATS, assert_rounded, normal

from npconv.errors import InputError
from npconv.layers import conv2d, depthwise_conv2d, pointwise_conv2d

small = st.integers(1, 3)
pairs = st.tuples(small, small)
dtypes = st.sampled_from(FLOATS)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def window_problems(draw):
    """Draw a batch, a kernel, strides and padding, and a map into which the kernel fits at least once."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    size = tuple(max(1, k - 2 * p) + draw(st.integers(0, 4)) for k, p in zip(kernel, padding, strict=True))
    return draw(st.integers(1, 2)), kernel, draw(pairs), padding, size


def assert_convolves(function, twin, x, weight, bias, **options):
    """Compare with the twin; the twin of the absolute values bounds what rounding can do."""
    expected = twin(x, weight, bias, **options)
    sizes = [None if array is None else np.abs(np.asarray(array, np.float64)) for array in (x, weight, bias)]
    actual = function(x, weight, bias, **options)
    assert actual.dtype == x.dtype
    assert_rounded(actual, expected, twin(*sizes, **options), operations=weight[0].size + 2)


@given(window_problems(), small, small, small, st.booleans(), dtypes, seeds)
@example((2, (4, 3), (3, 2), (2, 1), (5, 8)), 2, 3, 1, True, "float16", 0)  # all dimensions distinct
@example((1, (1, 1), (1, 1), (0, 0), (1, 1)), 1, 1, 1, False, "float32", 0)  # a 1x1 map
def test_conv2d(problem, groups, group_channels, group_outputs, has_bias, dtype, seed):
    batch, kernel, stride, padding, size = problem
    x = normal(seed, batch, groups * group_channels, *size, dtype=dtype)
    weight = normal(seed, groups * group_outputs, group_channels, *kernel, dtype=dtype)
    bias = normal(seed, groups * group_outputs, dtype=dtype) if has_bias else None
    assert_convolves(conv2d, naive.conv2d, x, weight, bias, stride=stride, padding=padding, groups=groups)


@given(window_problems(), st.integers(1, 4), st.booleans(), dtypes, seeds)
@example((2, (4, 3), (3, 2), (2, 1), (5, 8)), 6, True, "float16", 0)
def test_depthwise_conv2d(problem, channels, has_bias, dtype, seed):
    batch, kernel, stride, padding, size = problem
    x = normal(seed, batch, channels, *size, dtype=dtype)
    weight = normal(seed, channels, 1, *kernel, dtype=dtype)
    bias = normal(seed, channels, dtype=dtype) if has_bias else None
    assert_convolves(depthwise_conv2d, naive.depthwise_conv2d, x, weight, bias, stride=stride, padding=padding)


@given(st.integers(1, 2), st.integers(1, 5), st.integers(1, 6), pairs, st.booleans(), st.booleans(), dtypes, seeds)
@example(2, 5, 3, (4, 7), True, False, "float16", 0)
def test_pointwise_conv2d(batch, channels, out_channels, size, has_bias, as_convolution, dtype, seed):
    x = normal(seed, batch, channels, *size, dtype=dtype)
    weight = normal(seed, out_channels, channels, *([1, 1] if as_convolution else []), dtype=dtype)
    bias = normal(seed, out_channels, dtype=dtype) if has_bias else None
    assert_convolves(pointwise_conv2d, naive.pointwise_conv2d, x, weight, bias)


def test_a_number_stands_for_both_directions():
    x, weight = normal(0, 2, 3, 7, 6), normal(0, 5, 3, 3, 2)
    np.testing.assert_array_equal(
        conv2d(x, weight, stride=2, padding=1), conv2d(x, weight, stride=(2, 2), padding=[1, 1])
    )
    per_channel = normal(1, 3, 1, 3, 2)
    np.testing.assert_array_equal(
        depthwise_conv2d(x, per_channel, stride=2, padding=1),
        depthwise_conv2d(x, per_channel, stride=(2, 2), padding=[1, 1]),
    )


def test_the_kernel_is_not_flipped():
    x = np.arange(1.0, 5.0).reshape(1, 1, 1, 4)
    weight = np.array([1.0, 10.0]).reshape(1, 1, 1, 2)
    for function in (conv2d, depthwise_conv2d):
        assert function(x, weight).ravel().tolist() == [21.0, 32.0, 43.0]


def test_float16_sums_of_5000_ones_do_not_stagnate():
    """Summed in float16, ones stop adding up at 2048; 5000 itself is a float16 number."""
    ones = np.ones((1, 5000, 1, 1), np.float16)
    assert np.cumsum(ones, dtype=np.float16)[-1] == 2048
    assert conv2d(ones, ones).item() == 5000
    assert pointwise_conv2d(ones, ones[:, :, 0, 0]).item() == 5000
    plane = ones.reshape(1, 1, 50, 100)
    assert conv2d(plane, plane).item() == 5000
    assert depthwise_conv2d(plane, plane).item() == 5000


def test_float16_terms_may_exceed_float16():
    """Single products are 90,000, beyond float16; their sum is not."""
    x = np.full((1, 2, 1, 1), 300, np.float16)
    weight = np.array([[300, -299]], np.float16)
    assert pointwise_conv2d(x, weight).item() == 300
    assert conv2d(x, weight[:, :, None, None]).item() == 300
    pair = x.reshape(1, 1, 1, 2)
    assert depthwise_conv2d(pair, weight.reshape(1, 1, 1, 2)).item() == 300


X = normal(0, 2, 4, 5, 6)
CONV, DEPTHWISE, POINTWISE = normal(0, 6, 4, 3, 3), normal(0, 4, 1, 3, 3), normal(0, 6, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conv2d(X[0], CONV), r"conv2d: expected x of shape \(N, C, H, W\), got \(4, 5, 6\)"),
        (lambda: conv2d(X, CONV[0]), r"conv2d: expected a weight with 4 axes, got shape \(4, 3, 3\)"),
        (lambda: conv2d(X, CONV[:, :3]), r"conv2d: the weights expect 3 channels on axis 1 of x.*\(2, 4, 5, 6\)"),
        (lambda: conv2d(X.transpose(0, 2, 3, 1), CONV), "check the layout"),
        (lambda: conv2d(X, CONV[:, :2], groups=4), "expected groups to divide the 6 output channels, got 4"),
        (lambda: conv2d(X, CONV, groups=0), "expected groups to divide the 6 output channels, got 0"),
        (lambda: conv2d(X, CONV, groups=2), "the weights expect 8 channels"),
        (lambda: conv2d(X, CONV, stride=0), "expected stride to be an int or a pair of ints of at least 1, got 0"),
        (lambda: conv2d(X, CONV, padding=-1), "expected padding to be an int or a pair of ints of at least 0, got -1"),
        (lambda: conv2d(X[:, :, :2], CONV), "a 3 x 3 window does not fit into a 2 x 6 map with padding 0, 0"),
        (lambda: conv2d(X, CONV, np.ones(5)), "bias"),
        (lambda: conv2d(X, CONV, np.ones(1)), "bias"),
        (lambda: conv2d(X.astype(int), CONV), "expected a floating-point array, got int64"),
        (lambda: conv2d(X.tolist(), CONV), "expected a NumPy or CuPy array, got list"),
        (lambda: depthwise_conv2d(X[0], DEPTHWISE), r"depthwise_conv2d: expected x of shape \(N, C, H, W\)"),
        (lambda: depthwise_conv2d(X, DEPTHWISE[:, 0]), "depthwise_conv2d: expected a weight with 4 axes"),
        (
            lambda: depthwise_conv2d(X, CONV),
            r"expected a weight of shape \(C, 1, kh, kw\), got \(6, 4, 3, 3\); use",
        ),
        (lambda: depthwise_conv2d(X, DEPTHWISE[:3]), "the weights expect 3 channels on axis 1"),
        (lambda: depthwise_conv2d(X, DEPTHWISE, stride=(1, 0)), r"expected stride .* got \(1, 0\)"),
        (lambda: depthwise_conv2d(X, DEPTHWISE, padding=(0, 1, 1)), r"expected padding .* got \(0, 1, 1\)"),
        (lambda: depthwise_conv2d(X[:, :, :, :1], DEPTHWISE), "a 3 x 3 window does not fit into a 5 x 1 map"),
        (lambda: depthwise_conv2d(X, DEPTHWISE, np.ones(3)), "bias"),
        (lambda: depthwise_conv2d(X.astype(int), DEPTHWISE), "expected a floating-point array"),
        (lambda: pointwise_conv2d(X[0], POINTWISE), r"pointwise_conv2d: expected x of shape \(N, C, H, W\)"),
        (lambda: pointwise_conv2d(X, POINTWISE[0]), "pointwise_conv2d: expected a weight with 2 or 4 axes"),
        (lambda: pointwise_conv2d(X, CONV), r"expected a weight of shape \(O, C\) or \(O, C, 1, 1\)"),
        (lambda: pointwise_conv2d(X, POINTWISE[:, :3]), "the weights expect 3 channels on axis 1"),
        (lambda: pointwise_conv2d(X, POINTWISE, np.ones(4)), "bias"),
        (lambda: pointwise_conv2d(X.astype(int), POINTWISE), "expected a floating-point array"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("stride", [1.5, None, "2", (1, 1.0), np.array([1, 1]), ()])
def test_refuses_strides_and_padding_that_are_no_ints(stride):
    with pytest.raises(InputError, match="conv2d: expected stride to be an int or a pair of ints"):
        conv2d(X, CONV, stride=stride)
    with pytest.raises(InputError, match="conv2d: expected padding to be an int or a pair of ints"):
        conv2d(X, CONV, padding=stride)
