"""What a mistake is, and how the functions of this folder come into the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npconv.plan.step import Plan, Step

#: What stands before the name of a mistake that several operations share.
SHORT = {
    "conv2d": "conv",
    "depthwise_conv2d": "depthwise",
    "pointwise_conv2d": "pointwise",
    "linear": "linear",
    "attention_scores": "scores",
    "attention_context": "context",
    "layer_norm": "layer-norm",
    "batch_norm": "batch-norm",
    "grn_strength": "grn-strength",
    "grn_relative": "grn-relative",
    "grn_apply": "grn-apply",
    "tokens": "tokens",
    "map_tokens": "map-tokens",
    "positions_map": "positions-map",
    "layer_scale": "layer-scale",
}


def anywhere(step: Step) -> bool:
    """Tell that a mistake can be made at every step of its operation."""
    return True


def unchanged(step: Step, plan: Plan) -> Step:
    """Return the step as it is: the mistake lies in the operation alone."""
    return step


@dataclass(frozen=True)
class Mistake:
    """A wrong version of an operation, as ports have it.

    Parameters
    ----------
    name : str
        Of the mistake: ``"gelu-tanh"``.
    says : str
        What it is, in the words of a report: ``"tanh GELU"``.
    operation : str
        The key of ``npconv.plan.operations.OPERATIONS`` that it takes the place of.
    function : callable
        Takes what the operation takes (after `rewire`), and computes what the port does.
    origin : str
        Where it was made or asked about, or what makes it easy to make.
    applies : callable
        Tells of a step whether the mistake changes anything there.
    rewire : callable
        Returns the step with the inputs and parameters that the port takes; the name stays.
    invisible : str
        Why no numbers can show it: it is another form of the same function. Empty for a mistake that shows.
    """

    name: str
    says: str
    operation: str
    function: Callable[..., Any]
    origin: str
    applies: Callable[[Step], bool] = anywhere
    rewire: Callable[[Step, Plan], Step] = unchanged
    invisible: str = ""

    def at(self, step: Step, plan: Plan) -> Step | None:
        """Return the step as the mistake has it, None where the mistake cannot be made."""
        if step.operation != self.operation or not self.applies(step):
            return None
        wrong = self.rewire(step, plan)
        return None if wrong == step and self.rewire is not unchanged else wrong


#: Every mistake by its name, in the order of the files and of the functions in them.
CATALOGUE: dict[str, Mistake] = {}


def mistake(
    name: str,
    says: str,
    operation: str | Sequence[str],
    origin: str,
    *,
    applies: Callable[[Step], bool] = anywhere,
    rewire: Callable[[Step, Plan], Step] = unchanged,
    invisible: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function into the catalogue, once for each operation that it can stand for.

    With several operations, the names begin with what `SHORT` has for them. A mistake may divide by zero or overflow:
    that is told by its numbers, not by warnings.
    """
    several = () if isinstance(operation, str) else tuple(operation)

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        quiet = np.errstate(all="ignore")(function)
        for key in several or (str(operation),):
            full = f"{SHORT[key]}-{name}" if several else name
            if full in CATALOGUE:
                raise ValueError(f"two mistakes are called {full}")
            CATALOGUE[full] = Mistake(full, says, key, quiet, origin, applies, rewire, invisible)
        return function

    return add
