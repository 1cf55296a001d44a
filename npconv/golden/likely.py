"""Which mistakes are likely, where there are too many to try all: those that make about the difference that is seen.

A mistake is made on the middle of the picture, which costs little. It changes other numbers there, but by a share of
them that is much the same: tanh GELU is 1e-5 off, a norm left out as much as there is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from npconv.errors import NpconvError
from npconv.golden.measures import distance, largest_of
from npconv.golden.segment import FAILURES, Segment, cast, run_changed, run_steps
from npconv.golden.trace_file import weights_of
from npconv.layers.letters import Shape
from npconv.plan.costs import multiply_adds
from npconv.plan.operations_backward import passed_back
from npconv.plan.step import Step

if TYPE_CHECKING:
    from npconv.golden.kinds.change import Change
    from npconv.golden.mistakes import Mistake

#: Rows and columns of the small picture.
SIDE = 64

#: Products, and weights, that cost as much as one number of a result.
PRODUCTS, WEIGHTS = 256, 16

#: What it costs to start a step, in numbers: 20 to 40 microseconds, where a number takes 5 to 10 nanoseconds. A
#: depthwise convolution takes one place of its kernel after the other, so many in the time of a start.
STARTED, TAKEN = 4_000, 8


class Costs:
    """How many numbers are computed when some steps of a segment are run again in another way.

    `order` is the place of each step.
    """

    def __init__(self, segment: Segment) -> None:
        shapes = {name: array.shape for name, array in segment.results.items()}
        weights = {name: array.shape for name, array in segment.params.items()}
        self._products = {step.name: _products(step, shapes, weights) for step in segment.steps}
        self.order = {step.name: place for place, step in enumerate(segment.steps)}
        self._after: dict[str, tuple[int, int]] = {}
        starts = numbers = 0
        for step in reversed(segment.steps):
            back = passed_back(step.operation)
            is_depthwise = (back.operation if back else step.operation) == "depthwise_conv2d"
            kernel = math.prod(weights[step.params["weight"]][2:]) * (2 if back else 1) if is_depthwise else 0
            starts += STARTED * (1 + kernel // TAKEN)
            numbers += math.prod(shapes[step.name]) + self._products[step.name] // PRODUCTS
            numbers += sum(math.prod(shapes[name]) for name in step.inputs) if back else 0
            numbers += sum(math.prod(weights[name]) for name in step.params.values()) // WEIGHTS
            self._after[step.name] = starts, numbers

    def after(self, step: Step, together: int = 1) -> int:
        """Return what it costs to run all from a step on, of several that are run `together`."""
        starts, numbers = self._after[step.name]
        return starts // together + numbers

    def of(self, several: Sequence[Change], mistake: Mistake | None = None, together: int = 1) -> int:
        """Return what it costs to make some changes, which are those of a mistake."""
        steps = [change.step for change in several]
        slow = sum(self._products[step.name] for step in steps) if mistake is not None and mistake.is_slow else 0
        return self.after(min(steps, key=lambda step: self.order[step.name]), together) + slow


def _products(step: Step, shapes: Mapping[str, Shape], weights: Mapping[str, Shape]) -> int:
    """Return the multiply-adds of a step; a backward function makes the gradients of both factors."""
    if passed_back(step.operation) is None:
        return multiply_adds(step, shapes, weights)
    of_one = step.attributes if step.attributes.get("wrt") != "bias" else {**step.attributes, "wrt": "weight"}
    return 2 * multiply_adds(replace(step, attributes=of_one), shapes, weights)


def small_segment(segment: Segment, reference: Mapping[str, np.ndarray]) -> Segment | None:
    """Return the steps of a segment on the middle of the map that it starts from, in float32.

    None if it starts from anything but one map, which is much larger, or the steps cannot be run on less.
    """
    ((_, start), *others) = segment.start.items()
    if others or start.ndim != 4 or min(start.shape[2:]) < 2 * SIDE:
        return None
    top, left = ((size - SIDE) // 2 for size in start.shape[2:])
    middle = np.ascontiguousarray(start[:, :, top : top + SIDE, left : left + SIDE], np.float32)
    weights = weights_of(reference)
    params = {name: cast(np.asarray(weights[name]), np.dtype(np.float32)) for name in segment.params}
    inputs = dict.fromkeys(segment.start, middle)
    try:
        results = run_steps(segment.steps, inputs, params, {})
    except (*FAILURES, NpconvError):
        return None
    return Segment(segment.plan, segment.steps, inputs, [], params, results, segment.numbers)


def unlikeliness(small: Segment, several: Sequence[Change], share: float, reference: Mapping[str, np.ndarray]) -> float:
    """Return how many times larger or smaller, as a logarithm, the difference that changes make is than the one seen.

    `share` is that one, of the largest value. Infinite if they cannot be made, or change nothing.
    """
    try:
        made = run_changed(small, {change.step.name: (change.step, change.function) for change in several}, reference)
    except (*FAILURES, NpconvError):
        return math.inf
    own = distance(made, small.made) / (largest_of(small.made) or 1.0)
    return abs(math.log(own / share)) if 0 < own < math.inf and 0 < share < math.inf else math.inf
