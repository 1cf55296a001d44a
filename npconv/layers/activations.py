"""Activation functions, element by element.

Three functions are called GELU in the wild, and they differ by up to 2e-2: which one a checkpoint was trained with
belongs to its configuration (``hidden_act``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from npconv.backend import Array, array_module, special_functions
from npconv.errors import InputError
from npconv.layers.shapes import guarded, shapes
from npconv.messages import quoted

elementwise = shapes(x="...", result="...")


@elementwise
def gelu(x: Array) -> Array:
    """Gaussian error linear unit, the exact form: ``x * (1 + erf(x / sqrt(2))) / 2``.

    https://arxiv.org/abs/1606.08415; ``torch.nn.GELU()``. The activation of ConvNeXt, V2 and transformers' CvT.
    """
    return x * 0.5 * (1.0 + special_functions(x).erf(x / math.sqrt(2.0)))


@elementwise
def gelu_tanh(x: Array) -> Array:
    """GELU by its tanh approximation: ``x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2``.

    At most 4.7e-4 away from :func:`gelu`, at x = -2.70 (and +2.70). ``torch.nn.GELU(approximate="tanh")``.
    """
    xp = array_module(x)
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x))
    return 0.5 * x * (1.0 + xp.tanh(inner))


@elementwise
def quick_gelu(x: Array) -> Array:
    """GELU by a logistic curve: ``x / (1 + exp(-1.702 * x))``.

    At most 2.0e-2 away from :func:`gelu`, at x = -2.27 (and +2.27). The activation of Microsoft's CvT.
    """
    return x * special_functions(x).expit(1.702 * x)


@guarded(x="...", result="...")
def relu(x: Array) -> Array:
    """Rectified linear unit: ``max(x, 0)``."""
    return array_module(x).maximum(x, 0)


@elementwise
def silu(x: Array) -> Array:
    """Sigmoid linear unit, also called swish: ``x / (1 + exp(-x))``.

    https://arxiv.org/abs/1606.08415, section 2; ``torch.nn.SiLU``.
    """
    return x * special_functions(x).expit(x)


@elementwise
def selu(x: Array) -> Array:
    """Scaled exponential linear unit: ``scale * x`` for positive x, ``scale * alpha * (exp(x) - 1)`` for negative x.

    The two constants keep mean 0 and variance 1; https://arxiv.org/abs/1706.02515, equation 14. ``torch.nn.SELU``.
    """
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    xp = array_module(x)
    negative = alpha * xp.expm1(xp.minimum(x, 0))
    return scale * (xp.maximum(x, 0) + negative)


@elementwise
def mish(x: Array) -> Array:
    """Mish: ``x * tanh(log(1 + exp(x)))``.

    https://arxiv.org/abs/1908.08681; ``torch.nn.Mish``.
    """
    xp = array_module(x)
    softplus = xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))  # exp never sees a positive number
    return x * xp.tanh(softplus)


@elementwise
def hardswish(x: Array) -> Array:
    """Swish from straight pieces: ``x * clip(x + 3, 0, 6) / 6``.

    https://arxiv.org/abs/1905.02244, section 5.2; ``torch.nn.Hardswish``.
    """
    xp = array_module(x)
    return x * xp.clip(x + 3.0, 0.0, 6.0) / 6.0


def identity(x: Array) -> Array:
    """Return `x` as it is: the activation named ``"linear"``."""
    return x


#: Names that a configuration's ``hidden_act`` may have, with the functions they stand for in transformers.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_python_tanh": gelu_tanh,
    "gelu_accurate": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": relu,
    "selu": selu,
    "silu": silu,
    "swish": silu,
    "mish": mish,
    "hardswish": hardswish,
    "linear": identity,
}


def activation(hidden_act: str | Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return the activation function of a name that is known; a callable is returned as it is."""
    if callable(hidden_act):
        return hidden_act
    if not isinstance(hidden_act, str) or hidden_act not in ACTIVATIONS:
        raise InputError(
            f"expected hidden_act to be a callable or one of {', '.join(ACTIVATIONS)}; got {quoted(hidden_act)}"
        )
    return ACTIVATIONS[hidden_act]
