"""Averages over positions: against loops over random shapes, in every dtype, and what they refuse."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import naive_layers as naive
from support.rounding import FLOATS, assert_rounded, normal

from npconv.errors import InputError
from npconv.layers import average_pool2d, global_average_pool

dtypes = st.sampled_from(FLOATS)
seeds = st.integers(0, 2**32 - 1)


@given(st.integers(1, 2), st.integers(1, 3), st.tuples(st.integers(1, 6), st.integers(1, 6)), dtypes, seeds)
@example(1, 1, (1, 1), "float16", 0)
def test_global_average_pool(batch, channels, size, dtype, seed):
    x = normal(seed, batch, channels, *size, dtype=dtype)
    y = global_average_pool(x)
    assert y.dtype == dtype
    magnitude = naive.global_average_pool(np.abs(x))
    assert_rounded(y, naive.global_average_pool(x), magnitude, operations=size[0] * size[1] + 1)


@st.composite
def pool_axes(draw):
    """Draw a window, step, padding (at most half of the window, as PyTorch has it) and map size of one axis."""
    kernel = draw(st.integers(1, 5))
    padding = draw(st.integers(0, kernel // 2))
    return kernel, draw(st.integers(1, 6)), padding, max(1, kernel - 2 * padding) + draw(st.integers(0, 6))


@given(st.integers(1, 2), st.integers(1, 3), pool_axes(), pool_axes(), st.booleans(), dtypes, seeds)
@example(2, 3, (3, 2, 1, 8), (2, 2, 0, 7), True, "float32", 0)  # CvT's; on an even size the last window hangs over
@example(1, 1, (2, 3, 1, 2), (1, 1, 0, 1), True, "float64", 0)  # a last window would begin in the right padding
def test_average_pool2d(batch, channels, vertical, horizontal, ceil_mode, dtype, seed):
    kernel, stride, padding, size = zip(vertical, horizontal, strict=True)
    x = normal(seed, batch, channels, *size, dtype=dtype)
    options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    y = average_pool2d(x, **options)
    assert y.dtype == dtype
    magnitude = naive.average_pool2d(np.abs(x), **options)
    assert_rounded(y, naive.average_pool2d(x, **options), magnitude, operations=kernel[0] * kernel[1] + 1)


def test_average_pool2d_divides_by_the_padding_too_but_not_by_what_lies_beyond_it():
    x = np.array([12.0, 24.0, 36.0, 48.0]).reshape(1, 1, 1, 4)
    options = {"kernel_size": (1, 3), "stride": (1, 2), "padding": (0, 1)}
    assert average_pool2d(x, ceil_mode=False, **options).ravel().tolist() == [12.0, 36.0]  # 0 12 24, 24 36 48
    # 48 and a zero of the padding; the third position lies beyond: a mean of two.
    assert average_pool2d(x, ceil_mode=True, **options).ravel().tolist() == [12.0, 36.0, 24.0]


def test_a_number_stands_for_both_directions():
    x = normal(0, 2, 3, 7, 6)
    both = average_pool2d(x, kernel_size=3, stride=2, padding=1, ceil_mode=True)
    pairs = average_pool2d(x, kernel_size=(3, 3), stride=[2, 2], padding=(1, 1), ceil_mode=True)
    np.testing.assert_array_equal(both, pairs)


def test_float16_means_of_5000_ones_do_not_stagnate():
    """Summed in float16, ones stop adding up at 2048."""
    ones = np.ones((1, 1, 50, 100), np.float16)
    assert np.cumsum(ones, dtype=np.float16)[-1] == 2048
    assert global_average_pool(ones).item() == 1
    assert average_pool2d(ones, kernel_size=(50, 100), stride=1, padding=0, ceil_mode=False).item() == 1


def test_float16_sums_may_exceed_float16():
    x = np.full((1, 2, 3, 5), 60000, np.float16)
    assert (global_average_pool(x) == x[:, :, 0, 0]).all()
    assert (average_pool2d(x, kernel_size=3, stride=1, padding=0, ceil_mode=False) == x[0, 0, 0, 0]).all()


X = normal(0, 2, 4, 5, 6)
POOL = {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": True}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: global_average_pool(X[0]),
            r"global_average_pool: expected x of shape \(N, C, H, W\), got \(4, 5, 6\)",
        ),
        (lambda: global_average_pool(X.astype(int)), "expected a floating-point array, got int64"),
        (lambda: average_pool2d(X[0], **POOL), r"average_pool2d: expected x of shape \(N, C, H, W\)"),
        (lambda: average_pool2d(X, **POOL | {"kernel_size": 0}), "expected kernel_size .* of at least 1, got 0"),
        (lambda: average_pool2d(X, **POOL | {"stride": 0}), "expected stride .* of at least 1, got 0"),
        (lambda: average_pool2d(X, **POOL | {"stride": None}), "expected stride .* of at least 1, got None"),
        (lambda: average_pool2d(X, **POOL | {"padding": -1}), "expected padding .* of at least 0, got -1"),
        (lambda: average_pool2d(X, **POOL | {"kernel_size": (6, 2)}), "a 6 x 2 window does not fit into a 5 x 6 map"),
        (lambda: average_pool2d(X.astype(int), **POOL), "expected a floating-point array, got int64"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)
