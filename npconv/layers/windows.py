"""Windows that move over a map: what convolutions and averages ask of them."""

from __future__ import annotations

from collections.abc import Sequence

from npconv.backend import Array
from npconv.errors import InputError

Pair = tuple[int, int]


def pair(layer: str, name: str, value: int | Sequence[int], *, minimum: int) -> Pair:
    """Return `value` as (vertical, horizontal); a single number stands for both."""
    values = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, Sequence) else (value,)
    if len(values) != 2 or any(not isinstance(v, int) or v < minimum for v in values):
        raise InputError(
            f"{layer}: expected {name} to be an int or a pair of ints of at least {minimum}, got {value!r}"
        )
    return values[0], values[1]


def check_window(layer: str, size: Sequence[int], kernel: Sequence[int], padding: Sequence[int]) -> None:
    """Refuse a window that does not fit into the padded map even once."""
    if any(s + 2 * p < k for s, k, p in zip(size, kernel, padding, strict=True)):
        raise InputError(
            f"{layer}: a {kernel[0]} x {kernel[1]} window does not fit into a {size[0]} x {size[1]} map with padding "
            f"{padding[0]}, {padding[1]}; use a larger input picture"
        )


def place_windows(
    layer: str, x: Array, kernel: Sequence[int], stride: int | Sequence[int], padding: int | Sequence[int]
) -> tuple[Pair, Pair]:
    """Return `stride` and `padding` as (vertical, horizontal), if the window fits into the map at least once."""
    strides, pads = pair(layer, "stride", stride, minimum=1), pair(layer, "padding", padding, minimum=0)
    check_window(layer, x.shape[2:], kernel, pads)
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
