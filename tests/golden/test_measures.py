"""The numbers of a comparison against direct formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from npconv.golden import measures as module
from npconv.golden.measures import distance, largest_of, measure, pieces, same

SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
VALUES = st.floats(-1e6, 1e6, width=32)


def test_differences_that_no_number_holds_are_infinite_and_no_warning():
    large = np.array([1e308, 0.0])
    assert distance(large, -large) == np.inf
    assert distance(large, large) == 0
    assert distance(np.array([np.inf]), np.array([np.inf])) == np.inf
    assert distance(large, large[:1]) == np.inf
    assert distance(np.zeros((0, 2)), np.zeros((0, 2))) == 0


@st.composite
def two_arrays(draw):
    """Two arrays of one shape, in any two precisions; the second sometimes with its axes the other way in memory."""
    shape = draw(SHAPES)
    reference = draw(npst.arrays(draw(st.sampled_from([np.float32, np.float64])), shape, elements=VALUES))
    mine = draw(npst.arrays(np.float32, shape, elements=VALUES))
    return reference, mine.T.copy().T if draw(st.booleans()) else mine


@given(two_arrays(), st.floats(0, 1e6), st.sampled_from([1, 3, 1 << 13]))
def test_against_direct_formulas(arrays, tolerance, piece):
    reference, mine = arrays
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)
        found = measure(reference, mine, tolerance)
    a, b = reference.astype(np.float64).ravel(), mine.astype(np.float64).ravel()
    difference = np.abs(a - b)
    assert found.finite
    assert found.max_abs == difference.max(initial=0.0)
    assert found.largest == np.abs(a).max(initial=0.0)
    assert found.largest_mine == np.abs(b).max(initial=0.0)
    assert found.outside == (np.mean(difference > tolerance) if a.size else 0.0)
    # Sums of at most 625 squares in float64, in another order.
    power, error = (a**2).sum(), (difference**2).sum()
    assert found.nmse == pytest.approx(error / power if power else (np.inf if error else 0.0), rel=1e-12)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    expected = a @ b / norms if norms else float(not a.any() and not b.any())
    assert found.cosine == pytest.approx(expected, abs=1e-12)
    assert -1 <= found.cosine <= 1


@given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 9), st.booleans(), st.booleans())
def test_what_is_not_finite_is_never_within_a_tolerance(value, place, in_reference, in_mine):
    arrays = [np.arange(1, 11, dtype=np.float32) for _ in range(2)]
    for array, here in zip(arrays, (in_reference, in_mine), strict=True):
        if here:
            array[place] = value
    found = measure(*arrays, tolerance=1e30)
    broken = in_reference or in_mine
    assert found.finite is not broken
    assert found.max_abs == (np.inf if broken else 0.0)
    assert (found.outside > 0) is broken


def test_equal_arrays_of_another_dtype_differ_by_nothing():
    whole = np.arange(6).reshape(2, 3)
    for reference, mine in ((whole.astype(np.uint8), whole.astype(np.float32)), (whole, whole.astype(np.float16))):
        found = measure(reference, mine, 0.0)
        assert (found.max_abs, found.nmse, found.outside, found.cosine) == (0.0, 0.0, 0.0, 1.0)


def test_whole_numbers_without_sign_do_not_wrap():
    assert measure(np.uint8([0, 255]), np.uint8([255, 0]), 0.0).max_abs == 255
    assert largest_of(np.int8([-128, 127])) == 128


def test_the_squares_of_large_numbers_warn_of_nothing():
    found = measure(np.array([1e200, 1.0]), np.array([-1e200, 1.0]), 0.0)
    assert (found.max_abs, found.finite) == (2e200, True)


@given(two_arrays())
def test_same_is_equality_of_values_and_dtype(arrays):
    reference, mine = arrays
    assert same(reference, reference.copy())
    assert same(reference, mine) == (reference.dtype == mine.dtype and np.array_equal(reference, mine))


def test_pieces_are_views(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 4)
    array = np.arange(10.0).reshape(2, 5)
    found = list(pieces(array))
    assert [len(piece) for (piece,) in found] == [4, 4, 2]
    assert all(np.shares_memory(piece, array) for (piece,) in found)
