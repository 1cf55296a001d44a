"""Mistakes of other kinds and places, to see whether the search was made for the hundred examples."""

from __future__ import annotations

import numpy as np

from npconv.layers import gelu, softmax
from tests.golden.specimens import PICTURE
from tests.golden.unlisted.entry import Entry, reason
from tests.golden.unlisted.geometry import bordered
from tests.golden.unlisted.parameters import int8
from tests.golden.unlisted.photos import BICUBIC, BILINEAR
from tests.golden.unlisted.port import at, both, computed, every, first_input, load, result, settings, takes, weights
from tests.golden.unlisted.precision import BFLOAT16, brain, layer_norm_in_bfloat16

A = "attention.attention"


def without_last_key(right, x, *, axis):
    """Keep the last key from being seen."""
    return softmax(np.where(np.arange(x.shape[-1]) < x.shape[-1] - 1, x, np.float32(-np.inf)), axis=axis)


def norm_over_batch(right, x, *, weight, bias, eps, axis):
    """Normalize each feature over the pictures."""
    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + np.float32(eps)) * weight + bias


def of_565(image):
    """Keep 5, 6 and 5 bits of the colours."""
    return image & np.uint8([0xF8, 0xFC, 0xF8])[:, None, None]


ENTRIES = tuple(
    Entry(kind, name, family, step, how, accepts, "another place", **model)
    for kind, name, family, step, how, accepts, model in (
        (
            *("parameters", "pointwise-of-another-block", "dinov3_convnext", "stages.0.layers.1.pointwise_conv1"),
            load("weight", of="stages.0.layers.0.pointwise_conv1"),
            reason(r"layers\.0\.pointwise_conv1\.weight"),
            {},
        ),
        (
            *("parameters", "int8-after-attention", "cvt", "stages.0.layers.1.attention.output.dense"),
            weights(weight=int8),
            reason("int8", "one scale"),
            {},
        ),
        (
            *("parameters", "inputs-rolled", "convnext", "stages.1.downsampling_layer.1"),
            weights(weight=lambda w: np.roll(w, 1, axis=1)),
            reason("roll|order"),
            {},
        ),
        (
            *("parameters", "stem-takes-gbr", "dinov3_convnext", "stages.0.downsample_layers.0"),
            weights(weight=lambda w: w[:, [1, 2, 0]]),
            reason("roll|order|gbr"),
            {},
        ),
        (
            *("parameters", "scale-of-another-block", "convnext", "stages.0.layers.1.layer_scale"),
            load("layer_scale_parameter", of="stages.0.layers.0.layer_scale"),
            reason(r"layers\.0\.layer_scale_parameter"),
            {},
        ),
        (
            *("continuous", "norm-eps-1e-4", "convnext", "stages.0.layers.1.layernorm"),
            settings(eps=1e-4),
            reason("eps", numbers=(1e-4,)),
            {"model": "tiny variance"},
        ),
        (
            *("continuous", "scale-of-64", "cvt", f"stages.1.layers.0.{A}.scores"),
            settings(scale=0.125),
            reason(numbers=(0.125, 0.125 * 12**0.5)),
            {},
        ),
        (
            *("continuous", "layer-scale-times-0.1", "convnext", "stages.1.layers.0.layer_scale"),
            result(lambda y: y * 0.1),
            reason(numbers=(0.1,)),
            {},
        ),
        (
            "continuous",
            "temperature",
            "cvt",
            "classifier",
            result(lambda y: y / 0.07),
            reason(numbers=(0.07, 1 / 0.07)),
            {},
        ),
        (
            *("continuous", "mean-of-one-less", "convnextv2", "stages.1.layers.0.grn.relative"),
            result(lambda y: y * 0.75),
            reason(numbers=(0.75,)),
            {},
        ),
        (
            *("continuous", "offset-of-activation", "dinov3_convnext", "stages.0.layers.1.activation_fn"),
            result(lambda y: y + 0.17),
            reason(numbers=(0.17,)),
            {},
        ),
        (
            *("precision", "scores-in-bfloat16", "cvt", f"stages.0.layers.1.{A}.scores"),
            result(brain),
            reason(BFLOAT16),
            {},
        ),
        (
            *("precision", "norm-before-in-bfloat16", "cvt", "stages.1.layers.0.layernorm_before"),
            computed(layer_norm_in_bfloat16),
            reason(BFLOAT16),
            {},
        ),
        (
            *("geometry", "map-rolled", "convnext", "stages.1.downsampling_layer.1"),
            first_input(lambda x: np.roll(x, 1, axis=3)),
            reason("roll|shift"),
            {},
        ),
        (
            *("geometry", "reflected-in-the-second-stage", "convnextv2", "stages.1.layers.0.dwconv"),
            bordered((3, 3), (3, 3), "reflect"),
            reason("reflect|mirror"),
            {},
        ),
        (
            *(
                "geometry",
                "key-map-mirrored",
                "cvt",
                f"stages.0.layers.1.{A}.convolution_projection_key.convolution_projection.convolution",
            ),
            first_input(lambda x: x[:, :, :, ::-1]),
            reason("mirror|flip|revers"),
            {},
        ),
        (
            *("geometry", "dilation-of-three", "dinov3_convnext", "stages.0.layers.0.depthwise_conv"),
            settings(padding=9, dilation=3),
            reason("dilat", numbers=(3.0,)),
            {},
        ),
        (
            *("structure", "first-block-left-out", "convnext", "stages.0.layers.1.dwconv"),
            both(
                takes("embeddings.layernorm"),
                at("stages.0.layers.1", takes("embeddings.layernorm", "")),
            ),
            reason("left out|block|embeddings"),
            {},
        ),
        (
            *("structure", "activation-after-both", "convnextv2", "stages.0.layers.0.pwconv2"),
            result(gelu),
            reason("gelu|activation|act"),
            {},
        ),
        (
            *("structure", "last-key-hidden", "cvt", f"stages.1.layers.0.{A}.dropout"),
            computed(without_last_key),
            reason("mask|last key|padding"),
            {},
        ),
        (
            *("structure", "pooled-of-first-sample", "dinov3_convnext", "pool"),
            result(lambda y: np.repeat(y[:1], len(y), axis=0)),
            reason("sample|batch|picture"),
            {},
        ),
        (
            *("structure", "head-norm-over-batch", "convnext", "layernorm"),
            computed(norm_over_batch),
            reason("axes|axis|batch|sample"),
            {},
        ),
        (
            *("several", "reflected-everywhere", "dinov3_convnext", "stages.0.layers.0.depthwise_conv"),
            every("depthwise_conv", bordered((3, 3), (3, 3), "reflect")),
            reason("reflect|mirror"),
            {},
        ),
        (
            *("several", "layer-scales-halved", "convnext", "stages.0.layers.0.layer_scale"),
            every("layer_scale", result(lambda y: y * 0.5)),
            reason(numbers=(0.5,)),
            {},
        ),
        (
            *("several", "eps-1e-4-everywhere", "convnext", "embeddings.layernorm"),
            every("layernorm", settings(eps=1e-4)),
            reason("eps", numbers=(1e-4,)),
            {"model": "tiny variance"},
        ),
        (
            *("several", "activations-cut-off", "convnextv2", "stages.0.layers.0.act"),
            every("act", result(lambda y: np.minimum(y, 0.75))),
            reason("cut|clip", numbers=(0.75,)),
            {},
        ),
        (
            *("preprocessing", "bgr-and-mirrored", PICTURE, "resized"),
            result(lambda y: y[::-1, :, ::-1].copy()),
            reason("bgr", "mirror"),
            {"model": BICUBIC},
        ),
        (
            *("preprocessing", "rgb565", PICTURE, "resized"),
            first_input(of_565),
            reason("bits|565|levels"),
            {"model": BILINEAR},
        ),
        (
            *("preprocessing", "over-254", PICTURE, "rescaled"),
            settings(factor=1 / 254),
            reason(numbers=(1 / 254, 255 / 254, 254.0)),
            {"model": BILINEAR},
        ),
        (
            *("preprocessing", "brightened", PICTURE, "rescaled"),
            result(lambda y: np.clip(y * 1.2, 0, 1).astype(np.float32)),
            reason(numbers=(1.2, 0.2)),
            {"model": BICUBIC},
        ),
    )
)
