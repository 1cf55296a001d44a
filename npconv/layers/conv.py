"""What moves a window over a map (N, C, H, W): convolutions, and the average of each window.

The convolutions are cross-correlations, as in every deep-learning library: the kernel is not flipped. Padding is with
zeros, the same on both sides. `stride` and `padding` are a number, or a pair of numbers (vertical, horizontal). With a
`dilation` d, neighbours in the kernel see inputs d positions apart: a window reaches over ``(k - 1) * d + 1`` of them.
A window that is larger than the padded map is an `InputError`.
"""

from __future__ import annotations

from collections.abc import Sequence

from npconv.backend import Array, array_module
from npconv.errors import InputError, ShapeError
from npconv.layers.shapes import shapes

Pair = tuple[int, int]


@shapes(x="N C H W", weight="O C/groups kh kw", bias="O", groups="divides O", result="N O H' W'")
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """Convolve by gathering every window into a column (im2col) and taking one matrix product.

    ``y[n, o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] * x[n, c, i * stride + u, j * stride + v]``,
    for ``H' = (H + 2 * padding - kh) // stride + 1`` rows. Input and output channels are cut into `groups`; a group's
    outputs see its own inputs only.

    The same function as ``torch.nn.functional.conv2d``.
    """
    xp = array_module(x)
    out_channels, group_channels, kernel_h, kernel_w = weight.shape
    reach = window_reach("conv2d", weight.shape[2:], dilation)
    strides, pads = place_windows("conv2d", x.shape[2:], reach, stride, padding)

    columns = gather_windows(x, reach, strides, pads, dilation)  # (N, C, kh, kw, H', W')
    batch, (height, width) = x.shape[0], columns.shape[4:]
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
    dilation: int = 1,
) -> Array:
    """Convolve each channel with its own kernel, by shifting and adding: :func:`conv2d` with ``groups=C``.

    ``y[n, c, i, j] = bias[c] + sum over u, v of weight[c, 0, u, v] * x[n, c, i * stride + u, j * stride + v]``

    The sum is taken over whole maps: one shifted map for each of the kh * kw places of the kernel.

    ConvNeXt, section 2.3 and 2.5 of https://arxiv.org/abs/2201.03545.
    """
    xp = array_module(x)
    (batch, channels), (kernel_h, kernel_w) = x.shape[:2], weight.shape[2:]
    reach = window_reach("depthwise_conv2d", weight.shape[2:], dilation)
    strides, (pad_h, pad_w) = place_windows("depthwise_conv2d", x.shape[2:], reach, stride, padding)

    x_padded = xp.pad(x, ((0, 0), (0, 0), (pad_h, pad_h), (pad_w, pad_w)))
    height = (x_padded.shape[2] - reach[0]) // strides[0] + 1
    width = (x_padded.shape[3] - reach[1]) // strides[1] + 1
    y = xp.zeros((batch, channels, height, width), x.dtype)
    for u in range(kernel_h):
        for v in range(kernel_w):
            place = (u * dilation, v * dilation)
            y += weight[:, :, u, v, None] * under(x_padded, place, strides, (height, width))  # (N, C, H', W')
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


@shapes(x="N C H W", result="N C H+1 W+1")
def pad_end(x: Array) -> Array:
    """Add a row of zeros below a map and a column of zeros on its right.

    With it, a 2x2 convolution with stride 1 leaves the size of the map as it is: the "same" padding of PyTorch,
    TensorFlow and timm, which is the odd one at the end.
    """
    return array_module(x).pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))


@shapes(x="N C H W", result="N C H' W'")
def average_pool2d(
    x: Array,
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    ceil_mode: bool,
) -> Array:
    """Average each window of a map. Sizes are one number or a pair (vertical, horizontal).

    The zeros of the padding count as positions. With `ceil_mode`, the number of windows is rounded up: a last window
    that reaches beyond the padding is kept if it starts inside the map or its left padding, and is divided by the
    positions that it really covers. A window larger than the padded map is an `InputError`, and so is a padding larger
    than half the window.

    ``torch.nn.functional.avg_pool2d`` with ``count_include_pad=True``. CvT's ``qkv_projection_method="avg"``.
    """
    xp = array_module(x)
    kernel = pair("average_pool2d", "kernel_size", kernel_size, minimum=1)
    strides, pads = place_windows("average_pool2d", x.shape[2:], kernel, stride, padding)
    check_padding("average_pool2d", kernel, pads)

    axes = list(zip(x.shape[2:], kernel, strides, pads, strict=True))
    height, width = (count_windows(*axis, ceil_mode) for axis in axes)
    overhang_h, overhang_w = (
        max(0, (count - 1) * s + k - size - 2 * p) for count, (size, k, s, p) in zip((height, width), axes, strict=True)
    )
    inside = xp.pad(x, ((0, 0), (0, 0), (pads[0], pads[0]), (pads[1], pads[1])))
    x_padded = xp.pad(inside, ((0, 0), (0, 0), (0, overhang_h), (0, overhang_w)))
    covered = xp.pad(xp.ones(inside.shape[2:], inside.dtype), ((0, overhang_h), (0, overhang_w)))

    total = xp.zeros((*x.shape[:2], height, width), x.dtype)
    count = xp.zeros((height, width), x.dtype)
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            total += under(x_padded, (u, v), strides, (height, width))
            count += under(covered, (u, v), strides, (height, width))
    return total / count


def gather_windows(x: Array, reach: Pair, strides: Pair, pads: Pair, dilation: int) -> Array:
    """Return what every window sees, a view of the padded map (im2col): (N, C, H, W) -> (N, C, kh, kw, H', W')."""
    xp = array_module(x)
    x_padded = xp.pad(x, ((0, 0), (0, 0), (pads[0], pads[0]), (pads[1], pads[1])))
    windows = xp.lib.stride_tricks.sliding_window_view(x_padded, reach, axis=(2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1], ::dilation, ::dilation]  # (N, C, H', W', kh, kw)
    return windows.transpose(0, 1, 4, 5, 2, 3)


def pair(layer: str, name: str, value: int | Sequence[int], *, minimum: int) -> Pair:
    """Return `value` as (vertical, horizontal); a single number stands for both."""
    values = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, Sequence) else (value,)
    if len(values) != 2 or any(not isinstance(v, int) or v < minimum for v in values):
        raise InputError(
            f"{layer}: expected {name} to be an int or a pair of ints of at least {minimum}, got {value!r}"
        )
    return values[0], values[1]


def window_reach(layer: str, kernel: Sequence[int], dilation: int) -> Pair:
    """Return how many positions a window reaches over, down and across."""
    if isinstance(dilation, bool) or not isinstance(dilation, int) or dilation < 1:
        raise InputError(f"{layer}: expected dilation to be an int of at least 1, got {dilation!r}")
    return (kernel[0] - 1) * dilation + 1, (kernel[1] - 1) * dilation + 1


def check_window(layer: str, size: Sequence[int], kernel: Sequence[int], padding: Sequence[int]) -> None:
    """Refuse a window that does not fit into the padded map even once."""
    if any(s + 2 * p < k for s, k, p in zip(size, kernel, padding, strict=True)):
        raise ShapeError(
            f"{layer}: a {kernel[0]} x {kernel[1]} window does not fit into a {size[0]} x {size[1]} map with padding "
            f"{padding[0]}, {padding[1]}; use a larger input picture"
        )


def check_padding(layer: str, kernel: Pair, pads: Pair) -> None:
    """Refuse a padding in which a window of an average could lie whole."""
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        raise InputError(f"{layer}: expected a padding of at most half the window {kernel}, got {pads}")


def place_windows(
    layer: str, size: Sequence[int], kernel: Sequence[int], stride: int | Sequence[int], padding: int | Sequence[int]
) -> tuple[Pair, Pair]:
    """Return `stride` and `padding` as (vertical, horizontal), if the window fits into a map (H, W) at least once."""
    strides, pads = pair(layer, "stride", stride, minimum=1), pair(layer, "padding", padding, minimum=0)
    check_window(layer, size, kernel, pads)
    return strides, pads


def count_windows(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool = False) -> int:
    """Return how many windows fit along one axis."""
    steps = size + 2 * padding - kernel
    if not ceil_mode:
        return steps // stride + 1
    count = -(-steps // stride) + 1
    starts_beyond_the_map = (count - 1) * stride >= size + padding
    return count - 1 if starts_beyond_the_map else count


def under(x_padded: Array, place: Pair, stride: Pair, count: Pair) -> Array:
    """Return what lies under one place of every window: (..., H, W) -> (..., H', W'), with `count` windows."""
    (u, v), (stride_h, stride_w), (height, width) = place, stride, count
    rows = slice(u, u + (height - 1) * stride_h + 1, stride_h)
    columns = slice(v, v + (width - 1) * stride_w + 1, stride_w)
    return x_padded[..., rows, columns]
