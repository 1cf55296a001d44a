"""Checkers of lesson 16."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise


@exercise(
    "Two photos may be of one pair of class and answer: both count. And which of the two is the row?",
    "Begin with zeros, and for each photo: table[truth, answer] += 1.",
)
def check_1(answer: Any) -> bool:
    """Check a table of confusion: a function of (truth, answer, classes)."""
    truth, given = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 1, 1, 1, 0, 2])
    return np.array_equal(answer(truth, given, 4), [[1, 2, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])


@exercise(
    "Twice as many photos are not enough: the width falls with the root of their number.",
    "Half as wide takes 2**2 times as many photos.",
)
def check_2(answer: Any) -> bool:
    """Check how many photos give an interval half as wide as that of 50."""
    return 190 <= float(answer) <= 210
