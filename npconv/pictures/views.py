"""What a page shows of each array of a model: small pictures and a few numbers, so that the array itself can go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from npconv.pictures.colours import sequential
from npconv.pictures.maps import Summary, as_map, maps, strongest, summarize
from npconv.pictures.picture import Picture
from npconv.plan.step import Step

#: Channels of a map that are shown, and positions along each axis.
MOST, MOST_POSITIONS = 16, 28

#: Most values of a vector that are shown each by itself.
MOST_BARS = 256

#: Most places of the photo, down and across, for which an attention map is kept.
MOST_PLACES = 14

#: Operations whose result has the channels of their input, each made of the same one.
CHANNELWISE = (
    *("depthwise_conv2d", "layer_norm", "rms_norm", "simple_norm", "batch_norm", "activation", "grn_apply"),
    *("layer_scale", "residual", "average_pool2d"),
)


@dataclass(frozen=True)
class Shown:
    """Pictures of an array by what each shows, its numbers, and which channels were chosen."""

    pictures: Mapping[str, Picture]
    summary: Summary | None = None
    channels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Attention:
    """Attention maps of one block for places of the photo, all in one picture, one after the other in rows.

    The first is that of the class token, if there is one; then row by row those of `rows` x `columns` places. Each has
    `height` x `width` pixels, from dark (none) to yellow (the most of its own map).
    """

    atlas: Picture
    rows: int
    columns: int
    height: int
    width: int
    tokens: int


class MapSizes:
    """The heights and widths of the maps so far, by which tokens are known to be positions."""

    def __init__(self) -> None:
        self._sizes: list[tuple[int, int]] = []

    def add(self, height: int, width: int) -> None:
        """Note that there was such a map."""
        self._sizes.append((height, width))

    def of(self, tokens: int) -> tuple[int, int] | None:
        """Return the size of the latest map with so many positions, or with one fewer beside a class token."""
        return next(((h, w) for h, w in reversed(self._sizes) if h * w in (tokens, tokens - 1)), None)


def show(array: np.ndarray, layout: str, sizes: MapSizes, channels: tuple[int, ...] = ()) -> Shown:
    """Return what is shown of an array with a batch of one; the strongest channels when none are given."""
    if layout == "NCHW" and array.shape[2] * array.shape[3] > 1:
        sizes.add(*array.shape[2:])
        return _show_map(as_map(array), channels)
    if layout == "NTD" and (size := sizes.of(array.shape[1])) is not None and array.shape[1] > 1:
        height, width = size
        positions = array[0, -height * width :].T.reshape(array.shape[2], height, width)
        return _show_map(as_map(positions), channels)
    if layout in ("NCHW", "NTD", "NC", "ND", "NK"):
        return Shown({"values": bars(array.reshape(-1))}, summarize(as_map(array.reshape(-1, 1, 1))))
    return Shown({})


def _show_map(x: np.ndarray, channels: tuple[int, ...]) -> Shown:
    """Return what is shown of a map (C, H, W)."""
    chosen = channels or tuple(strongest(x, MOST))
    picture = maps(_reduced(x[list(chosen)]), channels=range(len(chosen)))
    caption = f"channels {', '.join(map(str, chosen))}"
    return Shown({"channels": Picture(picture.pixels, caption)}, summarize(x), chosen)


def _reduced(x: np.ndarray) -> np.ndarray:
    """Return a map (C, H, W) with fewer positions, of which many maps fit on a page: means of squares of positions."""
    times = -(-max(x.shape[1:]) // MOST_POSITIONS)
    if times == 1:
        return x
    rows, columns = (np.arange(0, length, times) for length in x.shape[1:])
    sums = np.add.reduceat(np.add.reduceat(x, rows, axis=1), columns, axis=2)
    down, across = np.diff([*rows, x.shape[1]]), np.diff([*columns, x.shape[2]])
    return sums / np.outer(down, across)


def bars(values: np.ndarray, height: int = 32) -> Picture:
    """Draw numbers as bars from the left, upwards from 0 or downwards; of very many, the largest of each few."""
    values = np.nan_to_num(np.asarray(values, np.float64).reshape(-1))
    few = -(-len(values) // MOST_BARS)
    padded = np.pad(values, (0, -len(values) % few)).reshape(-1, few)
    chosen = np.take_along_axis(padded, np.abs(padded).argmax(axis=1)[:, None], axis=1)[:, 0]
    high, low = max(chosen.max(initial=0.0), 0.0), min(chosen.min(initial=0.0), 0.0)
    levels = np.linspace(high, low, height)[:, None] if high > low else np.ones((height, 1))
    half = (high - low) / (2 * height)
    is_bar = np.where(chosen >= 0, (levels >= -half) & (levels <= chosen), (levels <= half) & (levels >= chosen))
    pixels = np.where(is_bar[..., None], np.array([47, 111, 176]), 255).astype(np.uint8)
    return Picture(pixels, f"{len(values)} values from {values.min(initial=0.0):.3g} to {values.max(initial=0.0):.3g}")


def show_kernels(weight: np.ndarray, channels: tuple[int, ...]) -> Picture:
    """Show the kernels of a depthwise convolution (C, 1, kh, kw)."""
    return maps(weight[:, 0], channels=[channel for channel in channels if channel < len(weight)] or [0])


def show_attention(probabilities: np.ndarray, sizes: MapSizes) -> Attention | None:
    """Return the attention maps of probabilities (1, h, T, S), the mean over heads; None if they are of no maps."""
    mean = probabilities[0].mean(axis=0)  # (T, S)
    queries, keys = sizes.of(mean.shape[0]), sizes.of(mean.shape[1])
    if queries is None or keys is None:
        return None
    tokens = mean.shape[0] - math.prod(queries)
    rows, columns = (min(MOST_PLACES, length) for length in queries)
    down, across = (
        ((np.arange(count) + 0.5) * length / count).astype(int)
        for count, length in zip((rows, columns), queries, strict=True)
    )
    places = tokens + (down[:, None] * queries[1] + across).reshape(-1)
    chosen = mean[np.concatenate([np.arange(tokens), places]), -math.prod(keys) :]
    shares = chosen / np.maximum(chosen.max(axis=1, keepdims=True), 1e-30)
    tiles = sequential(shares.reshape(-1, *keys))
    far = math.ceil(math.sqrt(len(tiles)))
    tiles = np.concatenate([tiles, np.zeros((-len(tiles) % far, *tiles.shape[1:]), np.uint8)])
    atlas = tiles.reshape(-1, far, *tiles.shape[1:]).transpose(0, 2, 1, 3, 4).reshape(-1, far * keys[1], 3)
    return Attention(Picture(atlas), rows, columns, *keys, tokens)


def is_channelwise(step: Step) -> bool:
    """Tell whether each channel of a step's result is made of the same one of its input."""
    return step.operation in CHANNELWISE
