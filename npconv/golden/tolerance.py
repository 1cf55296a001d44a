"""How far a correct port may be from the truth: what rounding does to this tensor of this model, times a stated number.

One number for all tensors (a folklore of 1e-3) passes real mistakes early in a model, where rounding is 1e-7, and
refuses correct ports late in it, where rounding has grown. So a golden trace holds the float64 truth of the float32
weights, and with each tensor how far from it correct float32 arithmetic landed (:mod:`npconv.golden.truth`):

- The largest of several runs, because a single one may be right by luck: sums that happen to come out exact say
  nothing about another order of summation. The runs differ in what a correct port may do otherwise: the order of sums
  (the fast engine), and each weight off by up to a rounding, which stands for all that is rounded before a layer.
- A multiple of that, because a few runs do not find the worst case, and a port may add in an order that rounds more
  than any of them: over half precision hardware in blocks, or one number after another, where NumPy adds in pairs.
- A floor of a few units in the last place of the tensor's largest value, because where all runs were exact (a maximum,
  a copy, small whole numbers) another correct program may still round once: a fused multiply-add, a division by
  multiplication with the inverse.

What comes before the model does not depend on it: a picture's whole numbers are the same or not, and what is made of
them by a division and a subtraction is off by few units in the last place, whatever the model computes in.

Rounding is proportional to the unit roundoff of a format as long as it is small. So a port in float16 or bfloat16 may
be off by as much more as its unit roundoff is larger. Where that comes to as much as the tensor itself, no comparison
of this tensor in that format says anything; the answer is then to compare in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from npconv.errors import GoldenError
from npconv.golden.measures import largest as largest_of
from npconv.golden.trace_file import PIXELS
from npconv.messages import quoted

#: Times the largest measured noise that a port may be off.
MULTIPLE = 8

#: Units in the last place of the tensor's largest value that a port may be off in any case.
FLOOR = 4

#: Unit roundoffs of the largest value that stand for the noise of a tensor for which none was measured, as in a trace
#: by another program.
UNMEASURED = 128

#: Units in the last place that the pixel values and what they are made of may be off.
INPUT_UNITS = 4

#: The largest difference of whole numbers that is none.
WHOLE = 0.5

#: What stands before the names of the steps that make the pixel values of a photo.
PREPROCESSING = "preprocessing."

#: Unit roundoff of each format, and its smallest number above 0.
ROUNDOFF = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SMALLEST = {"float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}


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

    Parameters
    ----------
    trace : Trace or mapping of str to ndarray
        The reference.
    name : str
        Of the tensor.
    unit : {"float32", "float16", "bfloat16"}
        What the port computes in; the steps of preprocessing are never in less than float32.
    rtol, atol : float, optional
        If either is given, the tolerance is ``atol + rtol * max |reference|``, whatever was measured.
    largest : float, optional
        ``max |reference|`` of the tensor's finite values, if it is known already.

    Raises
    ------
    GoldenError
        If the unit is unknown, or `rtol` or `atol` is negative or no number.
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
    return max(MULTIPLE * noise * (ROUNDOFF[unit] / ROUNDOFF["float32"]), FLOOR * last_place(size, unit))


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
    about: dict[str, Any] = getattr(trace, "about", {})
    runs = (about.get("noise") or {}).get(name)
    return max(runs.values()) if runs else None


def last_place(value: float, unit: str = "float32") -> float:
    """Return the unit in the last place of a number: the distance to the next larger one of the format."""
    if value == 0:
        return SMALLEST[unit]
    _, exponent = math.frexp(value)
    return max(math.ldexp(ROUNDOFF[unit], exponent), SMALLEST[unit])
