"""Mistakes in global response normalization (GRN)."""

from __future__ import annotations

from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import mistake
from npconv.golden.mistakes.normalization import has_other_eps


@mistake("grn-not-rooted", "GRN strength as a sum of squares, no root", "grn_strength", "the squared norm")
def not_rooted(x: Any) -> Any:
    """``sum(x**2)``."""
    return (x * x).sum(axis=(2, 3), keepdims=True)


@mistake(
    "grn-mean-over-positions",
    "GRN strength with the mean over positions, not the sum",
    "grn_strength",
    "ConvNeXt-V2#14: a root mean square in place of a norm",
)
def mean_over_positions(x: Any) -> Any:
    """``sqrt(mean(x**2))``."""
    return np.sqrt((x * x).mean(axis=(2, 3), keepdims=True))


@mistake("grn-absolute", "GRN strength as a sum of absolute values", "grn_strength", "norm 1 in place of norm 2")
def absolute(x: Any) -> Any:
    """``sum(|x|)``."""
    return np.abs(x).sum(axis=(2, 3), keepdims=True)


@mistake("grn-over-batch", "GRN strength over the batch as well", "grn_strength", "ConvNeXt-V2#85")
def strength_over_batch(x: Any) -> Any:
    """One strength of a channel for all samples."""
    strength = np.sqrt((x * x).sum(axis=(0, 2, 3), keepdims=True))
    return np.repeat(strength, len(x), axis=0)


@mistake(
    "grn-over-channels",
    "GRN strength over channels, not positions",
    "grn_strength",
    "axes of a channels-last map on a channels-first one",
)
def strength_over_channels(x: Any) -> Any:
    """Return the length of the channels at each position: (N, 1, H, W)."""
    return np.sqrt((x * x).sum(axis=1, keepdims=True))


@mistake(
    "grn-over-channels-and-height",
    "GRN strength over axes 1 and 2 of a channels-first map",
    "grn_strength",
    "dim=(1, 2) of the channels-last code on a channels-first map",
)
def strength_over_channels_and_height(x: Any) -> Any:
    """Return a strength for each column of the map: (N, 1, 1, W)."""
    return np.sqrt((x * x).sum(axis=(1, 2), keepdims=True))


@mistake("grn-sum", "GRN strength divided by the sum over channels, not the mean", "grn_relative", "ConvNeXt-V2#14")
def divided_by_sum(strength: Any, *, eps: float) -> Any:
    """C times too small."""
    return strength / (strength.sum(axis=1, keepdims=True) + eps)


@mistake("grn-mean-over-batch", "GRN mean taken over the batch as well", "grn_relative", "ConvNeXt-V2#85")
def mean_over_batch(strength: Any, *, eps: float) -> Any:
    """Let samples change one another."""
    return strength / (strength.mean(axis=(0, 1), keepdims=True) + eps)


@mistake("grn-not-relative", "GRN strength not divided by the mean", "grn_relative", "half of the formula")
def not_relative(strength: Any, *, eps: float) -> Any:
    """Return the strength as it is."""
    return strength.copy()


@mistake("grn-over-maximum", "GRN strength divided by the largest", "grn_relative", "a normalization to 0..1")
def divided_by_maximum(strength: Any, *, eps: float) -> Any:
    """At most 1."""
    return strength / (strength.max(axis=1, keepdims=True) + eps)


@mistake("grn-length", "GRN strength divided by the norm over channels", "grn_relative", "L2 normalization")
def divided_by_length(strength: Any, *, eps: float) -> Any:
    """Return a vector of length 1."""
    return strength / (np.sqrt((strength * strength).sum(axis=1, keepdims=True)) + eps)


@mistake("grn-eps-1e-5", "GRN eps 1e-5", "grn_relative", "the default of LayerNorm", applies=has_other_eps(1e-5))
def relative_eps_1e_5(strength: Any, *, eps: float) -> Any:
    """Return the eps of other norms."""
    return strength / (strength.mean(axis=1, keepdims=True) + 1e-5)


@mistake(
    "grn-eps-1e-12",
    "GRN eps 1e-12",
    "grn_relative",
    "layer_norm_eps of the configuration",
    applies=has_other_eps(1e-12),
)
def relative_eps_1e_12(strength: Any, *, eps: float) -> Any:
    """Return the eps of transformers' configurations."""
    return strength / (strength.mean(axis=1, keepdims=True) + 1e-12)


@mistake("grn-eps-0", "GRN without eps", "grn_relative", "the formula of the paper's text", applies=has_other_eps(0))
def relative_eps_0(strength: Any, *, eps: float) -> Any:
    """Nothing added: 0 / 0 on a map of zeros."""
    return strength / strength.mean(axis=1, keepdims=True)


@mistake("grn-no-residual", "GRN without its residual", "grn_apply", "the + x is part of the layer, not of the block")
def no_residual(x: Any, relative: Any, weight: Any, bias: Any) -> Any:
    """``weight * (x * relative) + bias``."""
    return weight.reshape(-1, 1, 1) * (x * relative) + bias.reshape(-1, 1, 1)


@mistake("grn-no-bias", "GRN without bias", "grn_apply", "grn.bias is grn.beta in older files")
def no_bias(x: Any, relative: Any, weight: Any, bias: Any) -> Any:
    """``weight * (x * relative) + x``."""
    return weight.reshape(-1, 1, 1) * (x * relative) + x


@mistake("grn-no-weight", "GRN without weight", "grn_apply", "grn.weight is grn.gamma in older files")
def no_weight(x: Any, relative: Any, weight: Any, bias: Any) -> Any:
    """``x * relative + bias + x``."""
    return x * relative + bias.reshape(-1, 1, 1) + x


@mistake("grn-swapped", "GRN weight and bias swapped", "grn_apply", "gamma and beta by position")
def swapped(x: Any, relative: Any, weight: Any, bias: Any) -> Any:
    """Each in the other's place."""
    return bias.reshape(-1, 1, 1) * (x * relative) + weight.reshape(-1, 1, 1) + x


@mistake("grn-residual-scaled", "GRN residual scaled by the weight", "grn_apply", "brackets in another place")
def residual_scaled(x: Any, relative: Any, weight: Any, bias: Any) -> Any:
    """``weight * (x * relative + x) + bias``."""
    return weight.reshape(-1, 1, 1) * (x * relative + x) + bias.reshape(-1, 1, 1)


@mistake("grn-statistics-left-out", "GRN as a plain scale and shift", "grn_apply", "an affine layer by its weights")
def statistics_left_out(x: Any, relative: Any, weight: Any, bias: Any) -> Any:
    """``weight * x + bias + x``."""
    return weight.reshape(-1, 1, 1) * x + bias.reshape(-1, 1, 1) + x


@mistake(
    "grn-one-factor",
    "GRN with the residual drawn into the factor",
    "grn_apply",
    "fewer passes over the map",
    invisible="weight * (x * relative) + bias + x is x * (1 + weight * relative) + bias",
)
def one_factor(x: Any, relative: Any, weight: Any, bias: Any) -> Any:
    """``x * (1 + weight * relative) + bias``."""
    return x * (1.0 + weight.reshape(-1, 1, 1) * relative) + bias.reshape(-1, 1, 1)
