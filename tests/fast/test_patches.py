import hypothesis.strategies as st
import numpy as np
from hypothesis import assume, given
from support.rounding import assert_rounded, normal

from npconv.fast.engine import Scratch, SharedScratch
from npconv.fast.products import PatchProduct, fold_patches
from npconv.layers import conv2d

PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))


def check(weight, bias, x, stride, padding, scratch):
    """Assert that the product of patches is the convolution, up to rounding."""
    product = PatchProduct(**fold_patches(weight, bias), stride=stride, padding=padding)
    channels_first = np.ascontiguousarray(x.transpose(1, 0, 2, 3))
    channels_first.flags.writeable = False
    size = product.output_size(*x.shape[2:])
    out = np.full((len(weight), len(x) * size[0] * size[1]), np.nan, np.float32)
    product(channels_first, out, scratch)
    actual = out.reshape(len(weight), len(x), *size).transpose(1, 0, 2, 3)
    wide = [array.astype(np.float64) for array in (x, weight, bias)]
    expected = conv2d(*wide, stride=stride, padding=padding)
    magnitude = conv2d(*map(np.abs, wide), stride=stride, padding=padding)
    assert_rounded(actual, expected, magnitude, weight[0].size + 1)


@given(
    channels=st.integers(1, 6),
    outputs=st.integers(1, 40),
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    kernel=PAIRS,
    stride=PAIRS,
    padding=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    threads=st.integers(1, 2),
)
def test_products_of_patches_are_the_convolution(channels, outputs, batch, size, kernel, stride, padding, threads):
    assume(all(s + 2 * p >= k for s, p, k in zip(size, padding, kernel, strict=True)))
    weight, bias = normal(1, outputs, channels, *kernel, dtype="float32"), normal(2, outputs, dtype="float32")
    x = normal(3, batch, channels, *size, dtype="float32")
    check(weight, bias, x, stride, padding, SharedScratch(threads) if threads > 1 else Scratch())


def test_one_scratch_serves_changing_sizes_and_paddings():
    scratch, weight, bias = Scratch(), normal(4, 3, 2, 3, 3, dtype="float32"), normal(5, 3, dtype="float32")
    for height, width in ((9, 5), (4, 4), (9, 5), (5, 9)):
        for padding in ((1, 1), (0, 2), (2, 0), (1, 1), (0, 0)):
            x = 1e3 * normal(6, 2, 2, height, width, dtype="float32")
            check(weight, bias, x, (2, 1), padding, scratch)
