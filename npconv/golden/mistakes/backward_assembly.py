"""Mistakes in how gradients are put together: sums of branches, residuals, parameters, and what was dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.backward_convolution import MAPPED
from npconv.golden.mistakes.catalogue import Edit, as_it_is, edit, leave_out, mistake, of_gradient, of_output, replaced
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


for name, says, origin, change in (
    (
        "branch-cut",
        "gradient of the residual alone (the branch cut off)",
        "a branch that was detached",
        lambda x, f: [x],
    ),
    (
        "residual-twice",
        "residual's gradient counted twice",
        "added in the block and in its sum",
        lambda x, f: [x, x, *f],
    ),
    ("branch-twice", "branch's gradient counted twice", "added in the block and in its sum", lambda x, f: [x, *f, *f]),
):
    summed(f"gradients-{name}", says, origin, rewire=of_residual(change))(as_it_is())
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

#: Every layer with parameters that models are trained by, and those of them with weight and bias of one shape.
TRAINED = (
    *MAPPED,
    *("linear_backward", "layer_norm_backward", "rms_norm_backward", "simple_norm_backward", "layer_scale_backward"),
    "tokens_backward",
)
PAIRED = ("layer_norm_backward", "batch_norm_backward", "batch_norm_training_backward", "grn_apply_backward")

of_parameter = partial(mistake, TRAINED, applies=of_gradient("weight", "layer_scale_parameter", "cls_token"))
of_parameter("averaged-over-batch", "parameter's gradient averaged over the batch", "a mean over samples in the layer")(
    Edit(lambda right, grad_y, *inputs, **others: right(grad_y, *inputs, **others) / len(grad_y))
)
of_parameter("accumulated", "parameter's gradient counted twice", "gradients of the step before not set to 0")(
    of_output(lambda gradient: 2 * gradient)
)


def of_first_sample(right: Any, grad_y: Any, *inputs: Any, **others: Any) -> Any:
    """Leave out the upstream gradient of all samples but the first."""
    first = np.zeros_like(grad_y)
    first[0] = grad_y[0]
    return right(first, *inputs, **others)


of_parameter("first-sample", "parameter's gradient of the first sample alone", "a batch of 1 taken for granted")(
    Edit(of_first_sample)
)
mistake(
    (*MAPPED, "linear_backward", "layer_norm_backward"),
    "bias-averaged",
    "bias gradient averaged over samples and positions",
    "a mean in place of a sum",
    applies=of_gradient("bias"),
)(Edit(lambda right, grad_y, *inputs, **others: averaged(grad_y, right(grad_y, *inputs, **others))))


def averaged(grad_y: Any, gradient: Any) -> Any:
    """Divide what was summed up by the number of terms."""
    return gradient * (gradient.size / grad_y.size)


mistake(
    PAIRED,
    "exchanged",
    "gradients of weight and bias exchanged",
    "gamma and beta by position",
    applies=of_gradient("weight", "bias"),
)(edit(wrt={"weight": "bias", "bias": "weight"}.get))

DROPPING = ("drop_path", "dropout")

mistake(DROPPING, "not-scaled", "dropped, and what is kept not scaled", "a mask of 0 and 1")(
    Edit(lambda right, x, mask: right(x, (mask > 0).astype(mask.dtype)))
)
mistake(DROPPING, "missing", "nothing dropped", "inference mode in training")(replaced(lambda x, mask: x.copy()))

dropped = partial(mistake, tuple(f"{operation}_backward" for operation in DROPPING))


def by_mask(change: Any) -> Edit:
    """Drop by a mask that is made of the right one."""
    return Edit(lambda right, grad_y, mask, *, wrt: right(grad_y, change(mask), wrt=wrt))


dropped("not-scaled", "gradient of what is kept not scaled", "a mask of 0 and 1")(
    by_mask(lambda mask: (mask > 0).astype(mask.dtype))
)
dropped("not-masked", "gradient passed by what was dropped", "the mask left out backwards")(leave_out())
dropped("other-draw", "gradient dropped by another draw", "the mask drawn again, not kept")(
    by_mask(lambda mask: np.roll(mask, 1, axis=0))
)
dropped("scaled-twice", "gradient scaled twice", "scaled by the mask and by the rate")(
    by_mask(lambda mask: mask * mask)
)
