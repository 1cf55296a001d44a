"""Mistakes in LayerNorm and batch norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import Edit, anywhere, drop, edit, leave_out, mistake, swap, twice
from npconv.plan.step import Step

norm, batch = (partial(mistake, operation) for operation in ("layer_norm", "batch_norm"))


def has_eps(step: Step) -> bool:
    """Tell whether there is an epsilon."""
    return bool(step.attributes["eps"] != 0)


def has_map(step: Step) -> bool:
    """Tell whether a map is normalized."""
    return step.layout == "NCHW"


def has_positions(step: Step) -> bool:
    """Tell whether there are axes beside batch and channels."""
    return step.layout in ("NCHW", "NTD")


def affine(normal: Any, weight: Any, bias: Any, axis: int) -> Any:
    """Scale and shift each channel."""
    shape = [1] * normal.ndim
    shape[axis] = weight.size
    return normal * weight.reshape(shape) + bias.reshape(shape)


def deviation(x: Any, axes: Any) -> Any:
    """Subtract the mean over some axes."""
    return x - x.mean(axis=axes, keepdims=True)


def normalized_over(x: Any, axes: Any, eps: float) -> Any:
    """Subtract the mean over some axes and divide by the standard deviation."""
    return deviation(x, axes) / np.sqrt(x.var(axis=axes, keepdims=True) + eps)


def normal(function: Callable[[Any, int, float], Any], applies: Callable[[Step], bool] = anywhere) -> Edit:
    """Scale and shift what `function` makes of the input, the axis and eps."""
    return Edit(
        lambda right, x, *, weight, bias, eps, axis: affine(function(x, axis, eps), weight, bias, axis), applies
    )


def over(axes: Callable[[int, int], Any], applies: Callable[[Step], bool]) -> Edit:
    """Normalize over other axes, which `axes` makes of their number and the right one."""
    return normal(lambda x, axis, eps: normalized_over(x, axes(x.ndim, axis % x.ndim), eps), applies)


def epsilons(operation: str, name: str, says: str, origins: Mapping[str, str]) -> None:
    """Put other epsilons into the catalogue: the number as it is written -> where it comes from."""
    for eps, origin in origins.items():
        without = "without eps" if eps == "0" else f"eps {eps}"
        mistake(operation, f"{name}-eps-{eps}", f"{says} {without}", origin)(edit(eps=float(eps)))


LAYER_NORM_EPSILONS = {
    "1e-5": "PyTorch's default; timm#1696, transformers#18597",
    "1e-6": "ConvNeXt's blocks; the last LayerNorm has the configuration's 1e-12 (transformers#18597)",
    "1e-12": "layer_norm_eps of the configuration, which only ConvNeXt's last LayerNorm takes",
    "1e-3": "the default of Keras",
    "0": "the formula of a textbook",
}

epsilons("layer_norm", "layer-norm", "LayerNorm", LAYER_NORM_EPSILONS)


norm("layer-norm-eps-outside", "LayerNorm eps added to the standard deviation", "eps outside the root")(
    normal(lambda x, axis, eps: deviation(x, axis) / (x.std(axis=axis, keepdims=True) + eps), has_eps)
)
norm("layer-norm-ddof", "LayerNorm variance with ddof = 1", "the default of torch.var and torch.std")(
    normal(lambda x, axis, eps: deviation(x, axis) / np.sqrt(x.var(axis=axis, keepdims=True, ddof=1) + eps))
)
norm(
    "layer-norm-all-axes",
    "LayerNorm over all axes but the batch: (C, H, W)",
    "ConvNeXt#19: a LayerNorm over a map's shape; GroupNorm with one group",
)(over(lambda ndim, axis: tuple(range(1, ndim)), has_positions))
norm(
    "layer-norm-over-width",
    "LayerNorm over the last axis of a map (W)",
    "torch.nn.LayerNorm on channels-first maps; ConvNeXt#112",
)(over(lambda ndim, axis: -1, has_map))
norm("layer-norm-over-height", "LayerNorm over the height of a map (H)", "axis 1 of a channels-last map; ConvNeXt#112")(
    over(lambda ndim, axis: 2, has_map)
)
norm(
    "layer-norm-over-positions",
    "LayerNorm over positions (an instance norm)",
    "channels and positions taken for each other",
)(over(lambda ndim, axis: tuple(i for i in range(1, ndim) if i != axis), has_positions))


norm("layer-norm-rms", "RMS norm (the mean not subtracted)", "RMSNorm of language models")(
    normal(lambda x, axis, eps: x / np.sqrt((x * x).mean(axis=axis, keepdims=True) + eps))
)
norm("layer-norm-no-bias", "LayerNorm without bias", "bias=False of language models")(drop("bias"))
norm("layer-norm-no-weight", "LayerNorm without weight", "elementwise_affine=False")(drop("weight"))
norm("layer-norm-no-affine", "LayerNorm without weight and bias", "keys of the checkpoint left out")(
    drop("weight", "bias")
)
norm("layer-norm-swapped", "LayerNorm weight and bias swapped", "gamma and beta by position")(swap("weight", "bias"))
norm("layer-norm-variance", "LayerNorm divided by the variance", "the root left out")(
    normal(lambda x, axis, eps: deviation(x, axis) / (x.var(axis=axis, keepdims=True) + eps))
)
norm("layer-norm-missing", "no LayerNorm", "a stem, a downsampling or a head without its norm; timm#1696")(leave_out())
norm("layer-norm-twice", "LayerNorm taken twice", "two norms in a row: ConvNeXt#132, ConvNeXt-V2#74")(twice())

rms, simple = (partial(mistake, operation) for operation in ("rms_norm", "simple_norm"))

epsilons("rms_norm", "rms-norm", "RMS norm", {"1e-5": "llama.cpp and other language models", "0": "a textbook"})
epsilons("simple_norm", "simple-norm", "simple norm", {"1e-5": "the default of timm's function", "0": "a textbook"})


def scaled(function: Callable[[Any, int, float], Any]) -> Edit:
    """Scale each channel of what `function` makes of the input, the axis and eps."""
    return Edit(lambda right, x, *, weight, eps, axis: affine(function(x, axis, eps), weight, 0 * weight, axis))


both = partial(mistake, ("rms_norm", "simple_norm"))
both("centred", "LayerNorm in its place (the mean subtracted)", "the norm of most ConvNeXts")(scaled(normalized_over))
both("no-weight", "norm without weight", "a key of the checkpoint that was not loaded")(drop("weight"))
both("missing", "no norm", "a stem, a downsampling or a head without its norm")(leave_out())
both("twice", "norm taken twice", "two norms in a row")(twice())
rms("rms-norm-deviation", "divided by the standard deviation, not the root mean square", "timm's simplenorm")(
    scaled(lambda x, axis, eps: x / np.sqrt(x.var(axis=axis, keepdims=True) + eps))
)
simple("simple-norm-ddof", "variance with ddof = 0", "the variance of a LayerNorm")(
    scaled(lambda x, axis, eps: x / np.sqrt(x.var(axis=axis, keepdims=True) + eps))
)
simple("simple-norm-rms", "RMS norm (mean of squares, not variance)", "what timm calls the model: convnext_zepto_rms")(
    scaled(lambda x, axis, eps: x / np.sqrt((x * x).mean(axis=axis, keepdims=True) + eps))
)

BATCH_NORM_EPSILONS = {"1e-3": "the default of Keras", "1e-6": "ConvNeXt's eps", "0": "folded without eps"}

epsilons("batch_norm", "batch-norm", "batch norm", BATCH_NORM_EPSILONS)


def divided_by(spread: Callable[[Any, float], Any]) -> Edit:
    """Divide by what `spread` makes of running_var and eps."""

    def call(right: Any, x: Any, *, running_var: Any, eps: float, **others: Any) -> Any:
        return right(x, running_var=spread(running_var, eps) ** 2, eps=0.0, **others)

    return Edit(call)


batch("batch-norm-eps-outside", "batch norm eps added to the standard deviation", "eps outside the root")(
    divided_by(lambda variance, eps: np.sqrt(variance) + eps)
)
batch("batch-norm-statistics", "batch norm with the batch's statistics", "training mode; microsoft/CvT#24")(
    lambda x, weight, bias, eps, **running: affine(normalized_over(x, (0, 2, 3), eps), weight, bias, 1)
)
batch(
    "batch-norm-variance-as-deviation",
    "batch norm's running_var taken for the standard deviation",
    "a statistic of another library's name",
)(divided_by(lambda variance, eps: variance + eps))


def folded(shift: Callable[[Any, Any, Any], Any]) -> Edit:
    """Compute ``x * scale + shift``, with the shift made of bias, mean and scale."""

    def call(right: Any, x: Any, *, weight: Any, bias: Any, running_mean: Any, running_var: Any, eps: float) -> Any:
        scale = weight / np.sqrt(running_var + eps)
        return affine(x, scale, shift(bias, running_mean, scale), 1)

    return Edit(call)


batch(
    "batch-norm-mean-unscaled",
    "batch norm folded with its mean unscaled",
    "the scale folded into the kernel before the bias was made",
)(folded(lambda bias, mean, scale: bias - mean))
batch("batch-norm-bias-scaled", "batch norm's bias scaled as well", "the bias folded before the scale")(
    folded(lambda bias, mean, scale: (bias - mean) * scale)
)
batch("batch-norm-swapped", "batch norm weight and bias swapped", "gamma and beta by position")(swap("weight", "bias"))
batch("batch-norm-no-bias", "batch norm without bias", "a key of the checkpoint that was not loaded")(drop("bias"))
batch("batch-norm-missing", "no batch norm", "taken for folded")(leave_out())
batch(
    "batch-norm-folded",
    "batch norm folded into one product and one sum",
    "every inference engine",
    invisible="(x - mean) / spread * weight + bias is x * scale + (bias - mean * scale), scale = weight / spread",
)(folded(lambda bias, mean, scale: bias - mean * scale))
