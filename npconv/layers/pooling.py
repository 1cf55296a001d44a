"""Averages over positions."""

from __future__ import annotations

from collections.abc import Sequence

from npconv.backend import Array, array_module
from npconv.errors import InputError
from npconv.layers.shapes import shapes
from npconv.layers.windows import count_windows, pair, place_windows, under


@shapes(x="N C H W", result="N C")
def global_average_pool(x: Array) -> Array:
    """Average each map over all its positions."""
    return x.mean(axis=(2, 3))


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
    strides, pads = place_windows("average_pool2d", x, kernel, stride, padding)
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        raise InputError(f"average_pool2d: expected a padding of at most half the window {kernel}, got {pads}")

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
