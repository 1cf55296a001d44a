"""Checkers of lesson 14."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise
from npconv.gradients import rms_norm_backward


@exercise(
    "Each channel has a part in its own result, and in the spread of all. Which term of LayerNorm came by the mean?",
    "With z = x / spread: (grad_y - z * mean(grad_y * z)) / spread, the mean over the channels of each row.",
)
def check_1(answer: Any) -> bool:
    """Check the gradient of an RMS norm: a function of (grad_y, x)."""
    rng = np.random.default_rng(1)
    grad_y, x = rng.normal(size=(2, 4, 6))
    expected, _ = rms_norm_backward(grad_y, x, np.ones(6), eps=0.0, axis=1)
    got = np.asarray(answer(grad_y, x))
    return got.shape == x.shape and np.allclose(got, expected, rtol=1e-9, atol=1e-12)


@exercise(
    "What was the branch itself multiplied by, on the way forward?",
    "A branch that is kept is divided by 1 - rate, and so is its gradient.",
)
def check_2(answer: Any) -> bool:
    """Check the factor of the gradient of a branch that drop path has kept."""
    return bool(np.isclose(float(answer), 1.25, rtol=1e-3))
