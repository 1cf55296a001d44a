"""Gradients in the memory of a block: the way back computes what it needs of the forward pass anew, bit for bit.

A plan is cut into stretches where gradients pass through a single array, as between two blocks. The forward pass keeps
what goes over the cuts. The way back takes stretch by stretch from the last: it runs it again, and walks it back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from npconv.backend import Array
from npconv.plan.backward import Walk, on_the_way
from npconv.plan.operations_backward import rule_of
from npconv.plan.run import run_plan
from npconv.plan.step import Plan, Step


@dataclass(frozen=True)
class Stretch:
    """Steps of a plan in a row, and the arrays from before that these or later steps take."""

    steps: tuple[Step, ...]
    takes: frozenset[str]


class Replay:
    """A forward pass of which little is kept, and any number of ways back.

    Parameters
    ----------
    plan : Plan
    params : mapping of str to array
        The model's parameters by their names in a checkpoint.
    inputs : mapping of str to array
        The pixel values by their name.
    names : collection of str
        The arrays whose gradients are wanted.
    """

    def __init__(
        self, plan: Plan, params: Mapping[str, Any], inputs: Mapping[str, Array], names: Collection[str]
    ) -> None:
        self._params, self._names = params, names
        self._stretches = stretches(plan, inputs)
        self._with_gradient = on_the_way(plan, plan.outputs, names)[1]
        kept = {*names, *plan.outputs}.union(*(stretch.takes for stretch in self._stretches))
        #: What is kept of the forward pass: inputs, outputs, what goes over the cuts, and the arrays of the names.
        self.arrays: dict[str, Array] = dict(inputs)
        self.arrays.update((step.name, array) for step, array in run_plan(plan, inputs, params) if step.name in kept)

    def backward(self, upstream: Mapping[str, Array]) -> dict[str, Array]:
        """Return the gradients of the arrays of the names, of the outputs' gradients."""
        waiting, found = dict(upstream), {}
        for stretch in reversed(self._stretches):
            made = {step.name for step in stretch.steps}
            passed = {name: waiting.pop(name) for name in made & waiting.keys()}
            of = {name for name in (*stretch.takes, *self._names) if name in self._with_gradient or name in self._names}
            walk = Walk(Plan(stretch.steps), self._params, passed, of)
            for _ in walk.forward({name: self.arrays[name] for name in stretch.takes}):
                pass
            for name, gradient in walk.backward(passed):
                if name in stretch.takes:
                    waiting[name] = waiting[name] + gradient if name in waiting else gradient
                elif name in self._names:
                    found[name] = gradient
        return found | {name: waiting[name] for name in self._names if name in waiting}


def stretches(plan: Plan, inputs: Collection[str]) -> list[Stretch]:
    """Cut a plan where gradients pass through one array."""
    last_use = {name: place for place, step in enumerate(plan) for name in step.inputs}
    last_passed = {name: place for place, step in enumerate(plan) for name in _passed(step)}
    found: list[Stretch] = []
    made, takes, steps = set(inputs), frozenset(inputs), list[Step]()
    for place, step in enumerate(plan):
        made.add(step.name)
        steps.append(step)
        if sum(last_passed.get(name, -1) > place for name in made) == 1:
            found.append(Stretch(tuple(steps), takes))
            takes, steps = frozenset(name for name in made if last_use.get(name, -1) > place), []
    return [*found, Stretch(tuple(steps), takes)]


def _passed(step: Step) -> Collection[str]:
    """Return the arrays that a step passes gradients to."""
    rule = rule_of(step.operation)
    return rule.sources(step).values() if rule else step.inputs
