import threading

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given
from support.fast_models import tiny_blocks
from support.rounding import assert_rounded, normal

from npconv.fast.depthwise import DepthwiseProduct, DilatedDepthwise
from npconv.fast.engine import Scratch, SharedScratch
from npconv.layers import depthwise_conv2d


def convolve(weight, x, scratch, **window):
    """Return the convolution of x (N, C, H, W) by banded products."""
    product = DepthwiseProduct(weight, **window)
    channels_first = np.ascontiguousarray(x.transpose(1, 0, 2, 3))
    channels_first.flags.writeable = False
    out = np.full((*channels_first.shape[:2], *product.output_size(*x.shape[2:])), np.nan, np.float32)
    product(channels_first, out, scratch)
    return out.transpose(1, 0, 2, 3)


def check(weight, x, scratch, **window):
    """Assert that banded products are the convolution, up to rounding."""
    expected = depthwise_conv2d(x.astype(np.float64), weight.astype(np.float64), **window)
    magnitude = depthwise_conv2d(np.abs(x).astype(np.float64), np.abs(weight).astype(np.float64), **window)
    # Most terms of a banded product are zeros, and those round nothing.
    assert_rounded(convolve(weight, x, scratch, **window), expected, magnitude, weight[0].size)


@given(
    channels=st.integers(1, 9),
    batch=st.integers(1, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 3),
    padding=st.integers(0, 9),
    threads=st.integers(1, 3),
    tiny=st.booleans(),
)
def test_banded_products_are_the_convolution(channels, batch, height, width, kernel, stride, padding, threads, tiny):
    assume(min(height, width) + 2 * padding >= kernel)
    weight = normal(1, channels, 1, kernel, kernel, dtype="float32")
    x = normal(2, batch, channels, height, width, dtype="float32")
    scratch = SharedScratch(threads) if threads > 1 else Scratch()
    if tiny:
        with tiny_blocks():
            check(weight, x, scratch, stride=stride, padding=padding)
    else:
        check(weight, x, scratch, stride=stride, padding=padding)


@given(
    channels=st.integers(1, 5),
    batch=st.integers(1, 3),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    kernel=st.sampled_from([1, 3, 5, 7]),
    dilation=st.integers(2, 4),
    threads=st.integers(1, 3),
)
def test_kernels_with_holes_are_kernels_of_many_small_maps(channels, batch, height, width, kernel, dilation, threads):
    """Whatever the pictures and sizes, also in arrays that hold numbers of an earlier, larger map."""
    weight, bias = normal(1, channels, 1, kernel, kernel, dtype="float32"), normal(3, channels, 1, dtype="float32")
    scratch = SharedScratch(threads) if threads > 1 else Scratch()
    convolution = DilatedDepthwise(weight, bias, dilation=dilation)
    for seed, size in enumerate([(height + 3, width + 2), (height, width)]):
        x = normal(seed, batch, channels, *size, dtype="float32")
        out = np.full((channels, batch, *size), np.nan, np.float32)
        convolution(np.ascontiguousarray(x.transpose(1, 0, 2, 3)), out, scratch)
        window = {"padding": kernel // 2 * dilation, "dilation": dilation}
        expected, magnitude = (
            depthwise_conv2d(*(make(array.astype(np.float64)) for array in (x, weight, bias[:, 0])), **window)
            for make in (np.asarray, np.abs)
        )
        assert_rounded(out.transpose(1, 0, 2, 3), expected, magnitude, kernel * kernel + 1)


@pytest.mark.parametrize("width", [1, 14, 15, 16, 17, 28, 29, 56, 112, 113])
def test_around_the_widths_at_which_rows_are_cut(width):
    weight = normal(3, 5, 1, 7, 7, dtype="float32")
    check(weight, normal(4, 2, 5, 9, width, dtype="float32"), Scratch(), padding=3)


@pytest.mark.parametrize("padding", [20, 40])
def test_padding_wider_than_a_tile(padding):
    """Whole tiles see nothing but zeros."""
    weight = normal(5, 2, 1, 3, 3, dtype="float32")
    for stride in (1, 2, 3):
        check(weight, normal(6, 1, 2, 5, 6, dtype="float32"), Scratch(), stride=stride, padding=padding)


def test_one_scratch_serves_changing_sizes():
    """Borders stay zero whatever was calculated before."""
    scratch, weight = Scratch(), normal(7, 4, 1, 7, 7, dtype="float32")
    for width in (5, 40, 5, 17, 40, 3):
        for padding, stride in ((3, 1), (2, 2), (3, 1)):
            check(weight, normal(8, 2, 4, 8, width, dtype="float32") * 1e3, scratch, padding=padding, stride=stride)


@pytest.mark.parametrize("width", [7, 20])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_bias_is_added_to_each_channel(width, threads):
    weight, bias = normal(13, 4, 1, 7, 7, dtype="float32"), normal(14, 4, 1, dtype="float32")
    x = normal(15, 4, 2, 9, width, dtype="float32")
    plain, biased = (np.full_like(x, np.nan) for _ in range(2))
    scratch = SharedScratch(threads) if threads > 1 else Scratch()
    DepthwiseProduct(weight, padding=3)(x, plain, scratch)
    DepthwiseProduct(weight, bias, padding=3)(x, biased, scratch)
    np.testing.assert_array_equal(biased, plain + bias[:, :, None, None])


@pytest.mark.parametrize("size", [(9, 17), (31, 33), (1, 24), (3, 7), (2, 100)])
@pytest.mark.parametrize("kernel", [5, 6, 7])
def test_maps_that_tiles_of_several_rows_do_not_fill(size, kernel):
    weight = normal(16, 3, 1, kernel, kernel, dtype="float32")
    check(weight, normal(17, 2, 3, *size, dtype="float32"), Scratch(), padding=3)


def test_half_and_double_kernels_are_taken_in_float32():
    weight = normal(9, 3, 1, 3, 3, dtype="float16")
    x = normal(10, 1, 3, 6, 6, dtype="float32")
    expected = convolve(weight.astype(np.float32), x, Scratch(), padding=1)
    for dtype in ("float16", "float64"):
        np.testing.assert_array_equal(convolve(weight.astype(dtype), x, Scratch(), padding=1), expected)


def test_threads_may_convolve_maps_of_different_widths_at_once():
    product = DepthwiseProduct(normal(11, 3, 1, 7, 7, dtype="float32"), padding=3)
    maps = [normal(12, 3, 1, 8, width, dtype="float32") for width in (6, 9)]
    expected = [np.empty_like(x) for x in maps]
    for x, out in zip(maps, expected, strict=True):
        product(x, out, Scratch())
    errors = []

    def work(x, right):
        scratch, out = Scratch(), np.empty_like(x)
        try:
            for _ in range(300):
                product(x, out, scratch)
                np.testing.assert_array_equal(out, right)
        except Exception as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=pair) for pair in zip(maps, expected, strict=True)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
