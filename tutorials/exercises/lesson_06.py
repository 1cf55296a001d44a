"""Checkers of lesson 06."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise


@exercise(
    "Which numbers of the weight make one output channel? And is a bias scaled as well?",
    "Output channel c is multiplied by scale[c]: that is row c of the weight, and the bias too.",
)
def check_1(answer: Any) -> bool:
    """Check the folding of the layer scale: a function of (weight, bias, scale)."""
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(5, 20))
    bias, scale = rng.normal(size=(2, 5))
    x = rng.normal(size=20)
    folded_weight, folded_bias = answer(weight, bias, scale)
    return _same(folded_weight, weight.shape, folded_bias, x, scale * (weight @ x + bias))


@exercise(
    "Go back in the opposite order; one of the two layers adds something to the other's bias.",
    "Divide the columns by norm_weight first; the bias has got the product of that weight with norm_bias.",
)
def check_2(answer: Any) -> bool:
    """Check the way back from a folded LayerNorm: a function of (weight, bias, norm_weight, norm_bias)."""
    rng = np.random.default_rng(2)
    weight, bias = rng.normal(size=(20, 5)), rng.normal(size=20)
    norm_weight, norm_bias = rng.uniform(0.5, 2, size=5), rng.normal(size=5)
    x = rng.normal(size=5)
    found_weight, found_bias = answer(weight * norm_weight, bias + weight @ norm_bias, norm_weight, norm_bias)
    return _same(found_weight, weight.shape, found_bias, x, weight @ x + bias)


def _same(weight: Any, shape: tuple[int, ...], bias: Any, x: np.ndarray, expected: np.ndarray) -> bool:
    """Tell whether a linear layer has the shapes and the result that it must have."""
    weight, bias = np.asarray(weight), np.asarray(bias)
    return weight.shape == shape and bias.shape == shape[:1] and np.allclose(weight @ x + bias, expected, rtol=1e-9)
