"""Convolutions over (N, C, H, W) arrays.

All three are cross-correlations, as in every deep-learning library: the kernel is not flipped. Padding is with zeros,
the same on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

from npconv.backend import Array, array_module, widen
from npconv.errors import InputError
from npconv.layers._checks import check_channels, check_ndim, check_per_channel, check_weight, check_window, pair


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

    ``y[n, o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] * x[n, c, i * stride + u, j * stride + v]``

    Parameters
    ----------
    x : array (N, C, H, W)
        Input maps, floating-point.
    weight : array (O, C / groups, kh, kw)
        One kernel for each output channel.
    bias : array (O,), optional
        Added to each output channel.
    stride, padding : int or pair of int
        Step between windows and zeros added on each side, as (vertical, horizontal).
    groups : int
        Input and output channels are cut into this many groups; a group's outputs see its own inputs only.

    Returns
    -------
    array (N, O, H', W')
        ``H' = (H + 2 * padding - kh) // stride + 1``, in the dtype of `x`; float16 is summed in float32.

    Raises
    ------
    InputError
        If shapes do not fit each other, or the kernel is larger than the padded map.

    Notes
    -----
    The same function as ``torch.nn.functional.conv2d`` with dilation 1.
    """
    xp = array_module(x)
    check_ndim("conv2d", x, "NCHW")
    check_weight("conv2d", weight, [4])
    out_channels, group_channels, kernel_h, kernel_w = weight.shape
    if groups < 1 or out_channels % groups:
        raise InputError(f"conv2d: expected groups to divide the {out_channels} output channels, got {groups}")
    check_channels("conv2d", x, group_channels * groups, axis=1)
    check_per_channel("conv2d", out_channels, bias=bias)
    stride_h, stride_w = pair("conv2d", "stride", stride, minimum=1)
    pad_h, pad_w = pair("conv2d", "padding", padding, minimum=0)
    check_window("conv2d", x.shape[2:], (kernel_h, kernel_w), (pad_h, pad_w))

    x_padded = xp.pad(widen(x), ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    windows = xp.lib.stride_tricks.sliding_window_view(x_padded, (kernel_h, kernel_w), axis=(2, 3))
    windows = windows[:, :, ::stride_h, ::stride_w]  # (N, C, H', W', kh, kw)
    batch, _, height, width = windows.shape[:4]
    columns = windows.transpose(0, 1, 4, 5, 2, 3)  # (N, C, kh, kw, H', W')
    columns = columns.reshape(batch, groups, group_channels * kernel_h * kernel_w, height * width)
    kernels = widen(weight).reshape(groups, out_channels // groups, columns.shape[2])
    y = xp.matmul(kernels, columns)  # (N, groups, O / groups, H' * W')
    y = y.reshape(batch, out_channels, height, width)
    if bias is not None:
        y = y + bias[:, None, None]
    return y.astype(x.dtype, copy=False)


def depthwise_conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
) -> Array:
    """Convolve each channel with its own kernel, by shifting and adding.

    ``y[n, c, i, j] = bias[c] + sum over u, v of weight[c, 0, u, v] * x[n, c, i * stride + u, j * stride + v]``

    The sum is taken over whole maps: one shifted map for each of the kh * kw places of the kernel.

    Parameters
    ----------
    x : array (N, C, H, W)
        Input maps, floating-point.
    weight : array (C, 1, kh, kw)
        One kernel for each channel.
    bias : array (C,), optional
        Added to each channel.
    stride, padding : int or pair of int
        Step between windows and zeros added on each side, as (vertical, horizontal).

    Returns
    -------
    array (N, C, H', W')
        ``H' = (H + 2 * padding - kh) // stride + 1``, in the dtype of `x`; float16 is summed in float32.

    Raises
    ------
    InputError
        If shapes do not fit each other, or the kernel is larger than the padded map.

    Notes
    -----
    :func:`conv2d` with ``groups=C``. ConvNeXt, section 2.3 and 2.5 of https://arxiv.org/abs/2201.03545.
    """
    xp = array_module(x)
    check_ndim("depthwise_conv2d", x, "NCHW")
    check_weight("depthwise_conv2d", weight, [4])
    channels, one, kernel_h, kernel_w = weight.shape
    if one != 1:
        raise InputError(f"depthwise_conv2d: expected a weight of shape (C, 1, kh, kw), got {weight.shape}; use conv2d")
    check_channels("depthwise_conv2d", x, channels, axis=1)
    check_per_channel("depthwise_conv2d", channels, bias=bias)
    stride_h, stride_w = pair("depthwise_conv2d", "stride", stride, minimum=1)
    pad_h, pad_w = pair("depthwise_conv2d", "padding", padding, minimum=0)
    check_window("depthwise_conv2d", x.shape[2:], (kernel_h, kernel_w), (pad_h, pad_w))

    x_padded = xp.pad(widen(x), ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    height = (x_padded.shape[2] - kernel_h) // stride_h + 1
    width = (x_padded.shape[3] - kernel_w) // stride_w + 1
    y = xp.zeros((x.shape[0], channels, height, width), x_padded.dtype)
    for u in range(kernel_h):
        for v in range(kernel_w):
            rows = slice(u, u + (height - 1) * stride_h + 1, stride_h)
            columns = slice(v, v + (width - 1) * stride_w + 1, stride_w)
            y += widen(weight[:, :, u, v, None]) * x_padded[:, :, rows, columns]
    if bias is not None:
        y = y + bias[:, None, None]
    return y.astype(x.dtype, copy=False)


def pointwise_conv2d(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Mix the channels at each position by itself: a 1x1 convolution.

    ``y[n, o, i, j] = bias[o] + sum over c of weight[o, c] * x[n, c, i, j]``

    Parameters
    ----------
    x : array (N, C, H, W)
        Input maps, floating-point.
    weight : array (O, C) or (O, C, 1, 1)
        Checkpoints hold either form: a linear layer applied at each position, or a 1x1 convolution.
    bias : array (O,), optional
        Added to each output channel.

    Returns
    -------
    array (N, O, H, W)
        In the dtype of `x`; float16 is summed in float32.

    Raises
    ------
    InputError
        If shapes do not fit each other.
    """
    xp = array_module(x)
    check_ndim("pointwise_conv2d", x, "NCHW")
    check_weight("pointwise_conv2d", weight, [2, 4])
    if weight.shape[2:] not in ((), (1, 1)):
        raise InputError(f"pointwise_conv2d: expected a weight of shape (O, C) or (O, C, 1, 1), got {weight.shape}")
    out_channels, channels = weight.shape[:2]
    check_channels("pointwise_conv2d", x, channels, axis=1)
    check_per_channel("pointwise_conv2d", out_channels, bias=bias)

    batch, _, height, width = x.shape
    positions = widen(x).reshape(batch, channels, height * width)
    y = xp.matmul(widen(weight).reshape(out_channels, channels), positions)  # (N, O, H * W)
    y = y.reshape(batch, out_channels, height, width)
    if bias is not None:
        y = y + bias[:, None, None]
    return y.astype(x.dtype, copy=False)
