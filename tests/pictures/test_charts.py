"""Curves, bars, sheets and tables of shares: what must stand where."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from npconv.errors import InputError
from npconv.pictures.charts import HEIGHT, WIDTH, bar_chart, curves, panels
from npconv.pictures.colours import scaled, sequential, shade
from npconv.pictures.gallery import CELL, TILE, Caption, contact_sheet, fitted, gallery, share_table
from npconv.pictures.ink import LINES, MARGIN, PAPER
from npconv.pictures.maps import maps

#: Pixels of a line of a colour are mixed with the paper at its edges.
MIXED = 30


def of_colour(pixels: np.ndarray, colour: tuple[int, ...]) -> np.ndarray:
    """Tell which pixels have a colour."""
    return (np.abs(pixels.astype(int) - np.array(colour)).max(axis=-1) < MIXED).astype(bool)


def plot(pixels: np.ndarray) -> np.ndarray:
    """Return the part of a chart in which nothing but lines and grid stands, where no legend is."""
    return pixels[20 : HEIGHT - 50, 80 : WIDTH - 20]


def test_a_line_rises_where_its_values_do():
    pixels = plot(curves(np.arange(20), {"a": np.linspace(0.2, 0.9, 20)}).pixels)
    rows, columns = np.nonzero(of_colour(pixels, LINES[0]))
    assert np.ptp(columns) > 0.95 * pixels.shape[1]
    assert np.corrcoef(columns, rows)[0, 1] < -0.99


def test_a_logarithmic_axis_makes_growth_straight_and_leaves_out_what_is_not_above_nothing():
    values = np.r_[0.0, -1.0, np.exp(np.linspace(0, 9, 48))]
    pixels = plot(curves(np.arange(50), {"a": values}, log=True).pixels)
    rows, columns = np.nonzero(of_colour(pixels, LINES[0]))
    assert np.corrcoef(columns, rows)[0, 1] < -0.999
    assert columns.min() > pixels.shape[1] / 50


@pytest.mark.parametrize("values", [[1.0], [0.5, 0.5], [1.0, math.nan, 2.0, math.inf], [1e-12, 2e-12], [-5.0, 1e6]])
@pytest.mark.parametrize("log", [False, True])
def test_curves_of_odd_values_are_drawn(values, log):
    pixels = curves(np.arange(len(values)), {"a": values}, log=log).pixels
    assert of_colour(pixels, LINES[0]).any()


def test_more_values_than_places_are_refused():
    with pytest.raises(InputError, match="expected at most 2 values of 'a', as of x; got 3"):
        curves([0, 1], {"a": [1, 2, 3]})


def test_several_lines_are_told_by_their_names_where_the_fewest_points_are():
    lines = {"rising": np.arange(30.0), "rising too": np.arange(30.0) + 1}
    two = curves(np.arange(30), lines).pixels
    one = curves(np.arange(30), {"rising": lines["rising"]}).pixels
    upper_left, lower_right = np.s_[20:60, 80:110], np.s_[HEIGHT - 90 : HEIGHT - 50, WIDTH - 46 : WIDTH - 20]
    assert of_colour(two[upper_left], LINES[0]).any()
    assert of_colour(two[upper_left], LINES[1]).any()
    assert not of_colour(one[upper_left], LINES[0]).any()
    assert not of_colour(two[lower_right], LINES[1]).any()


def test_a_name_has_one_colour_in_all_panels():
    quantities = {"loss": {"train": [2, 1, 0.5], "validation": [2, 1.5]}, "accuracy": {"validation": [0.1, 0.5, 0.6]}}
    pixels = panels(quantities).pixels
    assert pixels.shape == (2 * HEIGHT, WIDTH, 3)
    has = [[of_colour(half, colour).any() for colour in LINES[:3]] for half in (pixels[:HEIGHT], pixels[HEIGHT:])]
    assert has == [[True, True, False], [False, True, False]]


def test_a_panel_without_values_stands_empty_and_panels_of_nothing_are_refused():
    pixels = panels({"loss": {"train": [1.0, 2.0]}, "accuracy": {"train": [math.nan]}}).pixels
    assert of_colour(plot(pixels[:HEIGHT]), LINES[0]).sum() > 300
    legend = of_colour(plot(pixels[HEIGHT:]), LINES[0])
    assert np.ptp(np.nonzero(legend)[0]) < 10
    for nothing in ({}, {"loss": {}}, {"loss": {"train": []}}, {"loss": {"train": [math.nan]}}):
        with pytest.raises(InputError, match="expected values to draw over the epochs, got none"):
            panels(nothing)


def test_bars_are_as_long_as_their_numbers():
    pixels = bar_chart({"one": 1.0, "two": 2.0, "none": 0.0}).pixels
    lengths = [of_colour(row, LINES[0]).sum() for row in pixels[16 + 13 :: 26][:3]]
    assert lengths[2] <= 2
    assert abs(lengths[1] - 2 * lengths[0]) <= 2
    assert bar_chart({}).pixels.shape[1] == WIDTH


def test_a_single_channel_goes_from_its_lowest_to_its_highest_or_between_limits():
    values = np.linspace(-4, 12, 17)
    np.testing.assert_array_equal(scaled(values), sequential(np.linspace(0, 1, 17)))
    np.testing.assert_array_equal(scaled(values, (-4, 28)), sequential(np.linspace(0, 0.5, 17)))
    np.testing.assert_array_equal(scaled(np.ones(3)), scaled(np.zeros(3)))
    np.testing.assert_array_equal(scaled(np.array([np.nan, 0.0])), [[255, 0, 0], sequential(np.array(0.0))])


def test_pictures_on_one_scale_share_their_colours():
    both = {"low": np.zeros((2, 2)), "high": np.ones((2, 2))}
    one, own = (gallery(both, same_scale=same, size=40).pixels for same in (True, False))
    low, high = (20 + MARGIN, MARGIN + 20), (20 + MARGIN, 2 * MARGIN + 40 + 20)
    np.testing.assert_array_equal(one[low], sequential(np.array(0.0)))
    np.testing.assert_array_equal(one[high], sequential(np.array(1.0)))
    np.testing.assert_array_equal(own[low], own[high])
    both["low"][0, 0] = np.nan  # which is red, and changes no other colour
    np.testing.assert_array_equal(gallery(both, same_scale=True, size=40).pixels[high], one[high])


def test_a_gallery_takes_pictures_of_all_kinds_and_refuses_others():
    grey = np.full((4, 4, 3), 0.5)
    kinds = {
        "": grey,
        " ": (255 * grey).astype(np.uint8),
        "  ": Image.new("L", (4, 4), 127),
        "   ": maps(np.ones((1, 4, 4))),
    }
    pixels = gallery(kinds, "four", size=40).pixels
    found = [pixels[MARGIN + 20, MARGIN + (40 + MARGIN) * place + 20, 0] for place in range(4)]
    assert found == [128, 127, 127, sequential(np.array(1.0))[0]]
    with pytest.raises(InputError, match="expected a picture at least, got none"):
        gallery({})
    for wrong in (np.zeros(3), np.zeros((2, 2, 4)), np.zeros((0, 2))):
        with pytest.raises(InputError, match=r"expected a picture \(H, W, 3\) or a channel \(H, W\), got an array of"):
            gallery({"a": wrong})


def test_pixels_of_small_pictures_stay_squares_and_large_ones_are_smoothed():
    checks = Image.fromarray((np.indices((4, 4)).sum(axis=0) % 2 * 255).astype(np.uint8))
    large = np.asarray(fitted(checks, 160))
    np.testing.assert_array_equal(large, np.asarray(checks.convert("RGB")).repeat(40, axis=0).repeat(40, axis=1))
    assert len(np.unique(np.asarray(fitted(fitted(checks, 160), 50)))) > 2


def test_a_contact_sheet_has_each_photo_in_its_place():
    colours = [(250, 10 * number, 0) for number in range(7)]
    photos = [Caption(Image.new("RGB", (20, 10), colour), ("one", "two " * 40, "b\x1b")) for colour in colours]
    sheet = contact_sheet(photos, "seven", widest=TILE)
    assert sheet.width == MARGIN + 5 * (TILE + MARGIN)
    middle = MARGIN + TILE // 2
    found = [
        sheet.getpixel((middle + (TILE + MARGIN) * column, 60 + row * (sheet.height - 30) // 2))
        for row in range(2)
        for column in range(5 if row == 0 else 2)
    ]
    assert found == colours
    assert contact_sheet(photos, "seven").width > sheet.width


def test_a_contact_sheet_of_nothing_is_its_title():
    sheet = contact_sheet([], "No photo has a wrong answer")
    assert sheet.height < 60
    assert (np.asarray(sheet) < 128).any()


def test_a_share_is_the_darker_the_more_it_is():
    shares = np.array([[1.0, 0.0], [0.5, 0.1]])
    image = share_table(["cat", "dog"], shares, "title")
    top = image.height - MARGIN - 2 * CELL
    left = int((np.asarray(image)[top + 3] != PAPER).any(axis=1).argmax())
    for row, column in np.ndindex(2, 2):
        found = image.getpixel((left + CELL * column + 3, top + CELL * row + 3))
        assert found == tuple(shade(shares[row, column]).tolist())
    assert (np.diff(shade(np.linspace(0, 1, 9)).astype(int).sum(axis=1)) < 0).all()
