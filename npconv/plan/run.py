"""Run a plan, or a part of it, step by step."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

from npconv.errors import GoldenError, NpconvError
from npconv.messages import quoted
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Plan, Step


def run_plan(
    plan: Plan,
    arrays: Mapping[str, Any],
    params: Mapping[str, Any],
    function_of: Callable[[Step], Callable[..., Any]] | None = None,
    only: Container[str] | None = None,
) -> Iterator[tuple[Step, Any]]:
    """Run the steps of a plan in order and yield each with its result.

    Parameters
    ----------
    plan : Plan
    arrays : mapping of str to array
        ``"pixel_values"``, and any results of steps that are known already: such steps are not run, nor yielded.
    params : mapping of str to array
        The model's parameters by their names in a checkpoint.
    function_of : callable, optional
        Chooses the function of each step; that of its operation when unset.
    only : container of str, optional
        Names of the steps to yield; no steps are run but those that these need. All when unset.

    Yields
    ------
    (Step, array)
        Results that no later step takes are let go: the caller keeps what it wants to keep.

    Raises
    ------
    GoldenError
        If an array or a parameter is missing, or an operation is unknown.
    """
    needed = needed_steps(plan, arrays, only)
    last_use = {name: step.name for step in needed for name in step.inputs}
    results = {name: arrays[name] for name in last_use if name in arrays}
    for step in needed:
        for name in step.inputs:
            if name not in results:
                raise GoldenError(f"{step.name}: expected its input {name!r}, which is neither given nor computed")
        inputs = [results[name] for name in step.inputs]
        result = run_step(step, inputs, params, None if function_of is None else function_of(step))
        for name in step.inputs:
            if last_use[name] == step.name:
                results.pop(name, None)
        del inputs
        if step.name in last_use:
            results[step.name] = result
        if only is None or step.name in only:
            yield step, result
        del result


def run_step(
    step: Step, inputs: Sequence[Any], params: Mapping[str, Any], function: Callable[..., Any] | None = None
) -> Any:
    """Run one step on its inputs, with `function` in place of the operation's own if there is one.

    Raises
    ------
    GoldenError
        If a parameter is missing, the operation is unknown, or it cannot be run with these arguments: a plan may come
        from a file.
    """
    if function is None:
        if step.operation not in OPERATIONS:
            raise GoldenError(f"{step.name}: expected an operation of npconv, got {quoted(step.operation)}")
        function = OPERATIONS[step.operation]
    missing = [name for name in step.params.values() if name not in params]
    if missing:
        raise GoldenError(f"{step.name}: expected the parameter {missing[0]!r}, which is not among those given")
    arguments = {name: params[full] for name, full in step.params.items()}
    try:
        return function(*inputs, **arguments, **step.attributes)
    except MemoryError:
        raise
    except NpconvError as error:
        raise GoldenError(f"{step.name}: {error}") from error
    except Exception as error:  # whatever NumPy says to arrays and attributes that do not go together
        raise GoldenError(f"{step.name}: {step.operation} cannot be run so: {error}") from error


def needed_steps(plan: Plan, arrays: Container[str], only: Container[str] | None = None) -> list[Step]:
    """Return the steps that have to be run, in order; see :func:`run_plan`."""
    needed: list[Step] = []
    inputs: set[str] = set()
    for step in reversed(plan.steps):
        wanted = only is None or step.name in only or step.name in inputs
        if wanted and step.name not in arrays:
            needed.append(step)
            inputs.update(step.inputs)
    return needed[::-1]
