"""The numbers along an axis: where each one is, which round ones stand there, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

#: Of a scale: what is left free at each end, as a share of what is between the numbers.
ROOM = 0.04

#: The powers of ten that a scale may end at.
_LOWEST, _HIGHEST = -300.0, 308.0


@dataclass(frozen=True)
class Scale:
    """The numbers along an axis, from `low` to `high`, which may be lower; `log`: equal distances are equal factors."""

    low: float
    high: float
    log: bool = False

    def shares(self, values: ArrayLike) -> np.ndarray:
        """Return where numbers are, 0 at the low end and 1 at the high one."""
        low, high = (math.log10(end) if self.log else end for end in (self.low, self.high))
        with np.errstate(divide="ignore", invalid="ignore"):
            places = np.log10(values) if self.log else np.asarray(values, np.float64)
        return np.asarray((places - low) / (high - low))

    def ticks(self, most: int = 5, *, whole: bool = False) -> list[float]:
        """Return about so many round numbers on the axis: with `log` powers of ten, if two are there."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            powers = [10.0**n for n in range(first, last + 1, max(1, -(-(last - first) // max(1, most - 2))))]
            if len(powers) > 1:
                return powers
        low, high = sorted((self.low, self.high))
        return round_numbers(low, high, most, whole=whole)


def scale_of(*arrays: np.ndarray, zero: bool = False, log: bool = False) -> Scale:
    """Return a scale on which all finite numbers of arrays are, with `log` all above 0; with `zero`, 0 as well."""
    told = [array[np.isfinite(array) & ((array > 0) | (not log))] for array in arrays]
    low = min([float(one.min()) for one in told if one.size] + ([0.0] if zero else []), default=float(log))
    high = max([float(one.max()) for one in told if one.size] + ([0.0] if zero else []), default=1.0)
    if log:
        low, high = math.log10(low), math.log10(high)
    is_flat = high - low <= 1e-12 * max(abs(low), abs(high))
    room = 0.5 * (1.0 if log else abs(high) or 1.0) if is_flat else ROOM * (high - low)
    low, high = low - room, high + room
    return Scale(10.0 ** max(low, _LOWEST), 10.0 ** min(high, _HIGHEST), log=True) if log else Scale(low, high)


def round_numbers(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Return round numbers between two limits, about so many; with `whole` no others than whole ones."""
    rough = (high - low) / most or 1
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    step = max(1, round(step)) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def as_number(value: float, digits: int = 3) -> str:
    """Return a number as an axis shows it, with so many digits, or all before the point."""
    value += 0.0  # 0 without a sign
    return f"{value:,.{digits - 3}f}" if 1e3 <= abs(value) < 1e10 else f"{value:.{digits}g}"


def as_numbers(values: Sequence[float]) -> list[str]:
    """Return different numbers as an axis shows them, with as many digits as tell them apart."""
    for digits in range(3, 15):
        texts = [as_number(value, digits) for value in values]
        if len(set(texts)) == len(texts):
            return texts
    return [str(value) for value in values]
