"""Checkers of lesson 02."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise
from npconv.layers import conv2d


@exercise(
    "How far can the window move from its first position to its last, and how often does a stride fit into that?",
    "(size + 2 * padding - kernel) // stride + 1: the division rounds down.",
)
def check_1(answer: Any) -> bool:
    """Check the number of positions: a function of (size, kernel, stride, padding)."""
    for size, kernel, stride, padding in ((224, 4, 4, 0), (32, 3, 2, 1), (11, 7, 1, 3), (10, 3, 3, 0), (5, 5, 2, 0)):
        x, weight = np.zeros((1, 1, size, size)), np.zeros((1, 1, kernel, kernel))
        expected = conv2d(x, weight, stride=stride, padding=padding)
        if answer(size, kernel, stride, padding) != expected.shape[2]:
            return False
    return True


@exercise(
    "The windows do not overlap: cut rows and columns into pieces, and bring what belongs together side by side.",
    "Reshape to (N, C, H / k, k, W / k, k), bring C, k, k together in this order, and multiply.",
)
def check_2(answer: Any) -> bool:
    """Check a patchify layer: a function of (x, weight, bias)."""
    rng = np.random.default_rng(1)
    x, weight, bias = rng.normal(size=(2, 3, 6, 9)), rng.normal(size=(5, 3, 3, 3)), rng.normal(size=5)
    expected = conv2d(x, weight, bias, stride=3)
    got = np.asarray(answer(x, weight, bias))
    return got.shape == expected.shape and np.allclose(got, expected, rtol=1e-9)


@exercise("The result has 96 channels of 56 x 56 positions; each number sums over 3 x 4 x 4.")
def check_3(answer: Any) -> bool:
    """Check the multiply-adds of the stem of ConvNeXt-T."""
    return float(answer) == 96 * 56 * 56 * 3 * 4 * 4
