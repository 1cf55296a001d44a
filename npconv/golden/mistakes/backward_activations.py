"""Mistakes in the derivatives of activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npconv.backend import special_functions
from npconv.golden.mistakes.activations import is_gelu, is_not, linear
from npconv.golden.mistakes.catalogue import Edit, leave_out, mistake
from npconv.gradients import (
    gelu_backward,
    gelu_tanh_backward,
    quick_gelu_backward,
    relu_backward,
    silu_backward,
)
from npconv.layers import activation as activation_of
from npconv.layers import gelu, gelu_tanh, quick_gelu, relu, silu

activation = partial(mistake, "activation_backward")


def by(slope: Callable[[Any], Any]) -> Callable[..., Any]:
    """Multiply the upstream gradient by a slope that is made of the input."""
    return lambda grad_y, x, hidden_act, wrt: grad_y * slope(x)


for key, function, backward, says, origin in (
    ("gelu-tanh", gelu_tanh, gelu_tanh_backward, "tanh GELU", "the default of jax.nn.gelu (jax#4428)"),
    ("gelu-quick", quick_gelu, quick_gelu_backward, "quick GELU", "Microsoft's CvT (timm#2176)"),
    ("gelu-erf", gelu, gelu_backward, "the erf GELU (the exact one)", "one backward for all that are called GELU"),
    ("relu", relu, relu_backward, "ReLU", "a mask in place of a derivative"),
    ("silu", silu, silu_backward, "SiLU", "EfficientNet's activation"),
):
    activation(f"activation-backward-{key}", f"derivative of {says}", origin, applies=is_not(function))(
        lambda grad_y, x, hidden_act, wrt, backward=backward: backward(grad_y, x)
    )


def distribution(x: Any) -> Any:
    """Return the normal distribution at each number."""
    return special_functions(x).ndtr(x)


def density(x: Any) -> Any:
    """Return the density of the normal distribution at each number."""
    return np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


gelu_slope = partial(activation, applies=is_gelu)
gelu_slope(
    "gelu-backward-without-density",
    "derivative of GELU without x * density",
    "the distribution taken for a constant, as the gate of a product",
)(by(distribution))
gelu_slope(
    "gelu-backward-density-alone", "derivative of GELU with the density not times x", "the product rule done by halves"
)(by(lambda x: distribution(x) + density(x)))
gelu_slope(
    "gelu-backward-density-unscaled",
    "derivative of GELU with a density not divided by sqrt(2 pi)",
    "exp(-x * x / 2) taken for the density",
)(by(lambda x: distribution(x) + x * np.exp(-0.5 * x * x)))
gelu_slope(
    "gelu-backward-density-of-erf",
    "derivative of GELU with the density exp(-x * x) of erf",
    "the derivative of erf without x / sqrt(2)",
)(by(lambda x: distribution(x) + x * np.exp(-x * x) / math.sqrt(math.pi)))
gelu_slope(
    "gelu-backward-by-erf",
    "derivative of GELU with its distribution by erf",
    "scipy.special.erf in place of scipy.stats.norm",
    invisible="the normal distribution is (1 + erf(x / sqrt(2))) / 2",
)(by(lambda x: 0.5 * (1.0 + special_functions(x).erf(x / math.sqrt(2.0))) + x * density(x)))

activation(
    "activation-backward-missing",
    "no derivative of the activation",
    "a line that was left out",
    applies=is_not(linear),
)(leave_out())
activation(
    "activation-backward-at-output",
    "derivative of the activation at its result",
    "an activation that works in place, or the wrong array kept",
    applies=is_not(linear, relu),
)(
    Edit(
        lambda right, grad_y, x, *, hidden_act, wrt: right(
            grad_y, activation_of(hidden_act)(x), hidden_act=hidden_act, wrt=wrt
        )
    )
)
activation(
    "activation-backward-no-upstream",
    "derivative of the activation without the upstream gradient",
    "the chain rule done by halves",
    applies=is_not(linear),
)(Edit(lambda right, grad_y, x, **others: right(np.ones_like(grad_y), x, **others)))
