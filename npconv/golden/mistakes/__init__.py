"""Every known way to port these models wrongly, as small functions that take the place of an operation.

One file a family of mistakes; `catalogue.py` says what a mistake is. The cases of ``npconv.golden`` must tell each of
them apart from the right operation, and a comparison of two traces tries them all to say why they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace
from typing import Any

# The order in which a table shows them.
from npconv.golden.mistakes import convolution, normalization, activations, response, attention  # noqa: F401  # isort: skip
from npconv.golden.mistakes import tokens, assembly, preprocessing, precision  # noqa: F401  # isort: skip
from npconv.golden.mistakes.catalogue import CATALOGUE, Mistake
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Plan, Step

__all__ = ["MISTAKES", "Mistake", "apply"]

#: All mistakes, those that no numbers can show included (`Mistake.invisible`).
MISTAKES: tuple[Mistake, ...] = tuple(CATALOGUE.values())


def apply(
    mistake: Mistake, plan: Plan, only: Container[str] | None = None
) -> tuple[Plan, Callable[[Step], Callable[..., Any]]]:
    """Make a mistake in a plan.

    Parameters
    ----------
    mistake : Mistake
    plan : Plan
    only : container of str, optional
        Names of the steps to make it at; at every step where it can be made when unset.

    Returns
    -------
    plan : Plan
        With the inputs and parameters that the mistake takes.
    function_of : callable
        The function of each step, for ``npconv.plan.run.run_plan``.
    """
    wrong = {}
    for step in plan:
        changed = mistake.at(step, plan) if only is None or step.name in only else None
        if changed is not None:
            wrong[step.name] = changed

    def function_of(step: Step) -> Callable[..., Any]:
        return mistake.function if step.name in wrong else OPERATIONS[step.operation]

    return replace(plan, steps=tuple(wrong.get(step.name, step) for step in plan)), function_of
