"""Lines over the epochs, as a Pillow picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from npconv.errors import InputError
from npconv.training.figures import DARK, FONT_SIZE, FRAME, INK, PAPER, cut

#: They differ in lightness, too.
COLOURS = (DARK, (222, 130, 30), (120, 120, 120))

# Pixels: a panel, and what is left free around the lines in it.
WIDTH, HEIGHT = 520, 240
LEFT, TOP, RIGHT, BOTTOM = 64, 34, 100, 40

#: Numbers at an axis, at most.
TICKS = 6


def draw_curves(panels: Mapping[str, Mapping[str, Sequence[float]]], x_name: str = "epoch") -> Image.Image:
    """Draw lines over the epochs, in a panel for each quantity.

    Parameters
    ----------
    panels : mapping
        Quantity (``"loss"``) -> name of a line (``"train"``) -> its values, from the first epoch on. What is not finite
        is left out.
    x_name : str
        What is counted from the left to the right.

    Raises
    ------
    InputError
        If there is nothing to draw, or more names of lines than colours.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    if not any(np.isfinite(values).any() for lines in panels.values() for values in lines.values()):
        raise InputError("expected values over the epochs to draw, got none")
    if len(names) > len(COLOURS):
        raise InputError(f"expected at most {len(COLOURS)} names of lines, got {len(names)}")
    colours = dict(zip(names, COLOURS, strict=False))
    image = Image.new("RGB", (WIDTH, HEIGHT * len(panels)), PAPER)
    for place, (quantity, lines) in enumerate(panels.items()):
        image.paste(_panel(quantity, lines, colours, x_name), (0, HEIGHT * place))
    return image


def _panel(
    quantity: str, lines: Mapping[str, Sequence[float]], colours: Mapping[str, tuple[int, ...]], x_name: str
) -> Image.Image:
    """Draw one quantity: its axes, and a line for each name, which stands at its end."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(FONT_SIZE)
    values = np.array([value for line in lines.values() for value in line if math.isfinite(value)])
    heights = (
        ticks(float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))) if len(values) else [0.0, 1.0]
    )
    low, high = heights[0], heights[-1]
    last = max(2, *map(len, lines.values()))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at(epoch: float, value: float) -> tuple[float, float]:
        x = LEFT + (epoch - 1) / (last - 1) * (right - LEFT)
        return x, bottom - (value - low) / (high - low) * (bottom - TOP)

    draw.text((LEFT, TOP - FONT_SIZE - 8), quantity, INK, font)
    draw.text(((LEFT + right) / 2, HEIGHT - 6), x_name, INK, font, anchor="mb")
    for value in heights:
        draw.line((at(1, value), at(last, value)), FRAME)
        draw.text((LEFT - 6, at(1, value)[1]), f"{value:.4g}", INK, font, anchor="rm")
    for epoch in range(1, last + 1, max(1, round(last / TICKS))):
        draw.text((at(epoch, low)[0], bottom + 6), f"{epoch}", INK, font, anchor="mt")
    taken: list[float] = []
    for name, line in lines.items():
        points = [at(epoch, value) for epoch, value in enumerate(line, 1) if math.isfinite(value)]
        if points:
            x, y = points[-1]
            draw.line(points, colours[name], width=2)
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), colours[name])
            while any(abs(y - other) < FONT_SIZE for other in taken):
                y -= FONT_SIZE
            taken.append(y)
            draw.text((right + 8, y), cut(name, font, RIGHT - 10), colours[name], font, anchor="lm")
    return image


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers, about `TICKS`, the first at most `low` and the last at least `high`."""
    span = high - low if high - low > 1e-9 * max(1.0, abs(high)) else max(1.0, abs(high))
    rough = span / (TICKS - 2)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, max(last, first + 1) + 1)]
