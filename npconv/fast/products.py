"""Matrix products and channel statistics of channels-first matrices (C, P); convolutions that are one such product.

Everything between two depthwise convolutions is a matrix here: channels in rows, the positions of all pictures side
by side in columns. A 1x1 convolution is then one product ``W @ X`` without a transpose. A
convolution that reads each patch once (stem, downsampling, patch embedding) is one product with the patches (im2col).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from npconv.fast.engine import Scratch, shares, small_shares, spans
from npconv.layers.conv import check_window

#: Products with at most this many multiplications run in the BLAS's small kernel, which does not copy its operands.
SMALL_PRODUCT = 1_000_000
NARROW = 64

#: Values of a map that are worked on together: pictures are taken in groups, so that a stage's map stays in the cache.
GROUP_VALUES = 400_000

#: Values of a map that are normalized at a time. So many take 0.2 ms, which is not worth sharing between threads.
NORMALIZED_VALUES = 80_000

#: Weights that are in float64 at a time while they are folded.
FOLDED_VALUES = 32_768


def multiply(weight: np.ndarray, x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Store ``weight @ x`` in `out` and return it.

    For a narrow x (the last maps are 7 x 7) packing the weight costs as much as multiplying by it. Cut into slabs of
    rows with at most a million multiplications each, OpenBLAS does not pack: 60 to 88 GFLOP/s on one core of an EPYC.
    On a Xeon (Sapphire Rapids) it makes no difference, 85 to 105 GFLOP/s either way.
    """
    rows, inner = weight.shape
    columns = x.shape[1]
    if columns <= NARROW and rows >= 96:
        for slab in (24, 12, 6):
            if rows % slab == 0 and slab * inner * columns <= SMALL_PRODUCT:
                slabs = weight.reshape(rows // slab, slab, inner)
                np.matmul(slabs, x, out=out.reshape(rows // slab, slab, columns))
                return out
    return np.matmul(weight, x, out=out)


def multiply_shared(weight: np.ndarray, x: np.ndarray, bias: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
    """Store ``weight @ x + bias`` in `out`, each thread some rows."""

    def some_rows(rows: tuple[int, int], scratch: Scratch) -> None:
        part = multiply(weight[slice(*rows)], x, out[slice(*rows)])
        part += bias[slice(*rows)]

    scratch.map(some_rows, shares(len(weight), scratch))


def normalize_channels(
    x: np.ndarray, out: np.ndarray, square: np.ndarray, eps: float, norm_type: str = "layer_norm"
) -> None:
    """Store ``(x - mean) / sqrt(variance + eps)`` for each column of x (C, P) in `out`, which may be x itself.

    With another `norm_type`, a name of ``npconv.layers.NORMS``, what that function does.

    `square` is scratch of the same shape. The LayerNorm's weight and bias are not here: they are folded into the next
    product. Sums over channels are products with a row of ones, which is the fastest sum over the slow axis that NumPy
    offers. Multiplying by the reciprocal instead of dividing would save 0.4 ms of 100 (ConvNeXt tiny) and make the
    errors of whole models 2 to 3 % larger.
    """
    channels = len(x)
    ones = np.ones((1, channels), np.float32)
    deviation = x
    if norm_type != "rms_norm":
        mean = np.matmul(ones, x)
        mean /= np.float32(channels)
        deviation = np.subtract(x, mean, out=out if norm_type == "layer_norm" else square)
    np.multiply(deviation, deviation, out=square)
    variance = np.matmul(ones, square)
    variance /= np.float32(channels - 1 if norm_type == "simple_norm" else channels)
    variance += np.float32(eps)
    np.sqrt(variance, out=variance)
    np.divide(deviation if norm_type == "layer_norm" else x, variance, out=out)


def normalize_map(
    x: np.ndarray,
    out: np.ndarray,
    scratch: Scratch,
    *,
    eps: float,
    norm_type: str = "layer_norm",
    scale: np.ndarray | None = None,
    shift: np.ndarray | None = None,
) -> None:
    """Store the LayerNorm of the columns of a whole map x (C, P) in `out`, which may be x, some columns at a time.

    Some columns stay in the second-level cache from the first to the last of the seven passes over them. `scale` and
    `shift`, (C, 1), are weight and bias, where nothing comes behind that could take them.
    """

    def some_columns(columns: tuple[int, int], scratch: Scratch) -> None:
        part, normed = x[:, slice(*columns)], out[:, slice(*columns)]
        normalize_channels(part, normed, scratch.array("square", *part.shape), eps, norm_type)
        if scale is not None and shift is not None:
            normed *= scale
            normed += shift

    positions, longest = x.shape[1], NORMALIZED_VALUES // len(x)
    columns = spans(positions, longest, scratch.threads) if positions > longest else small_shares(positions, scratch)
    scratch.map(some_columns, columns)


def fold_linear(layer: Mapping[str, Any], out: np.ndarray, *, columns: Any, shift: Any, rows: Any) -> np.ndarray:
    """Store the weight of a linear layer in `out`, with the scales and shifts before and after it. Return the bias.

    ``rows * (weight @ (columns * x) + weight @ shift + bias)``, in float64, and some rows at a time: all of the weights
    in float64 would be twice as much memory as is kept. The weight is (O, C) and the bias (O,), of any floating dtype;
    `columns` and `shift` are (C,), `rows` (O,). `out` is float32, what is returned float64.
    """
    columns, shift, rows = (np.asarray(values, np.float64).reshape(-1) for values in (columns, shift, rows))
    bias = np.array(layer["bias"], np.float64)
    for first, end in spans(len(out), FOLDED_VALUES // out.shape[1]):
        weight = np.asarray(layer["weight"][first:end], np.float64)
        bias[first:end] += weight @ shift
        out[first:end] = rows[first:end, None] * weight * columns
    return rows * bias


def as_column(values: Any) -> np.ndarray:
    """Return the values of a parameter, one for each channel, as a float32 column (C, 1) of its own."""
    return np.array(values, np.float32).reshape(-1, 1)


def groups(batch: int, values: int) -> list[slice]:
    """Cut a batch into groups of pictures with maps of so many values, each small enough to stay in the cache."""
    together = max(1, GROUP_VALUES // values)
    return [slice(first, min(first + together, batch)) for first in range(0, batch, together)]


def fold_patches(weight: Any, bias: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a :class:`PatchProduct` for a weight (O, C, kh, kw) and a bias (O,).

    The places of the kernel go outermost: a row of the patches is then one shifted map of one channel.
    """
    return {"weight": np.array(np.transpose(weight, (0, 2, 3, 1)), np.float32, order="C"), "bias": as_column(bias)}


class PatchProduct:
    """A convolution as ``weight @ patches + bias`` over a channels-first batch.

    The weight is (O, kh, kw, C), the bias (O, 1); stride and padding are (vertical, horizontal). So many rows and
    columns of zeros more as `at_end` says come below and on the right.
    """

    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray,
        *,
        stride: tuple[int, int],
        padding: tuple[int, int] = (0, 0),
        at_end: int = 0,
        dilation: int = 1,
    ) -> None:
        self.places = (weight.shape[1], weight.shape[2])
        self.kernel = ((self.places[0] - 1) * dilation + 1, (self.places[1] - 1) * dilation + 1)
        self.stride, self.padding, self.at_end, self.dilation = stride, padding, at_end, dilation
        self.weight = weight.reshape(len(weight), -1)
        self.bias = bias

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result; a map that is smaller than the kernel is an `InputError`."""
        sizes = zip((height, width), self.kernel, self.stride, self.padding, strict=True)
        out_height, out_width = (
            (size + 2 * pad + self.at_end - kernel) // step + 1 for size, kernel, step, pad in sizes
        )
        if out_height < 1 or out_width < 1:
            check_window("patch embedding", (height, width), self.kernel, self.padding)  # says so
        return out_height, out_width

    def __call__(self, x: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        """Convolve x (C, N, H, W) into the matrix out (O, N * H' * W')."""
        channels, batch, height, width = x.shape
        out_height, out_width = self.output_size(height, width)
        (step_h, step_w), (pad_h, pad_w), end = self.stride, self.padding, self.at_end
        if pad_h or pad_w or end:
            name = f"padded {x.shape} {pad_h} {pad_w} {end}"
            size = (height + 2 * pad_h + end, width + 2 * pad_w + end)
            padded = scratch.private.zero_bordered(name, channels, batch, *size)
            padded[:, :, pad_h : pad_h + height, pad_w : pad_w + width] = x
            x = padded
        patches = scratch.private.array("patches", *self.places, channels, batch, out_height, out_width)
        channel, picture, row, column = x.strides
        apart = (self.dilation * row, self.dilation * column)
        strides = (*apart, channel, picture, step_h * row, step_w * column)
        np.copyto(patches, as_strided(x, patches.shape, strides, writeable=False))
        multiply_shared(self.weight, patches.reshape(self.weight.shape[1], -1), self.bias, out, scratch)
