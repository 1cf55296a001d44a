"""Mistakes in how operations are put together: residuals, layer scale, pooling, the order of the head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import mistake
from npconv.layers import layer_norm, pointwise_conv2d
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Plan, Step


@mistake("layer-scale-missing", "layer scale forgotten", "layer_scale", "a key of the checkpoint that was not loaded")
def no_layer_scale(x: Any, layer_scale_parameter: Any) -> Any:
    """Return the branch as it is."""
    return x.copy()


@mistake("layer-scale-twice", "layer scale taken twice", "layer_scale", "folded into the weights and taken once more")
def layer_scale_twice(x: Any, layer_scale_parameter: Any) -> Any:
    """Squared."""
    scaled = OPERATIONS["layer_scale"](x, layer_scale_parameter)
    return OPERATIONS["layer_scale"](scaled, layer_scale_parameter)


@mistake(
    "layer-scale-initial", "layer scale at its initial value 1e-6", "layer_scale", "a parameter that was not loaded"
)
def initial_layer_scale(x: Any, layer_scale_parameter: Any) -> Any:
    """As a new model has it."""
    return x * 1e-6


@mistake("layer-scale-one-factor", "one layer scale for all channels", "layer_scale", "a parameter read as one number")
def one_factor(x: Any, layer_scale_parameter: Any) -> Any:
    """Return the first channel's."""
    return x * layer_scale_parameter.reshape(-1)[0]


@mistake("residual-missing", "residual forgotten", "residual", "a sum that was left out")
def no_residual(x: Any, branch: Any) -> Any:
    """Return the branch alone."""
    return branch.copy()


@mistake("residual-only", "branch forgotten", "residual", "drop path at rate 1, a block left out")
def no_branch(x: Any, branch: Any) -> Any:
    """Return the input alone."""
    return x.copy()


@mistake("residual-twice", "residual added twice", "residual", "once in the layer and once in the block")
def residual_twice(x: Any, branch: Any) -> Any:
    """``2 * x + branch``."""
    return x + x + branch


def after(operation: str) -> Any:
    """Return what lets a residual begin after the first `operation` of its branch."""

    def rewire(step: Step, plan: Plan) -> Step:
        x, name = step.inputs
        found = None
        while name in plan and plan.resolve(name) != (plan.resolve(x) if x in plan else x):
            if plan[name].operation == operation:
                found = plan[name].name
            name = plan[name].inputs[0]
        return step if found is None else replace(step, inputs=(found, step.inputs[1]))

    return rewire


@mistake(
    "residual-after-norm",
    "residual taken from after the norm",
    "residual",
    "post-norm blocks; a variable overwritten",
    rewire=after("layer_norm"),
)
def residual_after_norm(x: Any, branch: Any) -> Any:
    """Return the normalized input in place of the input."""
    return OPERATIONS["residual"](x, branch)


@mistake(
    "residual-after-convolution",
    "residual taken from after the depthwise convolution",
    "residual",
    "a variable overwritten",
    applies=lambda step: step.layout == "NCHW",
    rewire=after("depthwise_conv2d"),
)
def residual_after_convolution(x: Any, branch: Any) -> Any:
    """Return the convolved input in place of the input."""
    return OPERATIONS["residual"](x, branch)


@mistake("pool-sum", "sum over positions, not the mean", "global_average_pool", "a division that was left out")
def pooled_sum(x: Any) -> Any:
    """H * W times too large."""
    return x.sum(axis=(2, 3))


@mistake("pool-maximum", "maximum over positions, not the mean", "global_average_pool", "max pooling")
def pooled_maximum(x: Any) -> Any:
    """Return the largest of each channel."""
    return x.max(axis=(2, 3))


@mistake("pool-centre", "one position in place of the mean", "global_average_pool", "a map taken for 1 x 1")
def one_position(x: Any) -> Any:
    """Return the first position."""
    return x[:, :, 0, 0].copy()


def before_pooling(step: Step, plan: Plan) -> Step:
    """Let a norm of pooled features take the map."""
    source = step.inputs[0]
    if source not in plan or plan[source].operation != "global_average_pool":
        return step
    return replace(step, inputs=plan[source].inputs)


@mistake(
    "head-norm-before-pooling",
    "LayerNorm before the pooling",
    "layer_norm",
    "timm's models without head_norm_first = False",
    rewire=before_pooling,
)
def norm_before_pooling(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Return the mean of the normalized map."""
    y = layer_norm(x, weight, bias, eps=eps, axis=1 if x.ndim == 4 else axis)
    return y.mean(axis=(2, 3)) if x.ndim == 4 else y


def before_norm(step: Step, plan: Plan) -> Step:
    """Let a classifier take what its norm takes."""
    source = step.inputs[0]
    while source in plan and plan[source].operation == "token_mean":
        source = plan[source].inputs[0]
    if source not in plan or plan[source].operation != "layer_norm":
        return step
    return replace(step, inputs=(plan[source].inputs[0],))


@mistake(
    "classifier-before-norm",
    "classifier takes features from before the norm",
    "linear",
    "backbones whose norm is part of the head (transformers#30124)",
    applies=lambda step: step.name.rpartition(".")[2] == "classifier",
    rewire=before_norm,
)
def classifier_before_norm(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return the logits of features that were not normalized."""
    return OPERATIONS["linear"](x.mean(axis=1) if x.ndim == 3 else x, weight, bias)


def folded_from(operation: str, *params: str) -> Any:
    """Return what lets a step take the input of the step before it, of an operation, and that step's arguments too."""

    def rewire(step: Step, plan: Plan) -> Step:
        source = step.inputs[0]
        if source not in plan or plan[source].operation != operation:
            return step
        before = plan[source]
        taken = {f"{operation}_{name}": before.params[name] for name in params}
        return replace(
            step,
            inputs=before.inputs,
            params={**step.params, **taken},
            attributes={**step.attributes, **before.attributes},
        )

    return rewire


@mistake(
    "layer-scale-folded",
    "layer scale folded into the weights before it",
    "layer_scale",
    "every inference engine",
    rewire=folded_from("pointwise_conv2d", "weight", "bias"),
    invisible="scale * (weight @ x + bias) is (scale * weight) @ x + scale * bias",
)
def layer_scale_folded(
    x: Any, layer_scale_parameter: Any, pointwise_conv2d_weight: Any, pointwise_conv2d_bias: Any
) -> Any:
    """Compute ``(scale * weight) @ x + scale * bias``."""
    weight = layer_scale_parameter[:, None] * pointwise_conv2d_weight
    return pointwise_conv2d(x, weight, layer_scale_parameter * pointwise_conv2d_bias)


@mistake(
    "layer-norm-folded",
    "LayerNorm's weight and bias folded into the weights after it",
    "pointwise_conv2d",
    "every inference engine",
    rewire=folded_from("layer_norm", "weight", "bias"),
    invisible="weight @ (scale * x + shift) + bias is (weight * scale) @ x + (weight @ shift + bias)",
)
def layer_norm_folded(
    x: Any, weight: Any, bias: Any, layer_norm_weight: Any, layer_norm_bias: Any, *, eps: float, axis: int
) -> Any:
    """Compute the product of the normalized input with weights that hold the norm's."""
    normal = layer_norm(x, np.ones_like(layer_norm_weight), np.zeros_like(layer_norm_bias), eps=eps, axis=axis)
    return pointwise_conv2d(normal, weight * layer_norm_weight, weight @ layer_norm_bias + bias)
