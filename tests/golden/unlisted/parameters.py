"""Parameters: one of another place, at its initial value, in fewer bits, or in another order."""

from __future__ import annotations

from functools import partial

import numpy as np

from npconv.golden.mistakes.precision import to_bits
from tests.golden.unlisted.entry import Entry, reason
from tests.golden.unlisted.port import both, exchange, load, weights

entry = partial(Entry, "parameters")

ATTENTION = "attention.attention"
NORM = "convolution_projection.normalization"
ZEROS, ONES = r"\bzeros?\b|\b0(\.0)?\b|initial", r"\bones?\b|\b1(\.0)?\b|initial"
ORDER = r"order|permut|shuffl|reorder|rearrang"
ALPHABETICAL = [3, 0, 5, 1, 6, 2, 4]


def int8(array: np.ndarray, axes: tuple[int, ...] | None = None) -> np.ndarray:
    """Round to 127 levels on each side of zero, with one scale for all, or for what lies along some axes."""
    scale = np.abs(array).max(axis=axes, keepdims=True) / 127
    return np.round(array / scale) * scale


def int8_a_channel(array: np.ndarray) -> np.ndarray:
    """Round to 127 levels on each side of zero, with a scale for each output."""
    return int8(array, tuple(range(1, array.ndim)))


def interleave(heads: int):
    """Return what lays the rows of heads one a head in turn: 0 4 8, 1 5 9, ..."""

    def change(array: np.ndarray) -> np.ndarray:
        return array.reshape(heads, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)

    return change


ENTRIES = (
    entry(
        *("kernel-of-another-block", "convnext", "stages.0.layers.1.dwconv"),
        load("weight", of="stages.0.layers.0.dwconv"),
        reason(r"stages\.0\.layers\.0\.dwconv\.weight"),
        "an index that was not advanced in the loop of loading",
    ),
    entry(
        *("bias-of-another-block", "convnextv2", "stages.0.layers.1.pwconv2"),
        load("bias", of="stages.0.layers.0.pwconv2"),
        reason(r"stages\.0\.layers\.0\.pwconv2\.bias"),
        "an index that was not advanced in the loop of loading",
    ),
    entry(
        *("query-weight-of-key", "cvt", f"stages.1.layers.0.{ATTENTION}.projection_query"),
        load("weight", of=f"stages.1.layers.0.{ATTENTION}.projection_key"),
        reason(r"projection_key\.weight"),
        "a line copied and half changed",
    ),
    entry(
        *("beta-and-running-mean", "cvt", f"stages.0.layers.0.{ATTENTION}.convolution_projection_query.{NORM}"),
        exchange("bias", "running_mean"),
        reason(r"bias", r"running_mean"),
        "parameters by position: (gamma, beta, mean, variance) and (gamma, mean, beta, variance)",
    ),
    entry(
        *("statistics-of-key-in-value", "cvt", f"stages.1.layers.0.{ATTENTION}.convolution_projection_value.{NORM}"),
        load("running_mean", "running_var", of=f"stages.1.layers.0.{ATTENTION}.convolution_projection_key.{NORM}"),
        reason(r"convolution_projection_key\.\S*running_(mean|var)"),
        "buffers loaded by a table of their own",
    ),
    entry(
        *("second-norm-is-the-first", "cvt", "stages.0.layers.1.layernorm_after"),
        load("weight", "bias", of="stages.0.layers.1.layernorm_before"),
        reason(r"layers\.1\.layernorm_before"),
        "one module object for both norms of a block",
    ),
    entry(
        *("statistics-not-loaded", "cvt", f"stages.0.layers.0.{ATTENTION}.convolution_projection_value.{NORM}"),
        weights(running_mean=np.zeros_like, running_var=np.ones_like),
        reason(r"running_(mean|var)|statistic", rf"{ZEROS}|{ONES}|left out|without"),
        "buffers are no parameters: MLX, Equinox and candle load them apart",
    ),
    entry(
        *("grn-gamma-not-loaded", "convnextv2", "stages.0.layers.1.grn"),
        weights(weight=np.zeros_like),
        reason(r"weight|gamma", ZEROS),
        "gamma of shape (1, 1, 1, C) refused by the loader, left at its initial value",
    ),
    entry(
        *("background-class-first", "convnext", "classifier"),
        both(weights(weight=lambda w: np.roll(w, 1, axis=0)), weights(bias=lambda b: np.roll(b, 1))),
        reason(rf"roll|shift|{ORDER}", never=r"input"),
        "1001 classes of TensorFlow, the first of them the background",
    ),
    entry(
        *("classes-in-order-of-names", "convnextv2", "classifier"),
        both(weights(weight=lambda w: w[ALPHABETICAL]), weights(bias=lambda b: b[ALPHABETICAL])),
        reason(ORDER, never=r"input"),
        "labels sorted by name",
    ),
    entry(
        *("kernels-mirrored", "dinov3_convnext", "stages.0.layers.0.depthwise_conv"),
        weights(weight=lambda w: w[..., ::-1]),
        reason(r"mirror|flip|revers", r"width|column|left|horizontal|axis (3|-1)|last axis|kernel"),
        "one of two flips of a true convolution taken back",
    ),
    entry(
        *("layer-scale-reversed", "convnext", "stages.1.layers.0.layer_scale"),
        weights(layer_scale_parameter=lambda g: g[::-1]),
        reason(rf"revers|backward|flip|{ORDER}"),
        "a vector written by a stack",
    ),
    entry(
        *("stem-takes-bgr", "convnextv2", "embeddings.patch_embeddings"),
        weights(weight=lambda w: w[:, ::-1]),
        reason(rf"bgr|revers|flip|{ORDER}", never=r"output", also_kinds=("preprocessing", "geometry")),
        "weights folded for cv2.imread",
    ),
    entry(
        *("int8-a-tensor", "dinov3_convnext", "stages.0.layers.0.pointwise_conv1"),
        weights(weight=int8),
        reason(r"int8|8 bits", r"tensor|one scale"),
        "post-training quantization, one scale a tensor",
        model="square",
    ),
    entry(
        *("int8-a-channel", "convnext", "stages.0.layers.1.pwconv2"),
        weights(weight=int8_a_channel),
        reason(r"int8|8 bits", r"channel|row|output"),
        "TFLite's weights",
    ),
    entry(
        *("norm-in-bfloat16", "cvt", "stages.0.layers.0.layernorm_before"),
        both(weights(weight=lambda w: to_bits(w, 7)), weights(bias=lambda b: to_bits(b, 7))),
        reason(r"bfloat16|bf16", r"weight|bias|parameter", also_kinds=("precision",)),
        "a checkpoint converted whole, the norms too",
    ),
    entry(
        *("query-heads-interleaved", "cvt", f"stages.1.layers.0.{ATTENTION}.projection_query"),
        both(weights(weight=interleave(3)), weights(bias=interleave(3))),
        reason(rf"interleav|head|{ORDER}", never=r"input"),
        "the permutation of converters to GGUF",
    ),
    entry(
        *("kernel-rolled", "convnextv2", "stages.1.layers.0.dwconv"),
        weights(weight=lambda w: np.roll(w, 1, axis=3)),
        reason(r"roll|shift|cyclic", r"kernel|weight"),
        "a kernel centred for a Fourier transform with the wrong half",
    ),
    entry(
        *("class-token-of-another-stage", "cvt", "stages.1.tokens"),
        load("cls_token", of="stages.0.tokens"),
        reason(r"stages\.0\.cls_token"),
        "one token for all stages",
        model="class tokens, quick GELU",
    ),
    entry(
        *("bias-of-the-norm-in-the-convolution", "dinov3_convnext", "stages.0.layers.1.depthwise_conv"),
        load("bias", of="stages.0.layers.1.layer_norm"),
        reason(r"layers\.1\.layer_norm\.bias"),
        "keys matched by shape",
    ),
)
