"""Mistakes in convolutions and in the order of a map's axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import mistake
from npconv.layers import conv2d, depthwise_conv2d, pointwise_conv2d
from npconv.plan.step import Step

SPATIAL = ("conv2d", "depthwise_conv2d")
EVERY = (*SPATIAL, "pointwise_conv2d")


def pair(value: Any) -> tuple[int, int]:
    """Return a number or a pair of numbers as a pair."""
    return (value, value) if isinstance(value, int) else tuple(value)


def is_strided(step: Step) -> bool:
    """Tell whether windows lie more than one position apart."""
    return max(pair(step.attributes["stride"])) > 1


def is_padded(step: Step) -> bool:
    """Tell whether the map gets a border of zeros."""
    return max(pair(step.attributes["padding"])) > 0


def is_padded_in_steps_of_one(step: Step) -> bool:
    """Tell whether the result has the size of the map."""
    return is_padded(step) and not is_strided(step)


def has_bias(step: Step) -> bool:
    """Tell whether the operation adds a bias."""
    return "bias" in step.params


def convolve(x: Any, weight: Any, bias: Any, stride: Any, padding: Any) -> Any:
    """Convolve rightly, each channel by itself where the weights are made so."""
    if weight.shape[0] == x.shape[1] and weight.shape[1] == 1:
        return depthwise_conv2d(x, weight, bias, stride=stride, padding=padding)
    return conv2d(x, weight, bias, stride=stride, padding=padding)


def convolve_any(x: Any, weight: Any, bias: Any, window: dict[str, Any]) -> Any:
    """Convolve rightly; without a window, each position by itself."""
    return convolve(x, weight, bias, **window) if window else pointwise_conv2d(x, weight, bias)


def pad(x: Any, rows: tuple[int, int], columns: tuple[int, int]) -> Any:
    """Put zeros before and after the rows and the columns; a negative number takes positions away."""
    x = np.pad(x, ((0, 0), (0, 0), (max(rows[0], 0), max(rows[1], 0)), (max(columns[0], 0), max(columns[1], 0))))
    height, width = x.shape[2:]
    return x[:, :, max(-rows[0], 0) : height + min(rows[1], 0), max(-columns[0], 0) : width + min(columns[1], 0)]


def read_as_channels_last(x: Any) -> Any:
    """Take the numbers of an (N, C, H, W) map, as they lie in memory, for an (N, H, W, C) map."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, height, width, channels).transpose(0, 3, 1, 2)


@mistake(
    "same-padding",
    "SAME padding (the odd zero at the end)",
    SPATIAL,
    "padding='SAME' of TensorFlow, Keras and Flax",
    applies=is_strided,
)
def same_padding(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """As many windows as ``size / stride`` rounded up; the zeros that takes, half on each side, rounded down before."""
    zeros = []
    for size, kernel, step in zip(x.shape[2:], weight.shape[2:], pair(stride), strict=True):
        total = max((-(-size // step) - 1) * step + kernel - size, 0)
        zeros.append((total // 2, total - total // 2))
    return convolve(pad(x, *zeros), weight, bias, stride, 0)


@mistake("no-padding", "no padding", SPATIAL, "padding='VALID', the default of many libraries", applies=is_padded)
def no_padding(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """No zeros around the map: the result is smaller."""
    return convolve(x, weight, bias, stride, 0)


@mistake(
    "shifted-down",
    "padding off by one (a zero too many before)",
    SPATIAL,
    "the centre of a 7 x 7 kernel taken for 4, counted from 0",
    applies=is_padded_in_steps_of_one,
)
def shifted_down(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """One more zero before and one fewer after: everything lies one position further down and right."""
    rows, columns = pair(padding)
    return convolve(pad(x, (rows + 1, rows - 1), (columns + 1, columns - 1)), weight, bias, stride, 0)


@mistake(
    "shifted-up",
    "padding off by one (a zero too few before)",
    SPATIAL,
    "the centre of a 7 x 7 kernel taken for 2, counted from 0",
    applies=is_padded_in_steps_of_one,
)
def shifted_up(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """One fewer zero before and one more after: everything lies one position further up and left."""
    rows, columns = pair(padding)
    return convolve(pad(x, (rows - 1, rows + 1), (columns - 1, columns + 1)), weight, bias, stride, 0)


@mistake(
    "edge-padding",
    "padding with copies of the border",
    SPATIAL,
    "the edge mode of image libraries",
    applies=is_padded,
)
def edge_padding(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """Return the border's values in place of zeros."""
    rows, columns = pair(padding)
    padded = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)), mode="edge")
    return convolve(padded, weight, bias, stride, 0)


@mistake("kernel-flipped", "kernel flipped (a true convolution)", SPATIAL, "scipy.signal.convolve2d, numpy.convolve")
def kernel_flipped(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """Return the kernel turned by half a turn: what mathematics, not deep learning, calls a convolution."""
    return convolve(x, weight[:, :, ::-1, ::-1], bias, stride, padding)


@mistake(
    "kernel-transposed", "kernel transposed (height and width swapped)", SPATIAL, "a kernel stored column by column"
)
def kernel_transposed(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """Rows of the kernel taken for columns."""
    return convolve(x, weight.transpose(0, 1, 3, 2), bias, stride, padding)


@mistake(
    "kernel-read-as-hwio", "kernel read as HWIO", SPATIAL, "kernels of TensorFlow, Keras and Flax are (H, W, I, O)"
)
def kernel_read_as_hwio(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """Take the kernel's numbers, as they lie in memory, for (kh, kw, I, O): in a depthwise one, wrong groups."""
    outputs, inputs, height, width = weight.shape
    kernel = weight.reshape(height, width, inputs, outputs).transpose(3, 2, 0, 1)
    return convolve(x, kernel, bias, stride, padding)


@mistake("conv-kernel-read-as-ohwi", "kernel read as OHWI", "conv2d", "kernels of MLX are (O, H, W, I)")
def kernel_read_as_ohwi(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """Return the kernel's numbers, as they lie in memory, taken for (O, kh, kw, I)."""
    outputs, inputs, height, width = weight.shape
    return conv2d(
        x, weight.reshape(outputs, height, width, inputs).transpose(0, 3, 1, 2), bias, stride=stride, padding=padding
    )


@mistake(
    "depthwise-one-kernel",
    "one kernel for all channels (depthwise groups wrong)",
    "depthwise_conv2d",
    "a kernel (C, 1, kh, kw) broadcast over the wrong axis",
)
def one_kernel(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """Return the first channel's kernel on every channel."""
    return depthwise_conv2d(x, np.repeat(weight[:1], len(weight), axis=0), bias, stride=stride, padding=padding)


@mistake(
    "depthwise-channels-summed",
    "channels summed (not depthwise: groups of 1)",
    "depthwise_conv2d",
    "groups left at 1, the default",
)
def channels_summed(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """Each output sees the sum of all channels through its kernel."""
    total = np.repeat(x.sum(axis=1, keepdims=True), len(weight), axis=1)
    return depthwise_conv2d(total, weight, bias, stride=stride, padding=padding)


@mistake(
    "depthwise-unstrided",
    "stride 1 (keys and values unstrided)",
    "depthwise_conv2d",
    "CvT takes keys and values with stride 2, queries with 1",
    applies=is_strided,
)
def unstrided(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """Return a window at every position."""
    return depthwise_conv2d(x, weight, bias, stride=1, padding=padding)


@mistake(
    "weight-transposed",
    "weight transposed",
    ("pointwise_conv2d", "linear"),
    "matrices of Keras and Flax are (inputs, outputs)",
)
def weight_transposed(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return the weight's numbers, as they lie in memory, taken for (C, O): a transpose if the matrix is square."""
    outputs, inputs = weight.shape[:2]
    matrix = weight.reshape(inputs, outputs).T
    if x.ndim == 4:
        return pointwise_conv2d(x, matrix, bias)
    y = x @ matrix.T
    return y if bias is None else y + bias


@mistake("no-bias", "bias forgotten", EVERY, "a key of the checkpoint that was not loaded", applies=has_bias)
def no_bias(x: Any, weight: Any, bias: Any = None, **window: Any) -> Any:
    """Weights alone."""
    return convolve_any(x, weight, None, window)


@mistake("linear-no-bias", "bias forgotten", "linear", "a key of the checkpoint that was not loaded", applies=has_bias)
def no_linear_bias(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return the matrix alone."""
    return x @ weight.T


@mistake("input-read-as-nhwc", "NCHW read as NHWC in its input", EVERY, "channels-last libraries")
def input_read_as_nhwc(x: Any, weight: Any, bias: Any = None, **window: Any) -> Any:
    """Return the input's numbers, as they lie in memory, taken for channels last."""
    return convolve_any(read_as_channels_last(x), weight, bias, window)


@mistake("output-read-as-nhwc", "NCHW read as NHWC", EVERY, "channels-last libraries")
def output_read_as_nhwc(x: Any, weight: Any, bias: Any = None, **window: Any) -> Any:
    """Return the output's numbers, as they lie in memory, taken for channels last."""
    return read_as_channels_last(convolve_any(x, weight, bias, window))


@mistake("output-left-nhwc", "NHWC read as NCHW", EVERY, "channels-last libraries")
def output_left_nhwc(x: Any, weight: Any, bias: Any = None, **window: Any) -> Any:
    """Return the numbers of the channels-last result, as they lie in memory, taken for channels first."""
    y = convolve_any(x, weight, bias, window)
    return y.transpose(0, 2, 3, 1).reshape(y.shape)


@mistake(
    "depthwise-kernel-read-as-ohwi",
    "kernel read as OHWI",
    "depthwise_conv2d",
    "kernels of MLX are (O, H, W, I)",
    invisible="with one input channel a group, (C, 1, kh, kw) and (C, kh, kw, 1) are the same numbers in one order",
)
def depthwise_kernel_read_as_ohwi(x: Any, weight: Any, bias: Any = None, *, stride: Any, padding: Any) -> Any:
    """Return the kernel's numbers, as they lie in memory, taken for (C, kh, kw, 1)."""
    channels, one, height, width = weight.shape
    kernel = weight.reshape(channels, height, width, one).transpose(0, 3, 1, 2)
    return depthwise_conv2d(x, kernel, bias, stride=stride, padding=padding)
