"""Answers to lesson 08."""

from __future__ import annotations

import numpy as np


def safe_strength(x):
    """Return the strengths, with squares of at most 1."""
    largest = np.abs(x).max(axis=(2, 3), keepdims=True)
    largest = np.where(largest == 0, np.float16(1), largest)
    squares = (x / largest) ** 2
    return largest * np.sqrt(squares.sum(axis=(2, 3), keepdims=True))


def careless_strength(x):
    """Return the strengths as the formula says."""
    with np.errstate(over="ignore"):
        return np.sqrt((x * x).sum(axis=(2, 3), keepdims=True))


RIGHT = [2.0, safe_strength]
WRONG = [3.0, careless_strength]
