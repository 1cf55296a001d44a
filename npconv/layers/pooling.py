"""Averages over positions."""

from __future__ import annotations

from collections.abc import Sequence

from npconv.backend import Array, array_module, widen
from npconv.errors import InputError
from npconv.layers._checks import check_ndim, check_window, pair


def global_average_pool(x: Array) -> Array:
    """Average each map over all its positions.

    Parameters
    ----------
    x : array (N, C, H, W)
        Floating-point.

    Returns
    -------
    array (N, C)
        In the dtype of `x`; float16 is summed in float32.
    """
    check_ndim("global_average_pool", x, "NCHW")
    return widen(x).mean(axis=(2, 3)).astype(x.dtype, copy=False)


def average_pool2d(
    x: Array,
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    ceil_mode: bool,
) -> Array:
    """Average each window of a map.

    The zeros of the padding count as positions. With `ceil_mode`, a last window that reaches beyond the padding is
    kept if it starts inside the map or its left padding, and is divided by the positions that it really covers.

    Parameters
    ----------
    x : array (N, C, H, W)
        Floating-point.
    kernel_size, stride, padding : int or pair of int
        Size of the window, step between windows, zeros on each side, as (vertical, horizontal).
    ceil_mode : bool
        Round the number of windows up instead of down.

    Returns
    -------
    array (N, C, H', W')
        In the dtype of `x`; float16 is summed in float32.

    Raises
    ------
    InputError
        If the window is larger than the padded map, or the padding larger than half the window.

    Notes
    -----
    ``torch.nn.functional.avg_pool2d`` with ``count_include_pad=True``. CvT's ``qkv_projection_method="avg"``.
    """
    xp = array_module(x)
    check_ndim("average_pool2d", x, "NCHW")
    kernel = pair("average_pool2d", "kernel_size", kernel_size, minimum=1)
    strides = pair("average_pool2d", "stride", stride, minimum=1)
    pads = pair("average_pool2d", "padding", padding, minimum=0)
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        raise InputError(f"average_pool2d: expected a padding of at most half the window {kernel}, got {pads}")
    check_window("average_pool2d", x.shape[2:], kernel, pads)

    height, width = (
        _count_windows(size, k, s, p, ceil_mode)
        for size, k, s, p in zip(x.shape[2:], kernel, strides, pads, strict=True)
    )
    overhang = [
        max(0, (count - 1) * s + k - size - 2 * p)
        for count, s, k, size, p in zip((height, width), strides, kernel, x.shape[2:], pads, strict=True)
    ]
    inside = xp.pad(widen(x), ((0, 0), (0, 0), (pads[0], pads[0]), (pads[1], pads[1])))
    x_padded = xp.pad(inside, ((0, 0), (0, 0), (0, overhang[0]), (0, overhang[1])))
    covered = xp.pad(xp.ones(inside.shape[2:], inside.dtype), ((0, overhang[0]), (0, overhang[1])))

    total = xp.zeros((*x.shape[:2], height, width), inside.dtype)
    count = xp.zeros((height, width), inside.dtype)
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            rows = slice(u, u + (height - 1) * strides[0] + 1, strides[0])
            columns = slice(v, v + (width - 1) * strides[1] + 1, strides[1])
            total += x_padded[:, :, rows, columns]
            count += covered[rows, columns]
    return (total / count).astype(x.dtype, copy=False)


def _count_windows(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """Return how many windows fit along one axis."""
    steps = size + 2 * padding - kernel
    if not ceil_mode:
        return steps // stride + 1
    count = -(-steps // stride) + 1
    starts_beyond_the_map = (count - 1) * stride >= size + padding
    return count - 1 if starts_beyond_the_map else count
