"""Pictures of mix-ups, mistakes and curves: what must stand where."""

from __future__ import annotations

import math

import numpy as np
import pytest
from npconv.training.curves import COLOURS, HEIGHT, WIDTH, draw_curves, ticks
from PIL import Image

from npconv.errors import InputError
from npconv.training.figures import (
    CELL,
    DARK,
    FRAME,
    LIGHT,
    MARGIN,
    MOST_CLASSES,
    PAPER,
    THUMBNAIL,
    Caption,
    contact_sheet,
    draw_confusion,
)
from npconv.training.measures import Answers


def answers_with(confusion: np.ndarray) -> Answers:
    """Return answers that are counted as a matrix says."""
    truth, answer = (np.repeat(axis.ravel(), confusion.ravel()) for axis in np.indices(confusion.shape))
    return Answers(truth, answer, (truth != answer).astype(int), np.ones(len(truth)), np.zeros(len(truth)))


def corner(image: Image.Image, classes: int) -> tuple[int, int]:
    """Return where the squares begin: their left and upper edge."""
    top = image.height - MARGIN - CELL * classes
    return int((np.asarray(image)[top + 3] != PAPER).any(axis=1).argmax()), top


def has_ink(pixels: np.ndarray) -> bool:
    """Tell whether something dark is written on paper."""
    return bool((pixels < 128).all(axis=2).any())


def cell(image: Image.Image, classes: int, row: int, column: int) -> tuple[int, ...]:
    """Return the colour in the corner of a square."""
    left, top = corner(image, classes)
    return image.getpixel((left + CELL * column + 3, top + CELL * row + 3))


def test_the_picture_is_darkest_where_most_photos_are():
    names = [f"a class with the long name {number}" for number in range(4)]
    image = draw_confusion(names, answers_with(np.array([[10, 0, 0, 0], [0, 5, 5, 0], [0, 1, 9, 0], [0, 0, 0, 0]])))

    def brightness(row: int, column: int) -> int:
        return sum(cell(image, 4, row, column))

    assert cell(image, 4, 0, 0) == DARK
    assert cell(image, 4, 0, 1) == LIGHT
    assert brightness(1, 1) == brightness(1, 2)
    assert brightness(0, 0) < brightness(2, 2) < brightness(1, 1) < brightness(2, 1) < brightness(2, 0)
    assert cell(image, 4, 3, 3) == LIGHT  # a class without photos


@pytest.mark.parametrize(
    "name", ["cat", "a name that is much too long to stand in any picture of classes, and longer", "a\nb"]
)
def test_names_of_any_length_stand_beside_the_squares(name):
    """Nothing is written over the squares, and there is a name on the left of each."""
    image = draw_confusion([name, "dog"], answers_with(np.diag([1, 1])))
    assert cell(image, 2, 0, 0) == DARK
    beside = np.asarray(image)[image.height - MARGIN - 2 * CELL : image.height - MARGIN - CELL, :]
    ink = np.flatnonzero((beside < 128).all(axis=2).any(axis=0))
    assert ink[0] >= MARGIN - 2
    assert (np.asarray(image)[:, : MARGIN - 2] == PAPER).all()


def test_of_many_classes_those_with_most_mistakes_are_drawn():
    confusion = np.eye(MOST_CLASSES + 10, dtype=int) * 3
    confusion[35, 36] = 3
    image = draw_confusion([f"{number}" for number in range(len(confusion))], answers_with(confusion))
    assert image.height < CELL * (MOST_CLASSES + 3)
    # 35 and 36 are the last two of those that are drawn; half of the photos of 35 are taken for 36
    last = MOST_CLASSES - 1
    assert cell(image, MOST_CLASSES, last - 1, last) == cell(image, MOST_CLASSES, last - 1, last - 1)
    assert cell(image, MOST_CLASSES, last, last) == DARK


def test_a_contact_sheet_has_each_photo_in_its_place():
    colours = [(250, 10 * number, 0) for number in range(7)]
    photos = [Caption(Image.new("RGB", (20, 10), colour), ("one", "two " * 40, "b\x1b")) for colour in colours]
    sheet = contact_sheet(photos, "seven")
    found = [
        sheet.getpixel((MARGIN + (THUMBNAIL + MARGIN) * column + THUMBNAIL // 2, y))
        for row, y in enumerate((110, 110 + THUMBNAIL + 67))
        for column in range(5 if row == 0 else 2)
    ]
    assert found == colours
    assert sheet.height < 2 * (THUMBNAIL + 90)
    assert sheet.width == MARGIN + 5 * (THUMBNAIL + MARGIN)


@pytest.mark.parametrize("name", ["cat", "a name that is wider than a square"])
def test_a_name_stands_on_the_left_of_its_row_and_above_its_column(name):
    image = draw_confusion([name, "dog"], answers_with(np.array([[0, 0], [0, 0]])))
    pixels, (left, top) = np.asarray(image), corner(image, 2)
    title = MARGIN + 20
    assert not has_ink(pixels[top:, left:])
    for place in range(2):
        beside = slice(CELL * place, CELL * (place + 1))
        assert has_ink(pixels[top:][beside, :left])
        assert has_ink(pixels[title:top, left:][:, beside])


def test_a_contact_sheet_of_nothing_is_its_title():
    sheet = contact_sheet([], "No photo has a wrong answer")
    assert sheet.height < 60
    assert (np.asarray(sheet) < 128).any()


def test_curves_have_one_colour_for_a_name_in_all_panels():
    image = draw_curves(
        {"loss": {"train": [2, 1, 0.5], "validation": [2, 1.5, 1]}, "accuracy": {"validation": [0.1, 0.5, 0.6]}}
    )
    assert image.size == (WIDTH, 2 * HEIGHT)
    top, bottom = np.asarray(image)[:HEIGHT], np.asarray(image)[HEIGHT:]
    has = [[bool((half == colour).all(axis=2).any()) for colour in COLOURS] for half in (top, bottom)]
    assert has == [[True, True, False], [False, True, False]]


def test_each_number_at_an_axis_has_its_line():
    image = np.asarray(draw_curves({"loss": {"train": [0.0, 3.0]}}))
    rows = np.flatnonzero((image == FRAME).all(axis=2).sum(axis=1) > 200)
    assert len(rows) == len(ticks(0, 3))
    np.testing.assert_allclose(np.diff(rows), np.diff(rows).mean(), atol=1)  # rounded to pixels


def test_a_line_rises_where_its_values_do():
    image = np.asarray(draw_curves({"accuracy": {"train": np.linspace(0.2, 0.9, 20)}}))
    rows, columns = np.nonzero((image == COLOURS[0]).all(axis=2))
    inside = (columns > 70) & (columns < 400)
    assert np.corrcoef(columns[inside], rows[inside])[0, 1] < -0.99


@pytest.mark.parametrize("values", [[1.0], [0.5, 0.5], [1.0, math.nan, 2.0, math.inf], [1e-12, 2e-12], [-5.0, 1e6]])
def test_curves_of_odd_values_are_drawn(values):
    image = np.asarray(draw_curves({"loss": {"train": values}}))
    assert (image == COLOURS[0]).all(axis=2).any()


def test_curves_of_nothing_or_of_too_many_are_refused():
    for panels in ({}, {"loss": {}}, {"loss": {"train": []}}, {"loss": {"train": [math.nan]}}):
        with pytest.raises(InputError, match="expected values over the epochs to draw, got none"):
            draw_curves(panels)
    with pytest.raises(InputError, match="expected at most 3 names of lines, got 4"):
        draw_curves({"loss": {name: [1.0] for name in "abcd"}})


def test_names_of_lines_that_end_together_stand_above_each_other():
    image = np.asarray(draw_curves({"loss": {"train": [2.0, 1.0], "validation": [3.0, 1.0]}}))[:, WIDTH - 90 :]
    first, second = (np.flatnonzero((image == colour).all(axis=2).any(axis=1)) for colour in COLOURS[:2])
    assert second.max() < first.min()


def test_a_panel_without_values_stands_empty():
    image = np.asarray(draw_curves({"loss": {"train": [1.0, 2.0]}, "accuracy": {"train": [math.nan]}}))
    assert not (image[HEIGHT:] == COLOURS[0]).all(axis=2).any()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.23, 2.31), (-3, 7e5), (5, 5), (0, 0), (1e-9, 3e-9), (99.1, 99.2)])
def test_numbers_at_an_axis_are_round_and_around_the_values(low, high):
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 8
    if high > low:  # a step is at most 5 / 8 of the range, and one may be added at each end
        assert found[-1] - found[0] <= 2.25 * (high - low) * (1 + 1e-6)
    steps = np.diff(found)
    # sums of a step in float64
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-6)
    assert f"{steps[0]:.0e}"[0] in "125"
