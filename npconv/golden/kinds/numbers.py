"""Numbers as people write them."""

from __future__ import annotations

import math

#: How near a number is to one that has few digits, or a name.
NEAR = 2e-6

#: Numbers that have a name.
KNOWN = {
    **{math.sqrt(number): f"sqrt({number})" for number in (2, 3)},
    math.sqrt(math.pi): "sqrt(pi)",
    math.sqrt(2 / math.pi): "sqrt(2 / pi)",
    math.pi: "pi",
    math.e: "e",
    1 / 255: "1/255",
}


def rounded(number: float) -> float:
    """Return the number with few digits, or with a name, that is nearly this one; or else this one."""
    if number == 0 or not math.isfinite(number):
        return number
    candidates = [float(f"{number:.4g}"), 1 / float(f"{1 / number:.4g}")]
    candidates += [math.copysign(value, number) for value in KNOWN]
    candidates += [math.copysign(1 / value, number) for value in KNOWN]
    return next((near for near in candidates if math.isclose(near, number, rel_tol=NEAR)), number)


def in_words(number: float) -> str:
    """Return a number as people write it."""
    for value, name in KNOWN.items():
        for text, known in ((name, value), (f"1 / {name}", 1 / value)):
            if math.isclose(number, known, rel_tol=1e-12):
                return text
            if math.isclose(number, -known, rel_tol=1e-12):
                return f"-{text}"
    return f"{number:.6g}"
