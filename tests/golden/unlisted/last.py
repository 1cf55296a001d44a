"""Twenty more mistakes, written when those of ``fresh`` had been looked at, and looked at by nobody before they ran."""

from __future__ import annotations

import numpy as np

from tests.golden.specimens import PICTURE
from tests.golden.unlisted.entry import Entry, reason
from tests.golden.unlisted.geometry import bordered
from tests.golden.unlisted.parameters import int8_a_channel
from tests.golden.unlisted.photos import BICUBIC, BILINEAR, HARD, mixed
from tests.golden.unlisted.port import at, both, computed, every, first_input, load, result, settings, takes, weights
from tests.golden.unlisted.precision import BFLOAT16, brain

A = "attention.attention"
KEY = f"stages.1.layers.0.{A}.convolution_projection_key.convolution_projection"


def entry(kind, name, family, step, how, accepts, **model):
    """Return a mistake."""
    return Entry(kind, name, family, step, how, accepts, "another place again", **model)


ENTRIES = (
    entry(
        *("parameters", "dense-of-another-block", "cvt", "stages.0.layers.1.output.dense"),
        load("weight", "bias", of="stages.0.layers.0.output.dense"),
        reason(r"layers\.0\.output\.dense"),
    ),
    entry(
        *("parameters", "kernel-turned-about", "convnext", "stages.0.layers.1.dwconv"),
        weights(weight=lambda w: np.rot90(w, axes=(2, 3))),
        reason("turn|rotat|90|exchanged"),
    ),
    entry(
        *("parameters", "head-in-int8", "convnextv2", "classifier"),
        weights(weight=int8_a_channel),
        reason("int8", "channel|row|output"),
    ),
    entry(
        *("parameters", "running-mean-not-loaded", "cvt", f"{KEY}.normalization"),
        weights(running_mean=np.zeros_like),
        reason("running_mean", r"\b0\b|initial"),
    ),
    entry(
        *("parameters", "gamma-of-the-next-norm", "dinov3_convnext", "stages.0.layers.0.layer_norm"),
        load("weight", of="stages.0.layers.1.layer_norm"),
        reason(r"layers\.1\.layer_norm\.weight"),
    ),
    entry(
        *("continuous", "grn-twice-as-strong", "convnextv2", "stages.0.layers.0.grn.relative"),
        result(lambda y: y * 2),
        reason(numbers=(2.0,)),
    ),
    entry(
        *("continuous", "values-scaled", "cvt", f"stages.0.layers.0.{A}.projection_value"),
        result(lambda y: y * 1.25),
        reason(numbers=(1.25,)),
    ),
    entry(
        *("continuous", "pool-offset", "convnext", "pooled"),
        result(lambda y: y - 0.3),
        reason(numbers=(-0.3, 0.3)),
        model="dilated",
    ),
    entry(
        *("continuous", "activation-at-six-tenths", "dinov3_convnext", "stages.0.layers.0.activation_fn"),
        result(lambda y: np.minimum(y, 0.6)),
        reason("cut|clip", numbers=(0.6,)),
    ),
    entry(
        *("precision", "residual-in-bfloat16", "dinov3_convnext", "stages.0.layers.1"),
        result(brain),
        reason(BFLOAT16),
    ),
    entry(
        *("precision", "query-in-bfloat16", "cvt", f"stages.1.layers.0.{A}.projection_query"),
        result(brain),
        reason(BFLOAT16),
    ),
    entry(
        *("geometry", "downsampling-padded", "convnextv2", "stages.1.layers.0.dwconv"),
        bordered((4, 2), (2, 4)),
        reason("shift|pad|above|left"),
    ),
    entry(
        *("geometry", "block-mirrored", "dinov3_convnext", "stages.0.layers.1.depthwise_conv"),
        first_input(lambda x: x[:, :, ::-1]),
        reason("upside|flip|mirror"),
    ),
    entry(
        *("geometry", "keys-around", "cvt", f"{KEY}.convolution"),
        bordered((1, 1), (1, 1), "wrap"),
        reason("other side|wrap|circular"),
    ),
    entry(
        *("structure", "branch-taken-away", "dinov3_convnext", "stages.0.layers.0"),
        computed(lambda right, x, branch: x - branch),
        reason("difference|minus|subtract"),
    ),
    entry(
        *("structure", "second-norm-skipped-and-first-kept", "cvt", "stages.0.layers.1.intermediate.dense"),
        takes("stages.0.layers.1.layernorm_before"),
        reason("layernorm_before"),
    ),
    entry(
        *("structure", "softmax-of-values", "cvt", f"stages.1.layers.0.{A}.dropout"),
        computed(lambda right, x, axis: right(right(x, axis=axis), axis=axis)),
        reason("twice|softmax"),
    ),
    entry(
        *("several", "biases-of-second-products-lost", "dinov3_convnext", "stages.0.layers.0.pointwise_conv2"),
        every("pointwise_conv2", result(lambda y: y * 1.1)),
        reason(numbers=(1.1,)),
    ),
    entry(
        *("several", "norm-twice-everywhere", "convnext", "stages.0.layers.0.pwconv1"),
        both(
            at("stages.0.layers.0.pwconv1", first_input(lambda x: x * 0.8)),
            at("stages.0.layers.1.pwconv1", first_input(lambda x: x * 0.8)),
        ),
        reason(numbers=(0.8,)),
    ),
    entry(
        *("preprocessing", "crop-higher-and-left", PICTURE, "cropped"),
        computed(lambda right, x, *, height, width, **how: right(x[:, :-2, :-2], height=height, width=width, **how)),
        reason("crop|begin"),
        model=HARD,
    ),
    entry(
        *("preprocessing", "box", PICTURE, "resized"),
        both(settings(resample=4), first_input(lambda x: x[:, :, ::-1].copy())),
        reason("box", "mirror"),
        model=BILINEAR,
    ),
    entry(
        *("preprocessing", "green-alone", PICTURE, "resized"),
        mixed(0.0, 1.0, 0.0),
        reason("green|channel|gr[ae]y"),
        model=BICUBIC,
    ),
)
