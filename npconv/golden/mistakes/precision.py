"""Mistakes in the precision of sums: float16 where float32 is needed, and the one-pass variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from npconv.golden.mistakes.attention import merged
from npconv.golden.mistakes.catalogue import mistake
from npconv.golden.mistakes.convolution import pair
from npconv.golden.mistakes.normalization import affine
from npconv.layers.tokens import split_heads

HALF = np.float16
PRODUCT = "products summed in float16"


def multiply(a: Any, b: Any) -> Any:
    """Multiply matrices (..., M, K) and (..., K, N), every product and every sum rounded to float16."""
    a, b = a.astype(HALF), b.astype(HALF)
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    total = np.zeros((*shape, a.shape[-2], b.shape[-1]), HALF)
    for k in range(a.shape[-1]):
        total += a[..., :, k, None] * b[..., None, k, :]
    return total


@mistake("conv2d", "conv-float16", PRODUCT, "ConvNeXt-V2#66, ConvNeXt#80")
def conv(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """Return a matrix product over the windows."""
    (rows, columns), (down, right) = pair(padding), pair(stride)
    padded = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::down, ::right].transpose(0, 1, 4, 5, 2, 3)  # (N, C, kh, kw, H', W')
    shape = windows.shape
    y = multiply(weight.reshape(len(weight), -1), windows.reshape(len(x), -1, shape[4] * shape[5]))
    y = y.reshape(len(x), len(weight), *shape[4:]).astype(x.dtype)
    return y if bias is None else y + bias[:, None, None]


@mistake("depthwise_conv2d", "depthwise-float16", PRODUCT, "ConvNeXt-V2#66, ConvNeXt#80")
def depthwise(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """Shifted maps added up."""
    (rows, columns), (down, right) = pair(padding), pair(stride)
    padded = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns))).astype(HALF)
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))[:, :, ::down, ::right]
    y = np.zeros(windows.shape[:4], HALF)
    for u in range(weight.shape[2]):
        for v in range(weight.shape[3]):
            y += weight[:, 0, u, v, None, None].astype(HALF) * windows[..., u, v]
    y = y.astype(x.dtype)
    return y if bias is None else y + bias[:, None, None]


@mistake("pointwise_conv2d", "pointwise-float16", PRODUCT, "ConvNeXt-V2#66, ConvNeXt#80")
def pointwise(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return a matrix product at each position."""
    y = multiply(weight.reshape(weight.shape[:2]), x.reshape(*x.shape[:2], -1)).astype(x.dtype)
    y = y.reshape(len(x), len(weight), *x.shape[2:])
    return y if bias is None else y + bias[:, None, None]


@mistake("linear", "linear-float16", PRODUCT, "ConvNeXt-V2#66, ConvNeXt#80")
def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return a matrix product at each token."""
    y = multiply(x, weight.T).astype(x.dtype)
    return y if bias is None else y + bias


@mistake("attention_scores", "scores-float16", PRODUCT, "half-precision attention without a float32 accumulator")
def scores(query: Any, key: Any, *, num_heads: int, scale: float) -> Any:
    """Multiply queries and keys."""
    products = multiply(split_heads(query, num_heads), split_heads(key, num_heads).transpose(0, 1, 3, 2))
    return products.astype(query.dtype) * scale


@mistake("attention_context", "context-float16", PRODUCT, "half-precision attention without a float32 accumulator")
def context(probabilities: Any, value: Any) -> Any:
    """Probabilities times values."""
    return merged(multiply(probabilities, split_heads(value, probabilities.shape[1]))).astype(value.dtype)


@mistake("layer_norm", "layer-norm-float16", "LayerNorm in float16 (overflows beyond 255.9)", "ConvNeXt#80")
def layer_norm_in_half(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """Mean, squares and their mean in float16."""
    half = x.astype(HALF)
    deviation = half - half.mean(axis=axis, keepdims=True, dtype=HALF)
    variance = (deviation * deviation).mean(axis=axis, keepdims=True, dtype=HALF)
    return affine((deviation / np.sqrt(variance + HALF(eps))).astype(x.dtype), weight, bias, axis)


@mistake(
    "layer_norm",
    "layer-norm-one-pass",
    "LayerNorm variance in one pass (mean of squares minus squared mean)",
    "fused kernels; loses most digits at a large mean",
)
def one_pass(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """``mean(x**2) - mean(x)**2`` in float32."""
    single = x.astype(np.float32)
    mean = single.mean(axis=axis, keepdims=True)
    variance = (single * single).mean(axis=axis, keepdims=True) - mean * mean
    return affine(((single - mean) / np.sqrt(variance + np.float32(eps))).astype(x.dtype), weight, bias, axis)


@mistake("softmax", "softmax-float16", "softmax in float16", "half-precision attention")
def softmax_in_half(x: Any, *, axis: int) -> Any:
    """Exponentials and their sum in float16."""
    half = x.astype(HALF)
    exponentials = np.exp(half - half.max(axis=axis, keepdims=True))
    return (exponentials / exponentials.sum(axis=axis, keepdims=True, dtype=HALF)).astype(x.dtype)


@mistake("grn_strength", "grn-float16", "GRN squares summed in float16 (overflow)", "ConvNeXt-V2#66")
def strength_in_half(x: Any) -> Any:
    """Squares are infinite beyond 255.9, their sum sooner."""
    half = x.astype(HALF)
    return np.sqrt((half * half).sum(axis=(2, 3), keepdims=True, dtype=HALF)).astype(x.dtype)


@mistake("global_average_pool", "pool-float16", "mean summed in float16", "ConvNeXt#80")
def pooled_in_half(x: Any) -> Any:
    """Sum in float16, which loses digits as the sum grows."""
    return x.astype(HALF).mean(axis=(2, 3), dtype=HALF).astype(x.dtype)
