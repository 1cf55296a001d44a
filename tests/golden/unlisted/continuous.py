"""Numbers: a factor, an offset, an epsilon, a scale, an exponent or a bound."""

from __future__ import annotations

from functools import partial

import numpy as np

from npconv.golden.mistakes.normalization import affine, deviation
from tests.golden.unlisted.entry import Entry, reason
from tests.golden.unlisted.port import computed, first_input, result, settings, weights

entry = partial(Entry, "continuous")

ATTENTION = "attention.attention"
EPS = r"eps"


def by_root_of_deviation(right, x, *, weight, bias, eps, axis):
    """Divide by the root of the standard deviation."""
    spread = np.sqrt(np.sqrt(x.var(axis=axis, keepdims=True) + np.float32(eps)))
    return affine(deviation(x, axis) / spread, weight, bias, axis)


def quick_gelu_of(slope):
    """Return ``x * sigmoid(slope * x)``."""
    return computed(lambda right, x, hidden_act: x / (1 + np.exp(-np.float32(slope) * x)))


ENTRIES = (
    entry(
        *("layer-norm-eps-2e-5", "convnext", "stages.0.layers.0.layernorm"),
        settings(eps=2e-5),
        reason(EPS, numbers=(2e-5,)),
        "a constant mistyped",
        model="tiny variance",
    ),
    entry(
        *(
            "batch-norm-eps-1e-4",
            "cvt",
            f"stages.0.layers.0.{ATTENTION}.convolution_projection_value.convolution_projection.normalization",
        ),
        settings(eps=1e-4),
        reason(EPS, numbers=(1e-4,)),
        "the default of another library",
        model="tiny variance",
    ),
    entry(
        *("grn-eps-1e-3", "convnextv2", "stages.0.layers.0.grn.relative"),
        settings(eps=1e-3),
        reason(EPS, numbers=(1e-3,)),
        "keras.backend.epsilon of another normalization",
        model="tiny variance",
    ),
    entry(
        *("scale-not-rooted", "cvt", f"stages.0.layers.0.{ATTENTION}.scores"),
        settings(scale=1 / 3),
        reason(numbers=(1 / 3, 6**0.5 / 3)),
        "1 / head_dim for its root",
    ),
    entry(
        *("scale-of-tokens", "cvt", f"stages.1.layers.0.{ATTENTION}.scores"),
        settings(scale=31**-0.5),
        reason(numbers=(31**-0.5, (12 / 31) ** 0.5)),
        "shape[1] for shape[2]",
    ),
    entry(
        *("gelu-without-half", "dinov3_convnext", "stages.0.layers.0.activation_fn"),
        result(lambda y: y * np.float32(2)),
        reason(numbers=(2.0,)),
        "x * (1 + erf(x / sqrt(2))), its half left out",
    ),
    entry(
        *("gelu-of-half", "convnextv2", "stages.0.layers.1.act"),
        first_input(lambda x: x * np.float32(0.5)),
        reason(numbers=(0.5,)),
        "the half of GELU taken into its argument",
    ),
    entry(
        *("quick-gelu-1.7", "cvt", "stages.0.layers.0.intermediate.activation"),
        quick_gelu_of(1.7),
        reason(numbers=(1.7, 1.7 / 1.702), within=3e-4),
        "1.702 remembered as 1.7",
        model="class tokens, quick GELU",
    ),
    entry(
        *("root-of-deviation", "dinov3_convnext", "stages.1.layers.0.layer_norm"),
        computed(by_root_of_deviation),
        reason(r"exponent|power|root", numbers=(0.25, -0.25, 0.5)),
        "sqrt of what numpy.std gives out",
    ),
    entry(
        *("pool-of-7-by-7", "convnext", "averaged"),
        result(lambda y: y * np.float32(12 / 49)),
        reason(numbers=(12 / 49, 49 / 12)),
        "a sum divided by the 49 positions of a picture of 224 pixels",
        model="dilated",
    ),
    entry(
        *("activation-clipped", "convnext", "stages.0.layers.1.act"),
        result(lambda y: np.minimum(y, np.float32(1.5))),
        reason(r"clip|clamp|bound|limit|satur|cut|at most|maximum|minimum", numbers=(1.5,)),
        "the range of a calibration",
    ),
    entry(
        *("branch-times-0.9", "dinov3_convnext", "stages.0.layers.1"),
        computed(lambda right, x, branch: right(x, branch * np.float32(0.9))),
        reason(numbers=(0.9,)),
        "the scale of drop path kept for inference",
    ),
    entry(
        *("probabilities-over-0.9", "cvt", f"stages.0.layers.1.{ATTENTION}.dropout"),
        result(lambda y: y / np.float32(0.9)),
        reason(
            numbers=(1 / 0.9, 0.9),
        ),
        "the scale of dropout kept for inference",
    ),
    entry(
        *("gamma-from-one", "convnext", "embeddings.layernorm"),
        weights(weight=lambda w: w + 1),
        reason(r"weight|gamma", numbers=(1.0,), also_kinds=("parameters",)),
        "1 + weight, as in Gemma",
    ),
    entry(
        *("mean-of-one-more", "cvt", "pooled"),
        result(lambda y: y * np.float32(120 / 121)),
        reason(numbers=(120 / 121, 121 / 120), within=5e-4),
        "a class token counted that is not there",
        model="no class token, average pooling",
    ),
)
