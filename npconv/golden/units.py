"""How far from the truth correct programs land that compute in fewer bits than float32, tensor by tensor.

This noise is in no file: it is measured when a comparison asks for a unit, on the steps, weights and pixel values of
the golden trace, so that only who computes in a unit pays for it. The plan is run as programs compute in the unit:

- **float16, bfloat16**: weights, pixel values and every result are stored in the unit, and inside a step all is
  float32. So do PyTorch, CUDA, MLX and ggml. The second run has each weight off by up to the unit roundoff first: one
  run may be right by luck, such as on weights that the unit holds exactly.
- **tf32**: the factors of products, that is of convolutions, linear layers and attention, have the bits of TF32; sums
  and all else are float32. Factors are rounded in the first run, and cut in the second: there are chips of both kinds.

Noise is the largest error of both runs, but at least :data:`SPREAD` times their root mean square: of a tensor of few
values, such as two logits, all may be right by luck.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.measures import pieces
from npconv.golden.roundings import ROUNDOFF, Rounding, cut_to_tf32, perturbed, to_bits, to_float16
from npconv.golden.segment import FAILURES, MOST_STEPS
from npconv.golden.trace_file import PIXELS, Trace
from npconv.plan.extent import Allowance
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_plan
from npconv.plan.step import Plan, Step

Arrays = dict[str, np.ndarray]
Chooser = Callable[[Step], Callable[..., Any]]

#: What rounds to the units in which results are stored.
STORED: dict[str, Rounding] = {"float16": to_float16, "bfloat16": partial(to_bits, bits=7)}

#: How factors lose the bits that TF32 lacks.
FACTORS: tuple[Rounding, ...] = (partial(to_bits, bits=10), cut_to_tf32)

#: Operations that multiply and sum up.
_FORWARD = ("conv2d", "depthwise_conv2d", "pointwise_conv2d", "linear", "attention_scores", "attention_context")
PRODUCTS = (*_FORWARD, *(f"{operation}_backward" for operation in _FORWARD))

#: Times the root mean square of the errors that noise is at least: of many values the largest error comes to as much.
SPREAD = 4.0

#: How many runs each unit has, and the seed of that with perturbed weights.
RUNS, SEED = 2, 1


def noise_in(reference: Mapping[str, np.ndarray], unit: str, names: Iterable[str]) -> dict[str, float]:
    """Return the noise of a unit of fewer bits than float32 by the names of tensors.

    Those are left out that no step makes or that overflow in the unit; all, if the reference does not hold steps,
    weights and pixel values to be run, or they would make more than the file explains.
    """
    plan = model_plan(reference)
    if plan is None or PIXELS not in reference or not isinstance(reference, Trace):
        return {}
    truth = {name: np.asarray(reference[name]) for name in names if name in plan}
    inputs = {name for step in plan for name in step.inputs} - {step.name for step in plan}
    arrays = {name: np.asarray(reference[name]) for name in reference if name == PIXELS or name in inputs}
    try:
        return measure_in(plan, arrays, reference.params, truth, unit, reference.count_numbers())
    except FAILURES:  # weights that are not there, a plan of another program
        return {}


def model_plan(reference: Mapping[str, np.ndarray]) -> Plan | None:
    """Return the plan of the model of a trace if there is one that can be run."""
    try:
        plan = reference.plan if isinstance(reference, Trace) else None
    except FAILURES:
        return None
    return plan if plan is not None and len(plan.steps) <= MOST_STEPS and plan.is_in_order() else None


def measure_in(
    plan: Plan,
    arrays: Mapping[str, np.ndarray],
    params: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
    unit: str,
    numbers: int | None = None,
) -> dict[str, float]:
    """Return the noise of a unit for each array of `truth` that steps make of `arrays`, if it is finite.

    Steps of a stranger may make no more than so many `numbers` explain: GoldenError if they do, or cannot be run.
    """
    largest, squares = dict.fromkeys(truth, 0.0), dict.fromkeys(truth, 0.0)
    with np.errstate(all="ignore"):  # an overflow is seen by its result
        for weights, given, function_of in _ways(unit, _as_float32(params), _as_float32(arrays)):
            chosen = function_of if numbers is None else _bounded(function_of, Allowance(numbers))
            for step, result in run_plan(plan, given, weights, chosen, truth):
                far, square = _errors(truth[step.name], np.asarray(result))
                largest[step.name] = max(largest[step.name], far)
                squares[step.name] += square / RUNS
    return {
        name: max(largest[name], SPREAD * math.sqrt(square / max(truth[name].size, 1)))
        for name, square in squares.items()
        if math.isfinite(square)
    }


def _ways(unit: str, params: Arrays, arrays: Arrays) -> Iterator[tuple[Arrays, Arrays, Chooser]]:
    """Yield what each run in a unit takes: weights, arrays, and what chooses the functions of steps."""
    if unit in STORED:
        rounded = STORED[unit]
        for weights in (params, perturbed(params, SEED, ROUNDOFF[unit])):
            yield _each(rounded, weights), _each(rounded, arrays), partial(_stored, rounded)
    else:
        for fewer in FACTORS:
            yield params, arrays, partial(_of_factors, fewer)


def _bounded(function_of: Chooser, allowance: Allowance) -> Chooser:
    """Return a chooser whose functions count what they make before they do."""

    def chosen(step: Step) -> Callable[..., Any]:
        function = function_of(step)

        def call(*inputs: Any, **arguments: Any) -> Any:
            shapes = {full: np.shape(arguments[name]) for name, full in step.params.items()}
            allowance.take(step, [array.shape for array in inputs], shapes)
            return function(*inputs, **arguments)

        return call

    return chosen


def _stored(rounded: Rounding, step: Step) -> Callable[..., Any]:
    """Return the operation of a step with its result stored in fewer bits."""
    function = OPERATIONS[step.operation]

    def stored(*inputs: Any, **arguments: Any) -> Any:
        result = function(*inputs, **arguments)
        return rounded(result) if result.dtype.kind == "f" else result

    return stored


def _of_factors(fewer: Rounding, step: Step) -> Callable[..., Any]:
    """Return the operation of a step with factors of fewer bits, if it multiplies and sums up."""
    function = OPERATIONS[step.operation]
    if step.operation not in PRODUCTS:
        return function

    def product(*inputs: Any, **arguments: Any) -> Any:
        bias = {name: value for name, value in arguments.items() if name == "bias"}
        return function(*map(fewer, inputs), **{**_each(fewer, arguments), **bias})

    return product


def _each(rounded: Rounding, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with the arrays of floating-point numbers among them rounded."""
    return {
        name: rounded(value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in values.items()
    }


def _as_float32(values: Mapping[str, np.ndarray]) -> Arrays:
    """Return arrays of floating-point numbers as float32, others as they are."""
    arrays = {name: np.asarray(value) for name, value in values.items()}
    return {name: a.astype(np.float32, copy=False) if a.dtype.kind == "f" else a for name, a in arrays.items()}


def _errors(truth: np.ndarray, made: np.ndarray) -> tuple[float, float]:
    """Return the largest difference of two arrays, and the sum of its squares; ValueError if they are not alike."""
    if truth.shape != made.shape:
        raise ValueError(f"expected an array of shape {truth.shape}, got {made.shape}")
    largest = squares = 0.0
    for expected, result in pieces(truth, made):
        difference = np.abs(result.astype(np.float64) - expected)
        largest = max(largest, float(difference.max(initial=0.0)))
        squares += float(difference @ difference)
    return largest, squares
