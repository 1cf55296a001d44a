"""Convolutions that read each patch once: stem, downsampling, patch embedding, as one product (im2col)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from npconv.fast.products import as_column, multiply_shared
from npconv.fast.scratch import Scratch
from npconv.layers.windows import check_window


def fold_patches(weight: Any, bias: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a :class:`PatchProduct` for a weight (O, C, kh, kw) and a bias (O,).

    The places of the kernel go outermost: a row of the patches is then one shifted map of one channel.
    """
    return {"weight": np.array(np.transpose(weight, (0, 2, 3, 1)), np.float32, order="C"), "bias": as_column(bias)}


class PatchProduct:
    """A convolution as ``weight @ patches + bias`` over a channels-first batch.

    Parameters
    ----------
    weight : array (O, kh, kw, C)
    bias : array (O, 1)
    stride, padding : (int, int)
        Vertical and horizontal.
    """

    def __init__(
        self, weight: np.ndarray, bias: np.ndarray, *, stride: tuple[int, int], padding: tuple[int, int] = (0, 0)
    ) -> None:
        self.kernel = (weight.shape[1], weight.shape[2])
        self.stride, self.padding = stride, padding
        self.weight = weight.reshape(len(weight), -1)
        self.bias = bias

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result.

        Raises
        ------
        InputError
            If the map is smaller than the kernel.
        """
        check_window("patch embedding", (height, width), self.kernel, self.padding)
        sizes = zip((height, width), self.kernel, self.stride, self.padding, strict=True)
        out_height, out_width = ((size + 2 * pad - kernel) // step + 1 for size, kernel, step, pad in sizes)
        return out_height, out_width

    def __call__(self, x: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        """Convolve x (C, N, H, W) into the matrix out (O, N * H' * W')."""
        channels, batch, height, width = x.shape
        out_height, out_width = self.output_size(height, width)
        (kernel_h, kernel_w), (step_h, step_w), (pad_h, pad_w) = self.kernel, self.stride, self.padding
        if pad_h or pad_w:
            padded = scratch.zero_bordered(f"padded {x.shape}", channels, batch, height + 2 * pad_h, width + 2 * pad_w)
            padded[:, :, pad_h : pad_h + height, pad_w : pad_w + width] = x
            x = padded
        patches = scratch.array("patches", kernel_h, kernel_w, channels, batch, out_height, out_width)
        channel, picture, row, column = x.strides
        strides = (row, column, channel, picture, step_h * row, step_w * column)
        np.copyto(patches, as_strided(x, patches.shape, strides, writeable=False))
        multiply_shared(self.weight, patches.reshape(self.weight.shape[1], -1), out, scratch)
        out += self.bias
