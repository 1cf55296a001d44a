"""Mistakes in the gradients of global response normalization (GRN)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import Edit, mistake, of_gradient

strength, relative, applied = (
    partial(mistake, operation)
    for operation in ("grn_strength_backward", "grn_relative_backward", "grn_apply_backward")
)


def of_strength(function: Callable[[Any, Any, Any], Any]) -> Edit:
    """Make the gradient of the map of the upstream one, the map and its strength."""
    return Edit(lambda right, grad_y, x, y, *, wrt: function(grad_y, x, y))


strength("grn-backward-strength-constant", "GRN strength taken for a constant", "statistics under no_grad")(
    of_strength(lambda grad_y, x, y: np.zeros_like(x))
)
strength("grn-backward-strength-not-divided", "gradient of GRN strength not divided by it", "a sum with no root")(
    of_strength(lambda grad_y, x, y: grad_y * x)
)
strength("grn-backward-strength-squared", "gradient of GRN strength divided by its square", "the root left out")(
    of_strength(lambda grad_y, x, y: grad_y * x / np.where(y > 0, y * y, 1))
)
strength("grn-backward-dead-channel", "gradient of a dead channel's strength 0 / 0", "the derivative of a root at 0")(
    of_strength(lambda grad_y, x, y: grad_y * x / y)
)
strength(
    "grn-backward-strength-doubled", "gradient of GRN strength doubled", "the 2 of x * x without the 1 / 2 of the root"
)(of_strength(lambda grad_y, x, y: 2 * grad_y * x / np.where(y > 0, y, 1)))
strength(
    "grn-backward-strength-averaged",
    "gradient of GRN strength divided by the number of positions",
    "a root mean square in place of a norm",
)(of_strength(lambda grad_y, x, y: grad_y * x / np.where(y > 0, y, 1) / (x.shape[2] * x.shape[3])))


def of_mean(function: Callable[[Any, Any, Any], Any]) -> Edit:
    """Make the gradient of the strength of the upstream one, the strength and its mean with eps."""

    def call(right: Any, grad_y: Any, strength: Any, *, eps: float, wrt: str) -> Any:
        return function(grad_y, strength, strength.mean(axis=1, keepdims=True) + eps)

    return Edit(call)


relative("grn-backward-mean-constant", "GRN mean taken for a constant", "a statistic under no_grad")(
    of_mean(lambda grad_y, strength, mean: grad_y / mean)
)
relative("grn-backward-mean-added", "gradient through the GRN mean added", "a sign")(
    of_mean(lambda grad_y, strength, mean: grad_y / mean + (grad_y * strength).mean(axis=1, keepdims=True) / mean**2)
)
relative(
    "grn-backward-mean-summed",
    "gradient through the GRN mean not divided by the channels",
    "a sum in place of a mean",
)(of_mean(lambda grad_y, strength, mean: grad_y / mean - (grad_y * strength).sum(axis=1, keepdims=True) / mean**2))
relative(
    "grn-backward-mean-over-batch",
    "gradient through the GRN mean taken over the batch as well",
    "ConvNeXt-V2#85",
)(
    of_mean(
        lambda grad_y, strength, mean: grad_y / mean - (grad_y * strength).mean(axis=(0, 1), keepdims=True) / mean**2
    )
)
relative(
    "grn-backward-mean-not-squared",
    "gradient through the GRN mean divided by it once",
    "the derivative of 1 / m taken for -1 / m",
)(of_mean(lambda grad_y, strength, mean: grad_y / mean - (grad_y * strength).mean(axis=1, keepdims=True) / mean))
relative("grn-backward-relative-missing", "gradient of GRN strength passed on as it is", "half of the formula")(
    of_mean(lambda grad_y, strength, mean: grad_y.copy())
)


def of_factors(argument: str, function: Callable[[Any, Any, Any, Any], Any]) -> Edit:
    """Make one gradient of the upstream one, the map, the relative strengths and the weight of each channel."""

    def call(right: Any, grad_y: Any, x: Any, relative: Any, *, weight: Any, wrt: str, **others: Any) -> Any:
        made = function(grad_y, x, relative, weight.reshape(-1, 1, 1))
        return made.reshape(weight.shape) if wrt == "weight" else made

    return Edit(call, of_gradient(argument))


POSITIONS, ALL = (2, 3), (0, 2, 3)

applied("grn-backward-no-residual", "gradient of GRN without its residual", "the + 1 is part of the layer")(
    of_factors("x", lambda grad_y, x, relative, weight: grad_y * weight * relative)
)
applied("grn-backward-residual-only", "gradient of GRN through its residual alone", "the scaled branch cut off")(
    of_factors("x", lambda grad_y, x, relative, weight: grad_y.copy())
)
applied("grn-backward-no-weight", "gradient of GRN's map without the weight", "a factor that was left out")(
    of_factors("x", lambda grad_y, x, relative, weight: grad_y * (relative + 1))
)
applied(
    "grn-backward-relative-no-weight", "gradient of GRN's relative strength without the weight", "a factor left out"
)(of_factors("relative", lambda grad_y, x, relative, weight: (grad_y * x).sum(axis=POSITIONS, keepdims=True)))
applied(
    "grn-backward-relative-averaged",
    "gradient of GRN's relative strength averaged over positions",
    "a mean in place of a sum",
)(of_factors("relative", lambda grad_y, x, relative, weight: (grad_y * x * weight).mean(axis=POSITIONS, keepdims=True)))
applied(
    "grn-backward-weight-no-relative", "weight's gradient without the relative strength", "a factor that was left out"
)(of_factors("weight", lambda grad_y, x, relative, weight: (grad_y * x).sum(axis=ALL)))
applied(
    "grn-backward-weight-of-result",
    "weight's gradient of the whole result, its residual included",
    "the layer's result kept in place of x * relative",
)(of_factors("weight", lambda grad_y, x, relative, weight: (grad_y * x * (weight * relative + 1)).sum(axis=ALL)))
