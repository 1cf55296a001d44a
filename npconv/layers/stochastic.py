"""Layers that act in training only: they drop parts at random and scale up the rest, so the expectation stays.

Both take an explicit random generator. ``rng=None`` means inference: the input is returned as it is. A rate that is not
from 0 to 1 is an `InputError`.
"""

from __future__ import annotations

import numpy as np

from npconv.backend import Array, array_module, widen
from npconv.errors import InputError
from npconv.layers.shapes import guarded


@guarded
def drop_path(x: Array, *, rate: float, rng: np.random.Generator | None) -> Array:
    """Drop the whole array of a sample (N, ...) with probability `rate` (stochastic depth).

    Stands at the end of a residual branch: a dropped sample passes the block unchanged. The others are divided by
    ``1 - rate``.

    Deep Networks with Stochastic Depth, https://arxiv.org/abs/1603.09382.
    """
    return _drop(x, (x.shape[0], *[1] * (x.ndim - 1)), "drop_path", rate, rng)


@guarded
def dropout(x: Array, *, rate: float, rng: np.random.Generator | None) -> Array:
    """Set each element to zero with probability `rate`, and divide the others by ``1 - rate``.

    Dropout, https://jmlr.org/papers/v15/srivastava14a.html, in the form that scales in training.
    """
    return _drop(x, x.shape, "dropout", rate, rng)


def _drop(x: Array, mask_shape: tuple[int, ...], layer: str, rate: float, rng: np.random.Generator | None) -> Array:
    """Multiply `x` by a random mask of zeros and ``1 / (1 - rate)``, which is drawn on the host."""
    if not 0 <= rate <= 1:
        raise InputError(f"{layer}: expected a rate from 0 to 1, got {rate!r}")
    if rng is None or rate == 0:
        return x
    kept = rng.random(mask_shape) >= rate
    mask = array_module(x).asarray(kept / (1 - rate) if rate < 1 else np.zeros(mask_shape))
    x_wide = widen(x)
    return (x_wide * mask.astype(x_wide.dtype, copy=False)).astype(x.dtype, copy=False)
