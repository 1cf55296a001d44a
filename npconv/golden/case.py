"""Golden cases: small inputs and the right result, for an operation, a whole layer, or a small model.

    from npconv.golden import cases, assert_close

    for case in cases("global_response_norm"):
        actual = my_grn(*case.inputs, **case.params, **case.attributes)
        assert_close(actual, case.expected, case=case)

Inputs and parameters are exact in float16, expected results are float64. A case's tolerance is eight times what right
float32 arithmetic was measured to be off, so a failure is a mistake and not rounding.

Of a whole small model of each family there is a golden trace, `model_trace`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import GoldenError, NpconvError
from npconv.files.safetensors import load_file, read_metadata
from npconv.forks import kept_property
from npconv.golden.blocks import case_plan
from npconv.golden.judge import FIT, GAIN
from npconv.golden.layouts import SWAPS
from npconv.golden.measures import (
    allowed,
    check_unit,
    distance,
    finite_distance,
    largest_of,
    place_of,
    tolerance_in_unit,
)
from npconv.golden.mistakes import MISTAKES, Mistake, apply
from npconv.golden.roundings import stored_distance, stored_in
from npconv.golden.segment import FAILURES, cast
from npconv.golden.trace_file import Trace, load_trace
from npconv.golden.units import measure_in
from npconv.messages import quoted
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_plan
from npconv.plan.step import Plan, Step

FOLDER = Path(__file__).with_name("cases")

#: The entry of a file's metadata that says what its tensors mean.
METADATA = "npconv.golden.cases"

#: What stands before the family in the name of a whole model's trace.
MODELS = "models-"

#: Operations without cases, and why.
NO_CASES = {
    "join_nothing": "it changes no number: what join_class_token is in a stage without class token",
    "join_nothing_backward": "it changes no number: the gradient of join_nothing",
    "num_batches_tracked": "it adds one",
    "drop_path_mask": "it is random: drop_path is given a mask",
    "dropout_mask": "it is random: dropout is given a mask",
    "resize_float": "it is Pillow alone: resize without the rounding to 8 bits",
}


@dataclass(frozen=True, eq=False)
class Case:
    """One input of an operation and the right result.

    Parameters
    ----------
    operation : str
        ``"layer_norm"``: a name of `operations`.
    name : str
        Of the case, unique in its operation.
    inputs : tuple of ndarray
        float32, exact in float16; pictures are uint8, labels int64. Of a gradient the first is the upstream one.
    params : dict of str to ndarray
        Weights by the operation's arguments, of a block or model by their names in a checkpoint; float32 as `inputs`.
    attributes : dict
        The operation's other arguments; ``wrt`` names that which a gradient is of.
    expected : ndarray of float64
    tolerance : float
        Largest absolute difference of a right float32 result.
    why : str
        What the case is for.
    noise : float
        The measured error of right float32 arithmetic, from which the tolerance was made.
    """

    operation: str
    name: str
    inputs: tuple[np.ndarray, ...]
    params: dict[str, np.ndarray]
    attributes: dict[str, Any]
    expected: np.ndarray = field(repr=False)
    tolerance: float
    why: str = ""
    noise: float = 0.0

    def plan(self) -> Plan:
        """Return the steps that make the result; their inputs are called ``input.0`` and so on."""
        return self._plan

    @kept_property
    def _plan(self) -> Plan:
        return case_plan(self.operation, len(self.inputs), self.params, self.attributes, self.expected.ndim)

    def run(self, mistake: Mistake | None = None, dtype: str = "float64") -> np.ndarray:
        """Compute the result, rightly or with a mistake wherever it can be made."""
        plan = self.plan()
        if mistake is not None:
            plan, function_of = apply(mistake, plan)
        return compute(plan, self.inputs, self.params, dtype, function_of if mistake else None)

    def tolerance_in(self, unit: str) -> float:
        """Return the largest absolute difference of a right result that was computed in a unit."""
        check_unit(unit)
        if unit == "float32":
            return self.tolerance
        plan = self.plan()
        output = plan.resolve(plan.outputs[0])
        noise = measure_in(plan, _named(self.inputs), self.params, {output: self.expected}, unit)
        if output not in noise:
            return allowed(self.tolerance, unit)
        return tolerance_in_unit(noise[output], largest_of(self.expected), unit)

    def makes(self, mistake: Mistake) -> bool:
        """Tell whether a mistake can be made in this case."""
        plan = self.plan()
        return any(mistake.at(step, plan) is not None for step in plan)


def compute(plan: Plan, inputs: Any, params: Mapping[str, Any], dtype: str, function_of: Any = None) -> np.ndarray:
    """Run the plan of a case with its floating-point arrays in a dtype; return its result."""

    def function(step: Step) -> Callable[..., Any]:
        chosen: Callable[..., Any] = OPERATIONS[step.operation] if function_of is None else function_of(step)
        return rescale_exactly if dtype == "float64" and chosen is OPERATIONS["rescale"] else chosen

    arrays = {name: _cast(array, dtype) for name, array in _named(inputs).items()}
    weights = {name: _cast(array, dtype) for name, array in params.items()}
    output = plan.resolve(plan.outputs[0])
    for step, result in run_plan(plan, arrays, weights, function, only=(output,)):
        if step.name == output:
            return np.asarray(result)
    raise GoldenError(f"expected a plan with a step {output!r}")  # unreachable: run_plan yields what it is asked for


def _named(inputs: Iterable[Any]) -> dict[str, Any]:
    """Return the inputs of a case by the names that its plan has for them."""
    return {f"input.{i}": array for i, array in enumerate(inputs)}


def rescale_exactly(image: np.ndarray, *, factor: float) -> np.ndarray:
    """Multiply a picture without rounding to float32, as the operation does whatever it is given."""
    return image * np.float64(factor)


def operations() -> list[str]:
    """Return the names of all operations, layers, blocks and models that there are cases of."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors") if not path.stem.startswith(MODELS))


def cases(operation: str) -> list[Case]:
    """Return the cases of an operation.

    Parameters
    ----------
    operation : str
        A name of `operations`.

    Raises
    ------
    GoldenError
        If there are no cases of that name; the message lists those that there are.
    """
    if operation not in operations():
        reason = f" ({NO_CASES[operation]})" if operation in NO_CASES else ""
        if operation in {MODELS + family for family in models()}:
            reason = " (a whole model's trace: export it, and give it to npconv diff as the reference)"
        raise GoldenError(
            f"expected an operation with cases: {', '.join(operations())}; got {quoted(operation)}{reason}"
        )
    return list(_load(FOLDER / f"{operation}.safetensors"))


def every_case() -> Iterator[Case]:
    """Yield the cases of all operations."""
    for operation in operations():
        yield from cases(operation)


def models() -> list[str]:
    """Return the families that there is a `model_trace` of."""
    return sorted(path.stem.removeprefix(MODELS) for path in FOLDER.glob(f"{MODELS}*.safetensors"))


def model_file(family: str) -> Path:
    """Return the file of a `model_trace`; refuse a family without one."""
    if family not in models():
        raise GoldenError(f"expected a family with a trace: {', '.join(models())}; got {quoted(family)}")
    return FOLDER / f"{MODELS}{family}.safetensors"


def model_trace(family: str) -> Trace:
    """Return the golden trace of a small model: every tensor, its measured noise, the weights and the configuration.

    It is a reference for `npconv.golden.compare`: a port builds the model of ``about["config"]`` with the weights
    ``params``, runs it on ``trace["pixel_values"]`` and is compared tensor by tensor.

    Parameters
    ----------
    family : str
        One of `models`: ``"convnext"``, ``"convnextv2"`` or ``"cvt"``.

    Raises
    ------
    GoldenError
        If there is none of that family.
    """
    return load_trace(model_file(family))


@cache
def _load(path: Path) -> tuple[Case, ...]:
    """Read the cases of a file."""
    content = json.loads(read_metadata(path)[METADATA])
    tensors = load_file(path)
    return tuple(_case(content["operation"], name, entry, tensors) for name, entry in content["cases"].items())


def _case(operation: str, name: str, entry: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Case:
    """Return one case of a file."""
    inputs: list[np.ndarray] = []
    while f"{name}.input.{len(inputs)}" in tensors:
        inputs.append(_cast(tensors[f"{name}.input.{len(inputs)}"], "float32"))
    prefix = f"{name}.param."
    params = {key.removeprefix(prefix): _cast(tensors[key], "float32") for key in tensors if key.startswith(prefix)}
    return Case(operation, name, tuple(inputs), params, expected=tensors[f"{name}.expected"], **entry)


def _cast(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return floating-point numbers in a dtype, others as they are; not to be written to."""
    view = cast(array, np.dtype(dtype)).view()
    view.flags.writeable = False
    return view


def as_numbers(array: Any) -> np.ndarray:
    """Return an array of real numbers; refuse text, complex numbers, ragged lists, a tensor of another device."""
    try:
        numbers = np.asarray(array)
        if numbers.dtype.kind in "OUSMmc":
            raise TypeError(f"its dtype is {numbers.dtype}")
        return numbers if numbers.dtype.kind in "fiub" else numbers.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = quoted(str(error).partition("\n")[0])
        raise GoldenError(f"expected an array of real numbers, got a {type(array).__name__}: {reason}") from error


def assert_close(actual: Any, expected: Any = None, *, case: Case, unit: str = "float32") -> None:
    """Assert that a result is right up to rounding.

    Parameters
    ----------
    actual : array
        What was computed, or anything that `numpy.asarray` takes.
    expected : array, optional
        ``case.expected`` when unset.
    case : Case
        Its tolerance is used, and its inputs to find out what is wrong.
    unit : str
        What was computed in: ``"float32"``, ``"float16"``, ``"bfloat16"`` or ``"tf32"``, whose noise is measured.

    Raises
    ------
    AssertionError
        That says how far off the result is, where, and which known mistake gives the same numbers.
    GoldenError
        If `unit` is none of these, a result is not an array of real numbers, or `expected` holds none.
    """
    __tracebackhide__ = True  # of pytest: what a porter wants to see is the message
    tolerance = case.tolerance_in(unit)
    actual = as_numbers(actual)
    expected = as_numbers(case.expected if expected is None else expected)
    if not expected.size:
        raise GoldenError(f"expected numbers to compare with, got an array of shape {expected.shape}")
    if not distance(expected, actual) <= tolerance:
        said = "; ".join([describe(actual, expected, tolerance), *explain(case, actual, tolerance)])
        raise AssertionError(f"{case.operation}, case {case.name} ({case.why}): {said}")


def describe(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> str:
    """Say how far off a result is, and where."""
    if actual.shape != expected.shape:
        return f"expected shape {expected.shape}, got {actual.shape}"
    bad = ~np.isfinite(actual)
    if bad.any():
        at = place_of(bad)
        return f"{int(bad.sum())} of {bad.size} numbers are not finite, first {actual[tuple(at)]} at {at}"
    difference = np.abs(actual.astype(np.float64) - expected)
    place = tuple(place_of(difference))
    outside = int((difference > tolerance).sum())
    return (
        f"max error {difference[place]:.3g} at {list(place)}, got {float(actual[place]):.9g}, expected "
        f"{float(expected[place]):.9g}; tolerance {tolerance:.3g}, {outside} of {difference.size} outside"
    )


def explain(case: Case, actual: Any, tolerance: float | None = None) -> list[str]:
    """Say which known mistake gives the same numbers as a wrong result; the tolerance is the case's when unset."""
    actual = np.asarray(actual)
    truth = float(np.abs(case.expected).max()) or 1.0
    scale = max(truth, float(np.abs(actual[np.isfinite(actual)]).max(initial=0.0)))
    limit = case.tolerance if tolerance is None else tolerance
    enough = FIT * limit * (scale / truth)  # rounding grows with the values that a mistake makes
    found = [*suspects(case, actual), *_layouts(case, actual), *_stored(case, actual)]
    says, left = min(found, key=lambda suspect: suspect[1], default=("", float("inf")))
    if not GAIN * left <= distance(case.expected, actual) or not np.isfinite(left):
        return ["no known mistake explains it"]
    return [f"{'fits' if left <= enough else 'no known mistake fits; nearest is'} {says}: {left / scale:.1e}"]


def suspects(case: Case, actual: np.ndarray) -> list[tuple[str, float]]:
    """Return each mistake that can be made in a case, in words, and what it leaves unexplained (absolute)."""
    found = []
    for mistake in MISTAKES:
        made = None if mistake.invisible or not case.makes(mistake) else run_mistake(case, mistake)
        if made is not None:
            found.append((mistake.says, finite_distance(made, actual)))
    return found


def _stored(case: Case, actual: np.ndarray) -> Iterator[tuple[str, float]]:
    """Yield the right result if it may have been stored in fewer bits, and what the rounding leaves unexplained."""
    unit = stored_in(actual)
    if unit:
        yield f"result stored in {unit}", stored_distance(case.expected, actual, unit)


def run_mistake(case: Case, mistake: Mistake) -> np.ndarray | None:
    """Return what a mistake gives; None where it cannot be computed any further."""
    try:
        with np.errstate(all="ignore"):
            return case.run(mistake)
    except (*FAILURES, NpconvError):  # a mistake that these shapes do not allow
        return None


def _layouts(case: Case, actual: np.ndarray) -> Iterator[tuple[str, float]]:
    """Yield the orders of axes in which the right result may have been read, and what each leaves unexplained."""
    expected, plan = case.expected, case.plan()
    letters = plan[plan.outputs[0]].layout
    if actual.ndim != expected.ndim or len(letters) < expected.ndim or not np.isfinite(actual).all():
        return
    # Of one shape with the right result, numbers were taken in another order; else the axes say which it is.
    same_shape = actual.shape == expected.shape
    for axes in SWAPS.get(expected.ndim, ()) if same_shape else permutations(range(expected.ndim)):
        moved = expected.transpose(axes)
        if same_shape or moved.shape == actual.shape:
            says = f"{''.join(letters[axis] for axis in axes)} read as {letters}"
            yield says, distance(moved.reshape(actual.shape), actual)
