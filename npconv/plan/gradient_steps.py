"""The way back through a plan as steps of their own, each with a name, so that a trace can hold them.

- ``loss``, or ``loss.0`` and so on where a model gives out several arrays: what is differentiated;
- ``NAME.grad``: the gradient of an array or parameter NAME;
- ``NAME.grad.0`` and so on: what each step that took NAME gives, where there are several; ``NAME.grad`` is their sum.

What the steps start from beside the model's own: ``labels``, and for each loss its gradient, 1, as ``loss.grad``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from npconv.gradients.gradient_of import SHAPE
from npconv.plan.backward import on_the_way
from npconv.plan.operations_backward import Rule
from npconv.plan.step import Plan, Step

GRAD, LOSS, LABELS = ".grad", "loss", "labels"


def with_gradients(plan: Plan, of: Collection[str], loss: str | None = None, **options: Any) -> Plan:
    """Return a plan that goes on with the loss and the gradients of all arrays, in the order of the walk back.

    Parameters
    ----------
    plan : Plan
    of : collection of str
        The parameters, and ``"pixel_values"``, whose gradients are wanted.
    loss : str, optional
        The operation that makes the loss of the only output and ``labels``; half the sum of squares of each output
        when unset.
    **options
        The attributes of that.
    """
    whole = replace(plan, steps=(*plan.steps, *_losses(plan, loss, options)))
    ends = [step.name for step in whole.steps[len(plan.steps) :]]
    passed, _ = on_the_way(whole, ends, of)
    layouts = {"pixel_values": "NCHW", **{step.name: step.layout for step in whole}}
    number = Counter(name for step, rule in passed for name in rule.sources(step).values())
    parts: dict[str, list[str]] = defaultdict(list)
    steps: list[Step] = []

    def add(name: str, array: str, step: Step) -> None:
        aliases = whole[array].aliases if array in whole and name == f"{array}{GRAD}" else ()
        others = tuple(f"{alias}{GRAD}" for alias in aliases)
        steps.append(replace(step, name=name, layout=layouts.get(array, ""), aliases=others))

    for step, rule in reversed(passed):
        for argument, array in rule.sources(step).items():
            one = number[array] == 1
            name = f"{array}{GRAD}" if one else f"{array}{GRAD}.{len(parts[array])}"
            add(name, array, _gradient(step, rule, argument))
            parts[array].append(name)
            if not one and len(parts[array]) == number[array]:
                add(f"{array}{GRAD}", array, Step("", "sum_gradients", tuple(parts[array])))
    return replace(whole, steps=(*whole.steps, *steps))


def _losses(plan: Plan, loss: str | None, options: Mapping[str, Any]) -> list[Step]:
    """Return the steps that are differentiated."""
    if loss is not None:
        return [Step(LOSS, loss, (plan.outputs[0], LABELS), attributes=options)]
    if len(plan.outputs) == 1:
        return [Step(LOSS, "half_square", plan.outputs)]
    return [Step(f"{LOSS}.{number}", "half_square", (name,)) for number, name in enumerate(plan.outputs)]


def _gradient(step: Step, rule: Rule, argument: str) -> Step:
    """Return the step, without a name, that makes the gradient which a step gives one of its arguments."""
    return Step(
        "",
        f"{step.operation}_backward",
        (f"{step.name}{GRAD}", *rule.kept(step).values()),
        {name: full for name, full in step.params.items() if {name, f"{name}{SHAPE}"} & set(rule.takes)},
        {**step.attributes, "wrt": argument},
    )
