"""The channels of a map as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from npconv.backend import to_host
from npconv.errors import InputError, ShapeError
from npconv.pictures.colours import diverging, sequential
from npconv.pictures.picture import Picture, sheet


class Summary(NamedTuple):
    """A map in a few numbers."""

    mean: float
    deviation: float
    lowest: float
    highest: float
    #: Channels that have the same value at all positions.
    dead: int


def maps(
    x: Any,
    *,
    channels: Sequence[int] | None = None,
    most: int = 16,
    columns: int | None = None,
    same_scale: bool = False,
) -> Picture:
    """Show channels of a map side by side.

    Parameters
    ----------
    x : array (C, H, W) or (1, C, H, W)
        Of NumPy or CuPy.
    channels : sequence of int, optional
        Which to show; the strongest when unset, see :func:`strongest`.
    most : int
        How many to show when `channels` is unset.
    columns : int, optional
        Channels in a row; about a square when unset.
    same_scale : bool
        Give all channels one scale; else each has its own, which shows more of the weak ones.

    Returns
    -------
    Picture
        Where values are negative: blue below 0, white at 0, orange above. Else dark at 0, yellow at the highest.

    Raises
    ------
    InputError
        If `x` is no map, or has no such channel.
    """
    x = as_map(x)
    chosen = strongest(x, most) if channels is None else list(channels)
    if not chosen or not all(0 <= channel < len(x) for channel in chosen):
        raise InputError(f"expected channels from 0 to {len(x) - 1}, got {list(channels or ())}")
    shown = x[chosen]
    highest = np.abs(shown).max(axis=None if same_scale else (1, 2), keepdims=True, initial=0.0)
    pixels = coloured(shown, highest, signed=bool((x < 0).any()))
    return Picture(sheet(list(pixels), columns), f"channels {', '.join(map(str, chosen))}")


def coloured(x: np.ndarray, highest: Any, *, signed: bool, levels: int | None = None) -> np.ndarray:
    """Return the colours of numbers from 0, or with `signed` from ``-highest``, to `highest`: (...) -> (..., 3) uint8.

    With `levels`, so many from 0 to `highest` and no others, which makes a picture smaller.
    """
    with np.errstate(invalid="ignore"):
        shares = np.where(np.asarray(highest) > 0, x / np.where(np.asarray(highest) > 0, highest, 1.0), 0.0 * x)
    if levels is not None:
        shares = np.rint(shares * levels) / levels
    return diverging(shares) if signed else sequential(shares)


def strongest(x: np.ndarray, most: int) -> list[int]:
    """Return the channels of a map (C, H, W) that vary most over its positions, the strongest first.

    By the standard deviation; equal ones in their order.
    """
    return [int(channel) for channel in np.argsort(-x.std(axis=(1, 2)), kind="stable")[:most]]


def summarize(x: np.ndarray) -> Summary:
    """Return what a map (C, H, W) is in a few numbers."""
    flat = x.reshape(len(x), -1)
    dead = int((flat == flat[:, :1]).all(axis=1).sum())
    return Summary(float(x.mean()), float(x.std()), float(x.min()), float(x.max()), dead)


def one_picture(pixel_values: Any) -> np.ndarray:
    """Return the pixel values of a single picture (1, C, H, W) on the host; a ShapeError of several, or of none."""
    array = to_host(pixel_values)
    if array.ndim != 4 or len(array) != 1:
        raise ShapeError(f"expected pixel_values of one picture, (1, C, H, W), got {array.shape}")
    return array


def as_map(x: Any) -> np.ndarray:
    """Return a map (C, H, W) in float64 on the host, of one with or without the axis of a batch of one."""
    array = to_host(x)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim != 3 or not array.size:
        raise ShapeError(f"expected a map of shape (C, H, W) or (1, C, H, W), got {array.shape}; choose one picture")
    return array.astype(np.float64)
