"""The learning rate as the training goes on: a rise, then half a cosine."""

from __future__ import annotations

import math

#: The learning rate starts and ends at this share of its highest value.
LOWEST_RATE = 0.01


def learning_rate(done: float, warmup: float, highest: float) -> float:
    """Return the learning rate of a step.

    Parameters
    ----------
    done : float
        The share of the training that is done, from 0 to 1.
    warmup : float
        The share of the training in which the learning rate rises.
    highest : float
        About what it rises to.

    Notes
    -----
    SGDR, https://arxiv.org/abs/1608.03983, with a single cycle.
    """
    rise = min(1.0, done / warmup) if warmup > 0 else 1.0
    share = rise * (1 + math.cos(math.pi * done)) / 2
    return highest * (LOWEST_RATE + (1 - LOWEST_RATE) * share)
