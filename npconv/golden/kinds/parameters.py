"""Other parameters: another one of the checkpoint, its first value, fewer bits, another order along an axis.

The order is found from the data. Where a step is linear in a parameter and has positions enough, the parameter that the
port used is solved for; which rows of the right one it consists of is then read off. Where it has not, the channels of
the result are compared: a result whose channels are those of the right one in another order tells the order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.kinds.change import Change, Place
from npconv.golden.kinds.numbers import in_words, rounded
from npconv.golden.kinds.precision import FORMATS, levels
from npconv.golden.kinds.solved import solve

KIND = "parameters"

#: Entries along an axis whose order is looked for.
LONGEST = 2048

#: Parameters of other names that are tried in the place of one, the nearest in the checkpoint; and sizes of groups.
MOST_NEAR = 8

#: An entry that is found again is off by no more than this share of the largest.
NEAR = 1e-3


def parameters(place: Place) -> Iterator[Change]:
    """Give out the step with other parameters, the likeliest first."""
    yield from _of_another_module(place)
    yield from _not_loaded(place)
    yield from _exchanged(place)
    yield from _outputs(place)
    for name, full in place.step.params.items():
        right = place.arguments[name]
        if right.dtype.kind != "f":
            continue
        for says, value in FIRST_VALUES:
            if not (right == value).all():
                yield place.with_argument(
                    KIND, f"{full} is {says}", name, partial(np.full_like, fill_value=value), value=value
                )
        for other in _others(place, full, right.shape):
            yield place.with_parameter(KIND, f"{other} in the place of {full}", name, other)
        for says, turned in turns(right):
            yield place.with_argument(KIND, f"{full} {says}", name, turned, turned=says)
        for bits, fewer in ROUNDINGS.items():
            yield place.with_argument(KIND, f"{full} rounded to {bits}", name, fewer, rounded=bits)
        yield from _reordered(place, name, full, right)


def _others(place: Place, full: str, shape: tuple[int, ...]) -> list[str]:
    """Return other parameters of a shape: those of the same name in other modules, and the nearest of other names."""
    end = full.rpartition(".")[2]
    weights = place.weights.data  # not decoded: there may be thousands
    known = list(weights)
    fits = [name for name in known if weights[name].shape == shape and weights[name].dtype.kind == "f" and name != full]
    named = [name for name in fits if name.endswith(f".{end}")]
    others = [name for name in fits if name not in named]
    nearest = sorted(others, key=lambda name: abs(known.index(name) - known.index(full)))  # of two, the one before
    return named + nearest[:MOST_NEAR]


def _together(place: Place) -> Iterator[tuple[str, list[str]]]:
    """Give out what parameters of a step are loaded by one statement: all, those trained, and statistics."""
    statistics = [name for name in place.step.params if name.startswith("running_")]
    trained = [name for name in place.step.params if name not in statistics]
    yield "the parameters", [*place.step.params]
    if statistics:
        yield "the statistics", statistics
        yield "weight and bias", trained


def _of_another_module(place: Place) -> Iterator[Change]:
    """Give out the step with several parameters of another module of the same shapes."""
    own = {full.rpartition(".")[0] for full in place.step.params.values()}
    weights = place.weights.data  # not decoded
    if len(own) != 1:
        return
    ends = {name: full.rpartition(".")[2] for name, full in place.step.params.items()}
    for what, names in _together(place):
        for module in dict.fromkeys(name.rpartition(".")[0] for name in weights) if len(names) > 1 else ():
            taken = {name: f"{module}.{ends[name]}" for name in names}
            fits = all(full in weights and weights[full].shape == place.arguments[n].shape for n, full in taken.items())
            if module not in own and fits:
                says = f"{what} of {module} in the place of those of {next(iter(own))}"
                step = replace(place.step, params={**place.step.params, **taken})
                yield Change(KIND, says, step, place.function, {"taken": module, "parameters": names})


def _not_loaded(place: Place) -> Iterator[Change]:
    """Give out a norm with several parameters at their first values."""
    if not place.step.operation.endswith("norm"):
        return
    for what, names in _together(place):
        first = {name: FIRST_OF_NORMS[name] for name in names if name in FIRST_OF_NORMS}

        def function(*inputs: Any, first: dict[str, float] = first, **arguments: Any) -> Any:
            values = {name: np.full_like(arguments[name], value) for name, value in first.items()}
            return place.function(*inputs, **{**arguments, **values})

        if len(first) > 1:
            values = ", ".join(f"{place.step.params[name]} {value:g}" for name, value in first.items())
            yield Change(KIND, f"{what} at their initial values: {values}", place.step, function, {"values": first})


def _exchanged(place: Place) -> Iterator[Change]:
    """Give out the step with two of its parameters in each other's place."""
    for one, other in itertools.combinations(place.step.params, 2):
        if place.arguments[one].shape == place.arguments[other].shape:
            names = place.step.params
            step = replace(place.step, params={**names, one: names[other], other: names[one]})
            says = f"{names[one]} and {names[other]} exchanged"
            yield Change(KIND, says, step, place.function, {"exchanged": [names[one], names[other]]})


def _outputs(place: Place) -> Iterator[Change]:
    """Give out a projection whose outputs are all in another order."""
    names = {name: full for name, full in place.step.params.items() if name in ("weight", "bias")}
    if len(names) < 2 or place.arguments["weight"].ndim < 2:
        return
    for says, order in _orders(len(place.arguments["weight"])):

        def function(*inputs: Any, order: np.ndarray = order, **arguments: Any) -> Any:
            return place.function(*inputs, **{**arguments, **{name: arguments[name][order] for name in names}})

        values = {"parameters": list(names.values()), "order": order.tolist()}
        yield Change(KIND, f"{' and '.join(names.values())} {says}", place.step, function, values)


def _orders(count: int) -> Iterator[tuple[str, np.ndarray]]:
    """Give out orders along axis 0: reversed, rolled by one, and groups, such as heads, taken as groups of others."""
    places = np.arange(count)
    groups = [places.reshape(size, -1).T.ravel() for size in range(2, count) if count % size == 0]
    for order in (places[::-1], np.roll(places, 1), np.roll(places, -1), *groups[:MOST_NEAR]):
        if not np.array_equal(order, places):
            yield order_in_words(order, 0), order


def turns(right: np.ndarray) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """Give out what reverses, rolls or exchanges the axes of a parameter."""
    long = [axis for axis, size in enumerate(right.shape) if size > 1]
    for axis in long:
        yield f"reversed along axis {axis}", partial(np.flip, axis=axis)
    if len(long) > 1:
        yield f"reversed along axes {long[-2]} and {long[-1]}", partial(np.flip, axis=tuple(long[-2:]))
    for axis, shift in itertools.product((axis for axis in long if axis > 0), (-1, 1)):
        yield f"rolled by {shift} along axis {axis}", partial(np.roll, shift=shift, axis=axis)
    for one, other in itertools.combinations(long, 2):
        if right.shape[one] == right.shape[other]:
            yield f"with axes {one} and {other} exchanged", partial(np.swapaxes, axis1=one, axis2=other)


ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{name: FORMATS[name] for name in ("float16", "bfloat16")},
    "int8, a scale for each output channel": partial(levels, 0),
    "int8, one scale": partial(levels, None),
}
FIRST_VALUES = (("left out (0)", 0.0), ("left out (1)", 1.0))
FIRST_OF_NORMS = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


def _reordered(place: Place, name: str, full: str, right: np.ndarray) -> Iterator[Change]:
    """Give out the step with a parameter in the order, or by the factor, that mine's numbers speak for."""
    if place.mine is None:
        return
    used = solve(place, name)
    found = None if used is None else explain(right, used)
    if found is None:
        axis = place.step.layout.find("C") if "C" in place.step.layout else place.mine.ndim - 1
        order = order_of(np.moveaxis(place.right, axis, 0), np.moveaxis(place.mine, axis, 0))
        if order is None or right.shape[0] != len(order):
            return
        found = order_in_words(order, 0), right[order], {"axis": 0, "order": order.tolist()}
    says, array, values = found
    yield place.with_argument(KIND, f"{full} {says}", name, lambda _: array.astype(right.dtype), **values)


def explain(right: np.ndarray, used: np.ndarray) -> tuple[str, np.ndarray, dict[str, object]] | None:
    """Say how a parameter was made of the right one, with the array itself; None if that is not seen."""
    long = [axis for axis, size in enumerate(right.shape) if size > 1]
    for axis in long:
        order = order_of(np.moveaxis(right, axis, 0), np.moveaxis(used, axis, 0))
        if order is not None:
            return order_in_words(order, axis), right.take(order, axis), {"axis": axis, "order": order.tolist()}
    for says, turn in turns(right):
        turned = turn(right)
        if _is_near(turned, used) and not _is_near(turned, right):
            return says, turned, {"turned": says}
    factor = rounded(float(np.vdot(right, used) / np.vdot(right, right))) if right.any() else 0.0
    if factor and _is_near(right * factor, used):
        return f"times {in_words(factor)}", right * factor, {"factor": factor}
    offset = rounded(float(np.mean(used - right)))
    if offset and _is_near(right + offset, used):
        return f"plus {in_words(offset)}", right + offset, {"offset": offset}
    return None


def order_of(right: np.ndarray, used: np.ndarray) -> np.ndarray | None:
    """Return which entry of the first axis stands at each place of another array; None if not all are found again.

    None as well if they stand where they were. An entry may stand at several places.
    """
    a, b = (np.asarray(array, np.float64).reshape(len(array), -1) for array in (right, used))
    if a.shape != b.shape or len(a) > LONGEST:
        return None
    distances = (a**2).sum(1)[None] + (b**2).sum(1)[:, None] - 2 * b @ a.T
    order = distances.argmin(axis=1)
    if np.array_equal(order, np.arange(len(order))) or not _is_near(a[order], b):
        return None
    return order


def _is_near(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether arrays are equal up to what solving for one of them leaves."""
    return one.shape == other.shape and bool(np.abs(one - other).max() <= NEAR * np.abs(one).max())


def order_in_words(order: np.ndarray, axis: int) -> str:
    """Say what an order of the entries along an axis is."""
    count = len(order)
    places = np.arange(count)
    if np.array_equal(order, places[::-1]):
        return f"reversed along axis {axis}"
    shift = int(-order[0] % count)
    if np.array_equal(order, np.roll(places, shift)):
        return f"rolled by {shift} along axis {axis}"
    for groups in range(2, count):
        if count % groups == 0 and np.array_equal(order, places.reshape(groups, -1).T.ravel()):
            return f"with groups of {count // groups} along axis {axis} taken as groups of {groups}"
    moved = int(np.count_nonzero(order != places))
    if len(set(order.tolist())) < count:
        return f"with entries along axis {axis} taken twice ({moved} of {count} are others)"
    if moved == 2:
        first, second = np.flatnonzero(order != places)
        return f"with entries {first} and {second} along axis {axis} exchanged"
    return f"in another order along axis {axis} ({moved} of {count} moved)"
