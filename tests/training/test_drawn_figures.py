"""The picture of mix-ups: what must stand where."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from npconv.pictures.colours import shade
from npconv.pictures.gallery import CELL
from npconv.pictures.ink import MARGIN, PAPER
from npconv.training.figures import MOST_CLASSES, draw_confusion
from npconv.training.measures import Answers

LIGHT, DARK = (tuple(shade(share).tolist()) for share in (0.0, 1.0))


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
