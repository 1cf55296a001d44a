"""Plots: numbers lie where the scales say, and whatever they are called does nothing."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from npconv.html import Markup
from npconv.pictures.plots import ABOVE, LEFT, MOST_DOTS, Plot, colour_bar, matrix, named_bars
from npconv.pictures.scales import Scale

EVIL = "<script>alert('x')</script>\x00\"'&"


def texts(svg):
    return [one.text for one in ElementTree.fromstring(svg).iter("text")]


def test_points_lie_where_the_scales_say():
    plot = Plot(Scale(0, 10), Scale(-1, 1), 100, 50)
    across, down = plot.places(np.array([0.0, 5.0, 10.0]), np.array([-1.0, 0.0, 1.0]))
    np.testing.assert_allclose(across, [0, 50, 100])
    np.testing.assert_allclose(down, [50, 25, 0])
    assert 'd="M0.0 50.0h0M50.0 25.0h0"' in plot.dots(np.array([0.0, 5.0]), np.array([-1.0, 0.0]), "mine")


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.7, 12.0), (1e-9, 3e-9), (5.0, -5.0), (0.9999, 1.0001)])
def test_round_numbers_lie_on_the_axis_and_are_told_apart(low, high):
    scale = Scale(low, high)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 7
    assert (scale.shares(np.array(ticks)) >= -1e-6).all()
    assert (scale.shares(np.array(ticks)) <= 1 + 1e-6).all()
    drawn = Plot(scale, Scale(0, 1)).drawn(x_says="x", y_says="y", alt="z")
    names = texts(drawn)[: len(ticks)]
    assert len(set(names)) == len(ticks)


def test_many_points_become_squares_and_few_stay_points():
    few, many = np.zeros(MOST_DOTS), np.zeros(MOST_DOTS + 1)
    plot = Plot(Scale(-1, 1), Scale(-1, 1))
    assert "data:image/png" not in plot.points((few, few))
    assert "data:image/png" in plot.points((many, many))
    assert len(plot.points((np.zeros(100_000), np.zeros(100_000)))) < 2000  # bytes do not grow with the points


def test_what_is_no_number_is_left_out():
    plot = Plot(Scale(0, 1), Scale(0, 1), 10, 10)
    drawn = plot.dots(np.array([0.5, np.nan, 0.5]), np.array([0.5, 0.5, np.inf]), "mine")
    assert drawn.count("h0") == 1
    assert "nan" not in plot.line([0.0, np.nan], [0.0, 1.0], "mine")


def test_places_have_whole_numbers_alone():
    drawn = matrix(np.eye(2), 1.0, x_says="x", y_says="y", alt="z")
    assert texts(drawn)[:-2] == ["0", "1", "0", "1"]


def test_many_places_share_squares_and_keep_their_numbers():
    values = np.zeros((130, 4))
    values[127] = 1.0
    drawn = matrix(values, 1.0, x_says="x", y_says="y", alt="z")
    numbers = texts(drawn)[:-2]
    assert numbers == ["0", "1", "2", "3", "0", "50", "100"]
    down = [float(one.get("y")) for one in ElementTree.fromstring(drawn).iter("text")][4:7]
    np.testing.assert_allclose(np.diff(down), 200 * 50 / 132, atol=0.1)  # 44 squares of three places


def test_a_bar_of_several_places_lies_over_them():
    plot = Plot(Scale(-0.5, 5.5), Scale(0, 1), 60, 10)
    assert re.findall(r"M(\S+) \S+H(\S+?)V", plot.bars(np.ones(2), "mine", 3)) == [("3.0", "27.0"), ("33.0", "57.0")]


def test_bars_have_their_values_beside_them():
    drawn = named_bars({"one": 0.5, "two": -0.25}, says="correlation", alt="what")
    assert texts(drawn) == ["one", "0.5000", "two", "-0.2500", "correlation"]


def test_a_colour_bar_ends_at_the_largest_number():
    assert texts(colour_bar(3.5)) == ["-3.5", "0", "3.5"]
    assert texts(colour_bar(0.0)) == ["0", "0", "0"]


def test_names_from_outside_do_nothing():
    drawn = Plot(Scale(0, 1), Scale(0, 1)).drawn(x_says=EVIL, y_says=EVIL, alt=EVIL)
    assert isinstance(drawn, Markup)
    assert "<script" not in drawn
    assert "\x00" not in drawn
    assert EVIL.replace("\x00", "\\x00") in texts(drawn)
    assert re.search(r'<svg viewBox="0 0 \d+ \d+"', drawn)


def test_the_frame_leaves_room_for_numbers():
    assert f'transform="translate({LEFT} {ABOVE})"' in Plot(Scale(0, 1), Scale(0, 1)).drawn(
        x_says="", y_says="", alt=""
    )
