"""Mistakes in how gradients are put together: sums of branches, residuals, layer scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from npconv.golden.mistakes.catalogue import as_it_is, edit, mistake, of_gradient, of_output, replaced
from npconv.plan.step import Plan, Step

summed, residual, scale = (
    partial(mistake, operation) for operation in ("sum_gradients", "residual_backward", "layer_scale_backward")
)

summed("gradients-overwritten", "gradient of the branch alone (overwritten, not added)", "= in place of +=")(
    replaced(lambda x, *others: others[-1].copy())
)
summed("gradients-averaged", "gradients of branches averaged, not added", "a mean in place of a sum")(
    replaced(lambda x, *others: sum(others, x) / (1 + len(others)))
)


def of_residual(change: Callable[[str, Sequence[str]], Sequence[str]]) -> Callable[[Step, Plan], Step]:
    """Return what lets a sum of a residual's gradient and a branch's take others, which `change` makes of these."""

    def rewire(step: Step, plan: Plan) -> Step:
        first, *others = step.inputs
        is_residual = first in plan and plan[first].operation == "residual_backward"
        return replace(step, inputs=tuple(change(first, others))) if is_residual else step

    return rewire


summed(
    "gradients-branch-cut",
    "gradient of the residual alone (the branch cut off)",
    "a branch that was detached",
    rewire=of_residual(lambda residual, branches: [residual]),
)(as_it_is())
summed(
    "gradients-residual-twice",
    "residual's gradient counted twice",
    "added in the block and in its sum",
    rewire=of_residual(lambda residual, branches: [residual, residual, *branches]),
)(as_it_is())
summed(
    "gradients-branch-twice",
    "branch's gradient counted twice",
    "added in the block and in its sum",
    rewire=of_residual(lambda residual, branches: [residual, *branches, *branches]),
)(as_it_is())
residual("residual-backward-halved", "gradient shared between residual and branch", "half for each of two terms")(
    replaced(lambda grad_y: 0.5 * grad_y)
)
residual(
    "residual-backward-cut",
    "branch's gradient 0 (the branch cut off)",
    "a branch under no_grad",
    applies=of_gradient("branch"),
)(replaced(lambda grad_y: 0 * grad_y))

scale(
    "layer-scale-backward-missing",
    "gradient without the layer scale",
    "a factor that was left out",
    applies=of_gradient("x"),
)(edit(layer_scale_parameter=np.ones_like))
of_scale = partial(scale, applies=of_gradient("layer_scale_parameter"))
of_scale("layer-scale-backward-frozen", "layer scale's own gradient 0", "a constant, not a parameter")(
    of_output(lambda gradient: 0 * gradient)
)
of_scale("layer-scale-backward-averaged", "layer scale's own gradient averaged", "a mean in place of a sum")(
    replaced(lambda grad_y, x: (grad_y * x).mean(axis=(0, 2, 3)))
)
of_scale(
    "layer-scale-backward-of-result",
    "layer scale's own gradient of the scaled branch",
    "the result kept, not the input",
)(lambda grad_y, x, layer_scale_parameter, wrt: (grad_y * x).sum(axis=(0, 2, 3)) * layer_scale_parameter)
of_scale(
    "layer-scale-backward-one-factor", "one gradient for all factors of the layer scale", "a sum over channels as well"
)(lambda grad_y, x, layer_scale_parameter, wrt: np.full_like(layer_scale_parameter, (grad_y * x).sum()))
