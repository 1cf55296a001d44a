"""Checkers of lesson 13."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise


@exercise(
    "A long row has a large product with every other: what must be taken away first? And who is always nearest?",
    "Divide each row by its length first: a long row is no closer. Sort from the highest, leave out the query.",
)
def check_1(answer: Any) -> bool:
    """Check a search for the most similar rows: a function of (rows, query, count)."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(30, 6)) * rng.uniform(0.1, 10, size=(30, 1))
    unit = rows / np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    for query in (0, 17):
        expected = [int(index) for index in np.argsort(unit @ unit[query])[::-1] if index != query][:4]
        if [int(index) for index in answer(rows.copy(), query, 4)] != expected:
            return False
    return True


@exercise("A number in float32 takes 4 bytes.")
def check_2(answer: Any) -> bool:
    """Check the size of the features of a million photos."""
    return bool(np.isclose(float(answer), 640))
