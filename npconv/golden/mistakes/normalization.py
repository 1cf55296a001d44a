"""Mistakes in LayerNorm and batch norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import mistake
from npconv.layers import batch_norm, layer_norm
from npconv.plan.step import Step


def has_other_eps(eps: float) -> Callable[[Step], bool]:
    """Return what tells of a step whether its epsilon is another."""
    return lambda step: bool(step.attributes["eps"] != eps)


def has_map(step: Step) -> bool:
    """Tell whether a map is normalized."""
    return step.layout == "NCHW"


def has_tokens(step: Step) -> bool:
    """Tell whether tokens are normalized."""
    return step.layout == "NTD"


def has_positions(step: Step) -> bool:
    """Tell whether there are axes beside batch and channels."""
    return has_map(step) or has_tokens(step)


def affine(normal: Any, weight: Any, bias: Any, axis: int) -> Any:
    """Scale and shift each channel."""
    shape = [1] * normal.ndim
    shape[axis] = weight.size
    return normal * weight.reshape(shape) + bias.reshape(shape)


def normalized_over(x: Any, axes: Any, eps: float) -> Any:
    """Subtract the mean over some axes and divide by the standard deviation."""
    deviation = x - x.mean(axis=axes, keepdims=True)
    return deviation / np.sqrt((deviation * deviation).mean(axis=axes, keepdims=True) + eps)


@mistake(
    "layer-norm-eps-1e-5",
    "LayerNorm eps 1e-5",
    "layer_norm",
    "PyTorch's default; timm#1696, transformers#18597",
    applies=has_other_eps(1e-5),
)
def eps_1e_5(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Return the default of most libraries."""
    return layer_norm(x, weight, bias, eps=1e-5, axis=axis)


@mistake(
    "layer-norm-eps-1e-6",
    "LayerNorm eps 1e-6",
    "layer_norm",
    "ConvNeXt's blocks; the last LayerNorm has the configuration's 1e-12 (transformers#18597)",
    applies=has_other_eps(1e-6),
)
def eps_1e_6(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Return the eps of ConvNeXt's blocks."""
    return layer_norm(x, weight, bias, eps=1e-6, axis=axis)


@mistake(
    "layer-norm-eps-1e-12",
    "LayerNorm eps 1e-12",
    "layer_norm",
    "layer_norm_eps of the configuration, which only ConvNeXt's last LayerNorm takes",
    applies=has_other_eps(1e-12),
)
def eps_1e_12(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Return the eps of transformers' configurations."""
    return layer_norm(x, weight, bias, eps=1e-12, axis=axis)


@mistake(
    "layer-norm-eps-1e-3",
    "LayerNorm eps 1e-3",
    "layer_norm",
    "the default of Keras",
    applies=has_other_eps(1e-3),
)
def eps_1e_3(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Return the default of Keras."""
    return layer_norm(x, weight, bias, eps=1e-3, axis=axis)


@mistake(
    "layer-norm-eps-0", "LayerNorm without eps", "layer_norm", "the formula of a textbook", applies=has_other_eps(0)
)
def eps_0(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Nothing added: 0 / 0 where all channels are equal."""
    return layer_norm(x, weight, bias, eps=0.0, axis=axis)


@mistake(
    "layer-norm-eps-outside",
    "LayerNorm eps added to the standard deviation",
    "layer_norm",
    "eps outside the root",
    applies=has_other_eps(0),
)
def eps_outside(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """``(x - mean) / (std + eps)``."""
    deviation = x - x.mean(axis=axis, keepdims=True)
    return affine(deviation / (x.std(axis=axis, keepdims=True) + eps), weight, bias, axis)


@mistake("layer-norm-ddof", "LayerNorm variance with ddof = 1", "layer_norm", "the default of torch.var and torch.std")
def ddof(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Return the sum of squares divided by C - 1."""
    deviation = x - x.mean(axis=axis, keepdims=True)
    variance = (deviation * deviation).sum(axis=axis, keepdims=True) / (x.shape[axis] - 1)
    return affine(deviation / np.sqrt(variance + eps), weight, bias, axis)


@mistake(
    "layer-norm-all-axes",
    "LayerNorm over all axes but the batch: (C, H, W)",
    "layer_norm",
    "ConvNeXt#19: a LayerNorm over a map's shape; GroupNorm with one group",
    applies=has_positions,
)
def over_all_axes(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """One mean and one variance for a whole sample."""
    return affine(normalized_over(x, tuple(range(1, x.ndim)), eps), weight, bias, axis)


@mistake(
    "layer-norm-over-width",
    "LayerNorm over the last axis of a map (W)",
    "layer_norm",
    "torch.nn.LayerNorm on channels-first maps; ConvNeXt#112",
    applies=has_map,
)
def over_width(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Each row of a channel by itself."""
    return affine(normalized_over(x, -1, eps), weight, bias, axis)


@mistake(
    "layer-norm-over-height",
    "LayerNorm over the height of a map (H)",
    "layer_norm",
    "axis 1 of a channels-last map; ConvNeXt#112",
    applies=has_map,
)
def over_height(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Each column of a channel by itself."""
    return affine(normalized_over(x, 2, eps), weight, bias, axis)


@mistake(
    "layer-norm-over-positions",
    "LayerNorm over positions (an instance norm)",
    "layer_norm",
    "channels and positions taken for each other",
    applies=has_positions,
)
def over_positions(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Each channel by itself."""
    positions = tuple(i for i in range(1, x.ndim) if i != axis % x.ndim)
    return affine(normalized_over(x, positions, eps), weight, bias, axis)


@mistake("layer-norm-rms", "RMS norm (the mean not subtracted)", "layer_norm", "RMSNorm of language models")
def rms(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """``x / sqrt(mean(x**2) + eps)``."""
    return affine(x / np.sqrt((x * x).mean(axis=axis, keepdims=True) + eps), weight, bias, axis)


@mistake("layer-norm-no-bias", "LayerNorm without bias", "layer_norm", "bias=False of language models")
def no_bias(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Scaled, not shifted."""
    return layer_norm(x, weight, 0 * bias, eps=eps, axis=axis)


@mistake("layer-norm-no-weight", "LayerNorm without weight", "layer_norm", "elementwise_affine=False")
def no_weight(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Shifted, not scaled."""
    return layer_norm(x, 0 * weight + 1, bias, eps=eps, axis=axis)


@mistake("layer-norm-no-affine", "LayerNorm without weight and bias", "layer_norm", "keys of the checkpoint left out")
def no_affine(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Normalize, and no more."""
    return layer_norm(x, 0 * weight + 1, 0 * bias, eps=eps, axis=axis)


@mistake("layer-norm-swapped", "LayerNorm weight and bias swapped", "layer_norm", "gamma and beta by position")
def swapped(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Each in the other's place."""
    return layer_norm(x, bias, weight, eps=eps, axis=axis)


@mistake("layer-norm-variance", "LayerNorm divided by the variance", "layer_norm", "the root left out")
def divided_by_variance(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """``(x - mean) / (variance + eps)``."""
    deviation = x - x.mean(axis=axis, keepdims=True)
    return affine(deviation / ((deviation * deviation).mean(axis=axis, keepdims=True) + eps), weight, bias, axis)


@mistake(
    "layer-norm-missing", "no LayerNorm", "layer_norm", "a stem, a downsampling or a head without its norm; timm#1696"
)
def no_layer_norm(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Return the input as it is."""
    return x.copy()


@mistake("layer-norm-twice", "LayerNorm taken twice", "layer_norm", "two norms in a row: ConvNeXt#132, ConvNeXt-V2#74")
def layer_norm_twice(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Return the norm of the norm."""
    return layer_norm(layer_norm(x, weight, bias, eps=eps, axis=axis), weight, bias, eps=eps, axis=axis)


@mistake(
    "batch-norm-eps-1e-3", "batch norm eps 1e-3", "batch_norm", "the default of Keras", applies=has_other_eps(1e-3)
)
def batch_norm_eps_1e_3(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """Return the default of Keras."""
    return batch_norm(x, weight, bias, running_mean, running_var, eps=1e-3)


@mistake("batch-norm-eps-1e-6", "batch norm eps 1e-6", "batch_norm", "ConvNeXt's eps", applies=has_other_eps(1e-6))
def batch_norm_eps_1e_6(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """Return the eps of ConvNeXt's LayerNorms."""
    return batch_norm(x, weight, bias, running_mean, running_var, eps=1e-6)


@mistake("batch-norm-eps-0", "batch norm without eps", "batch_norm", "folded without eps", applies=has_other_eps(0))
def batch_norm_eps_0(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """Nothing added to the variance."""
    return batch_norm(x, weight, bias, running_mean, running_var, eps=0.0)


@mistake(
    "batch-norm-eps-outside", "batch norm eps added to the standard deviation", "batch_norm", "eps outside the root"
)
def batch_norm_eps_outside(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """``(x - running_mean) / (sqrt(running_var) + eps)``."""
    return batch_norm(x, weight, bias, running_mean, (np.sqrt(running_var) + eps) ** 2, eps=0.0)


@mistake(
    "batch-norm-statistics", "batch norm with the batch's statistics", "batch_norm", "training mode; microsoft/CvT#24"
)
def batch_statistics(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """Mean and variance of this batch in place of the stored ones."""
    return affine(normalized_over(x, (0, 2, 3), eps), weight, bias, 1)


@mistake(
    "batch-norm-variance-as-deviation",
    "batch norm's running_var taken for the standard deviation",
    "batch_norm",
    "a statistic of another library's name",
)
def variance_as_deviation(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """``(x - running_mean) / (running_var + eps)``."""
    return batch_norm(x, weight, bias, running_mean, (running_var + eps) ** 2, eps=0.0)


@mistake(
    "batch-norm-mean-unscaled",
    "batch norm folded with its mean unscaled",
    "batch_norm",
    "the scale folded into the kernel before the bias was made",
)
def mean_unscaled(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """``x * scale + (bias - running_mean)`` in place of ``x * scale + (bias - running_mean * scale)``."""
    scale = weight / np.sqrt(running_var + eps)
    return affine(x, scale, bias - running_mean, 1)


@mistake(
    "batch-norm-bias-scaled",
    "batch norm's bias scaled as well",
    "batch_norm",
    "the bias folded before the scale",
)
def bias_scaled(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """``(x - running_mean + bias) * scale``."""
    scale = weight / np.sqrt(running_var + eps)
    return affine(x, scale, (bias - running_mean) * scale, 1)


@mistake("batch-norm-swapped", "batch norm weight and bias swapped", "batch_norm", "gamma and beta by position")
def batch_norm_swapped(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """Each in the other's place."""
    return batch_norm(x, bias, weight, running_mean, running_var, eps=eps)


@mistake("batch-norm-no-bias", "batch norm without bias", "batch_norm", "a key of the checkpoint that was not loaded")
def batch_norm_no_bias(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """Scaled, not shifted."""
    return batch_norm(x, weight, 0 * bias, running_mean, running_var, eps=eps)


@mistake("batch-norm-missing", "no batch norm", "batch_norm", "taken for folded")
def no_batch_norm(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """Return the input as it is."""
    return x.copy()


@mistake(
    "batch-norm-folded",
    "batch norm folded into one product and one sum",
    "batch_norm",
    "every inference engine",
    invisible="(x - mean) / spread * weight + bias is x * scale + (bias - mean * scale), scale = weight / spread",
)
def folded(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """``x * scale + shift``."""
    scale = weight / np.sqrt(running_var + eps)
    return affine(x, scale, bias - running_mean * scale, 1)
