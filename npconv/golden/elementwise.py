"""GELU in fewer bits, value by value, on a port's own input.

Another GELU is off by 5e-4 at most, which is less than what float16 makes of values of 1: no comparison of whole arrays
sees it. But it is off most where GELU is small, and there the places of any format are close. So where a port of fewer
bits gives the input of a GELU, the step is done again on that, and each value is held against its own places.

The rounding of the result is allowed, and that of the input: a program may take it before it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import pi, sqrt

import numpy as np
from scipy.special import erf, ndtr

from npconv.golden.align import Aligned
from npconv.golden.measures import FLOOR, largest_of, last_place, pieces
from npconv.golden.roundings import FEW, UNITS, Rounding, half_places
from npconv.golden.units import STORED, model_plan
from npconv.layers import ACTIVATIONS, gelu
from npconv.plan.step import Step

#: How the argument of erf is made: divided by the root of 2, whose bits may be fewer as well, or times its inverse.
ARGUMENTS: tuple[Callable[[np.ndarray, Rounding], np.ndarray], ...] = (
    lambda x, r: x / sqrt(2.0),
    lambda x, r: x / r(np.array(sqrt(2.0))),
    lambda x, r: x * r(np.array(sqrt(0.5))),
)


def check_gelus(
    reference: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray], found: Sequence[Aligned], unit: str
) -> dict[str, float]:
    """Return how far each good GELU is off by itself, in what rounding explains of it; more than 1 is wrong."""
    plan = model_plan(reference)
    good = {entry.tensor.name: entry for entry in found if entry.tensor.is_good}
    off = {}
    for step in plan or ():
        arrays = [_read(good[name], mine) for name in (*step.inputs, step.name) if name in good and _is_gelu(step)]
        if len(arrays) == 2 and arrays[0].shape == arrays[1].shape:  # the plan may be a stranger's
            off[step.name] = misfit(arrays[0], arrays[1], unit)
    return off


def _is_gelu(step: Step) -> bool:
    """Tell whether a step is GELU in its exact form."""
    return step.operation == "activation" and ACTIVATIONS.get(str(step.attributes.get("hidden_act"))) is gelu


def _read(entry: Aligned, mine: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a tensor of mine in the order of axes of the reference."""
    assert entry.tensor.reading is not None  # it is good
    return entry.tensor.reading.of(np.asarray(mine[entry.mine]), entry.tensor.shape)


def misfit(x: np.ndarray, y: np.ndarray, unit: str) -> float:
    """Return how far `y` is from the GELU of `x` (any shape), in what a unit's rounding explains of each value.

    Some libraries round every single operation of it to the unit; then the error of small values is that of a sum near
    1, and those are right that are what this makes, but for a few that lay in the middle between two of the unit.
    """
    slack = 2 * FLOOR * last_place(largest_of(y), "float32")
    worst = max((float(_off(a * ndtr(a), a, b, unit, slack).max()) for a, b in _both(x, y)), default=0.0)
    if worst <= 1 or unit not in STORED:
        return worst
    few = int(FEW * y.size)
    for argument in ARGUMENTS:
        off = [_off(rounded_gelu(a, argument, STORED[unit]), a, b, unit, slack) for a, b in _both(x, y)]
        most = float(np.partition(np.concatenate(off), -1 - few)[-1 - few])
        if most <= 1:
            return most
    return worst


def _both(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield two arrays in float64, piece by piece."""
    for a, b in pieces(x, y):
        yield a.astype(np.float64), b.astype(np.float64)


def _off(exact: np.ndarray, x: np.ndarray, y: np.ndarray, unit: str, slack: float) -> np.ndarray:
    """Return how far values are from what they should be, in what the rounding of both sides explains."""
    with np.errstate(over="ignore"):
        slope = ndtr(x) + x * np.exp(-x * x / 2) / sqrt(2 * pi)
    taken = np.abs(slope) * half_places(x, UNITS[unit])
    return np.asarray(np.abs(exact - y) / (2 * half_places(y, UNITS[unit]) + taken + slack))


def rounded_gelu(x: np.ndarray, argument: Callable[[np.ndarray, Rounding], np.ndarray], r: Rounding) -> np.ndarray:
    """Return GELU with the result of every operation rounded, that of the `argument` of erf too."""
    return np.asarray(r(0.5 * x * r(1 + r(erf(r(argument(x, r)))))))
