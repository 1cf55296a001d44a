"""A plan walked backwards: the gradients of its arrays and parameters, a step at a time.

A step made `y` of its inputs and parameters. When the gradient of `y` is known, the step's backward function gives that
of each of these. An array that several steps took gets the sum of what they give. So one walk from the last step to the
first has all gradients, and what was kept of the forward pass can go as soon as the steps that need it are passed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from npconv.backend import Array
from npconv.gradients.gradient_of import SHAPE
from npconv.plan.operations_backward import Rule, rule_of
from npconv.plan.operations_forward import FORWARD
from npconv.plan.run import run_plan
from npconv.plan.step import Plan, Step

#: Operations that draw random numbers, by the argument `rng`.
RANDOM = ("drop_path_mask", "dropout_mask")


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
        self._plan, self._params, self._of, self._rng = plan, params, of, rng
        self._steps, self._wanted = on_the_way(plan, outputs, of)
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
        yield from ((name, gradient) for name, gradient in waiting.items() if name in self._of or name in self._wanted)

    def _keep(self, name: str, array: Array) -> None:
        if name in self._uses:
            self._arrays[name] = array if name in self._whole else array.shape

    def _let_go(self, step: Step, rule: Rule) -> None:
        for name in rule.kept(step).values():
            self._uses[name] -= 1
            if not self._uses[name]:
                del self._arrays[name]

    def _function_of(self, step: Step) -> Callable[..., Any]:
        function = FORWARD[step.operation]
        return partial(function, rng=self._rng) if step.operation in RANDOM else function


def on_the_way(
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
