"""What explains an array that differs while all that is computed of it is right: what ports fold, and how they record.

The records, kind and values:

- ``"folded"``: ``{"parameters": [...], "into": STEP}``, the step without these parameters, which are in those of a
  later one: LayerNorm without its weight and bias, which are in pwconv1; null if there is none that they could be
  in. With ``"holds": NAME``, the array of a later
  step, the parameters of which are in those of this one: a layer scale, a batch norm.
- ``"elsewhere"``: ``{"holds": NAME}``, the array of another step: before an activation, or after.
- ``"factor"``: ``{"factor": NUMBER}``, and if a later step has it as its scale ``{"scale_of": STEP}``.
- ``"channels"``: ``{"into": STEP}``, each channel by a factor and an offset, which are in the parameters of a later
  step: pixel values that are not normalized.
- ``"order"``: ``{"axis": AXIS, "order": [...]}``, the channels in another order.
- ``"layout"``: ``{"read_as": "NWHC read as NCHW"}``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.errors import NpconvError
from npconv.golden.exchanged import find_held
from npconv.golden.judge import FIT, squeezed_distance
from npconv.golden.kinds.numbers import rounded
from npconv.golden.kinds.parameters import FIRST_OF_NORMS, order_of
from npconv.golden.layouts import swapped_axes
from npconv.golden.measures import is_before_model, largest_of
from npconv.golden.segment import FAILURES, make_segment, run_changed
from npconv.golden.trace_file import PIXELS, layout_of
from npconv.plan.gradient_steps import is_gradient
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Plan, Step

if TYPE_CHECKING:
    from npconv.golden.compare import Comparison, Difference

Explanation = tuple[str, dict[str, Any]]

#: What a parameter for each channel is where it changes nothing.
NEUTRAL = {**FIRST_OF_NORMS, "layer_scale_parameter": 1.0}

#: Operations whose parameters can hold a factor and an offset for each channel of what they take, and those that leave
#: numbers as they are.
LINEAR = ("conv2d", "depthwise_conv2d", "pointwise_conv2d", "linear", "batch_norm", "layer_scale")
MOVED = ("map_tokens", "tokens", "positions_map", "class_token", "join_class_token", "join_nothing")

#: Values in a channel from which its factor and offset can be told.
ENOUGH = 4

#: Products, at most, that it takes to find the order of channels.
LARGEST = 1_000_000_000

#: How near a factor is to the scale of a step.
NEAR = 1e-5


@np.errstate(all="ignore")
def explain(comparison: Comparison, plan: Plan, difference: Difference) -> Explanation | None:
    """Return what mine has in the place of a tensor: a kind, and values; None if none of the kinds fits."""
    if difference.reading is None:
        return None
    for kind in (_held, _without_parameters, _by_a_factor, _by_channel, _of_other_channels, _of_other_axes):
        found = kind(comparison, plan, difference)
        if found is not None:
            return found
    return None


def _held(comparison: Comparison, plan: Plan, difference: Difference) -> Explanation | None:
    """Tell whether it is the array of another step."""
    reference = comparison.reference
    names = [name for name in reference if name in plan or (difference.name == PIXELS and is_before_model(name))]
    held = find_held(comparison, difference, names)
    if held is None:
        return None
    steps = _between(plan, difference.name, held)
    parameters = [name for step in steps for name in step.params.values()]
    if parameters and not is_gradient(held):
        return "folded", {"holds": held, "parameters": parameters, "into": difference.name}
    return "elsewhere", {"holds": held}


def _without_parameters(comparison: Comparison, plan: Plan, difference: Difference) -> Explanation | None:
    """Tell whether it is the result of its step without some of its parameters for each channel."""
    into = _next_linear(plan, difference.name)
    segment = make_segment(comparison, difference) if difference.name in plan else None
    if segment is None:
        return None
    step, mine = segment.target, comparison.array(difference)
    grown = largest_of(mine) / (largest_of(np.asarray(comparison.reference[difference.name])) or 1.0)
    limit = FIT * difference.tolerance * max(1.0, grown)  # rounding grows with the values
    shapes = {name: segment.params[full].shape for name, full in step.params.items()}
    able = [name for name, shape in shapes.items() if name in NEUTRAL and max(shape, default=1) == math.prod(shape)]
    for count in range(len(able), 0, -1):
        for names in itertools.combinations(able, count):
            try:
                made = run_changed(segment, {step.name: (step, _without(step, names))}, comparison.reference)
            except (*FAILURES, NpconvError):
                continue
            if squeezed_distance(made, mine) <= limit:
                return "folded", {"parameters": [step.params[name] for name in names], "into": into}
    return None


def _without(step: Step, names: tuple[str, ...]) -> Any:
    """Return the operation of a step without some parameters."""

    def function(*inputs: np.ndarray, **arguments: Any) -> Any:
        neutral = {name: np.full_like(arguments[name], NEUTRAL[name]) for name in names}
        return OPERATIONS[step.operation](*inputs, **{**arguments, **neutral})

    return function


def _by_a_factor(comparison: Comparison, plan: Plan, difference: Difference) -> Explanation | None:
    """Tell whether it is the right array times a factor."""
    truth, mine = _arrays(comparison, difference)
    power = float(np.vdot(truth, truth))
    factor = rounded(float(np.vdot(truth, mine)) / power) if power else 0.0
    limit = difference.tolerance * max(1.0, abs(factor))
    if not factor or not squeezed_distance(truth * factor, mine) <= limit:
        return None
    for step in _later(plan, difference.name):
        scale = step.attributes.get("scale")
        if isinstance(scale, float) and math.isclose(scale, factor, rel_tol=NEAR):
            return "factor", {"factor": factor, "scale_of": step.name}
    return "factor", {"factor": factor}


def _by_channel(comparison: Comparison, plan: Plan, difference: Difference) -> Explanation | None:
    """Tell whether it is the right array with each channel by a factor and an offset."""
    truth, mine = _arrays(comparison, difference)
    axis = _channels(comparison, difference)
    into = _next_linear(plan, difference.name)
    if axis is None or into is None or truth.size < ENOUGH * truth.shape[axis]:
        return None
    x, y = (np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in (truth, mine))
    middle = x.mean(axis=1, keepdims=True)
    power = ((x - middle) ** 2).sum(axis=1, keepdims=True)
    if not power.all():
        return None
    factor = ((x - middle) * y).sum(axis=1, keepdims=True) / power
    offset = y.mean(axis=1, keepdims=True) - factor * middle
    limit = difference.tolerance * max(1.0, float(np.abs(factor).max()))
    if not (factor.all() and np.abs(factor * x + offset - y).max() <= limit):
        return None
    return "channels", {"into": into}


def _of_other_channels(comparison: Comparison, plan: Plan, difference: Difference) -> Explanation | None:
    """Tell whether it is the right array with its channels in another order."""
    truth, mine = _arrays(comparison, difference)
    axis = _channels(comparison, difference)
    if axis is None or truth.shape[axis] * truth.size > LARGEST:
        return None
    order = order_of(np.moveaxis(truth, axis, 0), np.moveaxis(mine, axis, 0))
    if order is None or not squeezed_distance(truth.take(order, axis), mine) <= difference.tolerance:
        return None
    return "order", {"axis": axis, "order": order.tolist()}


def _of_other_axes(comparison: Comparison, plan: Plan, difference: Difference) -> Explanation | None:
    """Tell whether it is the right array with its axes in another order."""
    truth, mine = _arrays(comparison, difference)
    letters = layout_of(comparison.reference, difference.name, truth.ndim)
    for swapped, says in swapped_axes(truth, letters):
        if squeezed_distance(swapped, mine) <= difference.tolerance:
            return "layout", {"read_as": says}
    return None


def _channels(comparison: Comparison, difference: Difference) -> int | None:
    """Return the axis of an array's channels; None if it is not known."""
    letters = layout_of(comparison.reference, difference.name, len(difference.shape_reference))
    return next((letters.index(letter) for letter in "CD" if letter in letters), None)


def _arrays(comparison: Comparison, difference: Difference) -> tuple[np.ndarray, np.ndarray]:
    """Return a tensor of the reference and of mine in float64."""
    truth = np.asarray(comparison.reference[difference.name])
    return truth.astype(np.float64, copy=False), comparison.array(difference).astype(np.float64, copy=False)


def _later(plan: Plan, name: str) -> Iterator[Step]:
    """Give out the steps that follow of a tensor, in order."""
    known = {plan.name_of(name)}
    for step in plan:
        if not known.isdisjoint(map(plan.name_of, step.inputs)):
            known.add(step.name)
            yield step


def _next_linear(plan: Plan, name: str) -> str | None:
    """Return the next step that can undo a factor and an offset of each channel of a tensor; None if there is none."""
    known = {plan.name_of(name)}
    for step in _later(plan, name):
        if known.isdisjoint(map(plan.name_of, step.inputs)):
            continue
        if step.operation in LINEAR:
            return step.name
        if step.operation in MOVED:
            known.add(step.name)
    return None


def _between(plan: Plan, name: str, held: str) -> list[Step]:
    """Return the steps from a tensor to a later one, that of the later one included; none if it is not later."""
    if held not in plan:
        return []
    before: Mapping[str, Step] = {step.name: step for step in _later(plan, name)}
    target = plan.resolve(held)
    if target not in before:
        return []
    needed = {target}
    for step in reversed(plan.steps):
        if step.name in needed and step.name in before:
            needed.update(other for other in step.inputs if other in before)
    return [step for step in before.values() if step.name in needed]
