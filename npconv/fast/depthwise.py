"""Depthwise convolution as matrix products with banded matrices.

A depthwise convolution multiplies each value k * k times and adds each product to another place; by shifting and
adding, NumPy reads and writes the whole map k * k times, 0.8 to 8 GFLOP/s. A matrix product does the same work in
registers.

Take one channel and one tile of ``rows * columns`` outputs, which come from a window of ``rows + k - 1`` by
``columns + k - 1`` inputs. Written as a vector, the window times a matrix gives the tile: each column of the matrix
holds the kernel, shifted to the place of one output. A matrix of shifted copies is banded (Toeplitz). All tiles of a
channel, of all pictures, are the rows of one product.

    windows (tiles, window)  @  band (window, tile)  =  outputs (tiles, tile)

Most of the band is zero: for a 7 x 7 kernel and 4 x 8 outputs, 49 of 140 numbers of a column are not. But multiplying
by zeros at 100 GFLOP/s beats adding at 2: 17 to 26 GFLOP/s of useful work on one AVX-512 core (Xeon, Sapphire Rapids),
where shifted adds reach 0.8 to 8, an FFT 2 to 13, ``einsum`` 1.6 and ``scipy.ndimage`` 0.7.

The shape of a tile balances two costs. Windows overlap, and laying them side by side costs as much as multiplying:
4.4 numbers an output for 4 x 8 outputs, 10 for 1 x 14, with as many multiplications. For 96 maps of 56 x 56 and a
7 x 7 kernel that is 1.2 ms in place of 1.7. A small kernel has little overlap, and a stride makes bands emptier, so
these stay with 1 x 14: 64 maps of 56 x 56 and a 3 x 3 kernel take 0.46 ms, in tiles of 4 x 8 0.50.

A map of at most 16 columns is one tile wide; its windows are rows of the map, and its band has no place for the zeros
of the padding beside them.

All windows are laid out by one copy from a view of the padded map. One copy for each row of the kernel took as long
again, and twelve times the calls, each of which is a moment at which threads wait for the interpreter.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from npconv.fast.engine import Scratch, Task, run, spans

#: Widest map that is one tile wide. For a large kernel, a tile of a narrow map takes several rows, up to this size.
SINGLE_TILE = 16

#: Outputs of a tile (rows, columns) to aim at in wider maps: for kernels from 5 x 5 without a stride, and others.
LARGE_KERNEL_TILE = (4, 8)
TILE = (1, 14)

#: Bytes of gathered windows at a time; measured best from 400 kB to 1 MB.
GATHERED_BYTES = 800 * 1024


class Cut(NamedTuple):
    """How a map is cut into tiles."""

    rows: int  #: outputs of a tile
    columns: int
    down: int  #: tiles of a map
    across: int
    window: tuple[int, int]  #: inputs of a tile
    padded: tuple[int, int]  #: size of the padded map that all windows fit into
    left: int  #: columns of zeros on its left; above, it has all of the padding


class DepthwiseProduct:
    """A depthwise convolution as banded products.

    The weight is (C, 1, k, k), the bias (C, 1), both float32; stride and padding are the same vertically and
    horizontally.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None = None, *, stride: int = 1, padding: int) -> None:
        self.weight, self.bias = weight[:, 0], bias
        self.stride, self.padding = stride, padding
        self._bands: dict[Cut, np.ndarray] = {}

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result."""
        reach = self.weight.shape[1] - 2 * self.padding
        return (height - reach) // self.stride + 1, (width - reach) // self.stride + 1

    def __call__(self, x: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        """Convolve x (C, N, H, W) into out (C, N, H', W'), a contiguous array."""
        scratch.map(run, self.tasks(x, out, scratch.threads))

    def tasks(self, x: np.ndarray, out: np.ndarray, threads: int) -> list[Task]:
        """Return the same in independent parts, for so many threads: each convolves some of the channels."""
        channels, batch, height, width = x.shape
        cut = self._cut(height, width)
        band = self._band(cut)
        tiles = batch * cut.down * cut.across
        block = GATHERED_BYTES // (4 * tiles * band.shape[1])
        block = max(1, min(block, -(-channels // threads)))
        name = f"padded map {x.shape} {self.stride} {self.padding} {len(self.weight[0])}"
        inside = (slice(self.padding, self.padding + height), slice(cut.left, cut.left + width))

        def convolve(span: tuple[int, int], scratch: Scratch) -> None:
            part, count = slice(*span), span[1] - span[0]
            padded = scratch.zero_bordered(name, block, batch, *cut.padded)[:count]
            padded[(..., *inside)] = x[part]
            gathered = scratch.array("gathered", count, batch, cut.down, cut.across, *cut.window)
            np.copyto(gathered, self._windows(padded, cut))
            product = scratch.array("tiles", count, tiles, band.shape[2])
            np.matmul(gathered.reshape(count, tiles, -1), band[part], out=product)
            if self.bias is not None:
                product += self.bias[part, :, None]
            _join_tiles(product, cut, out[part], scratch)

        return [partial(convolve, span) for span in spans(channels, block, threads)]

    def _cut(self, height: int, width: int) -> Cut:
        """Return how to cut a map of this size."""
        kernel = self.weight.shape[1]
        out_height, out_width = self.output_size(height, width)
        large = kernel >= 5 and self.stride == 1
        if out_width <= SINGLE_TILE:
            rows, columns = SINGLE_TILE // out_width if large else 1, out_width
        else:
            rows, columns = LARGE_KERNEL_TILE if large else TILE
        down, across = -(-out_height // rows), -(-out_width // columns)
        rows, columns = -(-out_height // down), -(-out_width // across)  # tiles of even size
        tall, wide = ((n - 1) * self.stride + kernel for n in (down * rows, across * columns))
        left = self.padding if across > 1 else 0
        reach = (columns - 1) * self.stride + kernel if across > 1 else width
        padded = (max(tall, self.padding + height), max(wide, left + width) if across > 1 else width)
        return Cut(rows, columns, down, across, ((rows - 1) * self.stride + kernel, reach), padded, left)

    def _windows(self, padded: np.ndarray, cut: Cut) -> np.ndarray:
        """Return a view of the windows of a padded map: (C, N, H, W) -> (C, N, down, across, *window)."""
        channel, picture, row, column = padded.strides
        strides = (cut.rows * self.stride * row, cut.columns * self.stride * column, row, column)
        shape = (*padded.shape[:2], cut.down, cut.across, *cut.window)
        return np.ndarray(shape, padded.dtype, padded, strides=(channel, picture, *strides))

    def _band(self, cut: Cut) -> np.ndarray:
        """Return the banded matrices (C, window, tile), made once and kept."""
        band = self._bands.get(cut)
        if band is None:
            channels, kernel, _ = self.weight.shape
            tall, reach = cut.window
            first = self.padding - cut.left  # a map that is one tile wide has no padding on its left
            wide = max((cut.columns - 1) * self.stride + kernel, first + reach)
            whole = np.zeros((channels, tall, wide, cut.rows, cut.columns), np.float32)
            for row in range(cut.rows):
                for column in range(cut.columns):
                    top, left = row * self.stride, column * self.stride
                    whole[:, top : top + kernel, left : left + kernel, row, column] = self.weight
            band = np.ascontiguousarray(whole[:, :, first : first + reach]).reshape(channels, tall * reach, -1)
            self._bands = {cut: band}  # in one step: threads may ask for different ones
        return band


class DilatedDepthwise:
    """A depthwise convolution whose kernel's places are `dilation` positions apart; the size of the map stays.

    Positions that are a multiple of the dilation apart see only each other. So a map is cut into ``dilation**2`` small
    ones, of every so many-th row and column, and a usual convolution goes over each.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray, *, dilation: int) -> None:
        self.dilation = dilation
        self.small = DepthwiseProduct(weight, bias, padding=weight.shape[2] // 2)

    def __call__(self, x: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        """Convolve x (C, N, H, W) into out, of the same shape."""
        channels, batch, height, width = x.shape
        apart = self.dilation
        size = (-(-height // apart), -(-width // apart))
        shape = (channels, batch * apart * apart, *size)
        cut = scratch.private.array("every so many-th", *shape)
        done = scratch.array("every so many-th, convolved", *shape)
        cut[...] = 0  # where rows or columns lack, they are padding
        places = [(p, q) for p in range(apart) for q in range(apart)]
        for number, (p, q) in enumerate(places):
            part = x[:, :, p::apart, q::apart]
            cut[:, number * batch : (number + 1) * batch, : part.shape[2], : part.shape[3]] = part
        self.small(cut, done, scratch)
        for number, (p, q) in enumerate(places):
            part = out[:, :, p::apart, q::apart]
            part[...] = done[:, number * batch : (number + 1) * batch, : part.shape[2], : part.shape[3]]


def _join_tiles(tiles: np.ndarray, cut: Cut, out: np.ndarray, scratch: Scratch) -> None:
    """Put tiles (C, tiles, tile) together in out (C, N, H', W'), without what hangs over its edges."""
    channels, batch, height, width = out.shape
    whole = (cut.down * cut.rows, cut.across * cut.columns)
    exact = whole == (height, width)
    joined = out if exact else scratch.array("joined tiles", channels, batch, *whole)
    by_tile = tiles.reshape(channels, batch, cut.down, cut.across, cut.rows, cut.columns)
    by_row = joined.reshape(channels, batch, cut.down, cut.rows, cut.across, cut.columns)
    np.copyto(by_row, by_tile.transpose(0, 1, 2, 4, 3, 5))
    if not exact:
        np.copyto(out, joined[:, :, :height, :width])
