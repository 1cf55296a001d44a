"""Curves and bars, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from npconv.errors import InputError
from npconv.pictures.ink import (
    FONT_SIZE,
    GRID,
    INK,
    LINES,
    PAPER,
    Colour,
    Font,
    line_colour,
    upright,
)
from npconv.pictures.picture import Picture
from npconv.pictures.scales import Scale, as_number, as_numbers, scale_of

# Pixels: a picture, and what is left free around the lines in it.
WIDTH, HEIGHT = 660, 360
LEFT, RIGHT, TOP, BOTTOM = 74, 16, 16, 46
BAR_HEIGHT = 26

#: Drawn this many times larger and scaled down, which smooths the lines.
FINER = 2

#: Round numbers along an axis, about.
MOST_TICKS = 6


def curves(
    x: Any,
    lines: Mapping[str, Any],
    *,
    x_label: str = "",
    y_label: str = "",
    log: bool = False,
    colours: Mapping[str, Colour] | None = None,
) -> Picture:
    """Draw curves over the same x.

    Parameters
    ----------
    x : array (N,)
        Whole numbers get whole numbers at their axis.
    lines : mapping of str to array (M,)
        The values at the first M of `x`. What is not finite is left out, with `log` also what is not above 0.
    x_label, y_label : str
    log : bool
        Make the vertical axis logarithmic.
    colours : mapping of str to tuple of int, optional
        Of the lines, by their names, all of which are then told.

    Raises
    ------
    InputError
        If there are more values than `x`.
    """
    x = np.asarray(x)
    heights = {name: np.asarray(y, np.float64) for name, y in lines.items()}
    if longer := [name for name, y in heights.items() if len(y) > len(x)]:
        raise InputError(f"expected at most {len(x)} values of {longer[0]!r}, as of x; got {len(heights[longer[0]])}")
    chosen = {name: line_colour(place) for place, name in enumerate(heights)} if colours is None else colours
    image = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(FONT_SIZE * FINER)
    across, down = _axes(draw, font, x, heights, log)
    points = {}
    for name, y in heights.items():
        seen = np.isfinite(y) & ((y > 0) | (not log))
        points[name] = list(zip(across(x[: len(y)][seen]).tolist(), down(y[seen]).tolist(), strict=True))
        _draw_line(draw, points[name], chosen[name])
    draw.text(((LEFT + WIDTH - RIGHT) / 2 * FINER, (HEIGHT - 8) * FINER), x_label, INK, font, anchor="mb")
    label = upright(y_label, font)
    image.paste(label, (4 * FINER, ((TOP + HEIGHT - BOTTOM) * FINER - label.height) // 2))
    if len(heights) > 1 or colours is not None:
        _legend(draw, font, [(name, chosen[name]) for name in heights], chain(*map(_along, points.values())))
    return Picture(np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)), y_label)


def panels(quantities: Mapping[str, Mapping[str, Sequence[float]]], *, x_label: str = "epoch") -> Picture:
    """Draw several quantities below each other, over 1, 2 and so on; a line has one colour in all of them.

    Parameters
    ----------
    quantities : mapping
        Quantity (``"loss"``) -> name of a line (``"train"``) -> its values, from the first on.
    x_label : str

    Raises
    ------
    InputError
        If there is nothing to draw.
    """
    every = [line for lines in quantities.values() for line in lines.values()]
    if not any(np.isfinite(line).any() for line in every):
        raise InputError("expected values to draw over the epochs, got none")
    names = dict.fromkeys(name for lines in quantities.values() for name in lines)
    colours = {name: line_colour(place) for place, name in enumerate(names)}
    x = 1 + np.arange(max(map(len, every)))
    drawn = [
        curves(x, lines, x_label=x_label, y_label=name, colours=colours).pixels for name, lines in quantities.items()
    ]
    return Picture(np.concatenate(drawn), ", ".join(quantities))


def bar_chart(values: Mapping[str, float], *, x_label: str = "") -> Picture:
    """Draw numbers of at least 0 as bars, one below the other, each number at the end of its bar."""
    font = ImageFont.load_default(FONT_SIZE)
    left = 24 + max((int(font.getlength(name)) for name in values), default=0)
    most = max(values.values(), default=0) or 1
    image = Image.new("RGB", (WIDTH, TOP + BAR_HEIGHT * len(values) + BOTTOM), PAPER)
    draw = ImageDraw.Draw(image)
    for place, (name, value) in enumerate(values.items()):
        top = TOP + BAR_HEIGHT * place
        right = left + max(value, 0) / most * (WIDTH - left - 90)
        draw.rectangle((left, top + 3, max(right, left + 1), top + BAR_HEIGHT - 4), LINES[0])
        draw.text((left - 10, top + BAR_HEIGHT / 2), name, INK, font, anchor="rm")
        draw.text((right + 6, top + BAR_HEIGHT / 2), as_number(value), INK, font, anchor="lm")
    draw.text((left, image.height - BOTTOM / 2), x_label, INK, font, anchor="lm")
    return Picture(np.asarray(image), x_label)


def _axes(
    draw: ImageDraw.ImageDraw, font: Font, x: np.ndarray, heights: Mapping[str, np.ndarray], log: bool
) -> tuple[Callable[[Any], np.ndarray], Callable[[Any], np.ndarray]]:
    """Draw a grid with its numbers; return where on the sheet places of x are, and where heights are."""
    left, right = (float(x.min()), float(x.max())) if len(x) else (0.0, 1.0)
    wide = Scale(left, right) if right > left else Scale(left - 0.5, left + 0.5)
    high = scale_of(*heights.values(), log=log)

    def across(values: Any) -> np.ndarray:
        return (LEFT + wide.shares(values) * (WIDTH - LEFT - RIGHT)) * FINER

    def down(values: Any) -> np.ndarray:
        return (HEIGHT - BOTTOM - high.shares(values) * (HEIGHT - TOP - BOTTOM)) * FINER

    ticks = high.ticks(MOST_TICKS)
    for level, text in zip(down(ticks).tolist(), as_numbers(ticks), strict=True):
        draw.line((LEFT * FINER, level, (WIDTH - RIGHT) * FINER, level), GRID, FINER)
        draw.text(((LEFT - 8) * FINER, level), text, INK, font, anchor="rm")
    ticks = wide.ticks(MOST_TICKS, whole=x.dtype.kind in "iu")
    for place, text in zip(across(ticks).tolist(), as_numbers(ticks), strict=True):
        draw.line((place, TOP * FINER, place, (HEIGHT - BOTTOM) * FINER), GRID, FINER)
        draw.text((place, (HEIGHT - BOTTOM + 6) * FINER), text, INK, font, anchor="mt")
    return across, down


def _draw_line(draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: Colour) -> None:
    """Draw a line with a dot at its ends: one point alone is no line."""
    draw.line(points, colour, 2 * FINER, joint="curve")
    for left, top in points[:: max(1, len(points) - 1)]:
        draw.ellipse((left - 2 * FINER, top - 2 * FINER, left + 2 * FINER, top + 2 * FINER), colour)


def _along(points: Sequence[tuple[float, float]], times: int = 8) -> np.ndarray:
    """Return the points of a line and some more between each two of them (N, 2)."""
    known = np.asarray(points, np.float64).reshape(-1, 2)
    between = [known[:-1] + part / times * np.diff(known, axis=0) for part in range(times)]
    return np.concatenate([*between, known[-1:]])


def _legend(
    draw: ImageDraw.ImageDraw, font: Font, names: Sequence[tuple[str, Colour]], points: Iterable[tuple[float, float]]
) -> None:
    """Write the names of curves, beside their colours, where the fewest points are, in a corner if that is as good."""
    x, y = np.array(list(points)).reshape(-1, 2).T
    pad, line_height = 8 * FINER, (FONT_SIZE + 5) * FINER
    width = max(font.getlength(name) for name, _ in names) + 5 * pad
    height = line_height * len(names) + pad
    lefts = np.linspace((WIDTH - RIGHT) * FINER - width, LEFT * FINER, 3)[[0, 2, 1]]
    tops = np.linspace(TOP * FINER, (HEIGHT - BOTTOM) * FINER - height, 9)[[0, 8, *range(1, 8)]]

    def covered(corner: tuple[float, float]) -> int:
        left, top = corner
        return int(np.sum((left <= x) & (x <= left + width) & (top <= y) & (y <= top + height)))

    left, top = min([(left, top) for top in tops for left in lefts], key=covered)
    draw.rectangle((left, top, left + width, top + height), PAPER, GRID)
    for place, (name, colour) in enumerate(names):
        middle = top + pad / 2 + (place + 0.5) * line_height
        draw.line((left + pad, middle, left + 3 * pad, middle), colour, 3 * FINER)
        draw.text((left + 4 * pad, middle), name, INK, font, anchor="lm")
