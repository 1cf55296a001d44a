"""Checkers of lesson 03."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise
from npconv.layers import depthwise_conv2d


@exercise(
    "What does one block see? How much more does each further one add?",
    "No block: 1. Each block adds (k - 1) / 2 on each side.",
)
def check_1(answer: Any) -> bool:
    """Check the width of the receptive field in positions: a function of (b, k)."""
    return all(answer(b, k) == 1 + b * (k - 1) for b, k in ((0, 7), (1, 3), (2, 7), (3, 5)))


@exercise(
    "Each place of the kernel takes the whole map, shifted; what lies outside counts as zero.",
    "Pad axes 1 and 2 with 3, then add weight[u, v] * the map from row u and column v on, 49 times.",
)
def check_2(answer: Any) -> bool:
    """Check a depthwise convolution with the channels last: a function of (x, weight)."""
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=(2, 9, 12, 5)), rng.normal(size=(7, 7, 5))
    expected = depthwise_conv2d(x.transpose(0, 3, 1, 2), weight.transpose(2, 0, 1)[:, None], padding=3)
    got = np.asarray(answer(x, weight))
    return got.shape == x.shape and np.allclose(got, expected.transpose(0, 2, 3, 1), rtol=1e-9)
