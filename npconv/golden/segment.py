"""The part of a model between the tensors that are right and one that is not, to be run again by itself."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npconv.errors import InputError
from npconv.golden.compare import Comparison, Difference
from npconv.golden.preprocessing import DECODED, IMAGE, image_of
from npconv.golden.trace_file import PIXELS, Trace, about
from npconv.plan.extent import Allowance, TooMuchError
from npconv.plan.run import run_step
from npconv.plan.step import Plan, Step


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
    """

    plan: Plan
    steps: tuple[Step, ...]
    start: dict[str, np.ndarray]
    of_mine: list[str]
    params: Mapping[str, np.ndarray]
    results: dict[str, np.ndarray]

    @property
    def target(self) -> Step:
        """The step that makes the tensor in question."""
        return self.steps[-1]

    @property
    def made(self) -> np.ndarray:
        """The tensor in question, as the steps make it."""
        return self.results[self.target.name]


#: Steps that are run again in one piece; the largest published models have a thousand.
MOST_STEPS = 4000


def make_segment(comparison: Comparison, difference: Difference, share: float = 1.0) -> Segment | None:
    """Return the part of the model from the nearest good tensors that mine has to a divergent one, and run it.

    A tensor to start from may differ by a `share` of its tolerance; less than 1 goes further back. The steps compute in
    the precision of the reference, at least float32. Asked for again, the same part is the same object. None if the
    reference does not tell its steps, or lacks weights or arrays that they need, or holds others than they make.
    """
    reference = comparison.reference
    plan = plan_of(reference, difference.name)
    if plan is None:
        return None
    good = {
        plan[other.name].name if other.name in plan else other.name: other
        for other in comparison.differences
        if not other.diverges and other.max_abs <= share * other.tolerance and other.reading is not None
    }
    names, outside = walk(plan, plan[difference.name].name, good)
    if len(names) > MOST_STEPS:
        comparison.refused[difference.name] = f"{len(names)} steps lie before it, expected at most {MOST_STEPS}"
        return None
    key = (difference.name, frozenset(names), tuple((name, name in good) for name in outside))
    if key in comparison.segments:
        found: Segment | None = comparison.segments[key]
        return found
    comparison.segments[key] = None
    dtype = working_dtype(np.asarray(reference[difference.name]))
    weights = getattr(reference, "params", {})
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
    segment = comparison.segments[key] = Segment(plan, steps, start, of_mine, params, results)
    return segment


def plan_of(reference: Mapping[str, np.ndarray], name: str) -> Plan | None:
    """Return the plan that makes a tensor: the model's, or that of its preprocessing; None if neither does.

    The last step of preprocessing makes the pixel values, but for the axis of the batch.
    """
    preprocessing = about(reference).get("preprocessing")
    try:
        model: Plan | None = getattr(reference, "plan", None)
        if model is not None and name in model:
            return model if model.is_in_order() else None
        *steps, last = Plan.from_json((preprocessing or {})["steps"])
        plan = Plan((*steps, replace(last, aliases=(*last.aliases, PIXELS))))
        return plan if name in plan and plan.is_in_order() else None
    except FAILURES:  # not there, or not as npconv writes it
        return None


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
) -> dict[str, np.ndarray]:
    """Run steps; return their results and what they started from.

    The plan in a file may be a stranger's: one that asks for more than the file explains is a TooMuchError, a step that
    makes another shape than the reference has a ValueError.
    """
    results = dict(start)
    weights = {name: array.shape for name, array in params.items()}
    allowance = Allowance(count_numbers(reference))
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
    params = getattr(reference, "params", {})

    def find(name: str) -> np.ndarray:
        if name in results:
            return results[name]
        return segment.results[name] if name in segment.results else cast(given(reference, name), dtype)

    allowance = Allowance(count_numbers(reference))
    with np.errstate(all="ignore"):
        for step in segment.steps:
            if step.name in changed:
                other, function = changed[step.name]
            elif any(name in results for name in step.inputs):
                other, function = step, None
            else:
                continue
            weights = {
                name: segment.params[name] if name in segment.params else cast(np.asarray(params[name]), dtype)
                for name in other.params.values()
            }
            inputs = [find(name) for name in other.inputs]
            shapes = [array.shape for array in inputs]
            if other is not step or shapes != [segment.results[name].shape for name in step.inputs]:
                with suppress(InputError):  # shapes that only a mistake takes
                    allowance.take(other, shapes, {k: v.shape for k, v in weights.items()})
            results[step.name] = run_step(other, inputs, weights, function)
    return find(segment.target.name)


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
