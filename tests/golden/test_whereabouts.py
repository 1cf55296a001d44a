"""Planted errors are found where they were planted."""

import numpy as np
import pytest

from npconv.golden.whereabouts import not_finite, whereabouts

SHAPE = (3, 8, 12, 14)


def planted(*place, shape=SHAPE, layout="NCHW"):
    """What is said of an error at an index of an array."""
    reference = np.random.default_rng(0).normal(size=shape)
    mine = reference.astype(np.float32)
    for index in place:
        mine[index] += 0.5
    return whereabouts(reference, mine, 1e-5, layout)


ALL = slice(None)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ((), ""),
        ((..., ), "everywhere (100% of the values)"),
        ((1,), "sample 1 of 3"),
        (((ALL, 5)), "channel 5 of 8"),
        ((ALL, ALL, 0), "the border: first row"),
        ((ALL, ALL, ALL, -1), "the border: last column"),
        ((ALL, ALL, slice(-2, None)), "the border: last 2 rows"),
        ((1, ALL, 0), "the border: first row; sample 1 of 3"),
        ((ALL, ALL, slice(4, 7)), "rows 4 to 6 of 12"),
        ((ALL, ALL, slice(None, None, 2)), "a pattern of period 2: rows 0, counted modulo 2"),
        ((ALL, ALL, ALL, slice(2, None, 3)), "a pattern of period 3: columns 2, counted modulo 3"),
        ((0, 3, 2, 1), "one element, at [0, 3, 2, 1]"),
    ],
)  # fmt: skip
def test_one_place(place, said):
    assert planted(*([place] if place else [])) == said


def test_a_border_of_all_sides():
    sides = [(ALL, ALL, 0), (ALL, ALL, -1), (ALL, ALL, ALL, 0), (ALL, ALL, ALL, -1)]
    assert planted(*sides) == "the border: first row, last row, first column and last column"


def test_padding_on_one_side():
    assert planted((ALL, ALL, -1), (ALL, ALL, ALL, -1)) == "the border: last row and last column"


def test_the_border_of_a_map_with_channels_last():
    assert planted((ALL, 0), shape=(3, 12, 14, 8), layout="NHWC") == "the border: first row"


def test_a_checkerboard():
    odd = (np.indices((12, 14)).sum(axis=0) % 2).astype(bool)
    assert planted((ALL, ALL, odd)) == "a checkerboard"


def test_one_place_of_each_stride():
    said = planted((ALL, ALL, slice(1, None, 2), slice(0, None, 2)))
    assert said == "a pattern of period 2: (row, column) (1, 0), counted modulo 2"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ((ALL, 0), "token 0 of 13 (the class token, where there is one)"),
        ((ALL, slice(1, None)), "all tokens but the first (the class token, where there is one)"),
        ((ALL, -1), "token 12 of 13"),
        ((ALL, ALL, [1, 4]), "channels 1, 4 of 8"),
    ],
)
def test_tokens(place, said):
    assert planted(place, shape=(3, 13, 8), layout="NTD") == said


def test_heads():
    assert planted((ALL, 2), shape=(2, 5, 6, 7), layout="NhTS") == "head 2 of 5"


def test_axes_without_letters_have_numbers():
    assert planted((ALL, 5), layout="") == "index of axis 1 5 of 8"


def test_a_few_elements_by_chance_are_no_pattern():
    said = planted((0, 1, 2, 3), (1, 4, 7, 8), (2, 6, 9, 5))
    assert said == "scattered: 3 of 4032 values (0.07%), the first at [0, 1, 2, 3]"


SHAPES = [
    *(("NCHW", (2, 6, 14, 14)), ("NCHW", (1, 24, 7, 7)), ("NHWC", (2, 10, 8, 6)), ("NCHW", (1, 4, 28, 28))),
    *(("NTD", (2, 50, 12)), ("NhTS", (1, 3, 17, 5)), ("NK", (2, 100)), ("NC", (3, 64)), ("", (40, 7))),
]
SAYS_NOTHING = ("scattered", "everywhere", "one element")


def said_of(wrong, layout):
    """What is said of wrong values at some places."""
    return whereabouts(np.zeros(wrong.shape, np.int8), wrong.astype(np.int8), 0.5, layout)


def test_what_is_scattered_by_chance_is_in_no_place():
    """Of 10,000 draws, one in ten series may name a place; by the bound, as the numbers of values are whole, fewer."""
    rng = np.random.default_rng(11)
    claims = []
    for draw in range(10_000):
        layout, shape = SHAPES[draw % len(SHAPES)]
        wrong = np.zeros(shape, bool)
        wrong.flat[rng.choice(wrong.size, int(rng.integers(1, 60)), replace=False)] = True
        said = said_of(wrong, layout)
        if not said.startswith(SAYS_NOTHING):
            claims.append((shape, said))
    assert claims == []


@pytest.mark.parametrize("place", [(0, 5), (0, 0), (3, 0), (-1, -1), (4, 4)])
def test_one_position_of_all_channels_is_neither_border_nor_pattern(place):
    wrong = np.zeros((2, 16, 9, 9), bool)
    wrong[:, :, place[0], place[1]] = True
    said = said_of(wrong, "NCHW")
    assert said == f"row {place[0] % 9} of 9; column {place[1] % 9} of 9"


@pytest.mark.parametrize("shape", [(1, 8, 56, 56), (2, 8, 14, 14), (1, 8, 7, 7)])
def test_a_border_of_a_usual_map_is_found(shape):
    wrong = np.zeros(shape, bool)
    wrong[:, :, 0] = True
    assert said_of(wrong, "NCHW") == "the border: first row"
    wrong[:, :, -1] = wrong[:, :, :, 0] = wrong[:, :, :, -1] = True
    assert said_of(wrong, "NCHW") == "the border: first row, last row, first column and last column"


def test_a_corner_that_is_not_of_the_sides_that_differ():
    wrong = np.zeros((1, 4, 12, 12), bool)
    wrong[:, :, 0, 1:-1] = wrong[:, :, -1, 0] = True
    assert "first row" not in said_of(wrong, "NCHW")
    corners = np.zeros((1, 4, 12, 12), bool)
    corners[:, :, :2, :2] = corners[:, :, -2:, -2:] = True
    assert said_of(corners, "NCHW") == "the corners"


@pytest.mark.parametrize("index", [(1,), (ALL, 3)])
def test_a_few_values_in_one_place_are_no_sign_that_all_of_it_is_wrong(index):
    wrong = np.zeros((2, 10), bool)
    wrong[index] = True
    assert said_of(wrong, "NK").startswith(SAYS_NOTHING)


def test_a_scalar():
    assert planted((), (...,), shape=(), layout="") == "everywhere"


def test_what_is_not_finite():
    reference, mine = np.zeros((2, 3)), np.zeros((2, 3), np.float32)
    assert not_finite(reference, mine) == ""
    mine[0], reference[1, 1] = (np.nan, np.inf, -np.inf), np.nan
    assert not_finite(reference, mine) == (
        "1 NaN and 2 infinite of 6 values of mine; 1 NaN of 6 values of the reference"
    )
    assert whereabouts(np.zeros((3, 4)), np.full((3, 4), np.nan), 1.0, "NC") == "everywhere (100% of the values)"


def test_whole_numbers_are_finite():
    assert not_finite(np.zeros(3, np.uint8), np.zeros(3, np.int64)) == ""
