"""Numbers over positions: an array that a notebook shows as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from npconv.backend import Array
from npconv.errors import ShapeError
from npconv.pictures.maps import coloured
from npconv.pictures.picture import Picture, sheet

#: Maps that are shown.
MOST_MAPS = 64


class Heatmap(np.ndarray):
    """An array of NumPy (..., H, W) that a notebook shows as a picture.

    What is computed of it is one too, as long as it has two axes.
    """

    @property
    def picture(self) -> Picture:
        """The maps side by side: from 0 (dark) to the highest, or where some are negative blue, white and orange.

        Each map has its own scale, but those of one picture (N, C, H, W) share one. Of very many, the first.
        """
        if self.ndim < 2 or not self.size:
            raise ShapeError(f"expected numbers over positions (..., H, W) to show, got an array of shape {self.shape}")
        x = np.asarray(self, np.float64)
        highest = np.abs(x).max(axis=(-3, -2, -1) if x.ndim == 4 else (-2, -1), keepdims=True)
        tiles = coloured(x, highest, signed=bool((x < 0).any())).reshape(-1, *x.shape[-2:], 3)
        return Picture(sheet(list(tiles[:MOST_MAPS])), f"{x.shape} from {x.min():.3g} to {x.max():.3g}")

    def png(self) -> bytes:
        """Return the picture as the bytes of a PNG file."""
        return self.picture.png()

    def _repr_png_(self) -> bytes | None:
        return self.picture._repr_png_() if self.ndim >= 2 and self.size else None

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Return a result of NumPy: what has no two axes is no map any more."""
        return array.view(type(self)) if array.ndim >= 2 else np.asarray(array)[()]


def as_heatmap(array: Array) -> Array:
    """Return an array of NumPy as one that a notebook shows; one of another library as it is."""
    return array.view(Heatmap) if isinstance(array, np.ndarray) else array
