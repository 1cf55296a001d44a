"""Checkers of lesson 05."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise
from npconv.layers import quick_gelu, silu

X = np.linspace(-8, 8, 321)


@exercise(
    "Both are a product of x and a sigmoid. What does each take the sigmoid of?",
    "silu(z) is z / (1 + exp(-z)). Choose z = 1.702 * x, and see what there is too much.",
)
def check_1(answer: Any) -> bool:
    """Check quick_gelu written with silu: a function of x."""
    got = np.asarray(answer(X))
    return got.shape == X.shape and np.allclose(got, quick_gelu(X), rtol=1e-9, atol=1e-12)


@exercise("Call each function of the table at -1, 1 and 3. Two names are right: either will do.")
def check_2(answer: Any) -> bool:
    """Check the name of the activation that gives the three numbers."""
    return answer in ("silu", "swish") and np.allclose(silu(np.array([-1.0, 1.0, 3.0])), [-0.26894, 0.73106, 2.85772])
