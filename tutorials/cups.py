"""Drawn photos of bowls, glasses and mugs, in a folder for each: for the lesson on a classifier of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("bowl", "glass", "mug")


def draw_cup(kind: str, handle: int, rng: np.random.Generator) -> Image.Image:
    """Return a picture of one of `CLASSES`, in any colours; of a mug, the handle sticks out by so many pixels."""
    around, colour = (tuple(rng.integers(low, low + 140, size=3).tolist()) for low in (100, 20))
    (x, y), (wide, high) = rng.integers(8, 20, size=2).tolist(), rng.integers(22, 32, size=2).tolist()
    image = Image.new("RGB", (64, 64), around)
    draw = ImageDraw.Draw(image)
    if kind == "bowl":
        draw.pieslice((x - 6, y - high // 2, x + wide + 6, y + high), 0, 180, fill=colour)
        return image
    if kind == "mug":
        draw.ellipse((x + wide - 8, y + 5, x + wide + handle, y + high - 6), outline=colour, width=3)
    draw.polygon([(x, y), (x + wide, y), (x + wide - 3, y + high), (x + 3, y + high)], fill=colour)
    draw.ellipse((x, y - 3, x + wide, y + 4), fill=tuple(value // 2 for value in colour))
    return image


def fill_folder(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Write so many pictures of each class; the names say how large the handles are: ``mug/NUMBER-HANDLE.png``."""
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            handle = int(rng.integers(1, 13)) if kind == "mug" else 0
            draw_cup(kind, handle, rng).save(folder / kind / f"{number}-{handle}.png")
