"""Each way in which a mistake changes an array is measured as it was made."""

import numpy as np
import pytest

from npconv.pictures.relations import (
    MOST_PLACES,
    MOST_SQUARES,
    correlation,
    in_orders,
    line,
    lines,
    matching,
    orders,
    placed,
    shifts,
    thinned,
)

RIGHT = np.random.default_rng(0).normal(size=(2, 3, 5, 7))
EXACT = {"rtol": 1e-12, "atol": 1e-12}  # sums of some hundred float64 numbers of about 1


def test_a_factor_and_an_offset_are_a_line_that_leaves_nothing():
    slope, offset, rest = line(RIGHT, 0.7 * RIGHT - 2)
    np.testing.assert_allclose([slope, offset, rest], [0.7, -2, 0], **EXACT)
    assert line(RIGHT, RIGHT**2)[2] > 0.1


def test_each_place_of_an_axis_has_its_own_line():
    factors, offsets = np.array([0.5, 2.0, -1.0]), np.array([0.0, 1.0, 5.0])
    found = lines(RIGHT, RIGHT * factors[:, None, None] + offsets[:, None, None], 1)
    np.testing.assert_allclose(found, [factors, offsets], **EXACT)
    slopes, found_offsets = lines(np.ones((2, 3)), np.full((2, 3), 4.0), 0)
    np.testing.assert_allclose([slopes, found_offsets], [[1, 1], [3, 3]], **EXACT)


@pytest.mark.parametrize("axis", range(4))
def test_swapped_places_are_found_along_each_axis(axis):
    order = np.roll(np.arange(RIGHT.shape[axis]), 1)
    found = matching(RIGHT, np.take(RIGHT, order, axis), axis)
    np.testing.assert_array_equal(found.argmax(axis=1), order)
    np.testing.assert_allclose(found[np.arange(len(order)), order], 1, **EXACT)


def test_an_offset_of_a_place_does_not_hide_which_it_is():
    found = matching(RIGHT, RIGHT + np.array([3.0, -9.0, 0.0])[:, None, None], 1)
    np.testing.assert_array_equal(found.argmax(axis=1), [0, 1, 2])


def test_of_very_many_places_the_first_are_compared():
    assert matching(np.ones((MOST_PLACES + 3, 4)), np.ones((MOST_PLACES + 3, 4)), 0).shape == (MOST_PLACES, MOST_PLACES)


@pytest.mark.parametrize(
    ("name", "mine"),
    [
        ("as it is", RIGHT),
        ("C backwards", RIGHT[:, ::-1]),
        ("turned by 180 degrees", RIGHT[:, :, ::-1, ::-1]),
        ("order NHWC, read as NCHW", RIGHT.transpose(0, 2, 3, 1).reshape(RIGHT.shape)),
        ("order NCHW, read as NHWC", RIGHT.reshape(2, 5, 7, 3).transpose(0, 3, 1, 2)),
        ("order NCWH, read as NCHW", RIGHT.transpose(0, 1, 3, 2).reshape(RIGHT.shape)),
    ],
)
def test_another_order_of_the_axes_has_the_full_bar(name, mine):
    found = orders(RIGHT, mine, "NCHW")
    assert max(found, key=found.__getitem__) == name
    assert found[name] == pytest.approx(1)
    assert sorted(found.values())[-2] < 0.9


def test_transposed_square_maps_and_kernels_of_other_libraries_are_known():
    square, kernel = RIGHT[..., :5], RIGHT[..., :5, :5]
    assert orders(square, square.swapaxes(-1, -2), "NCHW")["transposed (H and W swapped)"] == pytest.approx(1)
    hwio = kernel.transpose(2, 3, 1, 0).reshape(kernel.shape)
    assert orders(kernel, hwio, "OIHW")["order HWIO, read as OIHW"] == pytest.approx(1)


def test_no_order_is_there_twice_and_each_has_the_shape():
    found = list(in_orders(np.ones((4, 4)), "OI").values())
    assert len(found) == 1
    assert {array.shape for array in in_orders(RIGHT, "NCHW").values()} == {RIGHT.shape}


@pytest.mark.parametrize(("down", "across"), [(0, 0), (1, -2), (-1, 1)])
def test_a_moved_map_is_found_where_it_was_moved_to(down, across):
    wide = np.random.default_rng(1).normal(size=(2, 12, 13))
    found = shifts(wide, np.roll(wide, (down, across), (1, 2)))
    assert np.unravel_index(found.argmax(), found.shape) == (3 + down, 3 + across)
    assert found.max() == pytest.approx(1)


def test_a_smaller_map_is_found_in_the_larger():
    wide = np.random.default_rng(2).normal(size=(2, 9, 10))
    found = placed(wide, wide[:, 2:7, 3:9])
    assert np.unravel_index(found.argmax(), found.shape) == (2, 3)
    strided = placed(wide, wide[:, ::2, ::2])
    assert np.unravel_index(strided.argmax(), strided.shape) == (0, 0)
    assert strided.max() == pytest.approx(1)
    assert placed(wide, wide[:1]) is None
    assert placed(wide[:, :3], wide) is None


def test_what_is_thinned_keeps_what_is_farthest_from_0():
    values = np.zeros((5, 300))
    values[3, 217] = -7
    found = thinned(values)
    assert found.shape == (5, 60)
    assert found.min() == -7
    small = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(thinned(small), small)
    assert max(thinned(np.ones((1000, 1000))).shape) <= MOST_SQUARES


def test_what_is_not_finite_is_no_error():
    other = RIGHT.copy()
    other[0, 0, 0, 0], other[0, 0, 0, 1] = np.nan, np.inf
    assert np.isfinite(line(RIGHT, other)).all()
    assert np.isfinite(matching(RIGHT, other, 1)).all()
    assert correlation(np.zeros(3), np.ones(3)) == 0
