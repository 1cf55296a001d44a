"""Depthwise convolution as matrix products with banded matrices.

A depthwise convolution multiplies each value k * k times and adds each product to another place; by shifting and
adding, NumPy reads and writes the whole map k * k times, 0.8 to 8 GFLOP/s. A matrix product does the same work in
registers.

Take one channel and one tile of a row, ``width`` outputs from ``width + k - 1`` inputs in each of k rows. Written as
a vector of ``k * (width + k - 1)`` inputs, the tile's outputs are this vector times a matrix with ``width`` columns,
each holding the kernel, shifted by one place from column to column: a banded (Toeplitz) matrix. All rows of a map, of
all pictures, are the rows of one product.

    inputs (H, k * (width + k - 1))  @  band (k * (width + k - 1), width)  =  outputs (H, width)

Most of the band is zero: for a 7 x 7 kernel and 14 outputs, 7 of 20 rows of a column are not. But multiplying by
zeros at 100 GFLOP/s beats adding at 2: 9 to 13 GFLOP/s of useful work on one AVX-512 core, where shifted adds reach
0.8 to 8, an FFT 2 to 13, ``einsum`` 1.6 and ``scipy.ndimage`` 0.7.

A map of at most 16 columns is one tile, whose band needs no rows for the zeros of the padding. Wider maps are cut
into tiles of about 14; the last one overlaps its neighbour rather than hang over the edge, so all tiles share one
band.
"""

from __future__ import annotations

import numpy as np

from npconv.fast.products import spans
from npconv.fast.scratch import Scratch

#: Widest map that is one tile, and the width to aim at when there are several.
SINGLE_TILE = 16
TILE = 14

#: Bytes of gathered inputs at a time; measured best from 400 kB to 1 MB.
GATHERED_BYTES = 800 * 1024


class DepthwiseProduct:
    """A depthwise convolution without bias, as banded products.

    Parameters
    ----------
    weight : array (C, 1, k, k), float32
    stride, padding : int
        The same vertically and horizontally.
    """

    def __init__(self, weight: np.ndarray, *, stride: int = 1, padding: int) -> None:
        self.weight = weight[:, 0]
        self.stride = stride
        self.padding = padding
        self._bands: dict[tuple[int, int], np.ndarray] = {}

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result."""
        reach = self.weight.shape[1] - 2 * self.padding
        return (height - reach) // self.stride + 1, (width - reach) // self.stride + 1

    def __call__(self, x: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        """Convolve x (C, N, H, W) into out (C, N, H', W'), a contiguous array."""
        channels, batch, _, width = x.shape
        out_height, out_width = out.shape[2:]
        kernel = self.weight.shape[1]
        tiles = 1 if out_width <= SINGLE_TILE else -(-out_width // TILE)
        tile = -(-out_width // tiles)
        band, reach = self._band(tile, width if tiles == 1 else None)
        block = GATHERED_BYTES // (4 * batch * out_height * tiles * kernel * reach)
        block = max(1, min(block, -(-channels // scratch.threads)))
        name = f"gathered {x.shape} {self.stride} {self.padding} {kernel}"

        def convolve(span: tuple[int, int], scratch: Scratch) -> None:
            """Convolve some of the channels."""
            part, count = slice(*span), span[1] - span[0]
            gathered = scratch.zero_bordered(name, block, tiles, batch, out_height, kernel, reach)
            for index in range(tiles):
                start = min(index * tile, out_width - tile)
                rows = gathered[:count, index]
                self._gather(x[part], rows, start if tiles > 1 else None)
                rows = rows.reshape(count, batch * out_height, kernel * reach)
                if tiles == 1:
                    np.matmul(rows, band[part], out=out[part].reshape(count, batch * out_height, tile))
                else:
                    product = scratch.array("tile", count, batch * out_height, tile)
                    np.matmul(rows, band[part], out=product)
                    out[part, :, :, start : start + tile] = product.reshape(count, batch, out_height, tile)

        scratch.map(convolve, spans(channels, block))

    def _gather(self, x: np.ndarray, rows: np.ndarray, start: int | None) -> None:
        """Lay the k input rows of each output row side by side: (C, N, H, W) -> (C, N, H', k, reach).

        `start` is the first output column of the tile; None for the only tile, which takes the columns of x as they
        are. Places outside the map are never written to and stay zero.
        """
        height, width = x.shape[2:]
        out_height, kernel, reach = rows.shape[2:]
        left = 0 if start is None else start * self.stride - self.padding
        first, end = max(left, 0), min(left + reach, width)
        for u in range(kernel):
            top = u - self.padding  # input row of output row 0
            begin = max(0, -(top // self.stride))
            stop = min(out_height, (height - 1 - top) // self.stride + 1)
            if begin < stop and first < end:
                chosen = slice(begin * self.stride + top, (stop - 1) * self.stride + top + 1, self.stride)
                rows[:, :, begin:stop, u, first - left : end - left] = x[:, :, chosen, first:end]

    def _band(self, tile: int, width: int | None) -> tuple[np.ndarray, int]:
        """Return the banded matrices (C, k * reach, tile) and the columns that a tile reads, made once and kept.

        `width` is that of the map for the only tile of a narrow map; its band starts at the map's edge.
        """
        channels, kernel, _ = self.weight.shape
        reach = (tile - 1) * self.stride + kernel
        trimmed = slice(0, reach) if width is None else slice(self.padding, self.padding + width)
        key = (tile, -1 if width is None else width)
        band = self._bands.get(key)
        if band is None:
            whole = np.zeros((channels, kernel, max(reach, trimmed.stop), tile), np.float32)
            for column in range(tile):
                whole[:, :, column * self.stride : column * self.stride + kernel, column] = self.weight
            band = np.ascontiguousarray(whole[:, :, trimmed]).reshape(channels, -1, tile)
            self._bands = {key: band}  # in one step: threads may ask for different ones
        return band, trimmed.stop - trimmed.start
