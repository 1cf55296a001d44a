"""Mistakes in how operations are put together: residuals, layer scale, pooling, the order of the head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import as_it_is, edit, input_of, leave_out, mistake, of_input, replaced, twice
from npconv.layers import layer_norm, pointwise_conv2d
from npconv.plan.step import Plan, Step

scale, residual, pool = (
    partial(mistake, operation) for operation in ("layer_scale", "residual", "global_average_pool")
)

scale("layer-scale-missing", "layer scale forgotten", "a key of the checkpoint that was not loaded")(leave_out())
scale("layer-scale-twice", "layer scale taken twice", "folded into the weights and taken once more")(twice())
scale("layer-scale-initial", "layer scale at its initial value 1e-6", "a parameter that was not loaded")(
    replaced(lambda x: x * 1e-6)
)
scale("layer-scale-one-factor", "one layer scale for all channels", "a parameter read as one number")(
    edit(layer_scale_parameter=lambda parameter: np.full_like(parameter, parameter.reshape(-1)[0]))
)

residual("residual-missing", "residual forgotten", "a sum that was left out")(replaced(lambda x, branch: branch.copy()))
residual("residual-only", "branch forgotten", "drop path at rate 1, a block left out")(leave_out())
residual("residual-twice", "residual added twice", "once in the layer and once in the block")(
    replaced(lambda x, branch: x + x + branch)
)


def after(operation: str) -> Callable[[Step, Plan], Step]:
    """Return what lets a residual begin after the first `operation` of its branch."""

    def rewire(step: Step, plan: Plan) -> Step:
        x, name = step.inputs
        found = None
        while name in plan and plan.resolve(name) != plan.name_of(x):
            if plan[name].operation == operation:
                found = plan[name].name
            name = plan[name].inputs[0]
        return step if found is None else replace(step, inputs=(found, step.inputs[1]))

    return rewire


residual(
    "residual-after-norm",
    "residual taken from after the norm",
    "post-norm blocks; a variable overwritten",
    rewire=after("layer_norm"),
)(as_it_is())
residual(
    "residual-after-convolution",
    "residual taken from after the depthwise convolution",
    "a variable overwritten",
    applies=lambda step: step.layout == "NCHW",
    rewire=after("depthwise_conv2d"),
)(as_it_is())

pool("pool-sum", "sum over positions, not the mean", "a division that was left out")(
    replaced(lambda x: x.sum(axis=(2, 3)))
)
pool("pool-maximum", "maximum over positions, not the mean", "max pooling")(replaced(lambda x: x.max(axis=(2, 3))))
pool("pool-centre", "one position in place of the mean", "a map taken for 1 x 1")(
    replaced(lambda x: x[:, :, 0, 0].copy())
)
mistake("global_max_pool", "max-pool-mean", "mean over positions, not the maximum", "the pooling of most models")(
    replaced(lambda x: x.mean(axis=(2, 3)))
)
mistake("halfway", "pools-summed", "sum of average and maximum, not their mean", "a half left out")(
    replaced(lambda average, maximum: average + maximum)
)
mistake("join_features", "pools-swapped", "maximum before average", "the order of a concatenation")(
    replaced(lambda average, maximum: np.concatenate([maximum, average], axis=1))
)


@mistake(
    "layer_norm",
    "head-norm-before-pooling",
    "LayerNorm before the pooling",
    "timm's models without head_norm_first = False",
    rewire=input_of("global_average_pool"),
)
def norm_before_pooling(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Average the normalized map."""
    y = layer_norm(x, weight, bias, eps=eps, axis=1 if x.ndim == 4 else axis)
    return y.mean(axis=(2, 3)) if x.ndim == 4 else y


mistake(
    "linear",
    "classifier-before-norm",
    "classifier takes features from before the norm",
    "backbones whose norm is part of the head (transformers#30124)",
    applies=lambda step: step.name.rpartition(".")[2] == "classifier",
    rewire=input_of("layer_norm", past="token_mean"),
)(of_input(lambda x: x.mean(axis=1) if x.ndim == 3 else x))


@mistake(
    "layer_scale",
    "layer-scale-folded",
    "layer scale folded into the weights before it",
    "every inference engine",
    rewire=input_of("pointwise_conv2d", params=("weight", "bias")),
    invisible="scale * (weight @ x + bias) is (scale * weight) @ x + scale * bias",
)
def layer_scale_folded(
    x: Any, layer_scale_parameter: Any, pointwise_conv2d_weight: Any, pointwise_conv2d_bias: Any
) -> Any:
    """Compute ``(scale * weight) @ x + scale * bias``."""
    weight = layer_scale_parameter[:, None] * pointwise_conv2d_weight
    return pointwise_conv2d(x, weight, layer_scale_parameter * pointwise_conv2d_bias)


@mistake(
    "pointwise_conv2d",
    "layer-norm-folded",
    "LayerNorm's weight and bias folded into the weights after it",
    "every inference engine",
    rewire=input_of("layer_norm", params=("weight", "bias"), attributes=("eps", "axis")),
    invisible="weight @ (scale * x + shift) + bias is (weight * scale) @ x + (weight @ shift + bias)",
)
def layer_norm_folded(
    x: Any, weight: Any, bias: Any, layer_norm_weight: Any, layer_norm_bias: Any, *, eps: float, axis: int
) -> Any:
    """Compute the product of the normalized input with weights that hold the norm's."""
    normal = layer_norm(x, np.ones_like(layer_norm_weight), np.zeros_like(layer_norm_bias), eps=eps, axis=axis)
    return pointwise_conv2d(normal, weight * layer_norm_weight, weight @ layer_norm_bias + bias)
