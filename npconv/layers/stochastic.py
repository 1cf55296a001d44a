"""Layers that act in training only: they drop parts at random and scale up the rest, so the expectation stays.

Both take an explicit random generator. ``rng=None`` means inference: the input is returned as it is.
"""

from __future__ import annotations

import numpy as np

from npconv.backend import Array, array_module, widen
from npconv.layers._checks import check_rate


def drop_path(x: Array, *, rate: float, rng: np.random.Generator | None) -> Array:
    """Drop the whole array of a sample with probability `rate` (stochastic depth).

    Stands at the end of a residual branch: a dropped sample passes the block unchanged.

    Parameters
    ----------
    x : array (N, ...)
        Floating-point.
    rate : float
        Probability from 0 to 1 that a sample is dropped; the others are divided by ``1 - rate``.
    rng : numpy.random.Generator or None
        Draws one number for each sample, on the host.

    Returns
    -------
    array, same shape and dtype as `x`

    Raises
    ------
    InputError
        If `rate` is no probability.

    Notes
    -----
    Deep Networks with Stochastic Depth, https://arxiv.org/abs/1603.09382.
    """
    return _drop(x, (x.shape[0], *[1] * (x.ndim - 1)), "drop_path", rate, rng)


def dropout(x: Array, *, rate: float, rng: np.random.Generator | None) -> Array:
    """Set each element to zero with probability `rate`.

    Parameters
    ----------
    x : array
        Floating-point, any shape.
    rate : float
        Probability from 0 to 1 that an element is dropped; the others are divided by ``1 - rate``.
    rng : numpy.random.Generator or None
        Draws one number for each element, on the host.

    Returns
    -------
    array, same shape and dtype as `x`

    Raises
    ------
    InputError
        If `rate` is no probability.

    Notes
    -----
    Dropout, https://jmlr.org/papers/v15/srivastava14a.html, in the form that scales in training.
    """
    return _drop(x, x.shape, "dropout", rate, rng)


def _drop(x: Array, mask_shape: tuple[int, ...], layer: str, rate: float, rng: np.random.Generator | None) -> Array:
    """Multiply `x` by a random mask of zeros and ``1 / (1 - rate)``."""
    check_rate(layer, rate)
    if rng is None or rate == 0:
        return x
    kept = rng.random(mask_shape) >= rate
    mask = array_module(x).asarray(kept / (1 - rate) if rate < 1 else np.zeros(mask_shape))
    x_wide = widen(x)
    return (x_wide * mask.astype(x_wide.dtype, copy=False)).astype(x.dtype, copy=False)
