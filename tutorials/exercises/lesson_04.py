"""Checkers of lesson 04."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise
from npconv.layers import layer_norm


@exercise(
    "Over which axis does a mean go, what is it divided by, and where does eps stand?",
    "Mean and variance are over the last axis only, divided by C, and eps is inside the root.",
)
def check_1(answer: Any) -> bool:
    """Check a LayerNorm with the channels last: a function of (x, weight, bias)."""
    rng = np.random.default_rng(1)
    x = 1e-3 * rng.normal(size=(2, 3, 4, 5))
    weight, bias = rng.normal(size=(2, 5))
    expected = layer_norm(x, weight, bias, eps=1e-6, axis=-1)
    got = np.asarray(answer(x, weight, bias))
    return got.shape == expected.shape and np.allclose(got, expected, rtol=1e-9)


@exercise(
    "A LayerNorm divides the standard deviation by something a little larger: write both down.",
    "Solve s / sqrt(s**2 + eps) = 0.9 for s.",
)
def check_2(answer: Any) -> bool:
    """Check the standard deviation at which eps 1e-6 takes 10 % away."""
    expected = np.sqrt(1e-6 * 0.81 / 0.19)
    return bool(np.isclose(float(answer), expected, rtol=0.01))
