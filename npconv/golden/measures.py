"""How far one tensor is from another: the numbers of a comparison, in float64 and a piece at a time.

A piece is small enough to stay in a processor's cache, so that comparing costs little more than reading, and tensors
that are mapped from a file are never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

#: Elements of a piece: 64 KB in float64. OpenBLAS starts no threads for products that short.
PIECE = 1 << 13


class Measures(NamedTuple):
    """The distance of an array from its reference.

    Parameters
    ----------
    max_abs : float
        The largest absolute difference; infinite where either array holds a value that is not finite.
    largest : float
        The largest absolute value of the reference.
    largest_mine : float
        And of the other array.
    cosine : float
        Of the angle between both as vectors; 1 if both are zero, 0 if one of them is.
    nmse : float
        The sum of squared differences, divided by the sum of squares of the reference; 0 if both are zero.
    outside : float
        The share of elements that differ by more than the tolerance.
    finite : bool
        Neither array holds NaN or infinity.
    """

    max_abs: float
    largest: float
    largest_mine: float
    cosine: float
    nmse: float
    outside: float
    finite: bool

    @property
    def relative(self) -> float:
        """The largest difference as a share of the largest value of the reference."""
        return self.max_abs / self.largest if self.largest else (0.0 if self.max_abs == 0 else float("inf"))


def pieces(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Return arrays of one size as flat pieces, all at the same places; only an array with gaps is copied."""
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, PIECE):
        yield tuple(array[start : start + PIECE] for array in flat)


def largest(array: np.ndarray) -> float:
    """Return the largest absolute value; 0 of no elements, infinity or NaN if one of them is."""
    found = 0.0
    for (piece,) in pieces(array):
        low, high = float(piece.min()), float(piece.max())
        found = float(np.maximum(found, max(-low, high)))
    return found


def same(reference: np.ndarray, mine: np.ndarray) -> bool:
    """Whether all elements are equal, which NaN never is; ends at the first piece that differs."""
    return reference.dtype == mine.dtype and all((one == other).all() for one, other in pieces(reference, mine))


def measure(reference: np.ndarray, mine: np.ndarray, tolerance: float) -> Measures:
    """Measure how far an array is from its reference.

    Parameters
    ----------
    reference, mine : ndarray of one shape
        Of real numbers in any precision; the differences are taken in float64.
    tolerance : float
        The largest absolute difference that is none.
    """
    if same(reference, mine):
        greatest = largest(reference)
        finite = bool(np.isfinite(greatest))
        return Measures(0.0 if finite else np.inf, greatest, greatest, 1.0, 0.0, 0.0 if finite else 1.0, finite)
    with np.errstate(invalid="ignore", over="ignore"):
        return _measure(reference, mine, tolerance)


def _measure(reference: np.ndarray, mine: np.ndarray, tolerance: float) -> Measures:
    """Measure arrays that are not equal."""
    peaks = np.zeros(3)  # of the difference, the reference and mine; NaN stays NaN
    squares = np.zeros(4)  # of the difference, the reference, mine, and the product of the last two
    outside = 0
    for piece, other in pieces(reference, mine):
        a, b = piece.astype(np.float64), other.astype(np.float64)
        difference = b - a
        squares += (difference @ difference, a @ a, b @ b, a @ b)
        np.abs(difference, out=difference)
        peaks = np.maximum(peaks, (difference.max(), max(a.max(), -a.min()), max(b.max(), -b.min())))
        outside += difference.size - int(np.count_nonzero(difference <= tolerance))
    finite = bool(np.isfinite(peaks[1:]).all())
    error, power, power_mine, product = map(float, squares)
    return Measures(
        float(peaks[0]) if finite else np.inf,
        float(peaks[1]),
        float(peaks[2]),
        _cosine(product, power, power_mine),
        error / power if power else (np.inf if error else 0.0),
        outside / max(reference.size, 1),
        finite,
    )


def _cosine(product: float, power: float, power_mine: float) -> float:
    """Return the cosine from the products of two vectors with each other and with themselves."""
    if not (power and power_mine):
        return 1.0 if power == power_mine else 0.0
    cosine = product / np.sqrt(power) / np.sqrt(power_mine)
    return float(np.clip(cosine, -1.0, 1.0))  # past 1 by rounding alone
