"""Checks of arguments that the layers share. They turn a wrong shape into one line that names it."""

from __future__ import annotations

from collections.abc import Sequence

from npconv.backend import Array, array_module
from npconv.errors import InputError


def check_ndim(layer: str, x: Array, letters: str) -> None:
    """Refuse `x` unless it has one axis for each letter of `letters`, such as ``"NCHW"``."""
    if x.ndim != len(letters):
        expected = ", ".join(letters)
        raise InputError(f"{layer}: expected x of shape ({expected}), got {x.shape}; add or remove axes with reshape")


def check_channels(layer: str, x: Array, channels: int, *, axis: int) -> None:
    """Refuse `x` unless its axis `axis` has the length that the weights ask for."""
    if not -x.ndim <= axis < x.ndim or x.shape[axis] != channels:
        raise InputError(
            f"{layer}: the weights expect {channels} channels on axis {axis} of x, got x of shape {x.shape}; "
            "check the layout (channels first: N, C, H, W) and that the weights belong to this layer"
        )


def check_weight(layer: str, weight: Array, ndim: Sequence[int]) -> None:
    """Refuse `weight` unless it is an array whose number of axes is one of `ndim`."""
    array_module(weight)
    if weight.ndim not in ndim:
        expected = " or ".join(str(n) for n in ndim)
        raise InputError(f"{layer}: expected a weight with {expected} axes, got shape {weight.shape}")


def check_per_channel(layer: str, channels: int, **parameters: Array | None) -> None:
    """Refuse parameters, given by name, that are not of shape (channels,); None stands for none."""
    for name, parameter in parameters.items():
        if parameter is not None and parameter.shape != (channels,):
            raise InputError(f"{layer}: expected {name} of shape ({channels},), got {parameter.shape}")


def pair(layer: str, name: str, value: int | Sequence[int], *, minimum: int) -> tuple[int, int]:
    """Return `value` as (vertical, horizontal); a single number stands for both."""
    values = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, Sequence) else (value,)
    if len(values) != 2 or any(not isinstance(v, int) or v < minimum for v in values):
        raise InputError(
            f"{layer}: expected {name} to be an int or a pair of ints of at least {minimum}, got {value!r}"
        )
    return values[0], values[1]


def check_window(layer: str, size: tuple[int, int], kernel: tuple[int, int], padding: tuple[int, int]) -> None:
    """Refuse a window that does not fit into the padded map even once."""
    if any(s + 2 * p < k for s, k, p in zip(size, kernel, padding, strict=True)):
        raise InputError(
            f"{layer}: a {kernel[0]} x {kernel[1]} window does not fit into a {size[0]} x {size[1]} map with padding "
            f"{padding[0]}, {padding[1]}; use a larger input picture"
        )


def check_rate(layer: str, rate: float) -> None:
    """Refuse a drop rate that is no probability."""
    if not 0 <= rate <= 1:
        raise InputError(f"{layer}: expected a rate from 0 to 1, got {rate!r}")
