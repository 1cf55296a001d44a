"""A plan walked backwards: the gradients of its arrays and parameters, a step at a time.

A step made `y` of its inputs and parameters. When the gradient of `y` is known, the step's backward function gives that
of each of these. An array that several steps took gets the sum of what they give. So one walk from the last step to the
first has all gradients, and what was kept of the forward pass can go as soon as the steps that need it are passed.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from npconv.backend import Array
from npconv.plan.operations import OPERATIONS
from npconv.plan.operations_backward import BACKWARD
from npconv.plan.run import run_plan
from npconv.plan.step import Plan, Step

#: Operations that draw random numbers, by the argument `rng`.
RANDOM = ("drop_path_mask", "dropout_mask")

#: How an argument is called that is the shape of another.
SHAPE = "_shape"


class Rule(NamedTuple):
    """How gradients pass a kind of step: the backward function, what it takes and what it gives, by argument."""

    function: Callable[..., Any]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    #: The arguments of the operation that are inputs of a step, in order.
    inputs: tuple[str, ...]

    def sources(self, step: Step) -> dict[str, str]:
        """Return the names of the arrays and parameters that a step gives gradients to, by argument."""
        named = {**dict(zip(self.inputs, step.inputs, strict=False)), **step.params}
        return {argument: named[argument] for argument in self.gives if argument in named}

    def kept(self, step: Step) -> dict[str, str]:
        """Return the names of the arrays of the forward pass that are needed, by the argument each is given as."""
        named = {"y": step.name, **dict(zip(self.inputs, step.inputs, strict=False))}
        return {argument: named[name] for argument in self.takes if (name := argument.removesuffix(SHAPE)) in named}

    def run(self, step: Step, grad_y: Array, arrays: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Array]:
        """Return the gradients that a step gives, by the argument; of `arrays` some may be shapes only."""
        given = {argument: arrays[name] for argument, name in self.kept(step).items()}
        for name, full in step.params.items():
            given |= {argument: params[full] for argument in (name, f"{name}{SHAPE}") if argument in self.takes}
        for argument, value in given.items():
            if argument.endswith(SHAPE):
                given[argument] = getattr(value, "shape", value)
        found = self.function(grad_y, **given, **step.attributes)
        return dict(zip(self.gives, found if len(self.gives) > 1 else (found,), strict=True))


@cache
def rule_of(operation: str) -> Rule | None:
    """Return how gradients pass an operation; None if they do not, as of a random mask."""
    function: Any = BACKWARD.get(operation)
    if function is None:
        return None
    takes = tuple(inspect.signature(function).parameters)[1:]
    arguments = inspect.signature(OPERATIONS[operation]).parameters.values()
    return Rule(function, takes, function.gives, tuple(p.name for p in arguments if p.kind is not p.KEYWORD_ONLY))


class Walk:
    """A walk through a plan and back: :meth:`forward` once, then :meth:`backward` once.

    Parameters
    ----------
    plan : Plan
    params : mapping of str to array
        The model's parameters by their names in a checkpoint.
    outputs : container of str
        The steps where the way back begins.
    of : container of str
        The parameters, and inputs such as ``"pixel_values"``, whose gradients are wanted.
    rng : numpy.random.Generator, optional
        What the masks of a plan for training are drawn from.
    """

    def __init__(
        self,
        plan: Plan,
        params: Mapping[str, Any],
        outputs: Container[str],
        of: Container[str],
        rng: np.random.Generator | None = None,
    ) -> None:
        self._plan, self._params, self._rng = plan, params, rng
        self._steps, self._wanted = _on_the_way(plan, outputs, of)
        needed = [pair for step, rule in self._steps for pair in rule.kept(step).items()]
        self._whole = {name for argument, name in needed if not argument.endswith(SHAPE)}
        self._uses = Counter(name for _, name in needed)
        self._arrays: dict[str, Any] = {}

    def forward(self, inputs: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        """Run the plan on ``"pixel_values"`` and yield each result by its name.

        Only those are kept that backward functions take, and where the shape is enough, the shape.
        """
        for name, array in inputs.items():
            self._keep(name, array)
        for step, result in run_plan(self._plan, inputs, self._params, self._function_of):
            self._keep(step.name, result)
            yield step.name, result

    def backward(self, upstream: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        """Yield the gradient of each array and each wanted parameter by its name, from the last step to the first.

        `upstream` has the gradients of the outputs. What was kept is let go on the way.
        """
        waiting = dict(upstream)
        for step, rule in reversed(self._steps):
            if step.name not in waiting:
                continue
            grad_y = waiting.pop(step.name)
            yield step.name, grad_y
            found = rule.run(step, grad_y, self._arrays, self._params)
            del grad_y
            self._let_go(step, rule)
            for argument, name in rule.sources(step).items():
                gradient = found.pop(argument)
                if name not in self._wanted:
                    continue
                if argument in step.params:
                    yield name, gradient
                else:
                    waiting[name] = waiting[name] + gradient if name in waiting else gradient
                del gradient
        yield from waiting.items()

    def _keep(self, name: str, array: Array) -> None:
        if name in self._uses:
            self._arrays[name] = array if name in self._whole else array.shape

    def _let_go(self, step: Step, rule: Rule) -> None:
        for name in rule.kept(step).values():
            self._uses[name] -= 1
            if not self._uses[name]:
                del self._arrays[name]

    def _function_of(self, step: Step) -> Callable[..., Any]:
        function = OPERATIONS[step.operation]
        return partial(function, rng=self._rng) if step.operation in RANDOM else function


def _on_the_way(
    plan: Plan, outputs: Container[str], of: Container[str]
) -> tuple[list[tuple[Step, Rule]], Container[str]]:
    """Return the steps that gradients pass from the outputs to what is wanted, and all names that have a gradient."""
    wanted: set[str] = set()
    steps: list[tuple[Step, Rule]] = []
    for step in plan:
        rule = rule_of(step.operation)
        sources = rule.sources(step).values() if rule else ()
        below = {name for name in sources if name in of or name in wanted}
        if rule and below:
            wanted |= below | {step.name}
            steps.append((step, rule))
    reached: set[str] = set()
    for step, rule in reversed(steps):
        if step.name in outputs or step.name in reached:
            reached.update(rule.sources(step).values())
    return [(step, rule) for step, rule in steps if step.name in outputs or step.name in reached], wanted
