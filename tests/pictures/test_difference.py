"""Two arrays side by side: one scale, the planes that differ most, and where along each axis."""

import numpy as np
import pytest

from npconv.errors import InputError, ShapeError
from npconv.pictures.colours import diverging
from npconv.pictures.difference import MOST_PLANES, MOST_POSITIONS, difference

RIGHT = np.random.default_rng(0).normal(size=(2, 3, 4, 5))


def test_equal_arrays_have_a_flat_difference():
    found = difference(RIGHT, RIGHT.copy(), "NCHW")
    assert found.largest == 0
    np.testing.assert_array_equal(found.reference.pixels, found.mine.pixels)
    colours = np.unique(found.error.pixels.reshape(-1, 3), axis=0).tolist()
    assert len(colours) == 2  # nothing, and the gap between planes
    assert diverging(np.array(0.0)).tolist() in colours


def test_the_worst_plane_comes_first_and_its_place_is_seen_along_each_axis():
    other = RIGHT.copy()
    other[1, 2, 3, 0] += 7
    other[0, 1, 0, 4] -= 2
    found = difference(RIGHT, other, "NCHW")
    assert found.planes[:2] == ((1, 2), (0, 1))
    assert found.largest == pytest.approx(7)
    assert list(found.profiles) == ["N", "C", "H", "W"]
    np.testing.assert_array_equal(found.error.pixels[:4, :5][3, 0], diverging(np.array(1.0)))
    heights = {axis: (picture.pixels[..., 0] < 255).sum(axis=0) for axis, picture in found.profiles.items()}
    for axis, place in (("N", 1), ("C", 2), ("H", 3), ("W", 0)):
        assert heights[axis].argmax() == place


def test_both_have_the_scale_of_the_reference():
    found = difference(np.array([[1.0, -4.0]]), np.array([[8.0, -2.0]]))
    np.testing.assert_array_equal(found.reference.pixels, diverging(np.array([[0.25, -1.0]])))
    np.testing.assert_array_equal(found.mine.pixels, diverging(np.array([[2.0, -0.5]])))
    np.testing.assert_array_equal(found.error.pixels, diverging(np.array([[1.0, 2 / 7]])))


def test_many_planes_and_large_ones_are_thinned_out():
    found = difference(np.zeros((40, 100, 30)), np.ones((40, 100, 30)))
    assert len(found.planes) == MOST_PLANES
    assert found.reference.pixels.shape[0] <= 3 * (MOST_POSITIONS + 1)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3)])
def test_vectors_and_numbers_are_a_plane(shape):
    found = difference(np.zeros(shape), np.ones(shape))
    assert found.planes == ((0,),)
    assert list(found.profiles) == [f"axis {axis}" for axis, length in enumerate(shape) if length > 1]


def test_what_is_no_number_is_red_and_the_worst():
    other = RIGHT.copy()
    other[0, 0, 0, 0] = np.nan
    found = difference(RIGHT, other)
    assert found.planes[0] == (0, 0)
    assert found.largest == np.inf
    np.testing.assert_array_equal(found.mine.pixels[0, 0], [255, 0, 0])


def test_arrays_that_cannot_be_compared_are_refused():
    with pytest.raises(ShapeError, match="expected arrays of one shape"):
        difference(np.zeros(2), np.zeros(3))
    with pytest.raises(InputError, match="got none"):
        difference(np.zeros((0, 2)), np.zeros((0, 2)))


def test_a_notebook_shows_both_and_their_difference():
    shown = difference(np.zeros((1, 2, 4, 4)), np.full((1, 2, 4, 4), 0.25), "NCHW")._repr_html_()
    assert shown.count('<img src="data:image/png;base64,') == 6
    assert [axis for axis in "NCHW" if f"largest difference along {axis}" in shown] == ["C", "H", "W"]
    assert "largest difference 0.25" in shown
