"""What charts and sheets are drawn with: colours of paper, ink and lines, and text that fits."""

from __future__ import annotations

import math
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

#: What `ImageFont.load_default` gives.
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour: TypeAlias = tuple[int, int, int]

#: Pixels.
FONT_SIZE, MARGIN = 13, 12

PAPER, INK, GRID = (255, 255, 255), (30, 34, 40), (226, 230, 236)

#: Of lines and bars: blue, green, orange, red, sky, black. Any two are told apart by who does not see all colours, and
#: in grey (tests/pictures/test_colours.py).
LINES: tuple[Colour, ...] = ((0, 55, 108), (72, 144, 82), (255, 165, 102), (160, 0, 9), (94, 185, 230), (22, 22, 22))


def line_colour(place: int) -> Colour:
    """Return the colour of a line by its place among others."""
    return LINES[place % len(LINES)]


def cut(text: str, font: Font, width: int) -> str:
    """Return text such that it is no wider than so many pixels; what is not printable is made visible."""
    text = text if text.isprintable() else ascii(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def upright(text: str, font: Font) -> Image.Image:
    """Return a line of text, turned to be read from below."""
    left, top, right, bottom = font.getbbox(text)
    strip = Image.new("RGB", (max(1, math.ceil(right - left)), max(1, math.ceil(bottom - top)) + 2), PAPER)
    ImageDraw.Draw(strip).text((-left, 1 - top), text, INK, font)
    return strip.transpose(Image.Transpose.ROTATE_90)
