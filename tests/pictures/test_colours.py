"""The colours of numbers: even steps, and an order that is left when only lightness is."""

import numpy as np
import pytest

from npconv.pictures import colours
from npconv.pictures.colours import diverging, sequential

SCALES = {"sequential": (sequential, 0.0), "diverging": (diverging, -1.0)}


def oklab(rgb):
    """Return OKLab by the matrices of https://bottosson.github.io/posts/oklab/, sRGB (..., 3) uint8 in."""
    encoded = rgb / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    cones = np.cbrt(
        linear
        @ np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        ).T
    )
    return (
        cones
        @ np.array(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ]
        ).T
    )


@pytest.mark.parametrize("name", SCALES)
def test_steps_look_the_same_everywhere(name):
    function, low = SCALES[name]
    lab = oklab(function(np.linspace(low, 1.0, 33)))
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    # Colours of 8 bits are off by half a level, which is up to 0.003 in OKLab where it is dark; a step is 0.03 or more.
    assert steps.min() > 0.02
    assert np.abs(steps / np.median(steps) - 1).max() < 0.2


def test_from_low_to_high_it_gets_lighter_all_the_way():
    lightness = oklab(sequential(np.linspace(0, 1, 65)))[:, 0]
    assert (np.diff(lightness) > 0).all()


def test_away_from_nothing_it_gets_darker_on_both_sides_alike():
    lightness = oklab(diverging(np.linspace(-1, 1, 65)))[:, 0]
    assert (np.diff(lightness[:33]) > 0).all()
    assert (np.diff(lightness[32:]) < 0).all()
    assert np.abs(lightness - lightness[::-1]).max() < 0.01


def test_nothing_is_grey_and_the_sides_differ_in_blue_and_red():
    assert np.ptp(diverging(np.array(0.0))) <= 2
    negative, positive = diverging(np.array([-1.0, 1.0])).astype(int)
    assert negative[2] > negative[0] + 80
    assert positive[0] > positive[2] + 80


@pytest.mark.parametrize("name", SCALES)
def test_beyond_the_ends_are_the_ends_and_what_is_no_number_is_red(name):
    function, low = SCALES[name]
    ends = function(np.array([low, 1.0]))
    np.testing.assert_array_equal(function(np.array([low - 5, 7.0])), ends)
    np.testing.assert_array_equal(function(np.array([-np.inf, np.inf])), ends)
    np.testing.assert_array_equal(function(np.array(np.nan)), [255, 0, 0])


def test_shapes_stay():
    assert sequential(np.zeros((2, 3, 4))).shape == (2, 3, 4, 3)
    assert colours.sequential(np.array(0.5)).dtype == np.uint8
