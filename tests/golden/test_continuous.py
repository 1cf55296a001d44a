"""The search for a number by which a step comes nearest to mine: where it goes, and where it gives up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from npconv.golden.kinds.continuous import ALIKE, TURNS, _nearest, _newton

X = np.array([1.0, 0.0])


def searched(made, goal, *, start=1.0, steps=1, alike=ALIKE):
    """Return what is found of a part of so many steps, of which a function makes an array by the number."""
    place = SimpleNamespace(
        goal=np.asarray(goal, float),
        segment=SimpleNamespace(steps=[None] * steps),
        try_=lambda several: np.asarray(made(several[0]), float),
    )
    return _nearest(place, lambda number: [number], start, alike)


@pytest.mark.parametrize(("goal", "start"), [(3.0, 1.0), (0.02, 1.0), (7e4, 2.0), (1.25e-7, 1e-3)])
@pytest.mark.parametrize("steps", [1, 2])
def test_a_factor_is_found_from_far_away(goal, start, steps):
    assert searched(lambda number: number * X, goal * X, start=start, steps=steps) == goal


def test_1_is_no_other_number():
    assert searched(lambda number: number * X, X, start=2.0) is None


@pytest.mark.parametrize(("beside", "is_followed"), [(0.98, True), (1.02, False)])
def test_a_direction_that_explains_less_than_a_fifth_is_not_followed(beside, is_followed):
    """(0.5, b) is to be explained by (1, 0): a fifth of its squares where b is 1."""
    assert (searched(lambda number: number * X, [1.5, beside], steps=2) is not None) == is_followed
    assert searched(lambda number: number * X, [1.5, beside], steps=2, alike=0.0) == pytest.approx(1.5, rel=0.01)


def test_where_the_right_number_leads_nowhere_powers_of_ten_are_tried_in_one_step_alone():
    high, low = (lambda number: (number > 999) * number * X), (lambda number: min(number, 1e-12) * X)
    assert searched(high, [5000.0, 0.0]) == 5000
    assert searched(high, [5000.0, 9000.0]) > 1500, "however little of it all that explains"
    assert searched(high, [5000.0, 0.0], steps=2) is None
    assert searched(low, [5e-13, 0.0]) == 5e-13
    assert searched(low, [5e-13, 0.0], steps=2) is None


def test_what_cannot_be_made_leads_nowhere():
    assert searched(lambda number: [number], [1.0, 2.0]) is None
    assert searched(lambda number: number * np.array([1.0, np.nan]), [2.0, 0.0]) is None

    def refused(number):
        raise ArithmeticError

    assert searched(refused, [2.0, 0.0]) is None


def test_a_search_ends():
    """Each turn asks at least twice; one that gets ever smaller is not followed for ever."""
    asked = []

    def rest(at):
        asked.append(at)
        return np.array([1.0, 1.0 / (2.0 + at)])

    assert _newton(rest, 0.0, 0.0) > 0
    assert len(asked) <= 3 * TURNS
    assert _newton(lambda at: None, 0.0, 0.0) is None
    assert _newton(lambda at: np.ones(2), 0.0, 0.0) is None
