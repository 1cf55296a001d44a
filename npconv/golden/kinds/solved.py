"""The parameter that a port used, solved for: what makes its result of its inputs, where one step is linear in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npconv.golden.kinds.change import Place
from npconv.plan.shapes import as_pair

#: Equations for each unknown number, at least.
ENOUGH = 1.2

#: The most numbers of a table of equations.
LARGEST = 10_000_000


def solve(place: Place, name: str) -> np.ndarray | None:
    """Return the values of a parameter with which the step makes mine of its inputs; None where that cannot be told."""
    table = TABLES.get((place.step.operation, name))
    if table is None or place.mine is None or not np.isfinite(place.mine).all():
        return None
    zero = place.run(**{name: np.zeros_like(place.arguments[name])})
    rest = place.mine.astype(np.float64) - zero
    if not (np.isfinite(rest).all() and np.isfinite(place.inputs[0]).all()):
        return None
    found: np.ndarray | None = table(place, name, rest)
    return found


def _of_channels(place: Place, name: str, rest: np.ndarray) -> np.ndarray | None:
    """Solve for one number a channel: what the step makes of 1, times it, is what is left."""
    shape = place.arguments[name].shape
    ones, zeros = (place.run(**{name: fill(shape, rest.dtype)}) for fill in (np.ones, np.zeros))
    unit = ones - zeros
    axis = _channel_axis(place)
    others = tuple(other for other in range(rest.ndim) if other != axis)
    power = (unit**2).sum(axis=others)
    if not power.all():
        return None
    found = (unit * rest).sum(axis=others) / power
    return found.reshape(shape)


def _dense(place: Place, name: str, rest: np.ndarray) -> np.ndarray | None:
    """Solve for a matrix: each output is a sum over the same inputs."""
    weight = place.arguments[name]
    seen = _columns(place, weight)  # (positions, inputs)
    if seen is None or len(seen) < ENOUGH * seen.shape[1] or seen.size > LARGEST:
        return None
    outputs = np.moveaxis(rest, _channel_axis(place), -1).reshape(-1, weight.shape[0])
    found, _, rank, _ = np.linalg.lstsq(seen, outputs, rcond=None)
    return found.T.reshape(weight.shape) if rank == seen.shape[1] else None


def _columns(place: Place, weight: np.ndarray) -> np.ndarray | None:
    """Return the inputs of every position: (positions, inputs of an output)."""
    x = place.inputs[0].astype(np.float64)
    if x.ndim == 4 and weight.ndim == 4:
        windows = _windows(place, x, weight.shape[2:])
        if windows is None:
            return None
        return windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * windows.shape[4] * windows.shape[5])
    axis = 1 if x.ndim == 4 else x.ndim - 1
    return np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])


def _windows(place: Place, x: np.ndarray, kernel: tuple[int, ...]) -> np.ndarray | None:
    """Return what a convolution sees: (N, C, H', W', kh, kw)."""
    settings = place.step.attributes
    (rows, columns), (down, right) = as_pair(settings.get("padding", 0)), as_pair(settings.get("stride", 1))
    apart = int(settings.get("dilation", 1))
    reach = tuple((side - 1) * apart + 1 for side in kernel)
    padded = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    windows = windows[:, :, ::down, ::right, ::apart, ::apart]
    return windows if windows.size <= LARGEST else None


def _depthwise(place: Place, name: str, rest: np.ndarray) -> np.ndarray | None:
    """Solve for a kernel a channel."""
    weight = place.arguments[name]
    windows = _windows(place, place.inputs[0].astype(np.float64), weight.shape[2:])
    if windows is None or windows.size < ENOUGH * weight.size * weight[0].size:
        return None
    seen = windows.transpose(1, 0, 2, 3, 4, 5).reshape(len(weight), -1, weight[0].size)  # (C, positions, kh * kw)
    outputs = np.moveaxis(rest, 1, 0).reshape(len(weight), -1)
    found = []
    for a, b in zip(seen, outputs, strict=True):
        kernel, _, rank, _ = np.linalg.lstsq(a, b, rcond=None)
        if rank < a.shape[1]:
            return None
        found.append(kernel)
    return np.reshape(found, weight.shape)


def _channel_axis(place: Place) -> int:
    """Return the axis of the channels, or of what else there is one parameter for."""
    return 1 if place.right.ndim == 4 else place.right.ndim - 1


TABLES: dict[tuple[str, str], Callable[[Place, str, np.ndarray], np.ndarray | None]] = {
    **{(operation, "weight"): _dense for operation in ("conv2d", "pointwise_conv2d", "linear")},
    ("depthwise_conv2d", "weight"): _depthwise,
    **{(operation, "weight"): _of_channels for operation in ("layer_norm", "rms_norm", "simple_norm", "batch_norm")},
    ("grn_apply", "weight"): _of_channels,
    ("layer_scale", "layer_scale_parameter"): _of_channels,
    **{
        (operation, "bias"): _of_channels
        for operation in (
            *("conv2d", "pointwise_conv2d", "linear", "depthwise_conv2d"),
            *("layer_norm", "batch_norm", "grn_apply"),
        )
    },
}
