"""Checkers of lesson 08."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise


@exercise(
    "Work out the four strengths, then their mean; do not forget that GRN adds x.",
    "The mean strength is 3, so the last channel is 2 times as strong; then weight * relative + 1.",
)
def check_1(answer: Any) -> bool:
    """Check the factor of the loudest of four channels."""
    return bool(np.isclose(float(answer), 2.0, rtol=1e-6))


@exercise(
    "What is squared must be neither large nor small: divide by something before, and multiply after.",
    "With m the largest absolute value of each channel, or 1: m * sqrt(sum((x / m)**2)), all in float16.",
)
def check_2(answer: Any) -> bool:
    """Check strengths that neither overflow nor vanish in float16: a function of x."""
    rng = np.random.default_rng(1)
    pattern = rng.uniform(0.5, 1, size=(2, 3, 6, 6))
    mixed = np.array([300.0, 1e-4, 0.0]).reshape(1, 3, 1, 1)  # loud, quiet and silent channels beside each other
    for size in (1.0, 300.0, 1e-4, mixed):
        x = (size * pattern).astype(np.float16)
        expected = np.sqrt((x.astype(np.float64) ** 2).sum(axis=(2, 3), keepdims=True))
        got = np.asarray(answer(x))
        if got.shape != expected.shape or not np.allclose(got.astype(np.float64), expected, rtol=0.02):
            return False
    return True
