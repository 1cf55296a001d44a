"""How much a step will make, by shapes alone: asked of the plan of a stranger's file before any of it is run.

A few bytes can ask for any amount: a token joined with every other one, a wide padding, a window of 10**9. So the steps
of a file may make so many numbers, and take so many products, as the numbers in the file explain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from npconv.errors import GoldenError, InputError
from npconv.layers.letters import Shape
from npconv.plan.costs import multiply_adds
from npconv.plan.operations_backward import passed_back
from npconv.plan.shapes import as_pair, result_shape
from npconv.plan.step import Step

#: Numbers that steps may hold for each number in the file, and in any case: a model of few weights may make large maps
#: of a small picture. The largest published ones make less than 10 for each.
HELD_FOR_EACH, HELD_ANYWAY = 64, 1 << 23

#: Products for each number in the file, and in any case; published models take at most 2000, of large pictures.
WORK_FOR_EACH, WORK_ANYWAY = 1 << 14, 1 << 32


#: Operations whose arrays are stretched to fit each other, and those that only put numbers into other places.
STRETCHED = ("residual", "grn_apply", "layer_scale", "sum_gradients")
MOVED = ("map_tokens", "tokens", "positions_map", "class_token", "join_class_token", "join_nothing")


class TooMuchError(GoldenError):
    """A step would make more than the file that it stands in explains."""


class Extent(NamedTuple):
    """Numbers in the result of a step, and most numbers held, and products taken, on the way to it."""

    made: int
    held: int
    work: int


class Allowance:
    """What the steps of a file may make in all, by the numbers in the file; `held` and `work` are what is left."""

    def __init__(self, numbers: int) -> None:
        self.numbers = numbers
        self.held = HELD_FOR_EACH * numbers + HELD_ANYWAY
        self.work = WORK_FOR_EACH * numbers + WORK_ANYWAY

    def take(self, step: Step, inputs: Sequence[Shape], params: Mapping[str, Shape]) -> None:
        """Count what a step makes and keeps; TooMuchError beyond the allowance, InputError if it cannot run."""
        extent = extent_of(step, inputs, params)
        self.work -= extent.work
        if extent.made + extent.held > self.held or self.work < 0:
            what = f"{extent.work} products" if self.work < 0 else f"{extent.made + extent.held} numbers"
            raise TooMuchError(f"{step.name}: {step.operation} would take {what}, of a trace of {self.numbers} numbers")
        self.held -= extent.made


def size_of(shape: Shape) -> int:
    """Return the numbers in an array; an axis of length 0 counts as 1, since means over it are as many as the rest."""
    return math.prod(max(length, 1) for length in shape)


def extent_of(step: Step, inputs: Sequence[Shape], params: Mapping[str, Shape]) -> Extent:
    """Return how much a step makes of arrays of some shapes; `params` are by their names in a checkpoint.

    Raises
    ------
    InputError
        If the arrays do not fit, or an attribute is not one number, text, or a few.
    """
    if not inputs:
        raise InputError(f"{step.operation}: expected an array to start from, got none")
    _check_attributes(step, inputs[0])
    given = {name: params[full] for name, full in step.params.items()}
    held = max(map(size_of, inputs))
    if step.operation in MOVED:
        tokens = [*given.values(), *(inputs if len(inputs) > 1 and "token" in step.operation else [])]
        batch = max(inputs[0][0], inputs[-1][0])
        return Extent(sum(map(size_of, inputs)) + batch * min(map(size_of, tokens), default=0), held, 0)
    if step.operation in STRETCHED:
        return Extent(size_of(_stretched(step.operation, inputs, given.values())), held, 0)
    result = result_shape(step, inputs, params)
    made = size_of(result)
    if step.operation in ("attention_scores", "attention_context"):
        made = made // max(inputs[1][0], 1) * max(inputs[0][0], inputs[1][0], 1)
    work = multiply_adds(step, {step.name: result, **dict(zip(step.inputs, inputs, strict=True))}, params)
    x, y, ways = inputs[0], result, 1
    if passed_back(step.operation):
        x, y, ways = inputs[-1], inputs[0], 2  # to the input and to the weight, which each sample has a gradient of
        held += size_of(y[:1]) * size_of(given.get("weight", ()))
        work *= ways
    if "padding" in step.attributes:
        kernel = step.attributes.get("kernel_size") or given["weight"][2:]
        padded = _padded(x, as_pair(kernel), as_pair(step.attributes["padding"]))
        area = math.prod(as_pair(kernel))
        windows = size_of(x[:2]) * area * size_of(y[2:])
        held += ways * (padded + windows * ("kernel_size" not in step.attributes))
        return Extent(made, held, max(work, ways * windows))
    if "height" in step.attributes:
        held = max(held, size_of((*inputs[0][:-1], result[-1])))  # Pillow resizes one axis after the other
    return Extent(made, held, work)


def _padded(x: Shape, kernel: tuple[int, int], padding: tuple[int, int]) -> int:
    """Return the numbers in a padded map; a last window may reach beyond it."""
    return size_of((*x[:2], *(n + 2 * p + k for n, p, k in zip(x[2:], padding, kernel, strict=True))))


def _stretched(operation: str, inputs: Sequence[Shape], weights: Iterable[Shape]) -> Shape:
    """Return the shape to which arrays, and weights of each channel, are stretched to fit each other (broadcasting)."""
    columns = [(math.prod(w), 1, 1) if operation == "grn_apply" else (*w[:1], 1, 1, *w[1:]) for w in weights]
    try:
        return tuple(np.broadcast_shapes(*inputs, *columns))
    except ValueError:
        raise InputError(f"expected arrays that can be stretched to one shape, got {list(inputs)}") from None


def _check_attributes(step: Step, first: Shape) -> None:
    """Refuse attributes that would be arrays: they are a number or a text each, or two numbers, or one a channel."""
    for name, value in step.attributes.items():
        numbers: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
        many = first[0] if first and name in ("mean", "std") else 2
        if len(numbers) > max(many, 2) or not all(isinstance(number, int | float | str) for number in numbers):
            raise InputError(f"{step.operation}: expected {name} to be a number, got a {type(value).__name__}")
        if isinstance(value, list | tuple) and name in ("eps", "factor", "scale", "axis"):
            raise InputError(f"{step.operation}: expected {name} to be one number, got {len(numbers)}")
