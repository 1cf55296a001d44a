"""How far one tensor is from another, where they differ, and how far a correct port may be from the truth.

The numbers are taken in float64 and a piece at a time. A piece is small enough to stay in a processor's cache, so that
comparing costs little more than reading, and tensors that are mapped from a file are never in memory as a whole.

One tolerance for all tensors passes real mistakes early in a model, where rounding is 1e-7, and refuses correct ports
late in it. So a golden trace tells of each tensor how far from the truth correct float32 arithmetic landed
(:mod:`npconv.golden.truth`), and the tolerance is a multiple of that. Rounding grows with the unit roundoff of a format
as long as it is small; where it comes to as much as the tensor itself, no comparison in that format says anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from npconv.errors import GoldenError
from npconv.golden.roundings import ROUNDOFF, SMALLEST
from npconv.golden.trace_file import PIXELS, part
from npconv.messages import listed, quoted

#: Times the largest measured noise that a port may be off: a few runs do not find the worst case, and a port may add in
#: an order that rounds more than any of them, one number after another where NumPy adds in pairs.
MULTIPLE = 8

#: Units in the last place of the tensor's largest value that a port may be off in any case: where all runs were exact,
#: another correct program may still round once, by a fused multiply-add or a multiplication with the inverse.
FLOOR = 4

#: Unit roundoffs of the largest value that stand for the noise of a tensor for which none was measured, as in a trace
#: by another program.
UNMEASURED = 128

#: Units in the last place that the pixel values and what they are made of may be off, whatever the model computes in.
INPUT_UNITS = 4

#: The largest difference of whole numbers that is none.
WHOLE = 0.5

#: What stands before the names of the steps that make the pixel values of a photo.
PREPROCESSING = "preprocessing."

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

#: One place of an axis, by its letter.
WORDS = {
    **{"N": "sample", "C": "channel", "D": "channel", "K": "class", "H": "row", "W": "column"},
    **{"T": "token", "S": "key", "h": "head"},
}


class Measures(NamedTuple):
    """The distance of an array from its reference.

    Parameters
    ----------
    max_abs : float
        The largest absolute difference; infinite where either array holds a value that is not finite.
    largest, largest_mine : float
        The largest absolute values of the reference and of the other array.
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


def largest_of(array: np.ndarray) -> float:
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
    """Measure how far an array is from its reference of the same shape; the differences are taken in float64."""
    if same(reference, mine):
        greatest = largest_of(reference)
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
        a, b = np.asarray(piece, np.float64), np.asarray(other, np.float64)
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
    if reference.shape != mine.shape:
        return np.inf
    found = 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for one, other in pieces(reference, mine):
            found = float(np.maximum(found, np.abs(np.subtract(one, other, dtype=np.float64)).max()))  # NaN stays NaN
    return found if math.isfinite(found) else np.inf


def finite_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of two wrong results; infinite where shapes differ or other numbers are finite."""
    found = distance(one, other)
    if math.isfinite(found):
        return found
    finite = np.isfinite(one)
    same_places = one.shape == other.shape and np.array_equal(finite, np.isfinite(other))
    return distance(one[finite], other[finite]) if same_places else np.inf


def whereabouts(reference: np.ndarray, mine: np.ndarray, tolerance: float, layout: str = "") -> str:
    """Say where two arrays of one shape differ by more than a tolerance; nothing if nowhere.

    ``"the first row and the first column"``, ``"channel 17 of 384"``, ``"everywhere (93 %)"``. `layout` has a letter
    for each axis (N, C, H, W, T, D, K, S, h); axes without a known letter go by their number.
    """
    wrong = outside(reference, mine, tolerance)
    count = int(np.count_nonzero(wrong))
    if not count:
        return ""
    if count == 1:
        return f"one element, at {place_of(wrong)}" if wrong.size > 1 else "everywhere"
    letters = layout if len(layout) == wrong.ndim else "?" * wrong.ndim
    found = _maps(wrong, letters)
    found += _axes(wrong, letters, count, told="HW" if found else "")
    return "; ".join(found) if found else _spread(wrong, count)


def place_of(array: np.ndarray) -> list[int]:
    """Return the place of the largest value, the first of several."""
    return [int(index) for index in np.unravel_index(int(array.argmax()), array.shape)]


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
    return f"scattered: {count} of {wrong.size} values ({share:.2%}), the first at {place_of(wrong)}"


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
        listed = " and ".join(filter(None, (", ".join(hit[:-1]), *hit[-1:])))
        return f"the border: {listed}" if hit else "the corners"
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
    one = WORDS.get(letter, f"index of axis {axis}")
    many = {"class": "classes"}.get(one, f"{one}s") if letter in WORDS else f"indices of axis {axis}"
    if len(places) == 1:
        note = " (the class token, where there is one)" if letter == "T" and places[0] == 0 else ""
        return f"{one} {places[0]} of {size}{note}"
    if len(places) == places[-1] - places[0] + 1:
        return f"{many} {places[0]} to {places[-1]} of {size}"
    return f"{many} {listed(list(map(str, places)), 6)} of {size}"


def tolerance(
    trace: Mapping[str, np.ndarray],
    name: str,
    unit: str = "float32",
    rtol: float | None = None,
    atol: float | None = None,
    *,
    largest: float | None = None,
) -> float:
    """Return the largest absolute difference from a tensor of a reference that rounding explains.

    `unit` is what the port computes in; the steps of preprocessing are never in less than float32. If `rtol` or `atol`
    is given, the tolerance is ``atol + rtol * max |reference|``, whatever was measured. `largest` is this maximum of
    the tensor's finite values, if it is known already.

    Raises
    ------
    GoldenError
        If the unit is unknown, or `rtol` or `atol` is negative or not a number.
    """
    check_unit(unit)
    for what, value in (("rtol", rtol), ("atol", atol)):
        if value is not None and not (value >= 0 and math.isfinite(value)):
            raise GoldenError(f"expected {what} to be a finite number of at least 0, got {value!r}")
    size = largest_of(trace[name]) if largest is None else largest
    if rtol is not None or atol is not None:
        return (atol or 0.0) + (rtol or 0.0) * size
    if is_before_model(name):
        if np.asarray(trace[name]).dtype.kind != "f":
            return WHOLE
        return INPUT_UNITS * last_place(size, unit if name == PIXELS else "float32")
    noise = noise_of(trace, name)
    if noise is None:
        noise = UNMEASURED * ROUNDOFF["float32"] * size
    return max(allowed(MULTIPLE * noise, unit), FLOOR * last_place(size, unit))


def is_before_model(name: str) -> bool:
    """Tell whether a tensor is the pixel values, or made on the way to them."""
    return name == PIXELS or name.startswith(PREPROCESSING)


def check_unit(unit: str) -> None:
    """Refuse what is not one of ``"float32"``, ``"float16"`` and ``"bfloat16"``, with a GoldenError."""
    if not isinstance(unit, str) or unit not in ROUNDOFF:
        raise GoldenError(f"expected unit to be one of {', '.join(ROUNDOFF)}; got {quoted(unit)}")


def allowed(tolerance: float, unit: str) -> float:
    """Return what a tolerance of float32 is for a port that computes in `unit`."""
    check_unit(unit)
    return tolerance * (ROUNDOFF[unit] / ROUNDOFF["float32"])


def noise_of(trace: Mapping[str, np.ndarray], name: str) -> float | None:
    """Return the largest measured float32 noise of a tensor; None if none was measured."""
    runs = part(trace, "noise").get(name)
    return max(runs.values()) if runs else None


def last_place(value: float, unit: str = "float32") -> float:
    """Return the unit in the last place of a number: the distance to the next larger one of the format."""
    if value == 0:
        return SMALLEST[unit]
    _, exponent = math.frexp(value)
    return max(math.ldexp(ROUNDOFF[unit], exponent), SMALLEST[unit])
