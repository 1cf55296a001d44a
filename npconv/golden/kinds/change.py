"""One way in which a step may have been computed otherwise, and the place where that is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from npconv.golden.segment import Segment, cast, given, working_dtype
from npconv.golden.trace_file import Tensors
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Plan, Step


@dataclass(frozen=True)
class Change:
    """A step as a port may have it.

    Parameters
    ----------
    kind : str
        ``"parameters"``, ``"continuous"`` and so on: the module that it comes of.
    says : str
        What it is, in the words of a report, without the name of the step.
    step : Step
        With the inputs, parameters and attributes that the port takes.
    function : callable
        Takes what the step takes.
    values : mapping
        What it is, as JSON values: ``{"attribute": "eps", "value": 2e-5}``.
    of_result : bool
        The step is right, and something is made of its result.
    """

    kind: str
    says: str
    step: Step
    function: Callable[..., Any]
    values: Mapping[str, Any] = field(default_factory=dict)
    of_result: bool = False


@dataclass(frozen=True)
class Place:
    """A step in a part of a model that is run again, and what is known there.

    Parameters
    ----------
    step : Step
    segment : Segment
    reference : mapping of str to ndarray
        The golden trace, with all its arrays and weights.
    goal : ndarray, optional
        What the port has at the end of the part, in the shape of the reference. None where the shapes do not fit.
    try_ : callable
        Gives what the part makes with some steps changed; ArithmeticError if it cannot, or there is no time for it.
    done : callable, optional
        What the step does, where a first change is made already.
    """

    step: Step
    segment: Segment
    reference: Mapping[str, np.ndarray]
    goal: np.ndarray | None
    try_: Callable[[Sequence[Change]], np.ndarray]
    done: Callable[..., Any] | None = None

    @property
    def mine(self) -> np.ndarray | None:
        """What the port has as the result of this very step; None where it is not known."""
        return self.goal if self.step.name == self.segment.target.name else None

    @property
    def plan(self) -> Plan:
        """What the step is a part of."""
        return self.segment.plan

    @property
    def is_handed_on(self) -> bool:
        """Whether all that is made of its result is made by one step of the part, which takes nothing else."""
        takers = [step for step in self.plan if self.step.name in step.inputs]
        return len(takers) == 1 and takers[0] in self.segment.steps and len(takers[0].inputs) == 1

    @property
    def inputs(self) -> list[np.ndarray]:
        """What the step takes."""
        known, dtype = self.segment.results, working_dtype(self.segment.made)
        return [known[name] if name in known else cast(given(self.reference, name), dtype) for name in self.step.inputs]

    @property
    def right(self) -> np.ndarray:
        """What the step makes of it."""
        return self.segment.results[self.step.name] if self.done is None else self.run()

    @property
    def weights(self) -> Tensors:
        """All weights of the reference."""
        weights: Tensors = self.reference.params  # type: ignore[attr-defined]  # a trace
        return weights

    @property
    def arguments(self) -> dict[str, np.ndarray]:
        """Its parameters by the names of its arguments."""
        known = self.segment.params
        return {name: known[full] if full in known else self.weights[full] for name, full in self.step.params.items()}

    @property
    def function(self) -> Callable[..., Any]:
        """What the step does."""
        return OPERATIONS[self.step.operation] if self.done is None else self.done

    def run(self, *inputs: np.ndarray, **other: Any) -> np.ndarray:
        """Do the step, on other inputs if any are given, with some arguments in place of its own."""
        given = inputs or tuple(self.inputs)
        result: np.ndarray = self.function(*given, **{**self.arguments, **self.step.attributes, **other})
        return result

    def with_argument(self, kind: str, says: str, name: str, make: Callable[[Any], Any], **values: Any) -> Change:
        """Return the step with what `make` makes of one of its parameters."""

        def function(*inputs: Any, **arguments: Any) -> Any:
            return self.function(*inputs, **{**arguments, name: make(arguments[name])})

        return Change(kind, says, self.step, function, {"parameter": self.step.params[name], **values})

    def with_attribute(self, kind: str, says: str, name: str, value: Any) -> Change:
        """Return the step with another value of one attribute."""
        step = replace(self.step, attributes={**self.step.attributes, name: value})
        return Change(kind, says, step, self.function, {"attribute": name, "value": value})

    def with_parameter(self, kind: str, says: str, name: str, full: str) -> Change:
        """Return the step with another parameter of the checkpoint in place of its own."""
        step = replace(self.step, params={**self.step.params, name: full})
        return Change(kind, says, step, self.function, {"parameter": self.step.params[name], "taken": full})

    def of_inputs(self, kind: str, says: str, make: Callable[..., tuple[Any, ...]], **values: Any) -> Change:
        """Return the step on what `make` makes of its inputs."""

        def function(*inputs: Any, **arguments: Any) -> Any:
            return self.function(*make(*inputs), **arguments)

        return Change(kind, says, self.step, function, values)

    def of_input(self, kind: str, says: str, index: int, make: Callable[[Any], Any], **values: Any) -> Change:
        """Return the step on what `make` makes of the input at an index."""

        def one_made(*inputs: Any) -> tuple[Any, ...]:
            return *inputs[:index], make(inputs[index]), *inputs[index + 1 :]

        return self.of_inputs(kind, says, one_made, **values)

    def of_result(self, kind: str, says: str, make: Callable[[Any], Any], **values: Any) -> Change:
        """Return the step with something made of its result."""

        def function(*inputs: Any, **arguments: Any) -> Any:
            return make(self.function(*inputs, **arguments))

        return Change(kind, says, self.step, function, values, of_result=True)
