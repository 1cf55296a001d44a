"""Mistakes in precision: sums in float16, factors of fewer bits than float32 has, and the one-pass variance.

A result that is stored in float16 or bfloat16 is none of these: :mod:`npconv.golden.diagnose` sees it by the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.attention import merged
from npconv.golden.mistakes.catalogue import Edit, mistake
from npconv.golden.mistakes.convolution import EVERY
from npconv.golden.mistakes.normalization import affine
from npconv.golden.roundings import cut_to_tf32, to_bits, to_float16
from npconv.layers.tokens import split_heads
from npconv.plan.shapes import as_pair

HALF = np.float16
PRODUCT = "products summed in float16"
NO_ACCUMULATOR = "half-precision attention without a float32 accumulator"

#: What has weights, and what multiplies matrices.
WEIGHTED = (*EVERY, "linear")
PRODUCTS = (*WEIGHTED, "attention_scores", "attention_context")

#: Why golden cases cannot tell some of these apart.
EXACT = "inputs and parameters of cases are exact in float16"


def multiply(a: Any, b: Any) -> Any:
    """Multiply matrices (..., M, K) and (..., K, N), every product and every sum rounded to float16."""
    a, b = a.astype(HALF), b.astype(HALF)
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    total = np.zeros((*shape, a.shape[-2], b.shape[-1]), HALF)
    for k in range(a.shape[-1]):
        total += a[..., :, k, None] * b[..., None, k, :]
    return total


def convolution(x: Any, weight: Any, *, stride: Any = 1, padding: Any = 0, dilation: int = 1) -> Any:
    """Return a matrix product over the windows, in as many groups as the weight's input channels tell."""
    (rows, columns), (down, right), kernel = as_pair(padding), as_pair(stride), weight.shape[2:] or (1, 1)
    padded = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
    reach = tuple((side - 1) * dilation + 1 for side in kernel)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))[:, :, ::down, ::right]
    windows = windows[..., ::dilation, ::dilation]
    groups, (height, width) = x.shape[1] // weight.shape[1], windows.shape[2:4]
    seen = windows.transpose(0, 1, 4, 5, 2, 3).reshape(len(x), groups, -1, height * width)
    return multiply(weight.reshape(groups, len(weight) // groups, -1), seen).reshape(len(x), -1, height, width)


@mistake((*EVERY, "linear"), "float16", PRODUCT, "ConvNeXt-V2#66, ConvNeXt#80", is_slow=True)
def product(x: Any, weight: Any, bias: Any = None, **window: Any) -> Any:
    """Add the bias to a product in float16, in the precision of the input."""
    y = (convolution(x, weight, **window) if x.ndim == 4 else multiply(x, weight.T)).astype(x.dtype)
    return y if bias is None else y + (bias[:, None, None] if x.ndim == 4 else bias)


@mistake("attention_scores", "scores-float16", PRODUCT, NO_ACCUMULATOR, is_slow=True)
def scores(query: Any, key: Any, *, num_heads: int, scale: float) -> Any:
    """Multiply queries and keys."""
    products = multiply(split_heads(query, num_heads), split_heads(key, num_heads).transpose(0, 1, 3, 2))
    return products.astype(query.dtype) * scale


@mistake("attention_context", "context-float16", PRODUCT, NO_ACCUMULATOR, is_slow=True)
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


#: What a format is called, and what rounds to it. Of factors, TF32 and float16 keep the same bits.
FORMATS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "tf32": ("TF32 or float16", partial(to_bits, bits=10)),
    "tf32-cut": ("TF32 (cut, not rounded)", cut_to_tf32),
    "bfloat16": ("bfloat16", partial(to_bits, bits=7)),
    "float16": ("float16", to_float16),
}


def of_rounded(change: Callable[[Any], Any], *kept: str, inputs: bool = True) -> Edit:
    """Do the right operation on rounded parameters, without some, and on rounded inputs if they are to be."""

    def call(right: Callable[..., Any], *arrays: Any, **arguments: Any) -> Any:
        rounded = {
            name: change(value) if isinstance(value, np.ndarray) and name not in kept else value
            for name, value in arguments.items()
        }
        return right(*map(change, arrays) if inputs else arrays, **rounded)

    return Edit(call)


FACTORS = {
    "tf32": "torch.backends.cudnn.allow_tf32, on by default; half-precision units that sum in float32",
    "tf32-cut": "tensor cores that are given float32 as it is",
    "bfloat16": "the default precision of XLA on TPUs",
}
for key, origin in FACTORS.items():
    title, change = FORMATS[key]
    mistake(PRODUCTS, f"{key}-factors", f"products of {title} factors, summed in float32", origin)(
        of_rounded(change, "bias")
    )
for key in ("bfloat16", "float16"):
    title, change = FORMATS[key]
    unseen = EXACT if key == "float16" else ""
    mistake(
        WEIGHTED,
        f"{key}-weights",
        f"weights stored in {title}",
        "a checkpoint saved in half precision",
        unseen=unseen,
    )(of_rounded(change, inputs=False))
    mistake(
        WEIGHTED,
        f"{key}-layer",
        f"input, weight and bias in {title}, summed in float32",
        f"torch.autocast, model.to(torch.{title})",
        applies=lambda step: "bias" in step.params,
        unseen=unseen,
    )(of_rounded(change))


# Squares are infinite beyond 255.9, their sum sooner.
mistake("grn_strength", "grn-float16", "GRN squares summed in float16 (overflow)", "ConvNeXt-V2#66")(
    lambda x: np.sqrt((x.astype(HALF) ** 2).sum(axis=(2, 3), keepdims=True, dtype=HALF)).astype(x.dtype)
)
mistake("global_average_pool", "pool-float16", "mean summed in float16", "ConvNeXt#80")(
    lambda x: x.astype(HALF).mean(axis=(2, 3), dtype=HALF).astype(x.dtype)
)
