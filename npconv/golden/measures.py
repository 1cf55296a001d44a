"""How far one tensor is from another, and where: at the border, in one channel or sample, at every other pixel.

The numbers are taken in float64 and a piece at a time. A piece is small enough to stay in a processor's cache, so that
comparing costs little more than reading, and tensors that are mapped from a file are never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

#: Elements of a piece: 64 KB in float64. OpenBLAS starts no threads for products that short.
PIECE = 1 << 13

#: The widest border that is looked for: a convolution of kernel 7 reaches 3 pixels over the edge.
WIDEST_BORDER = 3

#: The strides whose pattern is looked for.
PERIODS = (2, 3, 4)

#: Differences for each place of an axis below which their distribution over it tells nothing.
TELLING = 2

#: The share of the places of a pattern that must differ; a few rows are not a pattern.
SOLID = 0.75

WORDS = {
    "N": ("sample", "samples"),
    "C": ("channel", "channels"),
    "D": ("channel", "channels"),
    "K": ("class", "classes"),
    "H": ("row", "rows"),
    "W": ("column", "columns"),
    "T": ("token", "tokens"),
    "S": ("key", "keys"),
    "h": ("head", "heads"),
}


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


def distance(reference: np.ndarray, mine: np.ndarray) -> float:
    """Return the largest absolute difference; infinite where shapes differ or a number is not finite."""
    return measure(reference, mine, 0.0).max_abs if reference.shape == mine.shape else np.inf


def finite_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of two wrong results; infinite where shapes differ or other numbers are finite."""
    finite = np.isfinite(one)
    same_places = one.shape == other.shape and np.array_equal(finite, np.isfinite(other))
    return distance(one[finite], other[finite]) if same_places else np.inf


def whereabouts(reference: np.ndarray, mine: np.ndarray, tolerance: float, layout: str = "") -> str:
    """Say where two arrays differ by more than a tolerance.

    Parameters
    ----------
    reference, mine : ndarray of one shape
    tolerance : float
        The largest absolute difference that is none.
    layout : str
        A letter for each axis (N, C, H, W, T, D, K, S, h); axes without a known letter go by their number.

    Returns
    -------
    str
        ``"the first row and the first column"``, ``"channel 17 of 384"``, ``"everywhere (93 %)"``; empty if nowhere.
    """
    wrong = outside(reference, mine, tolerance)
    count = int(np.count_nonzero(wrong))
    if not count:
        return ""
    if count == 1:
        place = tuple(int(index) for index in np.unravel_index(int(wrong.argmax()), wrong.shape))
        return f"one element, at {list(place)}" if wrong.size > 1 else "everywhere"
    letters = layout if len(layout) == wrong.ndim else "?" * wrong.ndim
    found = _maps(wrong, letters)
    found += _axes(wrong, letters, count, told="HW" if found else "")
    return "; ".join(found) if found else _spread(wrong, count)


def outside(reference: np.ndarray, mine: np.ndarray, tolerance: float) -> np.ndarray:
    """Return a bool for each element: does it differ by more than the tolerance, or is it not finite."""
    wrong = np.empty(reference.shape, bool)
    with np.errstate(invalid="ignore"):
        for target, one, other in pieces(wrong, reference, mine):
            np.logical_not(np.abs(other.astype(np.float64) - one) <= tolerance, out=target)
    return wrong


def not_finite(reference: np.ndarray, mine: np.ndarray) -> str:
    """Say how many values of two arrays are NaN or infinite."""
    found = []
    for whose, array in (("mine", mine), ("the reference", reference)):
        nan = sum(int(np.count_nonzero(np.isnan(piece))) for (piece,) in pieces(array))
        infinite = sum(int(np.count_nonzero(np.isinf(piece))) for (piece,) in pieces(array))
        counts = [f"{count} {what}" for count, what in ((nan, "NaN"), (infinite, "infinite")) if count]
        if counts:
            found.append(f"{' and '.join(counts)} of {array.size} values of {whose}")
    return "; ".join(found)


def _spread(wrong: np.ndarray, count: int) -> str:
    """Say how many elements differ that follow no pattern."""
    share = count / wrong.size
    if share >= 0.5:
        return f"everywhere ({share:.0%} of the values)"
    first = tuple(int(index) for index in np.unravel_index(int(wrong.argmax()), wrong.shape))
    return f"scattered: {count} of {wrong.size} values ({share:.2%}), the first at {list(first)}"


def _maps(wrong: np.ndarray, letters: str) -> list[str]:
    """Return what is seen in rows and columns: a border, or the pattern of a stride."""
    if "H" not in letters or "W" not in letters:
        return []
    others = tuple(axis for axis, letter in enumerate(letters) if letter not in "HW")
    image = np.asarray(wrong.any(axis=others))
    if letters.index("H") > letters.index("W"):
        image = image.T
    text = _border(image) or _pattern(image)
    return [text] if text else []


def _border(image: np.ndarray) -> str:
    """Say on which edges all differences sit; empty if some lie inside."""
    height, width = image.shape
    for thick in range(1, WIDEST_BORDER + 1):
        if min(height, width) <= 2 * thick:
            return ""
        inside = slice(thick, -thick)
        if image[inside, inside].any():
            continue
        sides = [
            (image[:thick, inside], "first row"),
            (image[-thick:, inside], "last row"),
            (image[inside, :thick], "first column"),
            (image[inside, -thick:], "last column"),
        ]
        hit = [words if thick == 1 else words.replace(" ", f" {thick} ") + "s" for part, words in sides if part.any()]
        return f"the border: {_list(hit)}" if hit else "the corners"
    return ""


def _pattern(image: np.ndarray) -> str:
    """Say which places of a stride hold all differences; empty if there is no such pattern."""
    height, width = image.shape
    for period in PERIODS:
        if min(height, width) < 2 * period:
            return ""
        hit = np.array([[image[i::period, j::period].any() for j in range(period)] for i in range(period)])
        whole = np.tile(hit, (-(-height // period), -(-width // period)))[:height, :width]
        if hit.all() or np.count_nonzero(image) < SOLID * np.count_nonzero(whole):
            continue
        if period == 2 and hit[0, 0] == hit[1, 1] != hit[0, 1] == hit[1, 0]:
            return "a checkerboard"
        for axis, words in ((1, "rows"), (0, "columns")):
            line = hit.any(axis=axis)
            if not line.all() and (hit == np.expand_dims(line, axis)).all():
                places = ", ".join(map(str, np.flatnonzero(line)))
                return f"a pattern of period {period}: {words} {places}, counted modulo {period}"
        places = ", ".join(f"({i}, {j})" for i, j in np.argwhere(hit))
        return f"a pattern of period {period}: (row, column) {places}, counted modulo {period}"
    return ""


def _axes(wrong: np.ndarray, letters: str, count: int, told: str) -> list[str]:
    """Return the axes of which only some places differ, without those that are told already."""
    found = []
    for axis, letter in enumerate(letters):
        if letter in told:
            continue
        size = wrong.shape[axis]
        hit = np.asarray(wrong.any(axis=tuple(other for other in range(wrong.ndim) if other != axis)))
        places = np.flatnonzero(hit)
        if letter == "T" and len(places) == size - 1 and not hit[0] and count >= TELLING * size:
            found.append("all tokens but the first (the class token, where there is one)")
        elif 2 * len(places) <= size and count >= TELLING * len(places):
            found.append(_places(places, size, letter, axis))
    return found


def _places(places: np.ndarray, size: int, letter: str, axis: int) -> str:
    """Say which places of an axis: ``channels 3, 7 of 96``."""
    one, many = WORDS.get(letter, (f"index of axis {axis}", f"indices of axis {axis}"))
    if len(places) == 1:
        note = " (the class token, where there is one)" if letter == "T" and places[0] == 0 else ""
        return f"{one} {places[0]} of {size}{note}"
    if len(places) == places[-1] - places[0] + 1:
        return f"{many} {places[0]} to {places[-1]} of {size}"
    shown = ", ".join(map(str, places[:6])) + (f" and {len(places) - 6} more" if len(places) > 6 else "")
    return f"{many} {shown} of {size}"


def _list(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
