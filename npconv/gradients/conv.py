"""What moves a window over a map, backwards. Letters and arguments are those of ``npconv/layers/conv.py``.

A gradient ``grad_y[n, o, i, j]`` goes back along every product that ``y[n, o, i, j]`` was a sum of: to the input, times
the weight; to the weight, times the input. What falls on the padding is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence

from npconv import layers
from npconv.backend import Array, array_module
from npconv.errors import ShapeError
from npconv.gradients.gradient_of import gradient_of
from npconv.layers.conv import (
    Pair,
    check_padding,
    count_windows,
    gather_windows,
    pair,
    place_windows,
    under,
    window_reach,
)


@gradient_of(layers.conv2d, "x", "weight", "bias")
def conv2d_backward(
    grad_y: Array,
    x: Array,
    weight: Array,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `x`, `weight` and `bias` of :func:`npconv.layers.conv2d`.

    Forward is one matrix product, ``y = kernels @ columns + bias``, so
    ``grad_kernels = grad_y @ columns.T`` and ``grad_columns = kernels.T @ grad_y``: each column is a window of `x`, and
    its gradient is added where the window was. ``grad_bias`` is the sum of `grad_y` over samples and positions.
    """
    xp = array_module(x)
    out_channels, group_channels, kernel_h, kernel_w = weight.shape
    (batch, channels, height, width), count = x.shape, grad_y.shape[2:]
    reach = window_reach("conv2d_backward", weight.shape[2:], dilation)
    strides, (pad_h, pad_w) = place_windows("conv2d_backward", x.shape[2:], reach, stride, padding)
    check_count("conv2d_backward", count, x.shape[2:], reach, strides, (pad_h, pad_w))

    columns = gather_windows(x, reach, strides, (pad_h, pad_w), dilation)  # (N, C, kh, kw, H', W')
    columns = columns.reshape(batch, groups, group_channels * kernel_h * kernel_w, count[0] * count[1])
    kernels = weight.reshape(groups, out_channels // groups, columns.shape[2])
    grad_rows = grad_y.reshape(batch, groups, out_channels // groups, count[0] * count[1])

    grad_weight = xp.matmul(grad_rows, columns.swapaxes(2, 3)).sum(axis=0).reshape(weight.shape)
    grad_columns = xp.matmul(kernels.swapaxes(1, 2), grad_rows)
    grad_columns = grad_columns.reshape(batch, channels, kernel_h, kernel_w, *count)

    grad_padded = xp.zeros((batch, channels, height + 2 * pad_h, width + 2 * pad_w), x.dtype)
    for u in range(kernel_h):
        for v in range(kernel_w):
            under(grad_padded, (u * dilation, v * dilation), strides, count)[...] += grad_columns[:, :, u, v]
    grad_x = grad_padded[:, :, pad_h : pad_h + height, pad_w : pad_w + width]
    return grad_x, grad_weight, grad_y.sum(axis=(0, 2, 3))


@gradient_of(layers.depthwise_conv2d, "x", "weight", "bias")
def depthwise_conv2d_backward(
    grad_y: Array,
    x: Array,
    weight: Array,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int = 1,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `x`, `weight` and `bias` of :func:`npconv.layers.depthwise_conv2d`.

    Forward adds one shifted map for each place (u, v) of the kernel, times ``weight[c, 0, u, v]``. So
    ``grad_weight[c, 0, u, v]`` is the sum of ``grad_y * shifted x``, and `grad_x` adds up ``weight * grad_y``, shifted
    back. With a stride of 1 the latter is a convolution of `grad_y` by the kernel turned by 180 degrees.
    """
    xp = array_module(x)
    (height, width), (kernel_h, kernel_w), count = x.shape[2:], weight.shape[2:], grad_y.shape[2:]
    reach = window_reach("depthwise_conv2d_backward", weight.shape[2:], dilation)
    strides, (pad_h, pad_w) = place_windows("depthwise_conv2d_backward", x.shape[2:], reach, stride, padding)
    check_count("depthwise_conv2d_backward", count, x.shape[2:], reach, strides, (pad_h, pad_w))

    x_padded = xp.pad(x, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    grad_padded, grad_weight = xp.zeros_like(x_padded), xp.empty_like(weight)
    for u in range(kernel_h):
        for v in range(kernel_w):
            place = (u * dilation, v * dilation)
            seen = under(x_padded, place, strides, count)  # (N, C, H', W')
            grad_weight[:, 0, u, v] = xp.einsum("nchw,nchw->c", grad_y, seen)
            under(grad_padded, place, strides, count)[...] += weight[:, :, u, v, None] * grad_y
    grad_x = grad_padded[:, :, pad_h : pad_h + height, pad_w : pad_w + width]
    return grad_x, grad_weight, grad_y.sum(axis=(0, 2, 3))


@gradient_of(layers.pointwise_conv2d, "x", "weight", "bias")
def pointwise_conv2d_backward(grad_y: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of `x`, `weight` and `bias` of :func:`npconv.layers.pointwise_conv2d`.

    Forward is ``y = weight @ x + bias`` at each position, so ``grad_x = weight.T @ grad_y``, and `grad_weight` is the
    sum of ``grad_y @ x.T`` over samples and positions.
    """
    xp = array_module(x)
    (batch, channels, height, width), out_channels = x.shape, weight.shape[0]
    positions = x.reshape(batch, channels, height * width)
    grad_positions = grad_y.reshape(batch, out_channels, height * width)
    grad_x = xp.matmul(weight.reshape(out_channels, channels).T, grad_positions).reshape(x.shape)
    grad_weight = xp.matmul(grad_positions, positions.swapaxes(1, 2)).sum(axis=0).reshape(weight.shape)
    return grad_x, grad_weight, grad_y.sum(axis=(0, 2, 3))


@gradient_of(layers.pad_end, "x")
def pad_end_backward(grad_y: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.pad_end`: that of the added row and column is cut off."""
    return grad_y[:, :, :-1, :-1]


@gradient_of(layers.average_pool2d, "x")
def average_pool2d_backward(
    grad_y: Array,
    x_shape: Sequence[int],
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    ceil_mode: bool,
) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.average_pool2d`.

    ``y`` is a sum over a window by the number of its positions: each position gets ``grad_y / number``, once for every
    window that it is in.
    """
    xp = array_module(grad_y)
    kernel = pair("average_pool2d_backward", "kernel_size", kernel_size, minimum=1)
    (batch, channels, height, width), count = x_shape, grad_y.shape[2:]
    strides, (pad_h, pad_w) = place_windows("average_pool2d_backward", (height, width), kernel, stride, padding)
    check_padding("average_pool2d_backward", kernel, (pad_h, pad_w))
    check_count("average_pool2d_backward", count, (height, width), kernel, strides, (pad_h, pad_w), ceil_mode)

    inside = (height + 2 * pad_h, width + 2 * pad_w)
    reached = [(n - 1) * s + k for n, s, k in zip(count, strides, kernel, strict=True)]
    size = [max(i, r) for i, r in zip(inside, reached, strict=True)]  # with ceil_mode, windows reach beyond the padding
    covered = xp.zeros(size, grad_y.dtype)
    covered[: inside[0], : inside[1]] = 1
    places = [(u, v) for u in range(kernel[0]) for v in range(kernel[1])]
    share = grad_y / sum(under(covered, place, strides, count) for place in places)

    grad_padded = xp.zeros((batch, channels, *size), grad_y.dtype)
    for place in places:
        under(grad_padded, place, strides, count)[...] += share
    return grad_padded[:, :, pad_h : pad_h + height, pad_w : pad_w + width]


def check_count(
    function: str,
    count: Sequence[int],
    size: Sequence[int],
    kernel: Pair,
    strides: Pair,
    pads: Pair,
    ceil_mode: bool = False,
) -> None:
    """Refuse an upstream gradient of another number of windows, down and across, than the layer has."""
    axes = zip(size, kernel, strides, pads, strict=True)
    expected = tuple(count_windows(*axis, ceil_mode) for axis in axes)
    if tuple(count) != expected:
        raise ShapeError(
            f"{function}: expected grad_y of {expected[0]} x {expected[1]} windows, got {count[0]} x {count[1]}"
        )
