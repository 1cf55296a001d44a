"""A port of convnextv2-cifar10, float32 with the channels last; lesson 11 puts broken parts into it."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

from npconv.golden.trace_file import Trace


def exact_gelu(x):
    """Return x times the normal distribution of x."""
    return x * (1 + erf(x / np.float32(np.sqrt(2)))) / 2


def patches(x, weight, bias):
    """Multiply patches that do not overlap (N, H, W, C) by a kernel (O, C, k, k)."""
    n, height, width, c = x.shape
    k = weight.shape[2]
    cut = x.reshape(n, height // k, k, width // k, k, c).transpose(0, 1, 3, 2, 4, 5)
    matrix = weight.transpose(2, 3, 1, 0).reshape(k * k * c, -1)
    return cut.reshape(n, height // k, width // k, k * k * c) @ matrix + bias


def depthwise(x, weight, bias):
    """Shift and add (lesson 03), with a kernel (C, 1, 7, 7)."""
    padded = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    total = np.zeros_like(x) + bias
    for row in range(7):
        for column in range(7):
            total += weight[:, 0, row, column] * padded[:, row : row + x.shape[1], column : column + x.shape[2]]
    return total


def normalize(x, weight, bias, eps=1e-6):
    """LayerNorm over the last axis."""
    deviation = x - x.mean(axis=-1, keepdims=True)
    return deviation / np.sqrt(x.var(axis=-1, keepdims=True) + np.float32(eps)) * weight + bias


def respond(x, weight, bias):
    """GRN of (N, H, W, C)."""
    strength = np.sqrt((x * x).sum(axis=(1, 2), keepdims=True))
    return weight * (x * strength / (strength.mean(axis=-1, keepdims=True) + np.float32(1e-6))) + bias + x


RIGHT = {"patches": patches, "dw": depthwise, "norm": normalize, "gelu": exact_gelu, "grn": respond}


def run_port(pixel_values, weights, parts=RIGHT):
    """Run the port made of some parts, with the channels last; return its arrays by name."""
    found = Trace()

    def keep(name, array):
        found.add(name, array)
        return array

    def layer(kind, name, x):
        return keep(name, parts[kind](x, weights[f"{name}.weight"], weights[f"{name}.bias"]))

    def matrix(name, x):
        weight = weights[f"{name}.weight"]
        return keep(name, x @ weight.reshape(len(weight), -1).T + weights[f"{name}.bias"])

    keep("pixel_values", pixel_values)
    x = layer("patches", "convnextv2.embeddings.patch_embeddings", pixel_values.transpose(0, 2, 3, 1))
    x = layer("norm", "convnextv2.embeddings.layernorm", x)
    for stage, depth in enumerate((5, 4, 1)):
        prefix = f"convnextv2.encoder.stages.{stage}"
        if stage > 0:
            x = layer("norm", f"{prefix}.downsampling_layer.0", x)
            x = layer("patches", f"{prefix}.downsampling_layer.1", x)
        for index in range(depth):
            block = f"{prefix}.layers.{index}"
            y = layer("norm", f"{block}.layernorm", layer("dw", f"{block}.dwconv", x))
            y = keep(f"{block}.act", parts["gelu"](matrix(f"{block}.pwconv1", y)))
            x = keep(block, x + matrix(f"{block}.pwconv2", layer("grn", f"{block}.grn", y)))
    x = layer("norm", "convnextv2.layernorm", x.mean(axis=(1, 2)))
    matrix("classifier", x)
    return found
