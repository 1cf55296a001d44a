"""Layers that act in training only: they drop parts at random and scale up the rest, so the expectation stays.

Both take an explicit random generator. ``rng=None`` means inference: the input is returned as it is. A rate that is not
from 0 to 1 is an `InputError`. The mask can be drawn by itself, and used again: backwards, or for another program.
"""

from __future__ import annotations

import numpy as np

from npconv.backend import Array, Rng, accumulation_dtype, array_module, widen
from npconv.errors import InputError, ShapeError
from npconv.layers.shapes import guarded


@guarded(x="...", result="...")
def drop_path(x: Array, *, rate: float, rng: Rng) -> Array:
    """Drop the whole array of a sample (N, ...) with probability `rate` (stochastic depth).

    Stands at the end of a residual branch: a dropped sample passes the block unchanged. The others are divided by
    ``1 - rate``.

    Deep Networks with Stochastic Depth, https://arxiv.org/abs/1603.09382.
    """
    check_rate("drop_path", rate)
    return x if rng is None or rate == 0 else drop(x, drop_path_mask(x, rate=rate, rng=rng))


@guarded(x="...", result="...")
def dropout(x: Array, *, rate: float, rng: Rng) -> Array:
    """Set each element to zero with probability `rate`, and divide the others by ``1 - rate``.

    Dropout, https://jmlr.org/papers/v15/srivastava14a.html, in the form that scales in training.
    """
    check_rate("dropout", rate)
    return x if rng is None or rate == 0 else drop(x, dropout_mask(x, rate=rate, rng=rng))


@guarded(x="N ...", result="N")
def drop_path_mask(x: Array, *, rate: float, rng: np.random.Generator) -> Array:
    """Draw what :func:`drop_path` multiplies the samples of `x` by, (N,): 0, or ``1 / (1 - rate)``."""
    check_rate("drop_path_mask", rate)
    return _mask(x, x.shape[:1], rate, rng)


@guarded(x="...", result="...")
def dropout_mask(x: Array, *, rate: float, rng: np.random.Generator) -> Array:
    """Draw what :func:`dropout` multiplies the elements of `x` by: 0, or ``1 / (1 - rate)``."""
    check_rate("dropout_mask", rate)
    return _mask(x, x.shape, rate, rng)


@guarded(x="...", result="...")
def drop(x: Array, mask: Array) -> Array:
    """Multiply samples or elements by the mask that was drawn for them. The dtype is that of `x`."""
    if mask.shape not in (x.shape[:1], x.shape):
        raise ShapeError(f"drop: expected a mask of shape {x.shape[:1]} or {x.shape}, got {mask.shape}")
    factors = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))
    return (widen(x) * factors).astype(x.dtype, copy=False)


def check_rate(layer: str, rate: float) -> None:
    """Refuse what is no probability."""
    if not 0 <= rate <= 1:
        raise InputError(f"{layer}: expected a rate from 0 to 1, got {rate!r}")


def _mask(x: Array, shape: tuple[int, ...], rate: float, rng: np.random.Generator) -> Array:
    """Draw a mask on the host; it has the dtype of `x`, at least float32."""
    kept = rng.random(shape) >= rate
    mask = kept / (1 - rate) if rate < 1 else np.zeros(shape)
    return array_module(x).asarray(mask.astype(accumulation_dtype(x), copy=False))
