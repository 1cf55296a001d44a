"""Mistakes in convolutions and in the order of a map's axes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import Edit, drop, edit, mistake, of_input, of_output, replaced
from npconv.plan.shapes import as_pair
from npconv.plan.step import Step

SPATIAL = ("conv2d", "depthwise_conv2d")
EVERY = (*SPATIAL, "pointwise_conv2d")

spatial, every, conv, depthwise = (
    partial(mistake, operation) for operation in (SPATIAL, EVERY, "conv2d", "depthwise_conv2d")
)


def is_strided(step: Step) -> bool:
    """Tell whether windows lie more than one position apart."""
    return max(as_pair(step.attributes["stride"])) > 1


def is_padded(step: Step) -> bool:
    """Tell whether the map gets a border of zeros."""
    return max(as_pair(step.attributes["padding"])) > 0


def is_padded_in_steps_of_one(step: Step) -> bool:
    """Tell whether the result has the size of the map."""
    return is_padded(step) and not is_strided(step)


def padded(
    border: Callable[[int, int, int, int], tuple[int, int]], applies: Callable[[Step], bool], mode: Any = "constant"
) -> Edit:
    """Put another border around the map.

    `border` takes the size of the map, kernel, stride and padding along one axis, and returns how many positions come
    before and after; a negative number takes some away.
    """

    def call(right: Any, x: Any, *, weight: Any, bias: Any = None, stride: Any, padding: Any, dilation: int = 1) -> Any:
        sizes = zip(x.shape[2:], weight.shape[2:], as_pair(stride), as_pair(padding), strict=True)
        borders = [(0, 0), (0, 0), *(border(*size) for size in sizes)]
        x = np.pad(x, [(max(before, 0), max(after, 0)) for before, after in borders], mode=mode)
        kept = [slice(max(-b, 0), size + min(a, 0)) for (b, a), size in zip(borders, x.shape, strict=True)]
        return right(x[tuple(kept)], weight, bias, stride=stride, padding=0, dilation=dilation)

    return Edit(call, applies)


def same(size: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """Add what ``size / stride`` windows, rounded up, take: half on each side, rounded down before."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


spatial("same-padding", "SAME padding (the odd zero at the end)", "padding='SAME' of TensorFlow, Keras and Flax")(
    padded(same, is_strided)
)
spatial("no-padding", "no padding", "padding='VALID', the default of many libraries")(edit(padding=0))
spatial(
    "shifted-down",
    "padding off by one (a zero too many before)",
    "the centre of a 7 x 7 kernel taken for 4, counted from 0",
)(padded(lambda size, kernel, stride, padding: (padding + 1, padding - 1), is_padded_in_steps_of_one))
spatial(
    "shifted-up",
    "padding off by one (a zero too few before)",
    "the centre of a 7 x 7 kernel taken for 2, counted from 0",
)(padded(lambda size, kernel, stride, padding: (padding - 1, padding + 1), is_padded_in_steps_of_one))
spatial("edge-padding", "padding with copies of the border", "the edge mode of image libraries")(
    padded(lambda size, kernel, stride, padding: (padding, padding), is_padded, mode="edge")
)


def read_as_hwio(weight: Any) -> Any:
    """Take a kernel's numbers, as they lie in memory, for (kh, kw, I, O): in a depthwise one, wrong groups."""
    outputs, inputs, height, width = weight.shape
    return weight.reshape(height, width, inputs, outputs).transpose(3, 2, 0, 1)


def read_as_channels_last(x: Any) -> Any:
    """Take the numbers of an (N, C, H, W) map, as they lie in memory, for an (N, H, W, C) map.

    So (O, I, kh, kw), a kernel, is taken for (O, kh, kw, I).
    """
    batch, channels, height, width = x.shape
    return x.reshape(batch, height, width, channels).transpose(0, 3, 1, 2)


spatial("kernel-flipped", "kernel flipped (a true convolution)", "scipy.signal.convolve2d, numpy.convolve")(
    edit(weight=lambda weight: weight[:, :, ::-1, ::-1])
)
spatial("kernel-transposed", "kernel transposed (height and width swapped)", "a kernel stored column by column")(
    edit(weight=lambda weight: weight.transpose(0, 1, 3, 2))
)
spatial("kernel-read-as-hwio", "kernel read as HWIO", "kernels of TensorFlow, Keras and Flax are (H, W, I, O)")(
    edit(weight=read_as_hwio)
)
conv("conv-kernel-read-as-ohwi", "kernel read as OHWI", "kernels of MLX are (O, H, W, I)")(
    edit(weight=read_as_channels_last)
)
depthwise(
    "depthwise-one-kernel",
    "one kernel for all channels (depthwise groups wrong)",
    "a kernel (C, 1, kh, kw) broadcast over the wrong axis",
)(edit(weight=lambda weight: np.repeat(weight[:1], len(weight), axis=0)))
depthwise("depthwise-channels-summed", "channels summed (not depthwise: groups of 1)", "groups left at 1, the default")(
    of_input(lambda x: np.repeat(x.sum(axis=1, keepdims=True), x.shape[1], axis=1))
)
depthwise(
    "depthwise-unstrided",
    "stride 1 (keys and values unstrided)",
    "CvT takes keys and values with stride 2, queries with 1",
)(edit(stride=1))
depthwise("depthwise-undilated", "kernel not dilated", "a dilation left at 1, the default")(
    Edit(
        lambda right, x, *, padding, dilation, **others: right(x, padding=padding // dilation, **others),
        lambda step: step.attributes.get("dilation", 1) > 1,
    )
)
mistake("pad_end", "pad-end-before", "a row and a column of zeros before the map", "SAME padding the other way")(
    replaced(lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0), (1, 0))))
)


def read_as_inputs_first(weight: Any) -> Any:
    """Take a matrix's numbers, as they lie in memory, for (C, O): a transpose if the matrix is square."""
    outputs, inputs = weight.shape[:2]
    return weight.reshape(inputs, outputs).T


mistake(
    ("pointwise_conv2d", "linear"),
    "weight-transposed",
    "weight transposed",
    "matrices of Keras and Flax are (inputs, outputs)",
)(edit(weight=read_as_inputs_first))
mistake((*EVERY, "linear"), "no-bias", "bias forgotten", "a key of the checkpoint that was not loaded")(drop("bias"))


def left_channels_last(x: Any) -> Any:
    """Take the numbers of an (N, H, W, C) map, as they lie in memory, for an (N, C, H, W) map."""
    return x.transpose(0, 2, 3, 1).reshape(x.shape)


every("input-read-as-nhwc", "NCHW read as NHWC in its input", "channels-last libraries")(
    of_input(read_as_channels_last)
)
every("output-read-as-nhwc", "NCHW read as NHWC", "channels-last libraries")(of_output(read_as_channels_last))
every("output-left-nhwc", "NHWC read as NCHW", "channels-last libraries")(of_output(left_channels_last))
depthwise(
    "depthwise-kernel-read-as-ohwi",
    "kernel read as OHWI",
    "kernels of MLX are (O, H, W, I)",
    invisible="with one input channel a group, (C, 1, kh, kw) and (C, kh, kw, 1) are the same numbers in one order",
)(edit(weight=read_as_channels_last))
