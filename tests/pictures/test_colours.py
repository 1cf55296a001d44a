"""The colours of numbers: even steps, and an order that is left when only lightness is."""

import numpy as np
import pytest

from npconv.pictures import colours
from npconv.pictures.colours import diverging, sequential
from npconv.pictures.ink import LINES

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
    np.testing.assert_array_equal(function(np.array([low, 1.0])), ends)


def test_shapes_stay():
    assert sequential(np.zeros((2, 3, 4))).shape == (2, 3, 4, 3)
    assert colours.sequential(np.array(0.5)).dtype == np.uint8


#: What linear sRGB becomes for who lacks a kind of cones: Machado, Oliveira and Fernandes 2009, table 1, severity 1.
WITHOUT = {
    "long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "middle": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "short": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}

#: A distance in OKLab that is seen at a glance: black and white are 1 apart, and two greys of 8 bits 0.003.
SEEN = 0.1


def seen_without(cones, rgb):
    """Return sRGB (..., 3) as who lacks some cones sees it."""
    encoded = np.asarray(rgb) / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(WITHOUT[cones]).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def apart(colours):
    """Return the distances in OKLab between all of some colours."""
    lab = oklab(np.asarray(colours))
    return np.linalg.norm(lab[:, None] - lab[None], axis=2)


@pytest.mark.parametrize("cones", WITHOUT)
def test_without_some_cones_the_order_and_the_steps_of_the_scale_are_left(cones):
    """A step is no shorter than half of what all see, and the lightness grows all the way."""
    colours = sequential(np.linspace(0, 1, 17))
    all_see, left = (oklab(each) for each in (colours, seen_without(cones, colours)))
    assert (np.diff(left[:, 0]) > 0).all()
    steps, usual = (np.linalg.norm(np.diff(lab, axis=0), axis=1) for lab in (left, all_see))
    assert (steps > 0.5 * usual).all()


@pytest.mark.parametrize("cones", WITHOUT)
def test_without_some_cones_negative_and_positive_are_told_apart(cones):
    values = np.linspace(0, 1, 9)[1:]
    sides = [oklab(seen_without(cones, diverging(sign * values))) for sign in (1, -1)]
    distance = np.linalg.norm(sides[0] - sides[1], axis=1)
    assert (np.diff(distance) > 0).all()
    assert distance[4] > SEEN  # from five eighths of the largest on
    for lab in sides:
        assert (np.diff(lab[:, 0]) < 0).all()


def test_any_two_colours_of_lines_are_told_apart_and_in_grey_too():
    for each in (LINES, *(seen_without(cones, LINES) for cones in WITHOUT)):
        assert apart(each)[np.triu_indices(len(LINES), 1)].min() > SEEN
    lightness = np.sort(oklab(np.array(LINES))[:, 0])
    assert np.diff(lightness).min() > 0.05
    assert lightness[-1] < 0.85  # seen on paper


def test_what_the_matrices_do_is_known():
    """Greys stay as they are; a red and a green of one lightness come close without the middle or the long cones."""
    for cones in WITHOUT:
        np.testing.assert_allclose(seen_without(cones, [[99, 99, 99]]), 99, atol=0.01)
    pair = [(196, 96, 60), (125, 130, 40)]
    assert apart(pair)[0, 1] > 1.5 * apart(seen_without("middle", pair))[0, 1]
