"""Normalization layers, and the scale of a layer.

None of them has a default `eps`: it belongs to the place where the layer stands, and public implementations differ in
it (see the table in ``npconv/README.md``).
"""

from __future__ import annotations

from collections.abc import Callable

from npconv.backend import Array, array_module, widen
from npconv.errors import InputError
from npconv.layers.shapes import guarded, shapes
from npconv.messages import quoted


@shapes(x="... C ...", weight="C", bias="C", result="... C ...")
def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float, axis: int) -> Array:
    """Normalize over one axis at each position: ``y = (x - mean) / sqrt(variance + eps) * weight + bias``.

    The variance is the mean of squared deviations from the mean (two passes, no Bessel correction): the one-pass form
    ``mean(x**2) - mean(x)**2`` loses most digits in float32 when the mean is large. The axis is 1 in maps (N, C, H, W),
    and -1 in tokens (N, T, D).

    Layer Normalization, https://arxiv.org/abs/1607.06450, over channels only, as ConvNeXt's ``LayerNorm`` and
    ``torch.nn.LayerNorm`` over the last axis.
    """
    channels = [1] * x.ndim
    channels[axis] = weight.shape[0]

    deviation = x - x.mean(axis=axis, keepdims=True)
    variance = (deviation * deviation).mean(axis=axis, keepdims=True)
    normalized = deviation / array_module(x).sqrt(variance + eps)
    return normalized * weight.reshape(channels) + bias.reshape(channels)


@shapes(x="... C ...", weight="C", result="... C ...")
def rms_norm(x: Array, weight: Array, *, eps: float, axis: int) -> Array:
    """Divide by the root mean square over one axis: ``y = x / sqrt(mean(x**2) + eps) * weight``.

    A :func:`layer_norm` that takes the mean for 0 and has no bias.

    Root Mean Square Layer Normalization, https://arxiv.org/abs/1910.07467; timm's ``RmsNorm2d``, ``torch.nn.RMSNorm``.
    """
    channels = [1] * x.ndim
    channels[axis] = weight.shape[0]

    mean_square = (x * x).mean(axis=axis, keepdims=True)
    return x / array_module(x).sqrt(mean_square + eps) * weight.reshape(channels)


@shapes(x="... C ...", weight="C", result="... C ...")
def simple_norm(x: Array, weight: Array, *, eps: float, axis: int) -> Array:
    """Divide by the standard deviation over one axis: ``y = x / sqrt(variance + eps) * weight``.

    The mean stays, and the variance is the sum of squared deviations from it by C - 1 (with Bessel's correction), which
    is no number for a single channel. timm's ``SimpleNorm2d``, which its ``convnext_zepto_rms`` has.
    """
    channels = [1] * x.ndim
    channels[axis] = weight.shape[0]

    deviation = x - x.mean(axis=axis, keepdims=True)
    variance = (deviation * deviation).sum(axis=axis, keepdims=True) / (weight.shape[0] - 1)
    return x / array_module(x).sqrt(variance + eps) * weight.reshape(channels)


#: What stands where most models have a LayerNorm, by the names of a configuration's ``norm_type``.
NORMS: dict[str, Callable[..., Array]] = {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "simple_norm": simple_norm,
}


def norm_layer(norm_type: str) -> Callable[..., Array]:
    """Return the function of a name in `NORMS`."""
    if not isinstance(norm_type, str) or norm_type not in NORMS:
        raise InputError(f"expected norm_type to be one of {', '.join(NORMS)}; got {quoted(norm_type)}")
    return NORMS[norm_type]


@shapes(x="N C H W", weight="C", bias="C", running_mean="C", running_var="C", result="N C H W")
def batch_norm(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    num_batches_tracked: Array | None = None,
    *,
    eps: float,
) -> Array:
    """Normalize each channel by stored statistics: ``(x - running_mean) / sqrt(running_var + eps) * weight + bias``.

    This is inference: the statistics were gathered in training (:func:`batch_norm_training`) and no statistic of `x` is
    taken. The count of training batches, `num_batches_tracked`, stands in checkpoints beside them and has no effect.

    Batch Normalization, https://arxiv.org/abs/1502.03167, algorithm 2.
    """
    deviation = x - running_mean[:, None, None]
    spread = array_module(x).sqrt(running_var + eps)[:, None, None]
    return deviation / spread * weight[:, None, None] + bias[:, None, None]


@shapes(x="N C H W", weight="C", bias="C", result="N C H W")
def batch_norm_training(x: Array, weight: Array, bias: Array, *, eps: float) -> Array:
    """Normalize each channel by the statistics of the batch: ``(x - mean) / sqrt(variance + eps) * weight + bias``.

    Mean and variance are those of all samples and positions; the variance is the mean of squared deviations. What is
    kept of them for inference, :func:`running_mean` and :func:`running_var` say.

    Batch Normalization, https://arxiv.org/abs/1502.03167, algorithm 1.
    """
    deviation = x - x.mean(axis=(0, 2, 3), keepdims=True)
    variance = (deviation * deviation).mean(axis=(0, 2, 3), keepdims=True)
    normalized = deviation / array_module(x).sqrt(variance + eps)
    return normalized * weight[:, None, None] + bias[:, None, None]


#: The share of the newest batch in stored statistics: PyTorch's default.
MOMENTUM = 0.1


@shapes(x="N C H W", running_mean="C", result="C")
def running_mean(x: Array, running_mean: Array, *, momentum: float = MOMENTUM) -> Array:
    """Return the stored mean after a batch: ``(1 - momentum) * running_mean + momentum * mean``."""
    return (1 - momentum) * running_mean + momentum * x.mean(axis=(0, 2, 3))


@shapes(x="N C H W", running_var="C", result="C")
def running_var(x: Array, running_var: Array, *, momentum: float = MOMENTUM) -> Array:
    """Return the stored variance after a batch: ``(1 - momentum) * running_var + momentum * variance``.

    Of n numbers a channel, this variance is the sum of squared deviations by n - 1 (with Bessel's correction), though
    the batch itself is normalized by that by n: so PyTorch has it.
    """
    deviation = x - x.mean(axis=(0, 2, 3), keepdims=True)
    number = x.shape[0] * x.shape[2] * x.shape[3]
    if number < 2:
        raise InputError(f"running_var: expected at least 2 numbers a channel, got {number}; use a larger batch")
    variance = (deviation * deviation).sum(axis=(0, 2, 3)) / (number - 1)
    return (1 - momentum) * running_var + momentum * variance


@guarded(x="...", num_batches_tracked="", result="")
def num_batches_tracked(x: Array, num_batches_tracked: Array) -> Array:
    """Return the count of training batches after a batch `x`."""
    return num_batches_tracked + 1


#: A number for each channel. Checkpoints hold (1, 1, 1, C), channels last, or (C,).
PER_CHANNEL = "C | C 1 1 | 1 C 1 1 | 1 1 1 C"


@shapes(x="N C H W", weight=PER_CHANNEL, bias=PER_CHANNEL, result="N C H W")
def global_response_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> Array:
    """Scale each channel by its strength relative to the other channels (GRN).

    ``g[n, c] = sqrt(sum over i, j of x[n, c, i, j]**2)``: the strength of a channel;
    ``s[n, c] = g[n, c] / (mean over c of g[n, c] + eps)``: relative to the others, in each sample by itself;
    ``y = weight * (x * s) + bias + x``: the residual ``+ x`` is part of the layer.

    In float16 itself, squares would overflow beyond 255.

    ConvNeXt V2, section 4 and algorithm 1 of https://arxiv.org/abs/2301.00808.
    """
    strength = grn_strength(x)
    relative = grn_relative(strength, eps=eps)
    return grn_apply(x, relative, weight, bias)


@guarded(x="N C H W", result="N C 1 1")
def grn_strength(x: Array) -> Array:
    """First part of GRN: ``sqrt(sum over i, j of x**2)``, (N, C, H, W) -> (N, C, 1, 1); of float16 in float32."""
    x_wide = widen(x)
    return array_module(x).sqrt((x_wide * x_wide).sum(axis=(2, 3), keepdims=True))


@guarded(strength="...", result="...")
def grn_relative(strength: Array, *, eps: float) -> Array:
    """Second part of GRN: ``strength / (mean + eps)``, with the mean over all channels of the same sample."""
    return strength / (strength.mean(axis=1, keepdims=True) + eps)


@guarded(x="N C H W", relative="N C 1 1", weight=PER_CHANNEL, bias=PER_CHANNEL, result="N C H W")
def grn_apply(x: Array, relative: Array, weight: Array, bias: Array) -> Array:
    """Last part of GRN: ``weight * (x * relative) + bias + x``, in the dtype of `x`."""
    x_wide = widen(x)
    y = weight.reshape(-1, 1, 1) * (x_wide * relative) + bias.reshape(-1, 1, 1) + x_wide
    return y.astype(x.dtype, copy=False)


@guarded(x="N C H W", layer_scale_parameter="C", result="N C H W")
def layer_scale(x: Array, layer_scale_parameter: Array) -> Array:
    """Multiply each channel of a map by its own trained number: ``layer_scale_parameter[c] * x[n, c, i, j]``.

    Going deeper with Image Transformers, section 2.2 of https://arxiv.org/abs/2103.17239.
    """
    return layer_scale_parameter[:, None, None] * x
