"""Checkers of lesson 15."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise


@exercise(
    "The weight moves by the velocity, not by the gradient of this step alone. By the old one or the new one?",
    "velocity = 0.9 * velocity + gradient, then weight - rate * velocity.",
)
def check_1(answer: Any) -> bool:
    """Check a step with momentum: a function of (weight, gradient, velocity, rate)."""
    rng = np.random.default_rng(1)
    weight, gradient, velocity = rng.normal(size=(3, 4, 5))
    new_weight, new_velocity = answer(weight.copy(), gradient.copy(), velocity.copy(), 0.1)
    expected = 0.9 * velocity + gradient
    return bool(np.allclose(new_velocity, expected) and np.allclose(new_weight, weight - 0.1 * expected))


@exercise("A mean is a sum by the number of its terms, and so are their gradients.")
def check_2(answer: Any) -> bool:
    """Check the factor between the gradients of a sum and of a mean over 16 pictures."""
    return float(answer) == 16
