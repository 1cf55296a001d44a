"""Formats of fewer bits: rounding to one, what is stored in one, and how far apart numbers are that were rounded so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

#: What rounds an array to a format, in the dtype it has.
Rounding = Callable[[np.ndarray], np.ndarray]

#: Unit roundoff of each format, and the smallest number above 0 of those that hold arrays.
ROUNDOFF = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8, "tf32": 2.0**-11}
SMALLEST = {"float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}

#: What a program may compute in, and the format that it holds its arrays in: TF32 is one of factors alone.
UNITS = {"float32": "float32", "float16": "float16", "bfloat16": "bfloat16", "tf32": "float32"}

#: The share of values, at most, that lie so near the middle between two of a format that correct programs may differ,
#: and places by which they may in the end: a difference and an exponential that follow make a place two or three.
FEW, PLACES = 1e-3, 4


def to_float16(array: np.ndarray) -> np.ndarray:
    """Return an array rounded to float16, in the dtype it has."""
    return array.astype(np.float16).astype(array.dtype)


def to_bits(array: np.ndarray, bits: int) -> np.ndarray:
    """Return an array rounded to so many bits after the point of float32's mantissa, ties to even, in its dtype."""
    lost = 23 - bits
    codes = array.astype(np.float32).view(np.uint32)
    with np.errstate(over="ignore"):
        kept = (codes + ((1 << (lost - 1)) - 1) + ((codes >> lost) & 1)) >> lost << lost
    return kept.astype(np.uint32).view(np.float32).astype(array.dtype)


def cut_to_tf32(array: np.ndarray) -> np.ndarray:
    """Return an array without the bits of float32 that TF32 lacks, in the dtype it has."""
    return (array.astype(np.float32).view(np.uint32) & 0xFFFFE000).view(np.float32).astype(array.dtype)


def stored_in(array: np.ndarray) -> str:
    """Return the coarsest format, bfloat16 or float16, that holds every value of an array; empty if neither does.

    Both hold all values of some arrays, such as small whole numbers.
    """
    with np.errstate(over="ignore"):
        wide = array.astype(np.float32)
    if array.dtype.kind != "f" or not np.isfinite(wide).all() or not np.array_equal(wide, array):
        return ""
    if not (wide.view(np.uint32) & 0xFFFF).any():
        return "bfloat16"
    with np.errstate(over="ignore"):
        return "float16" if np.array_equal(wide.astype(np.float16), wide) else ""


def stored_distance(exact: np.ndarray, stored: np.ndarray, unit: str) -> float:
    """Return by how much more than their rounding to a format the stored values are off; infinite for other shapes."""
    if exact.shape != stored.shape or not np.isfinite(exact).all():
        return np.inf
    return float((np.abs(exact.astype(np.float64) - stored) - half_places(stored, unit)).max(initial=0.0))


def flipped_distance(one: np.ndarray, other: np.ndarray, unit: str) -> float:
    """Return the largest difference of arrays of one shape whose values were rounded to a format on the way.

    A value near the middle between two of the format may have become either: so few that are near count as equal.
    """
    off = np.abs(one.astype(np.float64) - other)
    flipped = (off > 0) & (off <= PLACES * 2 * half_places(other, unit))
    if np.count_nonzero(flipped) <= FEW * off.size:
        off[flipped] = 0
    return float(off.max(initial=0.0))


def half_places(stored: np.ndarray, unit: str) -> np.ndarray:
    """Return half the distance from each value of a format to the next."""
    fractions, exponents = np.frexp(stored)
    places = np.where(fractions == 0, 0.0, np.ldexp(ROUNDOFF[unit], exponents - 1))  # the exponent of 0 says nothing
    return np.maximum(places, SMALLEST[unit] / 2)


def perturbed(
    params: Mapping[str, np.ndarray], seed: int | Sequence[int], share: float = 2 * ROUNDOFF["float32"]
) -> dict[str, np.ndarray]:
    """Return float32 weights, each off by up to a share of its value; the same seed gives the same.

    That is a unit in the last place when unset.
    """
    rng = np.random.default_rng(seed)
    found = dict(sorted(params.items()))
    for name, array in found.items():
        if array.dtype.kind == "f":
            factors = rng.uniform(-share, share, array.shape)
            factors += 1
            with np.errstate(over="ignore"):  # an overflow is seen by the results
                factors *= array
                found[name] = factors.astype(np.float32)
    return found
