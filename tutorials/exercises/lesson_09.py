"""Checkers of lesson 09."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise
from npconv.layers import batch_norm, depthwise_conv2d


@exercise(
    "A batch norm that does not train is a product and a sum for each channel: of which numbers?",
    "factor = norm_weight / sqrt(variance + eps); the mean is multiplied by it as well, before it is subtracted.",
)
def check_1(answer: Any) -> bool:
    """Check a folded batch norm: a function of (weight, norm_weight, norm_bias, mean, variance)."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 4, 6, 7))
    weight = rng.normal(size=(4, 1, 3, 3))
    norm_weight, norm_bias, mean = rng.normal(size=(3, 4))
    variance = rng.uniform(1e-5, 2e-5, size=4)  # small, so that eps counts
    convolved = depthwise_conv2d(x, weight, stride=2, padding=1)
    expected = batch_norm(convolved, norm_weight, norm_bias, mean, variance, eps=1e-5)
    kernel, bias = answer(weight, norm_weight, norm_bias, mean, variance)
    got = depthwise_conv2d(x, np.asarray(kernel), np.asarray(bias), stride=2, padding=1)
    return np.allclose(got, expected, rtol=1e-8, atol=1e-8)


@exercise(
    "One scale takes the width of a head, the other that of all heads.",
    "Compare (384 / 6) ** -0.5 with 384 ** -0.5.",
)
def check_2(answer: Any) -> bool:
    """Check the factor between the two scales of CvT-13's last stage."""
    return bool(np.isclose(float(answer), np.sqrt(6), rtol=0.005))
