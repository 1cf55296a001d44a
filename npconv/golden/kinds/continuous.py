"""Other numbers: a factor, an offset, an exponent, a bound, an epsilon. They are solved for, and named if known.

What a number does to the result of its own step is read off that result. Where other steps follow it, or the number
stands in the middle of one, it is searched for: the one by which the end of the part comes nearest to mine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.kinds.change import Change, Place
from npconv.golden.kinds.numbers import in_words, rounded

KIND = "continuous"

#: The exponents of 10 between which numbers are looked for, and how many are tried before the nearest is made precise.
TINY, HUGE = -13.0, 3.0
STEPS = 33

#: Norms, and whether they subtract the mean.
NORMS = {"layer_norm": True, "rms_norm": False, "simple_norm": True}

#: What is left unexplained by a number that cannot be used.
LOST = 1e300


def continuous(place: Place) -> Iterator[Change]:
    """Give out the step with other numbers."""
    yield from read_off(place)
    yield from numbers_of(place)
    if place.goal is not None and np.isfinite(place.goal).all():
        yield from _exponents(place)
        for name in dict.fromkeys(place.step.inputs):
            yield from _searched(place, partial(_of_input, place, name))
        if place.mine is None:
            yield from _searched(place, partial(_of_result, place))


def read_off(place: Place) -> Iterator[Change]:
    """Give out what a number does to the result of its own step."""
    mine, right = place.mine, place.right
    if mine is not None and mine.shape == right.shape and right.size and np.isfinite([mine, right]).all():
        yield from _line(place, mine.astype(np.float64), right.astype(np.float64))
        yield from _bounds(place, mine, right)


def _line(place: Place, mine: np.ndarray, right: np.ndarray) -> Iterator[Change]:
    """Give out a factor, an offset, both, or an exponent."""
    a, b = right.ravel(), mine.ravel()
    factor = rounded(float(a @ b / (a @ a))) if a.any() else 0.0
    if factor:
        yield _of_result(place, factor)
    offset = rounded(float(np.mean(b - a)))
    if offset:
        says = f"its result plus {in_words(offset)}"
        yield place.of_result(KIND, says, lambda y: y + offset, offset=offset)
    if np.ptp(a):
        around = a - a.mean()
        slope = rounded(float(around @ b / (around @ around)))
        shift = rounded(float(np.mean(b - slope * a)))
        says = f"its result times {in_words(slope)} plus {in_words(shift)}"
        yield place.of_result(KIND, says, lambda y: y * slope + shift, factor=slope, offset=shift)
    size = np.abs(np.log(np.abs(np.where(a == 0, 1, a))))
    if size.max() > 0.1 and (np.sign(a) == np.sign(b)).all():
        telling = size > 0.1
        power = rounded(float(np.median(np.log(np.abs(b[telling])) / np.log(np.abs(a[telling])))))
        says = f"its result to the power {in_words(power)}"
        yield place.of_result(KIND, says, lambda y: np.sign(y) * np.abs(y) ** power, exponent=power)


def _of_result(place: Place, factor: float) -> Change:
    """Return the step with a multiple of its result."""
    return place.of_result(KIND, f"its result times {in_words(factor)}", lambda y: y * factor, factor=factor)


def _of_input(place: Place, name: str, factor: float) -> Change:
    """Return the step on a multiple of one of its inputs."""

    def scaled(*inputs: Any) -> tuple[Any, ...]:
        return tuple(x * factor if own == name else x for own, x in zip(place.step.inputs, inputs, strict=True))

    return place.of_inputs(KIND, f"its input {name} times {in_words(factor)}", scaled, input=name, factor=factor)


def _bounds(place: Place, mine: np.ndarray, right: np.ndarray) -> Iterator[Change]:
    """Give out a result that is cut off below, above, or on both sides."""
    low, high = rounded(float(mine.min())), rounded(float(mine.max()))
    for lower, upper, says in (
        (low, np.inf, f"below {in_words(low)}"),
        (-np.inf, high, f"above {in_words(high)}"),
        (low, high, f"below {in_words(low)} and above {in_words(high)}"),
    ):
        if (right < lower).any() or (right > upper).any():
            cut = partial(np.clip, a_min=lower, a_max=upper)
            bounds = {name: bound for name, bound in (("low", lower), ("high", upper)) if math.isfinite(bound)}
            yield place.of_result(KIND, f"its result cut off {says}", cut, **bounds)


def numbers_of(place: Place) -> Iterator[Change]:
    """Give out the step with another number as one of its attributes."""
    is_known = place.goal is not None and bool(np.isfinite(place.goal).all())
    for name, value in place.step.attributes.items():
        if isinstance(value, float) and is_known:
            yield place.with_attribute(KIND, f"{name} is 0", name, 0.0)
            yield from _searched(place, partial(_with_number, place, name))


def _exponents(place: Place) -> Iterator[Change]:
    """Give out a norm that divides by another power of the deviation, and an activation of another steepness."""
    if place.step.operation in NORMS:
        yield from _searched(place, partial(_with_power, place))
    if place.step.operation == "activation":
        yield from _searched(place, partial(_with_steepness, place))


def _with_power(place: Place, power: float) -> Change:
    """Return a norm that divides by a power of the standard deviation."""

    def function(x: Any, weight: Any, bias: Any = None, *, eps: float, axis: int) -> Any:
        shape = [-1 if place_ == axis % x.ndim else 1 for place_ in range(x.ndim)]
        shift = x.mean(axis=axis, keepdims=True) if NORMS[place.step.operation] else 0
        scale = (np.square(x - shift).mean(axis=axis, keepdims=True) + eps) ** (power / 2)
        y = (x - shift) / scale * weight.reshape(shape)
        return y if bias is None else y + bias.reshape(shape)

    says = f"divided by the standard deviation to the power {in_words(power)}"
    return Change(KIND, says, place.step, function, {"exponent": power})


def _with_steepness(place: Place, number: float) -> Change:
    """Return the activation x * sigmoid(a x)."""

    def function(x: Any, **arguments: Any) -> Any:
        return x / (1 + np.exp(-number * x))

    return Change(KIND, f"x * sigmoid({in_words(number)} x)", place.step, function, {"factor": number})


def _with_number(place: Place, name: str, number: float) -> Change:
    """Return the step with a number as an attribute."""
    return place.with_attribute(KIND, f"{name} is {in_words(number)}", name, number)


def shared(places: Sequence[Place]) -> Iterator[list[Change]]:
    """Give out all steps of one operation with the same other number."""
    first = places[0]
    if first.goal is None or not np.isfinite(first.goal).all():
        return
    makers: list[list[Callable[[float], Change]]] = []
    for name, value in first.step.attributes.items():
        if isinstance(value, float):
            makers.append([partial(_with_number, place, name) for place in places])
    makers.append([partial(_of_result, place) for place in places])
    makers.append([partial(_of_input, place, place.step.inputs[0]) for place in places])
    for several in makers:
        number = _nearest(first, partial(_all, several))
        if number is not None:
            yield _all(several, number)


def _all(makers: Sequence[Callable[[float], Change]], number: float) -> list[Change]:
    """Return several changes by one number."""
    return [make(number) for make in makers]


def _searched(place: Place, change: Callable[[float], Change]) -> Iterator[Change]:
    """Give out the change by the positive number with which the end comes nearest to mine."""
    number = _nearest(place, lambda number: [change(number)])
    if number is not None:
        yield change(number)


def _nearest(place: Place, changes: Callable[[float], list[Change]]) -> float | None:
    """Return the positive number with which the end comes nearest to mine; None if nothing comes of any, or it is 1."""
    from scipy.optimize import minimize_scalar  # takes longer to import than all of npconv

    goal = place.goal
    assert goal is not None

    def off(exponent: float) -> float:
        try:
            made = place.try_(changes(10.0**exponent))
        except ArithmeticError:
            return LOST
        if made.shape != goal.shape:
            return LOST
        with np.errstate(all="ignore"):
            left = float(np.square(made - goal, dtype=np.float64).sum())
        return left if math.isfinite(left) else LOST

    exponents = np.linspace(TINY, HUGE, STEPS)
    values = [off(exponent) for exponent in exponents]
    best = int(np.argmin(values))
    around = float(exponents[max(best - 1, 0)]), float(exponents[min(best + 1, STEPS - 1)])
    found = minimize_scalar(off, bounds=around, method="bounded", options={"xatol": 1e-10})
    number = rounded(10.0**found.x)
    return number if found.fun < LOST and number != 1 else None
