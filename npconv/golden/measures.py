"""How far one tensor is from another, and how far a correct port may be from the truth.

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
from npconv.golden.roundings import ROUNDOFF, SMALLEST, UNITS
from npconv.golden.trace_file import PIXELS, part
from npconv.messages import quoted

#: Times the largest measured noise that a port may be off: a few runs do not find the worst case, and a port may add in
#: an order that rounds more than any of them, one number after another where NumPy adds in pairs.
MULTIPLE = 8

#: Units in the last place of the tensor's largest value that a port may be off in any case: where all runs were exact,
#: another correct program may still round once, by a fused multiply-add or a multiplication with the inverse.
FLOOR = 4

#: The same two for a unit of fewer bits whose own noise was measured (:mod:`npconv.golden.units`). There the rounding
#: of what is stored outweighs that of sums, and is much alike in all programs: with 96 random models, PyTorch came to
#: 0.78 of this in half precision and to 0.57 in TF32.
MULTIPLE_IN_UNIT, FLOOR_IN_UNIT = 3.5, 1

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


def place_of(array: np.ndarray) -> list[int]:
    """Return the place of the largest value, the first of several."""
    return [int(index) for index in np.unravel_index(int(array.argmax()), array.shape)]


def tolerance(
    trace: Mapping[str, np.ndarray],
    name: str,
    unit: str = "float32",
    rtol: float | None = None,
    atol: float | None = None,
    *,
    largest: float | None = None,
    noise_in_unit: float | None = None,
) -> float:
    """Return the largest absolute difference from a tensor of a reference that rounding explains.

    `unit` is what the port computes in; the steps of preprocessing are never in less than float32. If `rtol` or `atol`
    is given, the tolerance is ``atol + rtol * max |reference|``, whatever was measured. `largest` is this maximum of
    the tensor's finite values, if it is known already; `noise_in_unit` what :func:`npconv.golden.units.noise_in`
    measured. Without it the tolerance of float32 grows by the unit roundoff, to more than is needed.

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
        return INPUT_UNITS * last_place(size, UNITS[unit] if name == PIXELS else "float32")
    if noise_in_unit is not None:
        return tolerance_in_unit(noise_in_unit, size, unit)
    noise = noise_of(trace, name)
    if noise is None:
        noise = UNMEASURED * ROUNDOFF["float32"] * size
    return max(allowed(MULTIPLE * noise, unit), FLOOR * last_place(size, UNITS[unit]))


def is_before_model(name: str) -> bool:
    """Tell whether a tensor is the pixel values, or made on the way to them."""
    return name == PIXELS or name.startswith(PREPROCESSING)


def check_unit(unit: str) -> None:
    """Refuse what is not one of ``"float32"``, ``"float16"``, ``"bfloat16"`` and ``"tf32"``, with a GoldenError."""
    if not isinstance(unit, str) or unit not in UNITS:
        raise GoldenError(f"expected unit to be one of {', '.join(UNITS)}; got {quoted(unit)}")


def allowed(tolerance: float, unit: str) -> float:
    """Return what a tolerance of float32 is for a port that computes in `unit`."""
    check_unit(unit)
    return tolerance * (ROUNDOFF[unit] / ROUNDOFF["float32"])


def tolerance_in_unit(noise: float, largest: float, unit: str) -> float:
    """Return the tolerance of an array by what :mod:`npconv.golden.units` measured, and by its largest value."""
    return max(MULTIPLE_IN_UNIT * noise, FLOOR_IN_UNIT * last_place(largest, UNITS[unit]))


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
