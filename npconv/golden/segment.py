"""The part of a model between the tensors that are right and one that is not, to be run again by itself."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from npconv.errors import InputError
from npconv.golden.preprocessing import DECODED, IMAGE, image_of
from npconv.golden.trace_file import PIXELS, Trace, about, weights_of
from npconv.plan.extent import Allowance, TooMuchError
from npconv.plan.gradient_steps import forwards
from npconv.plan.run import run_step
from npconv.plan.step import Plan, Step

if TYPE_CHECKING:
    from npconv.golden.compare import Comparison, Difference


@dataclass(frozen=True)
class Segment:
    """Some steps of a plan, and what they start from.

    Parameters
    ----------
    plan : Plan
        What they are a part of.
    steps : tuple of Step
        In execution order; the last one makes the tensor in question.
    start : dict of str to ndarray
        The arrays that they take from outside: mine where it has them, else the reference's.
    of_mine : list of str
        Names of those that are mine.
    params : mapping of str to ndarray
    results : dict of str to ndarray
        What the steps make of `start`, by name, and `start` itself.
    numbers : int
        How many the reference holds: so many explain what its steps may make.
    """

    plan: Plan
    steps: tuple[Step, ...]
    start: dict[str, np.ndarray]
    of_mine: list[str]
    params: Mapping[str, np.ndarray]
    results: dict[str, np.ndarray]
    numbers: int

    @property
    def target(self) -> Step:
        """The step that makes the tensor in question."""
        return self.steps[-1]

    @property
    def made(self) -> np.ndarray:
        """The tensor in question, as the steps make it."""
        return self.results[self.target.name]


#: Steps back whose gradients of weights tell each value of the gradient that they are made of from others.
OF_WEIGHTS = tuple(
    f"{operation}_backward" for operation in ("conv2d", "depthwise_conv2d", "pointwise_conv2d", "linear")
)

#: Steps that are run again in one piece; the largest published models have a thousand.
MOST_STEPS = 4000


def make_segment(comparison: Comparison, difference: Difference, share: float = 1.0) -> Segment | None:
    """Return the part of the model from the nearest good tensors that mine has to a divergent one, and run it.

    A tensor to start from may differ by a `share` of its tolerance; less than 1 goes further back. The steps compute in
    the precision of the reference, at least float32. Asked for again, the same part is the same object. None if the
    reference does not tell its steps, or lacks weights or arrays that they need, or holds others than they make.
    """
    reference = comparison.reference
    found = reach(comparison, difference, share)
    if found is None:
        return None
    plan, names, outside, good = found
    if len(names) > MOST_STEPS:
        comparison.refused[difference.name] = f"{len(names)} steps lie before it, expected at most {MOST_STEPS}"
        return None
    key = (difference.name, frozenset(names), tuple((name, name in good) for name in outside))
    if key in comparison.segments:
        known: Segment | None = comparison.segments[key]
        return known
    comparison.segments[key] = None
    dtype = working_dtype(np.asarray(reference[difference.name]))
    weights = weights_of(reference)
    steps = tuple(step for step in plan if step.name in names)
    try:
        start = {
            name: cast(comparison.array(good[name]) if name in good else given(reference, name), dtype)
            for name in outside
        }
        params = {name: cast(np.asarray(weights[name]), dtype) for step in steps for name in step.params.values()}
        results = run_steps(steps, start, params, reference)
    except TooMuchError as error:
        comparison.refused[difference.name] = str(error)
        return None
    except FAILURES:  # arrays or weights that the reference lacks, a plan of another program
        return None
    of_mine = [name for name in outside if name in good or (name == IMAGE and DECODED in good)]
    segment = comparison.segments[key] = Segment(plan, steps, start, of_mine, params, results, count_numbers(reference))
    return segment


class Reach(NamedTuple):
    """What lies between a tensor and the good ones before it: names of steps, and of the arrays that they start from.

    `good` are the tensors to start from, wherever they are.
    """

    plan: Plan
    names: set[str]
    outside: list[str]
    good: dict[str, Difference]


def reach(comparison: Comparison, difference: Difference, share: float = 1.0) -> Reach | None:
    """Return which steps lie before a tensor, without running any; None if the reference does not tell its steps."""
    plan = plan_of(comparison.reference, difference.name)
    if plan is None:
        return None
    good = {
        plan.name_of(other.name): other
        for other in comparison.differences
        if not other.diverges and other.max_abs <= share * other.tolerance and other.reading is not None
    }
    told = told_by_weights(comparison, plan, good) if share == 1 else set()
    return Reach(plan, *walk(plan, plan.resolve(difference.name), good.keys() | told), good)


def told_by_weights(comparison: Comparison, plan: Plan, good: Container[str]) -> set[str]:
    """Return what mine has not, but must have had right, as it made right gradients of weights: those that they are of.

    These are not right unless all is that is computed forwards, so that is returned too. So a port that records
    gradients of parameters alone is told more than that something is wrong between the picture and there.
    """
    recorded = {plan.name_of(other.name) for other in comparison.differences}
    made = [step for step in plan if step.operation in OF_WEIGHTS and step.attributes.get("wrt") == "weight"]
    told = {step.inputs[0] for step in made if step.name in good}
    forward = {step.name for step in forwards(plan)}
    if told and not any(other.diverges and plan.name_of(other.name) in forward for other in comparison.differences):
        told |= forward
    return {name for name in told - recorded if name in comparison.reference}


def plan_of(reference: Mapping[str, np.ndarray], name: str) -> Plan | None:
    """Return the plan that makes a tensor: the model's, or that of its preprocessing; None if neither does."""
    return next((plan for plan in plans_of(reference) if name in plan), None)


def plans_of(reference: Mapping[str, np.ndarray]) -> list[Plan]:
    """Return the plans of a model and of its preprocessing, those that are there and in order.

    The last step of preprocessing makes the pixel values, but for the axis of the batch.
    """
    found: list[Plan] = []
    for make in (_model_plan, _preprocessing_plan):
        with suppress(*FAILURES):  # not there, or not as npconv writes it
            plan = make(reference)
            found += [plan] if plan.is_in_order() else []
    return found


def _model_plan(reference: Any) -> Plan:
    """Return the steps of a trace's model; AttributeError if it tells none."""
    plan: Plan = reference.plan
    return plan


def _preprocessing_plan(reference: Mapping[str, np.ndarray]) -> Plan:
    """Return the steps of a trace's preprocessing, the last of which has a second name."""
    *steps, last = Plan.from_json(about(reference)["preprocessing"]["steps"])
    return Plan((*steps, replace(last, aliases=(*last.aliases, PIXELS))))


def given(reference: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Return an array that a plan takes from the reference; KeyError if it is not there."""
    return image_of(np.asarray(reference[DECODED])) if name == IMAGE else np.asarray(reference[name])


def walk(plan: Plan, target: str, good: Container[str]) -> tuple[set[str], list[str]]:
    """Go back from a step; return the names of the steps on the way, and those of the arrays before them."""
    steps, todo = {target}, [target]
    outside: dict[str, None] = {}
    while todo:
        for name in plan[todo.pop()].inputs:
            if name in steps or name in outside:
                continue
            if name in good or name not in plan:
                outside[name] = None
            else:
                steps.add(name)
                todo.append(name)
    return steps, list(outside)


#: What a step may raise that is given arrays it was not made for.
FAILURES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def working_dtype(array: np.ndarray) -> np.dtype:
    """Return the precision to compute in: that of the array, at least float32; float64 beside whole numbers."""
    return np.result_type(array.dtype, np.float32) if array.dtype.kind == "f" else np.dtype(np.float64)


def cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return an array in a precision; whole numbers stay such."""
    return array.astype(dtype, copy=False) if array.dtype.kind == "f" else array


def run_steps(
    steps: Sequence[Step],
    start: Mapping[str, np.ndarray],
    params: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    allowance: Allowance | None = None,
) -> dict[str, np.ndarray]:
    """Run steps; return their results and what they started from.

    The plan in a file may be a stranger's: one that asks for more than the file explains is a TooMuchError, a step that
    makes another shape than the reference has a ValueError. `allowance` is what several runs may take together.
    """
    results = dict(start)
    weights = {name: array.shape for name, array in params.items()}
    allowance = allowance or Allowance(count_numbers(reference))
    with np.errstate(all="ignore"):
        for step in steps:
            inputs = [results[name] for name in step.inputs]
            allowance.take(step, [array.shape for array in inputs], weights)
            made = run_step(step, inputs, params)
            if step.name in reference and _long(made.shape) != _long(reference[step.name].shape):
                raise ValueError(f"{step.name}: the reference is of another shape than its steps make")
            results[step.name] = made
    return results


def count_numbers(trace: Mapping[str, np.ndarray]) -> int:
    """Return how many numbers a trace holds, its weights included."""
    return trace.count_numbers() if isinstance(trace, Trace) else sum(np.size(array) for array in trace.values())


def _long(shape: Sequence[int]) -> list[int]:
    """Return the sizes of a shape that are not 1, in order."""
    return sorted(size for size in shape if size != 1)


def run_changed(
    segment: Segment,
    changed: Mapping[str, tuple[Step, Callable[..., Any]]],
    reference: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Return the tensor in question of a segment with some steps done in another way: name -> what to do in its place.

    Only what follows from these steps is run again; what a step makes is not counted where it is as much as before. The
    arrays and weights that the segment lacks, for steps that take others, are those of the reference.
    """
    results: dict[str, np.ndarray] = {}
    dtype = working_dtype(segment.made)
    params = weights_of(reference)

    def find(name: str) -> np.ndarray:
        if name in results:
            return results[name]
        return segment.results[name] if name in segment.results else cast(given(reference, name), dtype)

    steps = _changed_steps(segment, changed)
    last_use = {name: made for made, (step, _) in steps.items() for name in step.inputs}
    allowance = Allowance(segment.numbers)
    with np.errstate(all="ignore"):
        for made, (step, function) in steps.items():
            weights = {
                name: segment.params[name] if name in segment.params else cast(np.asarray(params[name]), dtype)
                for name in step.params.values()
            }
            inputs = [find(name) for name in step.inputs]
            shapes = [array.shape for array in inputs]
            if made in changed or shapes != [segment.results[name].shape for name in step.inputs]:
                with suppress(InputError):  # shapes that only a mistake takes
                    allowance.take(step, shapes, {k: v.shape for k, v in weights.items()})
            results[made] = run_step(step, inputs, weights, function)
            for name in step.inputs:
                if last_use[name] == made:
                    results.pop(name, None)
    return find(segment.target.name)


def _changed_steps(
    segment: Segment, changed: Mapping[str, tuple[Step, Callable[..., Any]]]
) -> dict[str, tuple[Step, Callable[..., Any] | None]]:
    """Return the steps that are done in another way, and those that follow from them, with what to do, by name."""
    steps: dict[str, tuple[Step, Callable[..., Any] | None]] = {}
    for step in segment.steps:
        if step.name in changed:
            steps[step.name] = changed[step.name]
        elif not steps.keys().isdisjoint(step.inputs):
            steps[step.name] = step, None
    return steps


def run_on(segment: Segment, name: str, made: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the tensor in question for each of several results of one step, run on together as one batch.

    Each has the shape of the right result, and every step gives out as many samples as it takes.
    """
    results = {name: np.concatenate(made)}
    repeated: dict[str, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for step in segment.steps:
            if step.name == name or results.keys().isdisjoint(step.inputs):
                continue
            for other in step.inputs:
                if other not in results and other not in repeated:
                    repeated[other] = np.concatenate([segment.results[other]] * len(made))
            results[step.name] = run_step(step, [(results | repeated)[other] for other in step.inputs], segment.params)
    return np.split(results[segment.target.name], len(made))
