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
from npconv.golden.mistakes import tokens, assembly, preprocessing, precision, training  # noqa: F401  # isort: skip
from npconv.golden.mistakes import losses, backward_normalization, backward_activations  # noqa: F401  # isort: skip
from npconv.golden.mistakes import backward_response, backward_convolution, backward_attention  # noqa: F401  # isort: skip
from npconv.golden.mistakes import backward_tokens, backward_assembly, backward_parameters  # noqa: F401  # isort: skip
from npconv.golden.mistakes.catalogue import CATALOGUE, Mistake
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Plan, Step

__all__ = ["MISTAKES", "Mistake", "apply"]

#: All mistakes, those that no numbers can show included (`Mistake.invisible`).
MISTAKES: tuple[Mistake, ...] = tuple(CATALOGUE.values())


def apply(
    mistake: Mistake, plan: Plan, only: Container[str] | None = None
) -> tuple[Plan, Callable[[Step], Callable[..., Any]]]:
    """Make a mistake in a plan, at the steps of some names or wherever it can be made.

    Returns the plan with the inputs and parameters that the mistake takes, and what gives each step's function to
    ``npconv.plan.run.run_plan``.
    """
    places = [step for step in plan if only is None or step.name in only]
    wrong = {step.name: changed for step in places if (changed := mistake.at(step, plan)) is not None}

    def function_of(step: Step) -> Callable[..., Any]:
        return mistake.function if step.name in wrong else OPERATIONS[step.operation]

    return replace(plan, steps=tuple(wrong.get(step.name, step) for step in plan)), function_of
