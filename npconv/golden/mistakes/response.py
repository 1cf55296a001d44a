"""Mistakes in global response normalization (GRN)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import Edit, drop, leave_out, mistake, replaced, swap
from npconv.golden.mistakes.normalization import epsilons

strength, relative, applied = (
    partial(mistake, operation) for operation in ("grn_strength", "grn_relative", "grn_apply")
)

strength("grn-not-rooted", "GRN strength as a sum of squares, no root", "the squared norm")(
    replaced(lambda x: (x * x).sum(axis=(2, 3), keepdims=True))
)
strength(
    "grn-mean-over-positions",
    "GRN strength with the mean over positions, not the sum",
    "ConvNeXt-V2#14: a root mean square in place of a norm",
)(replaced(lambda x: np.sqrt((x * x).mean(axis=(2, 3), keepdims=True))))
strength("grn-absolute", "GRN strength as a sum of absolute values", "norm 1 in place of norm 2")(
    replaced(lambda x: np.abs(x).sum(axis=(2, 3), keepdims=True))
)
strength("grn-over-batch", "GRN strength over the batch as well", "ConvNeXt-V2#85")(
    replaced(lambda x: np.repeat(np.sqrt((x * x).sum(axis=(0, 2, 3), keepdims=True)), len(x), axis=0))
)
strength(
    "grn-over-channels",
    "GRN strength over channels, not positions",
    "axes of a channels-last map on a channels-first one",
)(replaced(lambda x: np.sqrt((x * x).sum(axis=1, keepdims=True))))
strength(
    "grn-over-channels-and-height",
    "GRN strength over axes 1 and 2 of a channels-first map",
    "dim=(1, 2) of the channels-last code on a channels-first map",
)(replaced(lambda x: np.sqrt((x * x).sum(axis=(1, 2), keepdims=True))))


def divided_by(total: Callable[[Any], Any]) -> Edit:
    """Divide the strength, (N, C, 1, 1), by something else than its mean over channels."""
    return Edit(lambda right, strength, *, eps: strength / (total(strength) + eps))


relative("grn-sum", "GRN strength divided by the sum over channels, not the mean", "ConvNeXt-V2#14")(
    divided_by(lambda strength: strength.sum(axis=1, keepdims=True))
)
relative("grn-mean-over-batch", "GRN mean taken over the batch as well", "ConvNeXt-V2#85")(
    divided_by(lambda strength: strength.mean(axis=(0, 1), keepdims=True))
)
relative("grn-not-relative", "GRN strength not divided by the mean", "half of the formula")(leave_out())
relative("grn-over-maximum", "GRN strength divided by the largest", "a normalization to 0..1")(
    divided_by(lambda strength: strength.max(axis=1, keepdims=True))
)
relative("grn-length", "GRN strength divided by the norm over channels", "L2 normalization")(
    divided_by(lambda strength: np.sqrt((strength * strength).sum(axis=1, keepdims=True)))
)

EPSILONS = {
    "1e-5": "the default of LayerNorm",
    "1e-12": "layer_norm_eps of the configuration",
    "0": "the formula of the paper's text",
}

epsilons("grn_relative", "grn", "GRN", EPSILONS)


def put_together(result: Callable[[Any, Any, Any, Any], Any]) -> Edit:
    """Compute something else of the map, the relative strengths, and weight and bias of each channel."""

    def call(right: Any, x: Any, relative: Any, *, weight: Any, bias: Any) -> Any:
        return result(x, relative, weight.reshape(-1, 1, 1), bias.reshape(-1, 1, 1))

    return Edit(call)


applied("grn-no-residual", "GRN without its residual", "the + x is part of the layer, not of the block")(
    put_together(lambda x, relative, weight, bias: weight * (x * relative) + bias)
)
applied("grn-no-bias", "GRN without bias", "grn.bias is grn.beta in older files")(
    put_together(lambda x, relative, weight, bias: weight * (x * relative) + x)
)
applied("grn-no-weight", "GRN without weight", "grn.weight is grn.gamma in older files")(drop("weight"))
applied("grn-swapped", "GRN weight and bias swapped", "gamma and beta by position")(swap("weight", "bias"))
applied("grn-residual-scaled", "GRN residual scaled by the weight", "brackets in another place")(
    put_together(lambda x, relative, weight, bias: weight * (x * relative + x) + bias)
)
applied("grn-statistics-left-out", "GRN as a plain scale and shift", "an affine layer by its weights")(
    put_together(lambda x, relative, weight, bias: weight * x + bias + x)
)
applied(
    "grn-one-factor",
    "GRN with the residual drawn into the factor",
    "fewer passes over the map",
    invisible="weight * (x * relative) + bias + x is x * (1 + weight * relative) + bias",
)(put_together(lambda x, relative, weight, bias: x * (1.0 + weight * relative) + bias))
