"""Mistakes in the gradients of convolutions and linear layers, and of the pooling that moves a window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import Edit, edit, mistake, of_gradient, of_input, of_output, replaced
from npconv.golden.mistakes.convolution import (
    is_padded,
    is_strided,
    left_channels_last,
    read_as_channels_last,
    read_as_inputs_first,
)
from npconv.layers import average_pool2d
from npconv.layers.conv import count_windows
from npconv.plan.shapes import as_pair
from npconv.plan.step import Step

SPATIAL = ("conv2d_backward", "depthwise_conv2d_backward")
PRODUCTS = ("pointwise_conv2d_backward", "linear_backward")

spatial, products, depthwise = (
    partial(mistake, operation) for operation in (SPATIAL, PRODUCTS, "depthwise_conv2d_backward")
)
of_x, of_weight, of_both = of_gradient("x"), of_gradient("weight"), of_gradient("x", "weight")

spatial(
    "kernel-not-turned",
    "input's gradient by the kernel turned once too often (a correlation)",
    "the gradient taken for the same convolution; a transposed convolution has the kernel turned by 180 degrees",
    applies=of_x,
)(edit(weight=lambda weight: weight[:, :, ::-1, ::-1]))
spatial(
    "weight-flipped",
    "kernel's gradient flipped",
    "a true convolution of input and gradient",
    applies=of_weight,
)(of_output(lambda gradient: gradient[:, :, ::-1, ::-1]))
spatial(
    "weight-left-hwio",
    "kernel's gradient left as HWIO",
    "kernels of TensorFlow, Keras and Flax are (H, W, I, O)",
    applies=of_weight,
)(of_output(lambda gradient: gradient.transpose(2, 3, 1, 0).reshape(gradient.shape)))
mistake(
    "conv2d_backward",
    "conv-backward-weight-left-ohwi",
    "kernel's gradient left as OHWI",
    "kernels of MLX are (O, H, W, I)",
    applies=of_weight,
)(of_output(left_channels_last))


def framed(cut: Callable[[Any, tuple[int, int], tuple[int, int]], Any]) -> Edit:
    """Make something else of the gradient of the padded input than to cut the padding off, given size and padding."""

    def call(right: Any, grad_y: Any, x: Any, *, padding: Any, **others: Any) -> Any:
        down, across = as_pair(padding)
        padded = np.pad(x, ((0, 0), (0, 0), (down, down), (across, across)))
        return cut(right(grad_y, padded, padding=0, **others), x.shape[2:], (down, across))

    return Edit(call, is_padded)


mistake(
    "conv2d_backward",
    "conv-backward-padding-kept",
    "input's gradient with that of the padding",
    "a border of zeros that was added by hand and not cut off",
    applies=of_x,
)(framed(lambda gradient, size, padding: gradient))
spatial(
    "padding-cut-at-end",
    "input's gradient with all padding cut off at the end",
    "gradient[:height, :width] of the padded one",
    applies=of_x,
)(framed(lambda gradient, size, padding: gradient[:, :, : size[0], : size[1]]))


def spread(lay: Callable[[Any, Any, tuple[int, int]], None]) -> Edit:
    """Lay the upstream gradient in another way into that of stride 1, which has a place for each position.

    `lay` takes the latter, all 0, the upstream gradient and the strides.
    """

    def call(
        right: Any, grad_y: Any, x: Any, *, weight: Any, stride: Any, padding: Any, dilation: int = 1, wrt: str
    ) -> Any:
        sizes = zip(x.shape[2:], weight.shape[2:], as_pair(padding), strict=True)
        counts = [count_windows(size, (side - 1) * dilation + 1, 1, pad) for size, side, pad in sizes]
        full = np.zeros((*grad_y.shape[:2], *counts), grad_y.dtype)
        lay(full, grad_y, as_pair(stride))
        return right(full, x, weight=weight, stride=1, padding=padding, dilation=dilation, wrt=wrt)

    return Edit(call, is_strided)


def lay_side_by_side(full: Any, grad_y: Any, strides: tuple[int, int]) -> None:
    """Lay numbers next to each other, where their windows lie some positions apart."""
    full[:, :, : grad_y.shape[2], : grad_y.shape[3]] = grad_y


def lay_repeatedly(full: Any, grad_y: Any, strides: tuple[int, int]) -> None:
    """Lay each number at all positions until the next window."""
    wide = grad_y.repeat(strides[0], axis=2).repeat(strides[1], axis=3)[:, :, : full.shape[2], : full.shape[3]]
    full[:, :, : wide.shape[2], : wide.shape[3]] = wide


spatial(
    "unstrided",
    "gradient with stride 1",
    "a stride left at 1, the default",
    applies=of_both,
)(spread(lay_side_by_side))
spatial(
    "repeated",
    "upstream gradient repeated between the places of the stride, not filled up with zeros",
    "an upsampling in place of a dilation",
    applies=of_both,
)(spread(lay_repeatedly))


def is_dilated(step: Step) -> bool:
    """Tell whether the places of the kernel lie some positions apart."""
    return bool(step.attributes.get("dilation", 1) > 1)


depthwise(
    "depthwise-backward-undilated",
    "gradient with a kernel that is not dilated",
    "a dilation left at 1, the default",
    applies=is_dilated,
)(
    Edit(
        lambda right, grad_y, x, *, padding, dilation, **others: right(
            grad_y, x, padding=padding // dilation, **others
        ),
        of_both,
    )
)
depthwise(
    "depthwise-backward-one-kernel",
    "input's gradient by one kernel for all channels",
    "a kernel (C, 1, kh, kw) broadcast over the wrong axis",
    applies=of_x,
)(edit(weight=lambda weight: np.repeat(weight[:1], len(weight), axis=0)))
depthwise(
    "depthwise-backward-weight-summed",
    "kernel's gradient summed over channels (groups mixed)",
    "groups left at 1, the default",
    applies=of_weight,
)(of_output(lambda gradient: np.repeat(gradient.sum(axis=0, keepdims=True), len(gradient), axis=0)))

products(
    "not-transposed",
    "input's gradient by the weight as it is, not transposed",
    "grad_y @ weight.T, as forwards",
    applies=of_x,
)(edit(weight=lambda weight: read_as_inputs_first(weight).reshape(weight.shape)))
products(
    "weight-transposed",
    "weight's gradient left transposed",
    "x.T @ grad_y: matrices of Keras and Flax are (inputs, outputs)",
    applies=of_weight,
)(of_output(lambda gradient: gradient.reshape(gradient.shape[:2]).T.reshape(gradient.shape)))
mistake(
    (*SPATIAL, "pointwise_conv2d_backward"),
    "read-as-nhwc",
    "upstream gradient in NCHW read as NHWC",
    "channels-last libraries",
    applies=of_both,
)(of_input(read_as_channels_last))
mistake("pad_end_backward", "pad-end-backward-before", "first row and column cut off", "SAME padding the other way")(
    replaced(lambda grad_y: grad_y[:, :, 1:, 1:].copy())
)

pool = partial(mistake, "average_pool2d_backward")


def counted(number: Callable[..., Any]) -> Edit:
    """Divide by another number of positions; `number` makes the factor of that of the input and the window."""
    return Edit(lambda right, grad_y, x, *, wrt, **window: right(grad_y * number(x, **window), x, wrt=wrt, **window))


pool(
    "average-pool-backward-sum", "gradient not divided by the positions of the window", "a division that was left out"
)(counted(lambda x, kernel_size, **others: float(np.prod(as_pair(kernel_size)))))
pool(
    "average-pool-backward-padding-not-counted",
    "gradient divided by the positions of the map alone",
    "count_include_pad=False, as in TensorFlow and ONNX",
    applies=is_padded,
)(counted(lambda x, **window: 1.0 / average_pool2d(np.ones_like(x), **window)))
