"""Activation functions backwards: the upstream gradient times the derivative at each element.

Read ``npconv/layers/activations.py`` beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from npconv import layers
from npconv.backend import Array, array_module, special_functions
from npconv.gradients.gradient_of import gradient_of


@gradient_of(layers.gelu, "x")
def gelu_backward(grad_y: Array, x: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.gelu`.

    ``y = x * P(x)`` with P the normal distribution, whose derivative is its density p:
    ``grad_x = grad_y * (P(x) + x * p(x))``, ``p(x) = exp(-x**2 / 2) / sqrt(2 * pi)``.
    """
    xp = array_module(x)
    distribution = 0.5 * (1.0 + special_functions(x).erf(x / math.sqrt(2.0)))
    density = xp.exp(-0.5 * (x * x)) / math.sqrt(2.0 * math.pi)
    return grad_y * (distribution + x * density)


@gradient_of(layers.gelu_tanh, "x")
def gelu_tanh_backward(grad_y: Array, x: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.gelu_tanh`.

    ``y = x * (1 + t) / 2`` with ``t = tanh(u)`` and ``u = sqrt(2 / pi) * (x + 0.044715 * x**3)``:
    ``grad_x = grad_y * ((1 + t) / 2 + x * (1 - t**2) / 2 * du/dx)``.
    """
    c = math.sqrt(2.0 / math.pi)
    t = array_module(x).tanh(c * (x + 0.044715 * (x * x * x)))
    du = c * (1.0 + 3.0 * 0.044715 * (x * x))
    return grad_y * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * du)


@gradient_of(layers.quick_gelu, "x")
def quick_gelu_backward(grad_y: Array, x: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.quick_gelu`.

    ``y = x * s`` with ``s = sigmoid(1.702 * x)``, whose derivative is ``1.702 * s * (1 - s)``:
    ``grad_x = grad_y * (s + 1.702 * x * s * (1 - s))``.
    """
    s = special_functions(x).expit(1.702 * x)
    return grad_y * (s + 1.702 * x * s * (1.0 - s))


@gradient_of(layers.relu, "x")
def relu_backward(grad_y: Array, x: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.relu`: `grad_y` where x > 0, and 0 at 0, as PyTorch has it."""
    return grad_y * (x > 0)


@gradient_of(layers.silu, "x")
def silu_backward(grad_y: Array, x: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.silu`.

    ``y = x * s`` with ``s = sigmoid(x)``: ``grad_x = grad_y * (s + x * s * (1 - s))``.
    """
    s = special_functions(x).expit(x)
    return grad_y * (s + x * s * (1.0 - s))


@gradient_of(layers.selu, "x")
def selu_backward(grad_y: Array, x: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.selu`.

    ``grad_x = grad_y * scale`` for positive x, ``grad_y * scale * alpha * exp(x)`` for others.
    """
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    xp = array_module(x)
    slope = xp.where(x > 0, 1.0, alpha * xp.exp(xp.minimum(x, 0))).astype(x.dtype, copy=False)
    return grad_y * (scale * slope)


@gradient_of(layers.mish, "x")
def mish_backward(grad_y: Array, x: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.mish`.

    ``y = x * t`` with ``t = tanh(log(1 + exp(x)))``. The derivative of the logarithm is ``sigmoid(x)``, so
    ``grad_x = grad_y * (t + x * (1 - t**2) * sigmoid(x))``.
    """
    xp = array_module(x)
    t = xp.tanh(xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x))))
    return grad_y * (t + x * (1.0 - t * t) * special_functions(x).expit(x))


@gradient_of(layers.hardswish, "x")
def hardswish_backward(grad_y: Array, x: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.hardswish`.

    ``grad_x = grad_y * (2 * x + 3) / 6`` between -3 and 3, 0 below and `grad_y` above. At the bends themselves that of
    the straight piece outside is taken, as PyTorch does.
    """
    xp = array_module(x)
    slope = xp.where(x < 3, (2.0 * x + 3.0) / 6.0, 1.0)
    return grad_y * xp.where(x > -3, slope, 0.0).astype(x.dtype, copy=False)


@gradient_of(layers.identity, "x")
def identity_backward(grad_y: Array, x: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.identity`: `grad_y` as it is."""
    return grad_y


#: The backward function of each function of ``npconv.layers.ACTIVATIONS``.
_BACKWARD: dict[Callable[[Array], Array], Callable[[Array, Array], Array]] = {
    layers.gelu: gelu_backward,
    layers.gelu_tanh: gelu_tanh_backward,
    layers.quick_gelu: quick_gelu_backward,
    layers.relu: relu_backward,
    layers.silu: silu_backward,
    layers.selu: selu_backward,
    layers.mish: mish_backward,
    layers.hardswish: hardswish_backward,
    layers.identity: identity_backward,
}


def activation_backward(hidden_act: str) -> Callable[[Array, Array], Array]:
    """Return the backward function of the activation of a name, an `InputError` if it is unknown."""
    return _BACKWARD[layers.activation(hidden_act)]
