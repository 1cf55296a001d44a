"""Convolutions over (N, C, H, W) arrays.

All three are cross-correlations, as in every deep-learning library: the kernel is not flipped. Padding is with zeros,
the same on both sides. `stride` and `padding` are a number, or a pair of numbers (vertical, horizontal). A kernel that
is larger than the padded map is an `InputError`.
"""

from __future__ import annotations

from collections.abc import Sequence

from npconv.backend import Array, array_module
from npconv.layers.shapes import shapes
from npconv.layers.windows import place_windows, under


@shapes(x="N C H W", weight="O C/groups kh kw", bias="O", groups="divides O", result="N O H' W'")
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
) -> Array:
    """Convolve by gathering every window into a column (im2col) and taking one matrix product.

    ``y[n, o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] * x[n, c, i * stride + u, j * stride + v]``,
    for ``H' = (H + 2 * padding - kh) // stride + 1`` rows. Input and output channels are cut into `groups`; a group's
    outputs see its own inputs only.

    The same function as ``torch.nn.functional.conv2d`` with dilation 1.
    """
    xp = array_module(x)
    out_channels, group_channels, kernel_h, kernel_w = weight.shape
    (stride_h, stride_w), (pad_h, pad_w) = place_windows("conv2d", x, weight.shape[2:], stride, padding)

    x_padded = xp.pad(x, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    windows = xp.lib.stride_tricks.sliding_window_view(x_padded, (kernel_h, kernel_w), axis=(2, 3))
    windows = windows[:, :, ::stride_h, ::stride_w]  # (N, C, H', W', kh, kw)
    batch, _, height, width = windows.shape[:4]
    columns = windows.transpose(0, 1, 4, 5, 2, 3)  # (N, C, kh, kw, H', W')
    columns = columns.reshape(batch, groups, group_channels * kernel_h * kernel_w, height * width)
    kernels = weight.reshape(groups, out_channels // groups, columns.shape[2])
    y = xp.matmul(kernels, columns)  # (N, groups, O / groups, H' * W')
    y = y.reshape(batch, out_channels, height, width)
    return y if bias is None else y + bias[:, None, None]


@shapes(x="N C H W", weight="C 1 kh kw", bias="C", result="N C H' W'")
def depthwise_conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
) -> Array:
    """Convolve each channel with its own kernel, by shifting and adding: :func:`conv2d` with ``groups=C``.

    ``y[n, c, i, j] = bias[c] + sum over u, v of weight[c, 0, u, v] * x[n, c, i * stride + u, j * stride + v]``

    The sum is taken over whole maps: one shifted map for each of the kh * kw places of the kernel.

    ConvNeXt, section 2.3 and 2.5 of https://arxiv.org/abs/2201.03545.
    """
    xp = array_module(x)
    (batch, channels), (kernel_h, kernel_w) = x.shape[:2], weight.shape[2:]
    strides, (pad_h, pad_w) = place_windows("depthwise_conv2d", x, weight.shape[2:], stride, padding)

    x_padded = xp.pad(x, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    height = (x_padded.shape[2] - kernel_h) // strides[0] + 1
    width = (x_padded.shape[3] - kernel_w) // strides[1] + 1
    y = xp.zeros((batch, channels, height, width), x.dtype)
    for u in range(kernel_h):
        for v in range(kernel_w):
            y += weight[:, :, u, v, None] * under(x_padded, (u, v), strides, (height, width))  # (N, C, H', W')
    return y if bias is None else y + bias[:, None, None]


@shapes(x="N C H W", weight="O C | O C 1 1", bias="O", result="N O H W")
def pointwise_conv2d(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Mix the channels at each position by itself: a 1x1 convolution.

    ``y[n, o, i, j] = bias[o] + sum over c of weight[o, c] * x[n, c, i, j]``

    Checkpoints hold `weight` in either form: of a linear layer applied at each position, or of a 1x1 convolution.
    """
    batch, channels, height, width = x.shape
    out_channels = weight.shape[0]
    positions = x.reshape(batch, channels, height * width)
    y = array_module(x).matmul(weight.reshape(out_channels, channels), positions)  # (N, O, H * W)
    y = y.reshape(batch, out_channels, height, width)
    return y if bias is None else y + bias[:, None, None]
