"""Which mistakes are likely, where there are too many to try all: those that make about the difference that is seen.

A mistake is made on the middle of the picture, which costs little. It changes other numbers there, but by a share of
them that is much the same: tanh GELU is 1e-5 off, a norm left out as much as there is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from npconv.errors import NpconvError
from npconv.golden.measures import distance, largest_of
from npconv.golden.segment import FAILURES, Segment, cast, run_changed, run_steps
from npconv.plan.costs import multiply_adds
from npconv.plan.step import Step

if TYPE_CHECKING:
    from npconv.golden.mistakes import Mistake

#: Some steps, and the mistake that is made in them.
Try = tuple["Mistake", Sequence[Step]]

#: Rows and columns of the small picture.
SIDE = 64

#: Products, and weights, that cost as much as one number of a result.
PRODUCTS, WEIGHTS = 256, 16


class Costs:
    """How many numbers are computed when some steps of a segment are run again in another way.

    To start a step costs `started` more.
    """

    def __init__(self, segment: Segment, started: int = 0) -> None:
        shapes = {name: array.shape for name, array in segment.results.items()}
        weights = {name: array.shape for name, array in segment.params.items()}
        self._products = {step.name: multiply_adds(step, shapes, weights) for step in segment.steps}
        self._after: dict[str, int] = {}
        total = 0
        for step in reversed(segment.steps):
            total += started + math.prod(shapes[step.name]) + self._products[step.name] // PRODUCTS
            total += sum(math.prod(weights[name]) for name in step.params.values()) // WEIGHTS
            self._after[step.name] = total

    def after(self, step: Step) -> int:
        """Return what it costs to run all from a step on."""
        return self._after[step.name]

    def of(self, one: Try) -> int:
        """Return what it costs to make a mistake in some steps."""
        mistake, steps = one
        return self.after(steps[0]) + sum(self._products[step.name] for step in steps if mistake.is_slow)


def small_segment(segment: Segment, reference: Mapping[str, np.ndarray]) -> Segment | None:
    """Return the steps of a segment on the middle of the map that it starts from, in float32.

    None if it starts from anything but one map, which is much larger, or the steps cannot be run on less.
    """
    ((_, start), *others) = segment.start.items()
    if others or start.ndim != 4 or min(start.shape[2:]) < 2 * SIDE:
        return None
    top, left = ((size - SIDE) // 2 for size in start.shape[2:])
    middle = np.ascontiguousarray(start[:, :, top : top + SIDE, left : left + SIDE], np.float32)
    weights = getattr(reference, "params", {})
    params = {name: cast(np.asarray(weights[name]), np.dtype(np.float32)) for name in segment.params}
    inputs = dict.fromkeys(segment.start, middle)
    try:
        results = run_steps(segment.steps, inputs, params, {})
    except (*FAILURES, NpconvError):
        return None
    return Segment(segment.plan, segment.steps, inputs, [], params, results, segment.numbers)


def unlikeliness(small: Segment, one: Try, share: float, reference: Mapping[str, np.ndarray]) -> float:
    """Return how many times larger or smaller, as a logarithm, a mistake's difference is than the one seen.

    `share` is that one, of the largest value. Infinite if the mistake cannot be made, or changes nothing.
    """
    mistake, steps = one
    try:
        made = run_changed(small, {step.name: (step, mistake.function) for step in steps}, reference)
    except (*FAILURES, NpconvError):
        return math.inf
    own = distance(made, small.made) / (largest_of(small.made) or 1.0)
    return abs(math.log(own / share)) if 0 < own < math.inf and 0 < share < math.inf else math.inf
