"""Other numbers: a factor, an offset, an exponent, a bound, an epsilon. They are solved for, and named if known.

What a number does to the result of its own step is read off that result. Where other steps follow it, or the number
stands in the middle of one, it is searched for, by Newton's method from the right one on: the number by which the end
of the part comes nearest to mine. A number that moves the end elsewhere than to mine is not followed far.
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

#: Powers of 10 that are tried where the right number leads nowhere, in parts of one step.
POWERS = range(-13, 4)

#: By how much the logarithm of a number is changed to see what that does, and at most in one turn; and turns at most.
PROBE, REACH, TURNS = 1e-4, math.log(10), 40

#: What a turn must leave at most, as a share, to be followed by another; of the first, the share of what is wrong (of
#: its squares) that a line in its direction must explain.
SLOWEST, ALIKE = 0.9, 0.2

#: Norms, and whether they subtract the mean.
NORMS = {"layer_norm": True, "rms_norm": False, "simple_norm": True}

#: Where the steepness of a quick GELU is looked for from.
STEEPNESS = 1.702

#: Where an epsilon that is 0 is looked for from.
EPSILON = 1e-6


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
            yield from _offset(place)
            if (highest := float(place.right.max())) > 0:
                yield from _searched(place, partial(_cut_above, place), highest / 2, alike=0.0)


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


def _offset(place: Place) -> Iterator[Change]:
    """Give out the step with a number added to its result, searched for in units of the spread of that."""
    spread = float(place.right.std())

    def change(number: float) -> Change:
        def function(*inputs: Any, **arguments: Any) -> Any:
            return place.function(*inputs, **arguments) + number

        return Change(KIND, f"its result plus {in_words(number)}", place.step, function, {"offset": number})

    def rest(number: float) -> np.ndarray | None:
        return _left(place, [change(number * spread)])

    found = _newton(rest, 0.0, ALIKE) if spread else None
    if found is not None and rounded(found * spread):
        yield change(rounded(found * spread))


def _left(place: Place, several: list[Change]) -> np.ndarray | None:
    """Return what some changes leave of mine; None where they cannot be made."""
    assert place.goal is not None
    try:
        made = place.try_(several)
    except ArithmeticError:
        return None
    left = (place.goal - made).ravel() if made.shape == place.goal.shape else None
    return left if left is not None and np.isfinite(left).all() else None


def _cut_above(place: Place, high: float) -> Change:
    """Return the step with a result that is cut off above."""

    def function(*inputs: Any, **arguments: Any) -> Any:
        return np.minimum(place.function(*inputs, **arguments), high)

    return Change(KIND, f"its result cut off above {in_words(high)}", place.step, function, {"high": high})


def numbers_of(place: Place) -> Iterator[Change]:
    """Give out the step with another number as one of its attributes."""
    is_known = place.goal is not None and bool(np.isfinite(place.goal).all())
    for name, value in place.step.attributes.items():
        if isinstance(value, float) and is_known:
            yield place.with_attribute(KIND, f"{name} is 0", name, 0.0)
            yield from _searched(place, partial(_with_number, place, name), value if value > 0 else EPSILON)


def _exponents(place: Place) -> Iterator[Change]:
    """Give out a norm that divides by another power of the deviation, and an activation of another steepness."""
    if place.step.operation in NORMS:
        yield from _searched(place, partial(_with_power, place))
    if place.step.operation == "activation":
        yield from _searched(place, partial(_with_steepness, place), STEEPNESS)


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
    makers: list[tuple[float, float, list[Callable[[float], Change]]]] = []
    for name, value in first.step.attributes.items():
        if isinstance(value, float):
            start = value if value > 0 else EPSILON
            makers.append((start, ALIKE, [partial(_with_number, place, name) for place in places]))
    makers.append((1.0, ALIKE, [partial(_of_result, place) for place in places]))
    makers.append((1.0, ALIKE, [partial(_of_input, place, place.step.inputs[0]) for place in places]))
    highest = max(float(place.right.max()) for place in places)
    if highest > 0:
        makers.append((highest / 2, 0.0, [partial(_cut_above, place) for place in places]))
    for start, alike, several in makers:
        number = _nearest(first, partial(_all, several), start, alike)
        if number is not None:
            yield _all(several, number)


def _all(makers: Sequence[Callable[[float], Change]], number: float) -> list[Change]:
    """Return several changes by one number."""
    return [make(number) for make in makers]


def _searched(
    place: Place, change: Callable[[float], Change], start: float = 1.0, alike: float = ALIKE
) -> Iterator[Change]:
    """Give out the change by the positive number with which the end comes nearest to mine."""
    number = _nearest(place, lambda number: [change(number)], start, alike)
    if number is not None:
        yield change(number)


def _nearest(
    place: Place, changes: Callable[[float], list[Change]], start: float, alike: float = ALIKE
) -> float | None:
    """Return the positive number with which the end comes nearest to mine; None if nothing comes of any, or it is 1."""

    def rest(logarithm: float) -> np.ndarray | None:
        return _left(place, changes(math.exp(logarithm)))

    found = _newton(rest, math.log(start), alike)
    if found is None and len(place.segment.steps) == 1:
        tried = [(_square(rest(power * REACH)), power) for power in POWERS]
        found = _newton(rest, min(tried)[1] * REACH, 0.0)
    number = 1.0 if found is None else rounded(math.exp(found))
    return number if number != 1 else None


def _square(rest: np.ndarray | None) -> float:
    """Return the sum of the squares of what is left; infinite where there is nothing to be left."""
    return math.inf if rest is None else float(rest @ rest)


def _newton(rest: Callable[[float], np.ndarray | None], at: float, alike: float) -> float | None:
    """Return where what is left is least, going down from a place; None where that leads nowhere."""
    left, moved = rest(at), False
    for turn in range(TURNS):
        probe = None if left is None else rest(at + PROBE)
        if left is None or probe is None:
            return None
        slope = (left - probe) / PROBE
        power, along = float(slope @ slope), float(slope @ left)
        if not power or (turn == 0 and along**2 < alike * power * _square(left)):
            return None
        step = min(max(along / power, -REACH), REACH)
        further = rest(at + step)
        while _square(further) >= _square(left) and abs(step) > PROBE:
            step /= 4
            further = rest(at + step)
        if further is None or _square(further) >= _square(left):
            break
        is_slow = _square(further) > SLOWEST * _square(left) and abs(step) < REACH
        at, left, moved = at + step, further, True
        if is_slow or abs(step) < PROBE * PROBE:
            break
    return at if moved else None
