"""What a page shows of each array of a model: small pictures and a few numbers, so that the array itself can go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from npconv.pictures.colours import BLUE
from npconv.pictures.maps import Summary, as_map, coloured, strongest, summarize
from npconv.pictures.picture import Picture
from npconv.pictures.relations import thinned
from npconv.plan.step import Step

#: Channels of a map that can be chosen, and positions along each axis.
MOST, MOST_POSITIONS = 32, 28

#: Colours of a tile from 0 to an end of its scale: few enough that many tiles fit on a page.
LEVELS = 24

#: Most values of a vector that are shown each by itself.
MOST_BARS = 256

#: Of numbers with names: how many.
MOST_NAMED = 12

#: Most places of the photo, down and across, for which an attention map is kept.
MOST_PLACES = 14

#: Operations whose result has the channels of their input, each made of the same one.
CHANNELWISE = (
    *("depthwise_conv2d", "layer_norm", "rms_norm", "simple_norm", "batch_norm", "activation", "grn_apply"),
    *("layer_scale", "residual", "average_pool2d"),
)


@dataclass(frozen=True)
class Sheet:
    """Channels of a map, the strongest first, all in one picture: tile by tile in rows, see :func:`atlas_of`.

    Each has a scale of its own: from 0 (dark) to its largest value (yellow), or where the map has negative values from
    blue over white (0) to orange. The map has `of` channels.
    """

    png: bytes
    channels: tuple[int, ...]
    of: int
    height: int
    width: int


@dataclass(frozen=True)
class Bars:
    """Some numbers of a vector with their places in it, the largest first; each before a step and after, or once."""

    places: tuple[int, ...]
    of: int
    series: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Shown:
    """What is shown of an array: a sheet of maps, or a picture of its values and the largest of them; its numbers."""

    sheet: Sheet | None = None
    values: Picture | None = None
    bars: Bars | None = None
    summary: Summary | None = None


@dataclass(frozen=True)
class Attention:
    """Attention maps of one block for places of the photo, all in one picture, see :func:`atlas_of`.

    First come those of the mean over `heads`, then those of each if there are several. Of each, the first is that of
    the class token, if there is one (`tokens`); then row by row those of `rows` x `columns` places. Each has `height` x
    `width` pixels, from dark (none) to yellow (the most of its own map).
    """

    atlas: Picture
    rows: int
    columns: int
    height: int
    width: int
    tokens: int
    heads: int


@dataclass
class MapSizes:
    """The heights and widths of the maps so far, by which tokens are known to be positions."""

    sizes: list[tuple[int, int]] = field(default_factory=list)

    def add(self, height: int, width: int) -> None:
        """Note that there was such a map."""
        self.sizes.append((height, width))

    def of(self, tokens: int) -> tuple[int, int] | None:
        """Return the size of the latest map with so many positions, or with one fewer beside a class token."""
        return next(((h, w) for h, w in reversed(self.sizes) if h * w in (tokens, tokens - 1)), None)


def show(
    array: np.ndarray, layout: str, sizes: MapSizes, channels: Sequence[int] = (), most: int | None = MOST
) -> Shown:
    """Return what is shown of an array with a batch of one: of maps the given channels, or the strongest."""
    x = positions_of(array, layout, sizes)
    if x is not None:
        return Shown(make_sheet(x, tuple(channels) or strongest(x, most or len(x))), summary=summarize(x))
    if layout in ("NCHW", "NTD", "NC", "ND", "NK"):
        values = array.reshape(-1)
        return Shown(None, bars(values), largest({"value": values}), summarize(as_map(values.reshape(-1, 1, 1))))
    return Shown()


def positions_of(array: np.ndarray, layout: str, sizes: MapSizes) -> np.ndarray | None:
    """Return a batch of one map, or of tokens that are positions, as a map (C, H, W) in float64; else None."""
    if layout == "NCHW" and array.shape[2] * array.shape[3] > 1:
        sizes.add(*array.shape[2:])
        return as_map(array)
    if layout == "NTD" and array.shape[1] > 1 and (size := sizes.of(array.shape[1])) is not None:
        return as_map(array[0, -math.prod(size) :].T.reshape(array.shape[2], *size))
    return None


def make_sheet(x: np.ndarray, channels: Sequence[int]) -> Sheet:
    """Return a sheet of channels of a map (C, H, W)."""
    tiles = _reduced(x[list(channels)])
    highest = np.abs(tiles).max(axis=(1, 2), keepdims=True)
    pixels = coloured(tiles, highest, signed=bool((x < 0).any()), levels=LEVELS)
    return Sheet(Picture(atlas_of(pixels)).png(), tuple(channels), len(x), *tiles.shape[1:])


def atlas_of(tiles: np.ndarray) -> np.ndarray:
    """Return tiles (n, H, W, 3) one after another in rows, in about a square, which ends in black."""
    count, height, width = tiles.shape[:3]
    far = math.ceil(math.sqrt(count))
    filled = np.concatenate([tiles, np.zeros((-count % far, *tiles.shape[1:]), np.uint8)])
    return filled.reshape(-1, far, height, width, 3).transpose(0, 2, 1, 3, 4).reshape(-1, far * width, 3)


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
    chosen = thinned(values[None], MOST_BARS)[0]
    high, low = max(chosen.max(initial=0.0), 0.0), min(chosen.min(initial=0.0), 0.0)
    levels = np.linspace(high, low, height)[:, None] if high > low else np.ones((height, 1))
    half = (high - low) / (2 * height)
    is_bar = np.where(chosen >= 0, (levels >= -half) & (levels <= chosen), (levels <= half) & (levels >= chosen))
    pixels = np.where(is_bar[..., None], np.array(BLUE), 255).astype(np.uint8)
    return Picture(pixels, f"{len(values)} values from {values.min(initial=0.0):.3g} to {values.max(initial=0.0):.3g}")


def largest(series: Mapping[str, np.ndarray]) -> Bars:
    """Return the numbers that are largest without their signs in the last of several vectors of one length."""
    last = np.asarray(list(series.values())[-1], np.float64)
    places = np.argsort(-np.abs(last), kind="stable")[:MOST_NAMED].tolist()
    chosen = {name: tuple(float(values[place]) for place in places) for name, values in series.items()}
    return Bars(tuple(places), len(last), chosen)


def show_attention(probabilities: np.ndarray, sizes: MapSizes) -> Attention | None:
    """Return the attention maps of probabilities (1, h, T, S); None if they are of no maps."""
    heads, queries, keys = len(probabilities[0]), *map(sizes.of, probabilities.shape[2:])
    if queries is None or keys is None:
        return None
    tokens = probabilities.shape[2] - math.prod(queries)
    rows, columns = (min(MOST_PLACES, length) for length in queries)
    down, across = (
        ((np.arange(count) + 0.5) * length / count).astype(int)
        for count, length in zip((rows, columns), queries, strict=True)
    )
    places = tokens + (down[:, None] * queries[1] + across).reshape(-1)
    of_heads = probabilities[0][:, np.concatenate([np.arange(tokens), places]), -math.prod(keys) :]
    chosen = np.concatenate([of_heads.mean(axis=0)[None], of_heads if heads > 1 else of_heads[:0]])
    tiles = coloured(chosen, chosen.max(axis=-1, keepdims=True), signed=False, levels=2 * LEVELS)
    return Attention(Picture(atlas_of(tiles.reshape(-1, *keys, 3))), rows, columns, *keys, tokens, heads)


def is_channelwise(step: Step) -> bool:
    """Tell whether each channel of a step's result is made of the same one of its input."""
    return step.operation in CHANNELWISE
