import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from support.rounding import assert_rounded, normal

from npconv.fast import products
from npconv.fast.engine import Scratch, SharedScratch, shares, spans
from npconv.fast.products import (
    fold_linear,
    multiply,
    multiply_shared,
    normalize_channels,
    normalize_map,
)
from npconv.layers import layer_norm


@settings(max_examples=25)
@given(
    rows=st.one_of(st.integers(0, 40), st.sampled_from([95, 96, 97, 98, 102, 108, 120])),
    inner=st.one_of(st.integers(1, 30), st.just(1800)),
    columns=st.sampled_from([0, 1, 5, 49, 64, 65]),
    threads=st.integers(1, 3),
)
def test_products_are_those_of_float64(rows, inner, columns, threads):
    """Narrow products are cut into slabs, if the rows allow: every way to cut gives the product."""
    weight, x = normal(1, rows, inner, dtype="float32"), normal(2, inner, columns, dtype="float32")
    expected = weight.astype(np.float64) @ x
    magnitude = np.abs(weight).astype(np.float64) @ np.abs(x)
    out = np.full((rows, columns), np.nan, np.float32)
    assert multiply(weight, x, out) is out
    if out.size:
        assert_rounded(out, expected, magnitude, inner)
    shared = np.full((rows, columns), np.nan, np.float32)
    scratch = SharedScratch(threads) if threads > 1 else Scratch()
    bias = normal(3, rows, 1, dtype="float32")
    multiply_shared(weight, x, bias, shared, scratch)
    if out.size:
        assert_rounded(shared, expected + bias, magnitude + np.abs(bias), inner + 1)


@pytest.mark.parametrize(("channels", "positions"), [(1, 4), (3, 1), (40, 49), (768, 9)])
@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (100.0, 1.0), (0.0, 1e-4)])
def test_channels_are_normalized(channels, positions, mean, spread):
    x = normal(3, channels, positions, dtype="float32", mean=mean, spread=spread)
    identity = np.ones(channels), np.zeros(channels)
    expected = layer_norm(x.T.astype(np.float64), *identity, eps=1e-6, axis=-1).T
    explicit = layer_norm(x.T, *(array.astype(np.float32) for array in identity), eps=1e-6, axis=-1).T
    out = x.copy()
    normalize_channels(out, out, np.empty_like(x), 1e-6)
    # The mean is rounded to a few units in its last place, and then divided by the spread, in either engine.
    amplified = channels**0.5 * 2.0**-22 * max(abs(mean), spread) / max(spread, 1e-3)
    assert np.abs(out - expected).max() <= max(4 * np.abs(explicit - expected).max(), amplified)


@pytest.mark.parametrize("at_a_time", [1, 24, 1000])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_map_is_normalized_some_columns_at_a_time(monkeypatch, at_a_time, affine, threads):
    monkeypatch.setattr(products, "NORMALIZED_VALUES", at_a_time)
    x = normal(12, 5, 21, dtype="float32")
    x.flags.writeable = False
    weight, bias = normal(13, 5, dtype="float32"), normal(14, 5, dtype="float32")
    options = {"scale": weight[:, None], "shift": bias[:, None]} if affine else {}
    out = np.full_like(x, np.nan)
    normalize_map(x, out, SharedScratch(threads) if threads > 1 else Scratch(), eps=1e-6, **options)
    expected = np.empty_like(x)
    normalize_channels(x, expected, np.empty_like(x), 1e-6)
    expected = expected * weight[:, None] + bias[:, None] if affine else expected
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)  # sums of other sizes of product round otherwise


def test_a_constant_column_is_normalized_to_zero():
    x = np.full((7, 3), 2.5, np.float32)  # sums of 2.5 are exact
    normalize_channels(x, x, np.empty_like(x), 1e-6)
    np.testing.assert_array_equal(x, 0)


@pytest.mark.parametrize("at_a_time", [1, 10, 15, 1000])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_scales_and_shifts_are_folded_into_the_layer_between(monkeypatch, at_a_time, dtype):
    monkeypatch.setattr(products, "FOLDED_VALUES", at_a_time)
    layer = {"weight": normal(4, 5, 7, dtype=dtype), "bias": normal(5, 5, dtype=dtype)}
    columns, shift, rows = normal(6, 7, dtype=dtype), normal(7, 7, dtype=dtype), normal(8, 5, dtype=dtype)
    out = np.full((5, 7), np.nan, np.float32)
    bias = fold_linear(layer, out, columns=columns, shift=shift, rows=rows)
    weight, offset, columns, shift, rows = (
        array.astype(np.float64) for array in (layer["weight"], layer["bias"], columns, shift, rows)
    )
    np.testing.assert_allclose(out, rows[:, None] * weight * columns, rtol=2.0**-23)  # rounded to float32 once
    np.testing.assert_allclose(bias, rows * (weight @ shift + offset), rtol=1e-13)
    assert bias.dtype == np.float64


@given(st.integers(0, 1000), st.integers(0, 50), st.integers(1, 5))
def test_spans_cover_a_length_evenly(length, longest, threads):
    """As many for each thread, unless there is only one or there are not so many to share."""
    cut = spans(length, longest, threads)
    assert len(cut) == 1 or len(cut) == length or len(cut) % threads == 0
    assert (len(cut) == 1) == (length <= max(longest, 1))
    assert [first for first, _ in cut] == [0, *(end for _, end in cut[:-1])]
    assert cut[-1][1] == length
    sizes = [end - first for first, end in cut]
    assert max(sizes) <= max(longest, 1)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 10])
def test_shares_are_one_for_each_thread_at_most(threads, length):
    scratch = SharedScratch(threads) if threads > 1 else Scratch()
    cut = shares(length, scratch)
    assert len(cut) <= threads
    assert (cut[0][0], cut[-1][1]) == (0, length)


@given(hnp.arrays(np.float32, (3, 4), elements=st.sampled_from([0.0, 1.0, np.inf, np.nan, 1e30])))
def test_a_column_that_is_no_number_leaves_the_others_alone(x):
    """A picture of NaN in a batch is a set of columns."""
    weight = normal(9, 96, 3, dtype="float32")
    out = np.empty((96, 4), np.float32)
    with np.errstate(all="ignore"):
        multiply(weight, x, out)
        for column in range(4):
            if np.isfinite(x[:, column]).all():
                finite = x[:, column : column + 1].astype(np.float64)
                magnitude = np.abs(weight) @ np.abs(finite)
                assert_rounded(out[:, column : column + 1], weight @ finite, magnitude, 3)
