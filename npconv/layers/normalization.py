"""Normalization layers.

None of them has a default `eps`: it belongs to the place where the layer stands, and public implementations differ in
it (see the table in ``npconv/README.md``).
"""

from __future__ import annotations

from npconv.backend import Array, array_module, widen
from npconv.layers._checks import check_channels, check_ndim, check_per_channel


def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float, axis: int) -> Array:
    """Normalize over one axis at each position: ``y = (x - mean) / sqrt(variance + eps) * weight + bias``.

    The variance is the mean of squared deviations from the mean (two passes, no Bessel correction): the one-pass form
    ``mean(x**2) - mean(x)**2`` loses most digits in float32 when the mean is large.

    Parameters
    ----------
    x : array
        Floating-point; maps (N, C, H, W) with ``axis=1``, tokens (N, T, D) with ``axis=-1``.
    weight, bias : array (C,)
        Scale and shift of each channel.
    eps : float
        Added to the variance.
    axis : int
        The channel axis: the only axis that is normalized over.

    Returns
    -------
    array, same shape and dtype as `x`
        float16 is computed in float32.

    Raises
    ------
    InputError
        If `weight` does not fit the axis.

    Notes
    -----
    Layer Normalization, https://arxiv.org/abs/1607.06450, over channels only, as ConvNeXt's ``LayerNorm`` and
    ``torch.nn.LayerNorm`` over the last axis.
    """
    xp = array_module(x)
    check_channels("layer_norm", x, weight.size, axis=axis)
    check_per_channel("layer_norm", weight.size, weight=weight, bias=bias)
    channels = [1] * x.ndim
    channels[axis] = weight.shape[0]

    x_wide = widen(x)
    deviation = x_wide - x_wide.mean(axis=axis, keepdims=True)
    variance = (deviation * deviation).mean(axis=axis, keepdims=True)
    y = deviation / xp.sqrt(variance + eps) * weight.reshape(channels) + bias.reshape(channels)
    return y.astype(x.dtype, copy=False)


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

    This is inference: the statistics were gathered in training and no statistic of `x` is taken.

    Parameters
    ----------
    x : array (N, C, H, W)
        Floating-point.
    weight, bias, running_mean, running_var : array (C,)
        As in the checkpoint.
    num_batches_tracked : array (), optional
        Stands in checkpoints beside the others; a count of training batches, without effect here.
    eps : float
        Added to the variance.

    Returns
    -------
    array (N, C, H, W)
        In the dtype of `x`; float16 is computed in float32.

    Raises
    ------
    InputError
        If shapes do not fit each other.

    Notes
    -----
    Batch Normalization, https://arxiv.org/abs/1502.03167, algorithm 2.
    """
    xp = array_module(x)
    check_ndim("batch_norm", x, "NCHW")
    check_channels("batch_norm", x, weight.size, axis=1)
    check_per_channel("batch_norm", weight.size, weight=weight, bias=bias)
    check_per_channel("batch_norm", weight.size, running_mean=running_mean, running_var=running_var)
    deviation = widen(x) - widen(running_mean)[:, None, None]
    spread = xp.sqrt(widen(running_var) + eps)[:, None, None]
    y = deviation / spread * weight[:, None, None] + bias[:, None, None]
    return y.astype(x.dtype, copy=False)


def global_response_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> Array:
    """Scale each channel by its strength relative to the other channels (GRN).

    ``g[n, c] = sqrt(sum over i, j of x[n, c, i, j]**2)``: the strength of a channel;
    ``s[n, c] = g[n, c] / (mean over c of g[n, c] + eps)``: relative to the others, in each sample by itself;
    ``y = weight * (x * s) + bias + x``.

    Parameters
    ----------
    x : array (N, C, H, W)
        Floating-point.
    weight, bias : array with C elements
        Of any shape: checkpoints hold (1, 1, 1, C), channels last, or (C,).
    eps : float
        Added to the mean strength.

    Returns
    -------
    array (N, C, H, W)
        In the dtype of `x`; float16 is computed in float32 (its squares overflow beyond 255).

    Raises
    ------
    InputError
        If shapes do not fit each other.

    Notes
    -----
    ConvNeXt V2, section 4 and algorithm 1 of https://arxiv.org/abs/2301.00808. The residual ``+ x`` is part of the
    layer.
    """
    check_ndim("global_response_norm", x, "NCHW")
    check_channels("global_response_norm", x, weight.size, axis=1)
    check_per_channel("global_response_norm", weight.size, bias=bias.reshape(-1))
    return grn_apply(x, grn_relative(grn_strength(x), eps=eps), weight, bias)


def grn_strength(x: Array) -> Array:
    """First part of GRN: ``sqrt(sum over i, j of x**2)``, (N, C, H, W) -> (N, C, 1, 1); of float16 in float32."""
    x_wide = widen(x)
    return array_module(x).sqrt((x_wide * x_wide).sum(axis=(2, 3), keepdims=True))


def grn_relative(strength: Array, *, eps: float) -> Array:
    """Second part of GRN: the strength (N, C, 1, 1) by the mean strength of all channels of the same sample."""
    return strength / (strength.mean(axis=1, keepdims=True) + eps)


def grn_apply(x: Array, relative: Array, weight: Array, bias: Array) -> Array:
    """Last part of GRN: ``weight * (x * relative) + bias + x``, in the dtype of `x`."""
    x_wide = widen(x)
    y = weight.reshape(-1, 1, 1) * (x_wide * relative) + bias.reshape(-1, 1, 1) + x_wide
    return y.astype(x.dtype, copy=False)


def layer_scale(x: Array, layer_scale_parameter: Array) -> Array:
    """Multiply each channel of a map (N, C, H, W) by its own trained number, of (C,).

    Notes
    -----
    Going deeper with Image Transformers, section 2.2 of https://arxiv.org/abs/2103.17239.
    """
    return layer_scale_parameter[:, None, None] * x
