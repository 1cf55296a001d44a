"""The weights that a port itself says it has, where nothing else is known of what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from npconv.golden.compare import Comparison
from npconv.golden.kinds.change import Change
from npconv.golden.kinds.parameters import KIND
from npconv.golden.trace_file import PARAMETERS, weights_of
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Step


def held(comparison: Comparison, steps: Sequence[Step]) -> list[Change]:
    """Return the steps with the wrong weights of mine, of those of which nothing more is known than that."""
    weights = weights_of(comparison.mine)
    own = {
        weight.difference.name.removeprefix(PARAMETERS): weight.difference.read(weights)
        for weight in comparison.wrong_weights
        if not weight.kind and weight.difference.reading is not None
    }
    found = []
    for step in steps:
        taken = {name: own[full] for name, full in step.params.items() if full in own}
        if taken:
            values = {"held": [step.params[name] for name in taken]}
            found.append(Change(KIND, "the weights that MINE holds", step, _with(step, taken), values))
    return found


def _with(step: Step, taken: Mapping[str, np.ndarray]) -> Callable[..., Any]:
    """Return the operation of a step with some of its parameters replaced, by the names of its arguments."""

    def function(*inputs: np.ndarray, **settings: Any) -> np.ndarray:
        own = {name: array.astype(settings[name].dtype) for name, array in taken.items()}
        result: np.ndarray = OPERATIONS[step.operation](*inputs, **{**settings, **own})
        return result

    return function
