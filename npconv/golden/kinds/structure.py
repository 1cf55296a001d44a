"""Another order of things: a step left out, done twice, moved past its neighbour; another input; other statistics."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from scipy.special import expit, log_softmax, softmax

from npconv.golden.kinds.change import Change, Place
from npconv.golden.kinds.continuous import NORMS
from npconv.golden.segment import walk
from npconv.golden.trace_file import PIXELS
from npconv.layers import ACTIVATIONS
from npconv.plan.gradient_steps import is_gradient
from npconv.plan.run import run_step
from npconv.plan.step import Step

KIND = "structure"

#: Inputs that are exchanged, and axes of which statistics are taken over any: a plan may be a stranger's.
MOST_INPUTS, MOST_AXES = 3, 4


def structure(place: Place) -> Iterator[Change]:
    """Give out the step in another order, or of other arrays."""
    yield _left_out(place)
    yield _twice(place)
    yield from _neighbours(place)
    yield from _other_inputs(place)
    yield from _other_axes(place)
    yield from _functions(place)
    yield from _samples(place)
    if place.step.operation == "residual":
        yield from _branches(place)
        yield from _blocks(place)


def _left_out(place: Place) -> Change:
    """Return what gives the first input on as it is."""
    return Change(KIND, "left out", place.step, lambda x, *others, **arguments: np.array(x), {"left_out": True})


def _twice(place: Place) -> Change:
    """Return the step done once more on its result."""

    def function(x: Any, *others: Any, **arguments: Any) -> Any:
        return place.function(place.function(x, *others, **arguments), *others, **arguments)

    return Change(KIND, "done twice", place.step, function, {"times": 2})


def _branches(place: Place) -> Iterator[Change]:
    """Give out a sum with its parts weighed otherwise."""
    for says, make in (
        ("the difference in place of the sum", lambda x, y: x - y),
        ("the branch alone", lambda x, y: np.array(y)),
        ("half the sum", lambda x, y: (x + y) / 2),
        ("the input added twice", lambda x, y: 2 * x + y),
        ("the branch added twice", lambda x, y: x + 2 * y),
        ("the product in place of the sum", lambda x, y: x * y),
    ):

        def function(x: Any, y: Any, make: Any = make, **arguments: Any) -> Any:
            return make(x, y)

        yield Change(KIND, says, place.step, function, {"sum": says})


def _blocks(place: Place) -> Iterator[Change]:
    """Give out the block that a sum ends, run twice."""
    start, (block, _) = place.step.inputs[0], walk(place.plan, place.step.inputs[1], {place.step.inputs[0]})
    steps = [step for step in place.plan if step.name in block]
    names = {name for step in steps for name in step.params.values()}
    weights = {name: place.weights[name] for name in names}
    outside = {name for step in steps for name in step.inputs} - block - {start}
    if not outside:

        def function(x: Any, branch: Any, **arguments: Any) -> Any:
            results = {start: place.function(x, branch, **arguments)}
            for step in steps:
                results[step.name] = run_step(step, [results[name] for name in step.inputs], weights)
            return place.function(results[start], results[place.step.inputs[1]], **arguments)

        yield Change(KIND, "its block run twice", place.step, function, {"times": 2})


def _neighbours(place: Place) -> Iterator[Change]:
    """Give out the step done before one whose result it takes, and one that takes its result done before it."""
    for index, name in enumerate(place.step.inputs):
        if name in place.plan and len(place.plan[name].inputs) == 1:
            before = place.plan[name]

            def after(*inputs: Any, before: Step = before, **arguments: Any) -> Any:
                return _run(place, before, place.function(*inputs, **arguments))

            inputs = tuple(before.inputs[0] if own == index else n for own, n in enumerate(place.step.inputs))
            says = f"{before.name} is done after {place.step.name}"
            yield Change(KIND, says, replace(place.step, inputs=inputs), after, {"before": before.name})
    for later in place.plan:
        if later.inputs == (place.step.name,):
            for axis in _axes_of(later):
                moved = replace(later, attributes={**later.attributes, **axis})

                def first(x: Any, *inputs: Any, moved: Step = moved, **arguments: Any) -> Any:
                    return place.function(_run(place, moved, x), *inputs, **arguments)

                says = f"{later.name} is done before {place.step.name}"
                yield Change(KIND, says, place.step, first, {"after": later.name})


def _axes_of(step: Step) -> Iterator[dict[str, int]]:
    """Give out the settings with which a step may be done before another one."""
    yield {}
    if "axis" in step.attributes:
        yield from ({"axis": axis} for axis in (1, -1) if axis != step.attributes["axis"])


def _run(place: Place, step: Step, x: Any) -> Any:
    """Run a step of one input on an array."""
    return run_step(step, [x], {full: place.weights[full] for full in step.params.values()})


def _samples(place: Place) -> Iterator[Change]:
    """Give out the step of other samples of the batch."""
    if place.step.layout[:1] != "N" or len(place.right) < 2:
        return
    for says, made in (("of the first sample for all", _of_first), ("of the samples in reverse", lambda x: x[::-1])):
        yield place.of_result(KIND, f"its result {says}", made, samples=says)
        for index, name in enumerate(place.step.inputs):
            yield place.of_input(KIND, f"its input {name} {says}", index, made, samples=says)


def _of_first(x: np.ndarray) -> np.ndarray:
    """Return the first sample as often as there are samples."""
    return np.broadcast_to(x[:1], x.shape).copy()


def _functions(place: Place) -> Iterator[Change]:
    """Give out the step with a function of its result, or of its input, too many."""
    for name, function in FUNCTIONS.items():
        if name in OF_LAST_AXIS and place.right.shape[-1] == 1:
            continue
        yield place.of_result(KIND, f"its result through {name}", function, function=name)
        yield place.of_input(KIND, f"its first input through {name}", 0, function, function=name)
    if place.step.operation == "softmax":
        for says, blocked in MASKS.items():
            yield place.of_input(KIND, f"scores masked: {says}", 0, partial(_masked, blocked), mask=says)
    if place.step.operation in ("activation", "activation_backward"):
        for other in ACTIVATIONS:
            if other != place.step.attributes["hidden_act"]:
                says = f"{WORDS.get(other, other)} in place of {place.step.attributes['hidden_act']}"
                yield place.with_attribute(KIND, says, "hidden_act", other)


def _masked(blocked: Any, scores: Any) -> Any:
    """Return scores (..., T, S) with some at minus infinity."""
    queries, keys = np.indices(scores.shape[-2:])
    return np.where(blocked(queries, keys), -1e30, scores)


#: Activations whose names do not say what they are.
WORDS = dict.fromkeys(("gelu_new", "gelu_pytorch_tanh", "gelu_fast"), "tanh GELU")

#: Functions that give 1, or 0, along an axis of length 1.
OF_LAST_AXIS = ("softmax", "log softmax")

#: Functions that stand in front of or behind many steps.
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "softmax": partial(softmax, axis=-1),
    "log softmax": partial(log_softmax, axis=-1),
    "sigmoid": expit,
    "tanh": np.tanh,
    "an exponential": np.exp,
    "a square": np.square,
    "a square root": np.sqrt,
    "an inverse": lambda y: 1 / y,
    "the absolute value": np.abs,
    "ReLU": lambda y: np.maximum(y, 0),
    "a division by its length": lambda y: y / np.sqrt(np.square(y).sum(-1, keepdims=True)),
}

#: Which scores a mask takes away.
MASKS: dict[str, Callable[[Any, Any], Any]] = {
    "causal": lambda queries, keys: keys > queries,
    "causal, with the token itself": lambda queries, keys: keys >= queries,
    "the token itself": lambda queries, keys: keys == queries,
    "the first key": lambda queries, keys: keys == 0,
    "the last key": lambda queries, keys: keys == keys.max(),
    "keys before the token": lambda queries, keys: keys < queries,
}


def _other_inputs(place: Place) -> Iterator[Change]:
    """Give out the step on other arrays of the model of the same shape."""
    # The nearest first: of arrays with the same numbers that is the one meant.
    known = [name for name in reversed([*place.reference]) if name in place.plan or name == PIXELS]
    later = _later(place)
    for index, name in enumerate(place.step.inputs):
        shape = place.inputs[index].shape
        for other in known:
            if other in later or other in place.step.inputs or is_gradient(other) != is_gradient(name):
                continue
            if place.reference[other].shape != shape:
                continue
            inputs = tuple(other if place_ == index else own for place_, own in enumerate(place.step.inputs))
            says = f"{other} in the place of its input {name}"
            yield Change(
                KIND, says, replace(place.step, inputs=inputs), place.function, {"input": name, "taken": other}
            )
    if 1 < len(place.step.inputs) <= MOST_INPUTS:
        for order in itertools.permutations(place.step.inputs):
            if order != place.step.inputs:
                step = replace(place.step, inputs=order)
                yield Change(KIND, "its inputs exchanged", step, place.function, {"inputs": list(order)})


def _later(place: Place) -> set[str]:
    """Return the names of the step and of all that come after it."""
    names = [step.name for step in place.plan]
    return set(names[names.index(place.step.name) :])


def _other_axes(place: Place) -> Iterator[Change]:
    """Give out statistics over other axes."""
    if "axis" in place.step.attributes:
        x = place.inputs[0]
        right = place.step.attributes["axis"] % x.ndim
        for axis in range(x.ndim):
            if axis != right and place.step.operation == "softmax":
                yield place.with_attribute(KIND, f"over axis {axis}", "axis", axis)
        if place.step.operation in NORMS and x.ndim <= MOST_AXES:
            yield from _norms(place, x.ndim, right)


def _norms(place: Place, axes: int, right: int) -> Iterator[Change]:
    """Give out a norm whose mean and variance are over other axes."""
    for count in range(1, axes + 1):
        for over in itertools.combinations(range(axes), count):
            if over != (right,):
                says = f"over the axes {', '.join(map(str, over))}"
                function = partial(_normalized, over, NORMS[place.step.operation])
                yield Change(KIND, says, place.step, function, {"axes": list(over)})


def _normalized(
    over: tuple[int, ...], is_centred: bool, x: Any, *, weight: Any, bias: Any = None, eps: float, axis: int
) -> Any:
    """Normalize over some axes, and scale along another one."""
    shape = [-1 if place == axis % x.ndim else 1 for place in range(x.ndim)]
    shift = x.mean(axis=over, keepdims=True) if is_centred else 0
    scale = np.sqrt(np.mean((x - shift) ** 2, axis=over, keepdims=True) + eps)
    y = (x - shift) / scale * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)
