"""Precision: what is computed in fewer bits than float32 has."""

from __future__ import annotations

from functools import partial

import numpy as np

from npconv.golden.mistakes.precision import HALF, to_bits
from npconv.layers import gelu
from tests.golden.unlisted.entry import Entry, reason
from tests.golden.unlisted.parameters import int8
from tests.golden.unlisted.port import computed, first_input

entry = partial(Entry, "precision")

FLOAT16, BFLOAT16 = r"(?<!b)float16|\bfp16\b|half", r"bfloat16|bf16"


def brain(array):
    """Round to bfloat16."""
    return to_bits(np.asarray(array, np.float32), 7)


def softmax_in_bfloat16(right, x, *, axis):
    """Round after each operation."""
    x = brain(x)
    exponentials = brain(np.exp(brain(x - x.max(axis=axis, keepdims=True))))
    return brain(exponentials / brain(exponentials.sum(axis=axis, keepdims=True)))


def layer_norm_in_bfloat16(right, x, *, weight, bias, eps, axis):
    """Round after each operation."""
    shape = [1] * x.ndim
    shape[axis] = -1
    x = brain(x)
    centred = brain(x - brain(x.mean(axis=axis, keepdims=True)))
    variance = brain(brain(centred * centred).mean(axis=axis, keepdims=True))
    normal = brain(centred / brain(np.sqrt(brain(variance + np.float32(eps)))))
    return brain(brain(normal * brain(weight).reshape(shape)) + brain(bias).reshape(shape))


def batch_norm_in_float16(right, x, *, eps, **params):
    """Take everything in float16."""
    halves = {name: value.astype(HALF)[:, None, None] for name, value in params.items() if value.ndim}
    normal = (x.astype(HALF) - halves["running_mean"]) / np.sqrt(halves["running_var"] + HALF(eps))
    return normal * halves["weight"] + halves["bias"]


def grn_in_float16(right, x, relative, *, weight, bias):
    """Take the last part of GRN in float16."""
    x, relative, weight, bias = (array.astype(HALF) for array in (x, relative, weight, bias))
    return weight.reshape(-1, 1, 1) * (x * relative) + bias.reshape(-1, 1, 1) + x


def depthwise_summed_in_bfloat16(right, x, *, weight, bias, stride, padding):
    """Round after each product and sum."""
    kernel_h, kernel_w = weight.shape[2:]
    padded = np.pad(brain(x), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    total = np.zeros_like(x)
    for u in range(kernel_h):
        for v in range(kernel_w):
            seen = padded[:, :, u : u + x.shape[2], v : v + x.shape[3]]
            total = brain(total + brain(brain(weight[:, :, u, v, None]) * seen))
    return total + bias[:, None, None]


ENTRIES = (
    entry(
        *("softmax-in-bfloat16", "cvt", "stages.0.layers.0.attention.attention.dropout"),
        computed(softmax_in_bfloat16),
        reason(BFLOAT16),
        "attention without a float32 softmax",
    ),
    entry(
        *("layer-norm-in-bfloat16", "dinov3_convnext", "stages.0.layers.1.layer_norm"),
        computed(layer_norm_in_bfloat16),
        reason(BFLOAT16),
        "model.to(bfloat16) on a library whose norm does not widen",
    ),
    entry(
        *(
            "batch-norm-in-float16",
            "cvt",
            "stages.0.layers.0.attention.attention.convolution_projection_query.convolution_projection.normalization",
        ),
        computed(batch_norm_in_float16),
        reason(FLOAT16),
        "a kernel in half precision",
    ),
    entry(
        *("gelu-in-float16", "convnext", "stages.0.layers.0.act"),
        computed(lambda right, x, hidden_act: gelu(x.astype(HALF).astype(np.float32)).astype(HALF)),
        reason(FLOAT16),
        "a table of 65536 values, as in ggml",
    ),
    entry(
        *("grn-in-float16", "convnextv2", "stages.0.layers.0.grn"),
        computed(grn_in_float16),
        reason(FLOAT16),
        "only the strength widened to float32",
    ),
    entry(
        *("residual-in-float16", "convnext", "stages.0.layers.1"),
        computed(lambda right, x, branch: x.astype(HALF) + branch.astype(HALF)),
        reason(FLOAT16),
        "a residual stream in half precision",
    ),
    entry(
        *("depthwise-summed-in-bfloat16", "dinov3_convnext", "stages.0.layers.0.depthwise_conv"),
        computed(depthwise_summed_in_bfloat16),
        reason(BFLOAT16),
        "an accumulator of the type of the map",
    ),
    entry(
        *("pool-in-bfloat16", "dinov3_convnext", "pool"),
        computed(lambda right, x: brain(right(brain(x)))),
        reason(BFLOAT16),
        "a mean of bfloat16 given out in bfloat16",
    ),
    entry(
        *("layer-scale-in-float16", "convnext", "stages.0.layers.0.layer_scale"),
        computed(lambda right, x, layer_scale_parameter: right(x.astype(HALF), layer_scale_parameter.astype(HALF))),
        reason(FLOAT16),
        "a product in half precision under autocast",
    ),
    entry(
        *("activations-in-int8", "cvt", "stages.0.layers.0.intermediate.dense"),
        first_input(int8),
        reason(r"int8|8 bits", r"input|activation"),
        "dynamic quantization, one scale a tensor",
    ),
)
