"""A finished picture: pixels that a notebook shows by itself, and how several are put on one sheet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from npconv.errors import InputError

#: Between the tiles of a sheet: a grey that is neither end of a scale.
GAP_COLOUR = 200


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels (H, W, 3) uint8, and what they show.

    A notebook shows one that a cell ends with.
    """

    pixels: np.ndarray
    caption: str = ""

    @property
    def image(self) -> Image.Image:
        """The same for Pillow."""
        return Image.fromarray(self.pixels)

    def png(self) -> bytes:
        """Return the bytes of a PNG file; of at most 256 colours, with a palette, which is a third as large."""
        file = io.BytesIO()
        image = self.image
        few = image.getcolors(256) is not None
        (image.convert("P", palette=Image.Palette.ADAPTIVE, colors=256) if few else image).save(
            file, "PNG", optimize=True
        )
        return file.getvalue()

    def save(self, path: str | Path) -> None:
        """Write a file in the format of its ending."""
        self.image.save(path)

    def enlarged(self, edge: int) -> Picture:
        """Return the picture with its pixels as squares, so many times as large that its longer edge has `edge`."""
        times = max(1, edge // max(self.pixels.shape[:2]))
        return Picture(self.pixels.repeat(times, axis=0).repeat(times, axis=1), self.caption)

    def _repr_png_(self) -> bytes:
        return self.enlarged(256).png()

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"Picture({height} x {width}, {self.caption!r})"


def sheet(tiles: Sequence[np.ndarray], columns: int | None = None, gap: int = 1) -> np.ndarray:
    """Put tiles of one size (H, W, 3) in rows, from the left at the top: about a square when `columns` is unset."""
    if not tiles:
        raise InputError("expected a tile at least, got none")
    columns = columns or int(np.ceil(np.sqrt(len(tiles))))
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    pixels = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), GAP_COLOUR, np.uint8)
    for number, tile in enumerate(tiles):
        row, column = number // columns * (height + gap), number % columns * (width + gap)
        pixels[row : row + height, column : column + width] = tile
    return pixels
