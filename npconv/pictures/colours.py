"""Colours for numbers: one scale from low to high, one from negative over nothing to positive, one of shares on paper.

The first two are paths through OKLab (https://bottosson.github.io/posts/oklab/), in which equal distances look equal.
Each is walked in even steps, so that a step of the numbers looks the same everywhere. The lightness grows all the way
from low to high, and away from nothing it falls on both sides: so the order survives colour blindness and grey
printing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

#: Colours of a scale.
STEPS = 256

#: Of bars, and of points of the reference, on pages; ``page.css`` has it, too.
BLUE = (47, 111, 176)

#: Points of a path before it is cut into even steps.
_FINE = 2048

#: From OKLab to the roots of the responses of the three cones, and from these responses to linear sRGB.
_CONES = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


#: Ends of the scale of shares.
_LIGHT, _DARK = np.array([247.0, 249.0, 252.0]), np.array([18.0, 74.0, 140.0])


def sequential(values: np.ndarray) -> np.ndarray:
    """Return the colours of numbers from 0 to 1, dark violet over green to yellow: (...) -> (..., 3) uint8.

    Numbers beyond are taken for the nearest, and NaN is red.
    """
    return _looked_up(_sequential_table(), values)


def diverging(values: np.ndarray) -> np.ndarray:
    """Return the colours of numbers from -1 to 1, blue over white to orange: (...) -> (..., 3) uint8.

    Numbers beyond are taken for the nearest, and NaN is red.
    """
    return _looked_up(_diverging_table(), 0.5 * (np.asarray(values, np.float64) + 1.0))


def scaled(values: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Return the colours of :func:`sequential` from the lowest number to the highest, or between limits."""
    values = np.asarray(values, np.float64)
    low, high = limits or limits_of(values)
    with np.errstate(invalid="ignore"):  # infinity, where nothing is finite
        return sequential((values - low) / (high - low if high > low else 1.0))


def limits_of(*arrays: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest finite number of arrays; infinity and minus infinity if there is none."""
    finite = [array[np.isfinite(array)] for array in arrays]
    lows, highs = ([float(one.min()) for one in finite if one.size], [float(one.max()) for one in finite if one.size])
    return min(lows, default=np.inf), max(highs, default=-np.inf)


def shade(shares: Any) -> np.ndarray:
    """Return the colours of shares from 0 to 1, paper to dark blue: (...) -> (..., 3) uint8.

    By their roots, which tells small shares apart.
    """
    roots = np.sqrt(np.asarray(shares, np.float64))[..., None]
    return np.rint(_LIGHT + (_DARK - _LIGHT) * roots).astype(np.uint8)


def _looked_up(table: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the colours of shares of a scale."""
    shares = np.asarray(shares, np.float64)
    places = np.nan_to_num(np.clip(shares, 0.0, 1.0)) * (STEPS - 1)
    colours = table.take(np.rint(places).astype(np.intp), axis=0)  # a copy, also of a single one
    colours[np.isnan(shares)] = (255, 0, 0)
    return colours


@cache
def _sequential_table() -> np.ndarray:
    """Return the colours of the scale from low to high, (STEPS, 3) uint8."""
    t = np.linspace(0.0, 1.0, _FINE)
    return _evenly(0.2 + 0.75 * t, 0.09 + 0.07 * t**3, np.radians(300.0 - 195.0 * t))


@cache
def _diverging_table() -> np.ndarray:
    """Return the colours of the scale from negative to positive, (STEPS, 3) uint8."""
    t = np.linspace(0.0, 1.0, _FINE)
    sides = [_evenly(0.97 - 0.47 * t, 0.13 * t, np.full_like(t, np.radians(hue))) for hue in (255.0, 50.0)]
    negative, positive = (side[::2] for side in sides)
    return np.concatenate([negative[::-1], positive])


def _evenly(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Return colours at even distances on a path through OKLab, (STEPS, 3) uint8; less chroma where sRGB ends."""
    path = _lab(lightness, _possible(lightness, chroma, hue), hue)
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    places = np.linspace(0.0, walked[-1], STEPS)
    even = np.stack([np.interp(places, walked, path[:, axis]) for axis in range(3)], axis=1)
    linear = np.clip(_linear_rgb(even), 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255.0 * encoded).astype(np.uint8)


def _lab(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Return points of OKLab, (N, 3)."""
    return np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)


def _linear_rgb(lab: np.ndarray) -> np.ndarray:
    """Return the linear sRGB of points of OKLab, beyond 0 to 1 where a screen cannot show them."""
    return (lab @ _CONES.T) ** 3 @ _RGB.T


def _possible(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Return the largest chroma, up to that asked for, that a screen can show: found by halving."""
    low, high = np.zeros_like(chroma), chroma.copy()
    for _ in range(20):
        middle = 0.5 * (low + high)
        rgb = _linear_rgb(_lab(lightness, middle, hue))
        fits = ((rgb >= 0) & (rgb <= 1)).all(axis=1)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low
