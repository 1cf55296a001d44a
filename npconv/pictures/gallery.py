"""Pictures in rows with their names, and a table of shares as squares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from npconv.backend import to_host
from npconv.errors import InputError
from npconv.pictures.colours import limits_of, scaled, shade
from npconv.pictures.ink import FONT_SIZE, INK, MARGIN, PAPER, Font, cut, upright
from npconv.pictures.picture import Picture

#: Pixels: the edge of a picture on a sheet, a square of a table, and the longest name beside it.
TILE, CELL, LONGEST_NAME = 160, 58, 200

#: Between lines of text.
_LINE = FONT_SIZE + 4


class Caption(NamedTuple):
    """A picture of a sheet and the lines below it."""

    picture: Image.Image
    lines: tuple[str, ...]


def gallery(
    pictures: Mapping[str, Any], caption: str = "", *, size: int = TILE, columns: int = 4, same_scale: bool = False
) -> Picture:
    """Put pictures in rows, each with its name below.

    Parameters
    ----------
    pictures : mapping of str to array, Picture or PIL.Image.Image
        An array (H, W, 3) uint8 or of floats from 0 to 1, or a single channel (H, W), which gets colours from its
        lowest value to its highest.
    caption : str
        What they show.
    size : int
        Edge in pixels that the longer side is scaled to, whole pixels kept square.
    columns : int
        Pictures in a row.
    same_scale : bool
        Give all single channels colours on one scale, from the lowest value of them all to the highest.

    Raises
    ------
    InputError
        If there are no pictures, or something is none.
    """
    if not pictures:
        raise InputError("expected a picture at least, got none")
    arrays = [np.asarray(to_host(one)) for one in pictures.values() if _is_channel(one)] if same_scale else []
    limits = limits_of(*arrays) if arrays else None
    photos = [Caption(_as_image(one, limits), (name,)) for name, one in pictures.items()]
    return Picture(np.asarray(contact_sheet(photos, size=size, columns=columns)), caption)


def contact_sheet(
    photos: Iterable[Caption], title: str = "", *, size: int = TILE, columns: int = 5, widest: int | None = None
) -> Image.Image:
    """Draw photos in rows, with some lines of text below each; of none, the title alone.

    Lines that are wider than `widest` pixels are cut; when it is unset, the sheet grows with the widest line.
    """
    font = ImageFont.load_default(FONT_SIZE)
    cells = [(fitted(photo.picture, size), [cut(t, font, widest or 10_000) for t in photo.lines]) for photo in photos]
    columns = min(columns, len(cells))
    wide = max([size, *(int(np.ceil(font.getlength(text))) for _, lines in cells for text in lines)])
    high = max([tile.height for tile, _ in cells], default=0)
    step = high + max([_LINE * len(lines) for _, lines in cells], default=0) + MARGIN
    top = MARGIN + (MARGIN + FONT_SIZE if title else 0)
    width = max(MARGIN + columns * (wide + MARGIN), int(font.getlength(title)) + 2 * MARGIN)
    sheet = Image.new("RGB", (width, top + -(-len(cells) // max(columns, 1)) * step), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font)
    for place, (tile, lines) in enumerate(cells):
        left, upper = MARGIN + place % columns * (wide + MARGIN), top + place // columns * step
        sheet.paste(tile, (left, upper + (high - tile.height) // 2))
        for number, text in enumerate(lines):
            draw.text((left, upper + high + 3 + _LINE * number), text, INK, font)
    return sheet


def fitted(image: Image.Image, size: int) -> Image.Image:
    """Scale a picture to a longer edge: a small one so that its pixels are seen as squares, others smoothly."""
    scale = size / max(image.size)
    width, height = (max(1, round(edge * scale)) for edge in image.size)
    how = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((width, height), how)


def share_table(names: Sequence[str], shares: np.ndarray, title: str = "") -> Image.Image:
    """Draw shares (K, K) as squares, the darker the more, with their percentage: named on the left and above."""
    font = ImageFont.load_default(FONT_SIZE)
    names = [cut(name, font, LONGEST_NAME) for name in names]
    widest = max(int(font.getlength(name)) for name in names)
    left, is_upright = MARGIN + widest + MARGIN, widest > CELL
    top = 3 * MARGIN + FONT_SIZE + (widest if is_upright else FONT_SIZE)
    size = CELL * len(names)
    image = Image.new(
        "RGB", (max(left + size, int(font.getlength(title)) + MARGIN) + MARGIN, top + size + MARGIN), PAPER
    )
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN, MARGIN), title, INK, font)
    for place, name in enumerate(names):
        middle = CELL * place + CELL // 2
        draw.text((left - MARGIN, top + middle), name, INK, font, anchor="rm")
        if is_upright:
            turned = upright(name, font)
            image.paste(turned, (left + middle - turned.width // 2, top - MARGIN // 2 - turned.height))
        else:
            draw.text((left + middle, top - MARGIN // 2), name, INK, font, anchor="ms")
    for row, column in np.ndindex(shares.shape):
        _draw_share(draw, (left + CELL * column, top + CELL * row), float(shares[row, column]), font)
    return image


def _draw_share(draw: ImageDraw.ImageDraw, place: tuple[int, int], share: float, font: Font) -> None:
    """Draw a share as a square, with its percentage unless it is about 0."""
    left, top = place
    draw.rectangle((left, top, left + CELL - 2, top + CELL - 2), tuple(shade(share).tolist()))
    text = f"{100 * share:.0f}" if round(100 * share) else ""
    middle = (left + CELL // 2 - 1, top + CELL // 2 - 1)
    draw.text(middle, text, PAPER if share > 0.45 else INK, font, anchor="mm")


def _is_channel(picture: Any) -> bool:
    """Tell whether something is a single channel (H, W), which gets colours."""
    return np.ndim(picture) == 2 if hasattr(picture, "shape") else False


def _as_image(picture: Any, limits: tuple[float, float] | None) -> Image.Image:
    """Return a picture in colours."""
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, Picture):
        return picture.image
    array = np.asarray(to_host(picture))
    if array.ndim == 2 and array.size:
        return Image.fromarray(scaled(array, limits))
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise InputError(f"expected a picture (H, W, 3) or a channel (H, W), got an array of shape {array.shape}")
    if array.dtype != np.uint8:
        array = np.rint(255 * np.clip(array, 0, 1)).astype(np.uint8)
    return Image.fromarray(array)
