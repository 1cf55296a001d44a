"""A running average of the weights: it is better than the weights themselves while they still move about."""

from __future__ import annotations

from npconv.backend import Array


def average_decay(reach: float) -> float:
    """Return how much of the average stays in a step, if it is to reach back about `reach` steps; 0 keeps none."""
    return reach / (1 + reach)


def update_average(average: Array, weights: Array, step: int, decay: float) -> None:
    """Move the averaged weights, (P,), in place towards those after a step, which counts from 0.

    Early steps count more, so that the average forgets the start.
    """
    average += (1 - min(decay, (1 + step) / (10 + step))) * (weights - average)
