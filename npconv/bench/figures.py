"""Medians, quartiles, ratios, and how far logits are from the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

#: Largest difference at which an engine counts as right, relative to the largest logit. Rounding in float32 leaves
#: about 1e-6 in these models; a wrong eps or another form of GELU leaves 1e-3 and more.
TOLERANCE = 5e-5


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(np.median(values))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and third quartile, linearly interpolated."""
    first, third = np.percentile(values, [25, 75])
    return float(first), float(third)


def paired_ratio(times: Mapping[int, float], base: Mapping[int, float]) -> float | None:
    """Return the median of the ratios within a round, over the rounds in which both had a turn; None without one."""
    ratios = [seconds / base[number] for number, seconds in times.items() if number in base]
    return median(ratios) if ratios else None


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


def difference(logits: Sequence[Sequence[float]], truth: Sequence[Sequence[float]]) -> float:
    """Return the largest difference from the truth, relative to the largest logit.

    Infinite where shapes differ or a number is not finite. Compares as many pictures as `logits` has; the truth may
    go on.
    """
    got, expected = np.asarray(logits, np.float64), np.asarray(truth, np.float64)[: len(logits)]
    if got.shape != expected.shape or not np.isfinite(got).all():
        return math.inf
    return float(np.abs(got - expected).max()) / max(float(np.abs(expected).max()), 1e-30)


def agrees(relative_difference: float) -> bool:
    """Tell whether an engine with this difference computes the same model."""
    return relative_difference <= TOLERANCE
