"""Golden cases: small inputs and the right result, for an operation, a whole layer, or a small model.

    from npconv.golden import cases, assert_close

    for case in cases("global_response_norm"):
        actual = my_grn(*case.inputs, **case.params, **case.attributes)
        assert_close(actual, case.expected, case=case)

Inputs and parameters are exact in float16, expected results are float64. A case's tolerance is eight times what right
float32 arithmetic was measured to be off, so a failure is a mistake and not rounding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import GoldenError
from npconv.golden.blocks import case_plan
from npconv.golden.mistakes import MISTAKES, Mistake, apply
from npconv.golden.operations import OPERATIONS
from npconv.golden.run import run_plan
from npconv.golden.steps import Plan, Step
from npconv.golden.tolerance import ROUNDOFF
from npconv.weights.safetensors import load_file, read_metadata

FOLDER = Path(__file__).with_name("cases")

#: The entry of a file's metadata that says what its tensors mean.
METADATA = "npconv.golden.cases"

#: A mistake is named if what it leaves is so much less than what is wrong, and at most one tolerance or so large a
#: share of the largest number: a mistake may make numbers, and with them their rounding, much larger.
GAIN, FIT = 10.0, 2.0**-19

#: What a mistake may raise where the next operation cannot take its result.
FAILURES = (ValueError, IndexError, TypeError, GoldenError)


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
        float32, exact in float16; pictures are uint8.
    params : dict of str to ndarray
        Weights by the operation's arguments, of a block or model by their names in a checkpoint; float32 as `inputs`.
    attributes : dict
        The operation's other arguments.
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
        return case_plan(self.operation, len(self.inputs), self.params, self.attributes, self.expected.ndim)

    def run(self, mistake: Mistake | None = None, dtype: str = "float64") -> np.ndarray:
        """Compute the result, rightly or with a mistake wherever it can be made."""
        plan = self.plan()
        if mistake is not None:
            plan, function_of = apply(mistake, plan)
        return compute(plan, self.inputs, self.params, dtype, function_of if mistake else None)

    def makes(self, mistake: Mistake) -> bool:
        """Tell whether a mistake can be made in this case."""
        plan = self.plan()
        return any(mistake.at(step, plan) is not None for step in plan)


def compute(plan: Plan, inputs: Any, params: Mapping[str, Any], dtype: str, function_of: Any = None) -> np.ndarray:
    """Run the plan of a case with its floating-point arrays in a dtype; return its result."""

    def function(step: Step) -> Callable[..., Any]:
        chosen: Callable[..., Any] = OPERATIONS[step.operation] if function_of is None else function_of(step)
        return rescale_exactly if dtype == "float64" and chosen is OPERATIONS["rescale"] else chosen

    arrays = {f"input.{i}": _cast(array, dtype) for i, array in enumerate(inputs)}
    weights = {name: _cast(array, dtype) for name, array in params.items()}
    output = plan.resolve(plan.outputs[0])
    for step, result in run_plan(plan, arrays, weights, function, only=(output,)):
        if step.name == output:
            return np.asarray(result)
    raise GoldenError(f"expected a plan with a step {output!r}")  # unreachable: run_plan yields what it is asked for


def rescale_exactly(image: np.ndarray, *, factor: float) -> np.ndarray:
    """Multiply a picture without rounding to float32, as the operation does whatever it is given."""
    return image * np.float64(factor)


def operations() -> list[str]:
    """Return the names of all operations, layers, blocks and models that there are cases of."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors") if not path.stem.startswith("models-"))


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
        raise GoldenError(f"expected an operation with cases: {', '.join(operations())}; got {str(operation)[:80]!r}")
    return list(_load(FOLDER / f"{operation}.safetensors"))


def every_case() -> Iterator[Case]:
    """Yield the cases of all operations."""
    for operation in operations():
        yield from cases(operation)


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
    expected = tensors[f"{name}.expected"]
    attributes = entry["attributes"]
    return Case(
        operation, name, tuple(inputs), params, attributes, expected, entry["tolerance"], entry["why"], entry["noise"]
    )


def _cast(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return floating-point numbers in a dtype, others as they are; not to be written to."""
    cast = array.astype(dtype) if array.dtype.kind == "f" else array.view()
    cast.flags.writeable = False
    return cast


def error_of(actual: Any, expected: Any) -> float:
    """Return the largest absolute difference; infinite where shapes differ or a number is not finite."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return float("inf")
    return float(np.abs(actual.astype(np.float64) - expected).max(initial=0.0))


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
        What was computed in: ``"float32"``, ``"float16"`` or ``"bfloat16"``; the tolerance grows by its unit roundoff.

    Raises
    ------
    AssertionError
        That says how far off the result is, where, and which known mistake gives the same numbers.
    GoldenError
        If `unit` is none of these.
    """
    if unit not in ROUNDOFF:
        raise GoldenError(f"expected unit to be one of {', '.join(ROUNDOFF)}; got {str(unit)[:80]!r}")
    actual = np.asarray(actual)
    expected = np.asarray(case.expected if expected is None else expected)
    tolerance = case.tolerance * (ROUNDOFF[unit] / ROUNDOFF["float32"])
    if not error_of(actual, expected) <= tolerance:
        said = "; ".join([describe(actual, expected, tolerance), *explain(case, actual, tolerance)])
        raise AssertionError(f"{case.operation}, case {case.name} ({case.why}): {said}")


def describe(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> str:
    """Say how far off a result is, and where."""
    if actual.shape != expected.shape:
        return f"expected shape {expected.shape}, got {actual.shape}"
    bad = ~np.isfinite(actual)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        return f"{int(bad.sum())} of {bad.size} numbers are not finite, first {actual[place]} at {list(place)}"
    difference = np.abs(actual.astype(np.float64) - expected)
    place = tuple(int(i) for i in np.unravel_index(np.argmax(difference), difference.shape))
    outside = int((difference > tolerance).sum())
    return (
        f"max error {difference[place]:.3g} at {list(place)}, got {float(actual[place]):.9g}, expected "
        f"{float(expected[place]):.9g}; tolerance {tolerance:.3g}, {outside} of {difference.size} outside"
    )


def explain(case: Case, actual: Any, tolerance: float | None = None) -> list[str]:
    """Say which known mistake gives the same numbers; a list of one text, or of none.

    Parameters
    ----------
    case : Case
    actual : array
        A wrong result.
    tolerance : float, optional
        Of the comparison; the case's when unset.
    """
    actual = np.asarray(actual)
    finite = np.abs(actual[np.isfinite(actual)])
    scale = max(float(np.abs(case.expected).max()), float(finite.max(initial=0.0))) or 1.0
    enough = max(case.tolerance if tolerance is None else tolerance, FIT * scale)
    found = [*suspects(case, actual), *_layouts(case, actual)]
    says, left = min(found, key=lambda suspect: suspect[1], default=("", float("inf")))
    if not GAIN * left <= error_of(actual, case.expected) or not np.isfinite(left):
        return ["no known mistake explains it"]
    return [f"{'fits' if left <= enough else 'no known mistake fits; nearest is'} {says}: {left / scale:.1e}"]


def suspects(case: Case, actual: np.ndarray) -> list[tuple[str, float]]:
    """Return each mistake that can be made in a case, in words, and what it leaves unexplained (absolute)."""
    found = []
    for mistake in MISTAKES:
        made = None if mistake.invisible or not case.makes(mistake) else run_mistake(case, mistake)
        if made is not None:
            found.append((mistake.says, _left(actual, made)))
    return found


def _left(actual: np.ndarray, made: np.ndarray) -> float:
    """Return the largest difference of two wrong results; infinite if other numbers of them are not finite."""
    if actual.shape != made.shape:
        return float("inf")
    finite = np.isfinite(made)
    if not (np.isfinite(actual) == finite).all():
        return float("inf")
    return error_of(actual[finite], made[finite])


def run_mistake(case: Case, mistake: Mistake) -> np.ndarray | None:
    """Return what a mistake gives; None where it cannot be computed any further."""
    try:
        with np.errstate(all="ignore"):
            return case.run(mistake)
    except FAILURES:
        return None


def _layouts(case: Case, actual: np.ndarray) -> Iterator[tuple[str, float]]:
    """Yield the orders of axes by which the right result may have been taken for another."""
    expected = case.expected
    if actual.shape == expected.shape and not np.isfinite(actual).all():
        return
    orders = {4: ((0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2)), 3: ((0, 2, 1), (1, 2, 0), (2, 0, 1)), 2: ((1, 0),)}
    letters = {4: "NCHW", 3: "NTD", 2: "NC"}.get(expected.ndim, "")
    if case.operation in ("resize", "center_crop", "rescale", "normalize", "preprocess"):
        letters = "CHW"
    for axes in orders.get(expected.ndim, ()):
        other = "".join(letters[axis] for axis in axes)
        moved = expected.transpose(axes)
        if moved.shape == actual.shape:
            yield f"{other} in place of {letters}", error_of(actual, moved)
        if actual.shape == expected.shape:
            yield f"{other} read as {letters}", error_of(actual, moved.reshape(expected.shape))


def detection_table() -> list[tuple[str, str, str, float]]:
    """Return how far off each visible mistake is in each case where it can be made.

    Returns
    -------
    list of (operation, case, mistake, error)
        The error in tolerances of the case; infinite where the result is not finite, has another shape, or cannot be
        computed at all.
    """
    table = []
    for case in every_case():
        for mistake in MISTAKES:
            if not mistake.invisible and case.makes(mistake):
                made = run_mistake(case, mistake)
                error = float("inf") if made is None else error_of(made, case.expected)
                table.append((case.operation, case.name, mistake.name, error / case.tolerance))
    return table
