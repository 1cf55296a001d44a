"""Normalization layers backwards, and the scale of a layer. Letters and arguments are those of the layers.

A normalization divides by something that every value along an axis is a part of. So each value has two ways to the
result: its own, and through the mean and the spread; the gradient is the sum of both.
"""

from __future__ import annotations

from npconv import layers
from npconv.backend import Array, array_module
from npconv.gradients.gradient_of import gradient_of


@gradient_of(layers.layer_norm, "x", "weight", "bias")
def layer_norm_backward(grad_y: Array, x: Array, weight: Array, *, eps: float, axis: int) -> tuple[Array, Array, Array]:
    """Return the gradients of `x`, `weight` and `bias` of :func:`npconv.layers.layer_norm`.

    With ``normalized = (x - mean) / spread`` and ``g = grad_y * weight``, all means over `axis`:
    ``grad_x = (g - mean(g) - normalized * mean(g * normalized)) / spread``.

    The first mean comes through the mean of `x`, the second through its variance: to add a constant to `x`, or to
    stretch it, changes nothing, so `grad_x` has no part along a constant or along ``normalized`` (but for `eps`).
    """
    channels, others = _along(x, axis)
    deviation = x - x.mean(axis=axis, keepdims=True)
    spread = array_module(x).sqrt((deviation * deviation).mean(axis=axis, keepdims=True) + eps)
    normalized = deviation / spread

    grad_weight, grad_bias = (grad_y * normalized).sum(axis=others), grad_y.sum(axis=others)
    g = grad_y * weight.reshape(channels)
    through_mean = g.mean(axis=axis, keepdims=True)
    through_variance = normalized * (g * normalized).mean(axis=axis, keepdims=True)
    return (g - through_mean - through_variance) / spread, grad_weight, grad_bias


@gradient_of(layers.rms_norm, "x", "weight")
def rms_norm_backward(grad_y: Array, x: Array, weight: Array, *, eps: float, axis: int) -> tuple[Array, Array]:
    """Return the gradients of `x` and `weight` of :func:`npconv.layers.rms_norm`.

    With ``normalized = x / spread`` and ``g = grad_y * weight``:
    ``grad_x = (g - normalized * mean(g * normalized)) / spread``: no mean was subtracted, so only the spread gives
    back.
    """
    channels, others = _along(x, axis)
    spread = array_module(x).sqrt((x * x).mean(axis=axis, keepdims=True) + eps)
    normalized = x / spread

    grad_weight = (grad_y * normalized).sum(axis=others)
    g = grad_y * weight.reshape(channels)
    through_spread = normalized * (g * normalized).mean(axis=axis, keepdims=True)
    return (g - through_spread) / spread, grad_weight


@gradient_of(layers.simple_norm, "x", "weight")
def simple_norm_backward(grad_y: Array, x: Array, weight: Array, *, eps: float, axis: int) -> tuple[Array, Array]:
    """Return the gradients of `x` and `weight` of :func:`npconv.layers.simple_norm`.

    With ``g = grad_y * weight`` and ``y = x / spread``, ``spread**2 = sum(deviation**2) / (C - 1) + eps``:
    ``grad_x = g / spread - deviation * sum(g * x) / ((C - 1) * spread**3)``. The spread grows with the deviation from
    the mean; the mean itself gives nothing back, since deviations sum to 0.
    """
    channels, others = _along(x, axis)
    deviation = x - x.mean(axis=axis, keepdims=True)
    variance = (deviation * deviation).sum(axis=axis, keepdims=True) / (weight.shape[0] - 1)
    spread = array_module(x).sqrt(variance + eps)

    grad_weight = (grad_y * x / spread).sum(axis=others)
    g = grad_y * weight.reshape(channels)
    total = (g * x).sum(axis=axis, keepdims=True)
    through_spread = deviation * total / ((weight.shape[0] - 1) * spread**3)
    return g / spread - through_spread, grad_weight


@gradient_of(layers.batch_norm, "x", "weight", "bias")
def batch_norm_backward(
    grad_y: Array, x: Array, weight: Array, running_mean: Array, running_var: Array, *, eps: float
) -> tuple[Array, Array, Array]:
    """Return the gradients of `x`, `weight` and `bias` of :func:`npconv.layers.batch_norm`.

    Stored statistics do not depend on `x`, so the layer is a scale and a shift: ``grad_x = grad_y * weight / spread``.
    """
    spread = array_module(x).sqrt(running_var + eps)[:, None, None]
    normalized = (x - running_mean[:, None, None]) / spread
    grad_x = grad_y * weight[:, None, None] / spread
    return grad_x, (grad_y * normalized).sum(axis=(0, 2, 3)), grad_y.sum(axis=(0, 2, 3))


@gradient_of(layers.batch_norm_training, "x", "weight", "bias")
def batch_norm_training_backward(grad_y: Array, x: Array, weight: Array, *, eps: float) -> tuple[Array, Array, Array]:
    """Return the gradients of `x`, `weight` and `bias` of :func:`npconv.layers.batch_norm_training`.

    As in a LayerNorm, with means over the batch and all positions in place of the channels:
    ``grad_x = (g - mean(g) - normalized * mean(g * normalized)) / spread``, ``g = grad_y * weight``. Every sample of
    the batch has a part in the gradient of every other.
    """
    batch = (0, 2, 3)
    deviation = x - x.mean(axis=batch, keepdims=True)
    spread = array_module(x).sqrt((deviation * deviation).mean(axis=batch, keepdims=True) + eps)
    normalized = deviation / spread

    g = grad_y * weight[:, None, None]
    through_mean = g.mean(axis=batch, keepdims=True)
    through_variance = normalized * (g * normalized).mean(axis=batch, keepdims=True)
    grad_x = (g - through_mean - through_variance) / spread
    return grad_x, (grad_y * normalized).sum(axis=batch), grad_y.sum(axis=batch)


@gradient_of(layers.global_response_norm, "x", "weight", "bias")
def global_response_norm_backward(
    grad_y: Array, x: Array, weight: Array, bias: Array, *, eps: float
) -> tuple[Array, Array, Array]:
    """Return the gradients of `x`, `weight` and `bias` of :func:`npconv.layers.global_response_norm`.

    The three parts, last to first. `x` has two ways to the result, itself and its strength, whose gradients add up.
    """
    strength = layers.grn_strength(x)
    relative = layers.grn_relative(strength, eps=eps)
    grad_x, grad_relative, grad_weight, grad_bias = grn_apply_backward(grad_y, x, relative, weight, bias)
    grad_strength = grn_relative_backward(grad_relative, strength, eps=eps)
    return grad_x + grn_strength_backward(grad_strength, x, strength), grad_weight, grad_bias


@gradient_of(layers.grn_strength, "x")
def grn_strength_backward(grad_y: Array, x: Array, y: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.grn_strength`, of which `y` is the result.

    ``y = sqrt(sum(x**2))``, so ``grad_x = grad_y * x / y``. A dead channel, all 0, has strength 0 and no gradient: 0 is
    taken, as PyTorch's ``norm`` does, where 0 / 0 would spread NaN over the model.
    """
    return grad_y * x / array_module(x).where(y > 0, y, 1)


@gradient_of(layers.grn_relative, "strength")
def grn_relative_backward(grad_y: Array, strength: Array, *, eps: float) -> Array:
    """Return the gradient of `strength` of :func:`npconv.layers.grn_relative`.

    ``y[c] = strength[c] / m`` with ``m = mean(strength) + eps``. The first way is ``grad_y / m``. By the second, each
    of the C channels has a C-th part in the mean: ``- sum(grad_y * strength) / (C * m**2)``, the same for all.
    """
    m = strength.mean(axis=1, keepdims=True) + eps
    through_mean = (grad_y * strength).mean(axis=1, keepdims=True) / (m * m)
    return grad_y / m - through_mean


@gradient_of(layers.grn_apply, "x", "relative", "weight", "bias")
def grn_apply_backward(
    grad_y: Array, x: Array, relative: Array, weight: Array, bias: Array
) -> tuple[Array, Array, Array, Array]:
    """Return the gradients of `x`, `relative`, `weight` and `bias` of :func:`npconv.layers.grn_apply`.

    ``y = weight * x * relative + bias + x``: the gradient of each factor is `grad_y` times the others, summed over what
    the factor is the same for; ``+ 1`` in that of `x` is the residual.
    """
    w = weight.reshape(-1, 1, 1)
    weighted = grad_y * x
    grad_x = grad_y * (w * relative + 1)
    grad_relative = (weighted * w).sum(axis=(2, 3), keepdims=True)
    grad_weight = (weighted * relative).sum(axis=(0, 2, 3))
    return grad_x, grad_relative, grad_weight.reshape(weight.shape), grad_y.sum(axis=(0, 2, 3)).reshape(bias.shape)


@gradient_of(layers.layer_scale, "x", "layer_scale_parameter")
def layer_scale_backward(grad_y: Array, x: Array, layer_scale_parameter: Array) -> tuple[Array, Array]:
    """Return the gradients of `x` and `layer_scale_parameter` of :func:`npconv.layers.layer_scale`.

    ``y = layer_scale_parameter * x``: each factor's is `grad_y` times the other, the parameter's summed over samples
    and positions.
    """
    return layer_scale_parameter[:, None, None] * grad_y, (grad_y * x).sum(axis=(0, 2, 3))


def _along(x: Array, axis: int) -> tuple[list[int], tuple[int, ...]]:
    """Return the shape in which numbers along `axis` fit `x`, and all its other axes."""
    channels = [1] * x.ndim
    channels[axis] = x.shape[axis]
    return channels, tuple(i for i in range(x.ndim) if i != axis % x.ndim)
