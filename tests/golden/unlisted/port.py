"""A port that makes a mistake: the steps of a plan, and edits that change what is computed in some of them.

An edit takes the port and the name of the step that it is made at: ``load("weight", of="stages.0.layers.0.dwconv")``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from npconv.errors import GoldenError
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_plan
from npconv.plan.step import Plan, Step

#: Changes a port at the step of a name.
Edit = Callable[["Port", str], None]


class Port:
    """What a port computes in float32.

    Parameters
    ----------
    plan : Plan
    params : mapping of str to ndarray

    Attributes
    ----------
    steps : dict of str to Step
        In any order: they are run when what they take is there.
    functions : dict of str to callable
        Those of the steps that compute something else than their operation.
    params : dict of str to ndarray
    unrecorded : set of str
        What the port has no array of.
    stands_for : dict of str to str
        The name of a stage's last array -> the name of what the port's stage gives out, where that is another.
    """

    def __init__(self, plan: Plan, params: Mapping[str, np.ndarray]) -> None:
        self.steps = {step.name: step for step in plan}
        self.functions: dict[str, Callable[..., Any]] = {}
        self.params = dict(params)
        self.unrecorded: set[str] = set()
        self.stands_for: dict[str, str] = {}

    def find(self, where: str) -> str:
        """Return the name of a step by its end; of several, by all of it but the name of the family."""
        if where in self.steps:
            return where
        found = [name for name in self.steps if name.endswith(f".{where}")]
        if len(found) > 1:
            found = [name for name in found if name.partition(".")[2] == where]
        if len(found) != 1:
            raise LookupError(f"expected one step called {where}, got {found}")
        return found[0]

    def function(self, name: str) -> Callable[..., Any]:
        """Return what is computed in a step."""
        return self.functions.get(name, OPERATIONS[self.steps[name].operation])

    def run(self, start: Mapping[str, np.ndarray], dtype: type[np.floating] = np.float32) -> dict[str, np.ndarray]:
        """Return what the port computes, by name; shorter where a step cannot take what the mistake made."""

        def function_of(step: Step) -> Callable[..., Any]:
            right = self.function(step.name)
            return lambda *inputs, **arguments: cast(right(*inputs, **arguments), dtype)

        made: dict[str, np.ndarray] = {}
        try:
            params = {name: cast(array, dtype) for name, array in self.params.items()}
            with np.errstate(all="ignore"):
                for step, array in run_plan(self._ordered(start), start, params, function_of):
                    made[step.name] = array
        except GoldenError:
            pass
        return made

    def _ordered(self, start: Mapping[str, Any]) -> Plan:
        """Return the steps in an order in which they can be run."""
        ordered: dict[str, Step] = {}
        left = dict(self.steps)
        while left:
            ready = [step for step in left.values() if all(name in ordered or name in start for name in step.inputs)]
            if not ready:
                raise LookupError(f"a circle of steps: {list(left)}")
            for step in ready:
                ordered[step.name] = left.pop(step.name)
        return Plan(tuple(ordered.values()))


def cast(array: Any, dtype: type[np.floating]) -> np.ndarray:
    """Return floating-point numbers in a precision, others as they are."""
    array = np.asarray(array)
    return array.astype(dtype, copy=False) if array.dtype.kind == "f" else array


def single(array: Any) -> np.ndarray:
    """Return floating-point numbers as float32, others as they are."""
    return cast(array, np.float32)


def weights(**changes: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Change parameters by their arguments: ``weights(bias=np.zeros_like)``."""

    def edit(port: Port, name: str) -> None:
        for argument, change in changes.items():
            full = port.steps[name].params[argument]
            port.params[full] = np.ascontiguousarray(change(port.params[full]), np.float32)

    return edit


def load(*arguments: str, of: str, argument: str = "") -> Edit:
    """Load parameters of another step, those of the same arguments, or one of another `argument`."""

    def edit(port: Port, name: str) -> None:
        own, other = port.steps[name].params, port.steps[port.find(of)].params
        for one in arguments:
            port.params[own[one]] = port.params[other[argument or one]]

    return edit


def exchange(one: str, other: str) -> Edit:
    """Take each of two parameters of a step for the other."""

    def edit(port: Port, name: str) -> None:
        own, params = port.steps[name].params, port.params
        params[own[one]], params[own[other]] = params[own[other]], params[own[one]]

    return edit


def settings(**values: Any) -> Edit:
    """Take other attributes."""

    def edit(port: Port, name: str) -> None:
        step = port.steps[name]
        port.steps[name] = replace(step, attributes={**step.attributes, **values})

    return edit


def computed(function: Callable[..., Any]) -> Edit:
    """Compute something else: `function` takes what is computed so far, and after it what that takes."""

    def edit(port: Port, name: str) -> None:
        right = port.function(name)
        port.functions[name] = lambda *inputs, **arguments: function(right, *inputs, **arguments)

    return edit


def result(change: Callable[[Any], Any]) -> Edit:
    """Make something else of the result."""
    return computed(lambda right, *inputs, **arguments: change(right(*inputs, **arguments)))


def first_input(change: Callable[[Any], Any]) -> Edit:
    """Take another first input."""
    return computed(lambda right, x, *inputs, **arguments: right(change(x), *inputs, **arguments))


def takes(*inputs: str) -> Edit:
    """Take the results of other steps; ``""`` stands for what is taken there already."""

    def edit(port: Port, name: str) -> None:
        step = port.steps[name]
        found = [port.find(other) if other else own for other, own in zip(inputs, step.inputs, strict=True)]
        port.steps[name] = replace(step, inputs=tuple(found))

    return edit


def at(where: str, *edits: Edit) -> Edit:
    """Make edits at another step."""

    def edit(port: Port, name: str) -> None:
        for one in edits:
            one(port, port.find(where))

    return edit


def both(*edits: Edit) -> Edit:
    """Make edits one after another."""

    def edit(port: Port, name: str) -> None:
        for one in edits:
            one(port, name)

    return edit


def every(end: str, *edits: Edit) -> Edit:
    """Make edits at all steps whose names end so."""

    def edit(port: Port, name: str) -> None:
        for other in [other for other in port.steps if other.endswith(f".{end}")]:
            both(*edits)(port, other)

    return edit


def unrecorded(*where: str) -> Edit:
    """Have no array of some steps."""

    def edit(port: Port, name: str) -> None:
        port.unrecorded.update(map(port.find, where))

    return edit


def run_twice() -> Edit:
    """Run a block again on its own result. Recorded are the arrays of the first run, and what comes out in the end."""

    def edit(port: Port, block: str) -> None:
        once = f"{block}#once"
        own = [step for name, step in port.steps.items() if name == block or name.startswith(f"{block}.")]
        again = {step.name: step.name if step.name == block else f"{step.name}#again" for step in own}
        again[port.steps[block].inputs[0]] = once
        port.steps[once] = replace(port.steps[block], name=once)
        for step in own:
            inputs = tuple(again.get(name, name) for name in step.inputs)
            port.steps[again[step.name]] = replace(step, name=again[step.name], inputs=inputs)
        port.unrecorded.update({once, *again.values()} - {block})

    return edit


def blocks_exchanged(one: str, other: str) -> Edit:
    """Run two blocks that follow each other in the other order; the stage gives out what the first of them makes."""

    def edit(port: Port, name: str) -> None:
        first, second = port.find(one), port.find(other)
        before = port.steps[first].inputs[0]
        moved = {first: second, second: first}
        for step in list(port.steps.values()):
            if step.name == second or step.name.startswith(f"{second}."):
                inputs: Sequence[str] = [before if name == first else name for name in step.inputs]
            elif step.name == first or step.name.startswith(f"{first}."):
                inputs = [second if name == before else name for name in step.inputs]
            else:
                inputs = [moved.get(name, name) if name == second else name for name in step.inputs]
            port.steps[step.name] = replace(step, inputs=tuple(inputs))
        port.stands_for[second] = first

    return edit
