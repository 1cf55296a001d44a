"""Curves and bars as pictures: drawn by matplotlib where it is installed, else with Pillow."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 660, 360
LEFT, RIGHT, TOP, BOTTOM = 74, 16, 16, 46
#: Drawn this many times larger and scaled down, which smooths the lines.
FINER = 2
FONT_SIZE = 13
PAPER, INK, GRID = (255, 255, 255), (30, 34, 40), (226, 230, 236)
#: Blue, orange, green, red, purple, brown: told apart by readers who do not see all colours, too.
LINES = ((31, 102, 176), (226, 120, 20), (20, 140, 90), (190, 40, 60), (120, 80, 170), (120, 90, 60))
BAR_HEIGHT = 26


def curves(x: np.ndarray, lines: Mapping[str, Any], *, x_label: str, y_label: str, log: bool) -> Image.Image:
    """Return a picture of curves over the same x."""
    values = {name: np.asarray(y, dtype=np.float64) for name, y in lines.items()}
    if _has_matplotlib():
        return _matplotlib_curves(x, values, x_label, y_label, log)
    return _pillow_curves(x, values, x_label, y_label, log)


def bars(values: Mapping[str, float], *, x_label: str) -> Image.Image:
    """Return a picture of bars, one below the other, the number at the end of each."""
    if _has_matplotlib():
        return _matplotlib_bars(values, x_label)
    return _pillow_bars(values, x_label)


def _has_matplotlib() -> bool:
    """Tell whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def _matplotlib_curves(
    x: np.ndarray, lines: dict[str, np.ndarray], x_label: str, y_label: str, log: bool
) -> Image.Image:
    """Draw curves with matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, layout="constrained")
    axes = figure.add_subplot(xlabel=x_label, ylabel=y_label)
    for (name, y), line in zip(lines.items(), _line_colours(len(lines)), strict=True):
        axes.plot(x, y, label=name, color=[part / 255 for part in line])
    if log:
        axes.set_yscale("log")
    axes.grid(color=[part / 255 for part in GRID])
    if len(lines) > 1:
        axes.legend()
    return _from_figure(figure)


def _matplotlib_bars(values: Mapping[str, float], x_label: str) -> Image.Image:
    """Draw bars with matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(WIDTH / 100, (BAR_HEIGHT * len(values) + BOTTOM + TOP) / 100), dpi=100, layout="constrained"
    )
    axes = figure.add_subplot(xlabel=x_label)
    drawn = axes.barh(list(values), list(values.values()), color=[part / 255 for part in LINES[0]])
    axes.bar_label(drawn, [_number(value) for value in values.values()], padding=3)
    axes.margins(x=0.15)
    axes.invert_yaxis()
    return _from_figure(figure)


def _from_figure(figure: Any) -> Image.Image:
    """Return a figure of matplotlib as a picture."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")


def _pillow_curves(x: np.ndarray, lines: dict[str, np.ndarray], x_label: str, y_label: str, log: bool) -> Image.Image:
    """Draw curves with Pillow."""
    heights = {name: np.log10(np.maximum(y, np.finfo(float).tiny)) if log else y for name, y in lines.items()}
    all_heights = np.concatenate([y[np.isfinite(y)] for y in heights.values()])
    bottom, top = _widened(all_heights.min(), all_heights.max())
    left, right = float(np.min(x)), float(np.max(x))
    sheet = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE * FINER)

    def across(value: Any) -> Any:
        return (LEFT + (value - left) / (right - left or 1) * (WIDTH - LEFT - RIGHT)) * FINER

    def down(value: Any) -> Any:
        return (HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)) * FINER

    for tick in _ticks(bottom, top, whole=log):
        draw.line((across(left), down(tick), across(right), down(tick)), GRID, FINER)
        text = f"1e{tick:.0f}" if log else _number(tick)
        draw.text(((LEFT - 8) * FINER, down(tick)), text, INK, font, anchor="rm")
    for tick in _ticks(left, right):
        draw.line((across(tick), down(bottom), across(tick), down(top)), GRID, FINER)
        draw.text((across(tick), (HEIGHT - BOTTOM + 6) * FINER), _number(tick), INK, font, anchor="mt")
    drawn = []
    for y, line in zip(heights.values(), _line_colours(len(heights)), strict=True):
        points = [(across(a), down(b)) for a, b in zip(x, y, strict=True) if np.isfinite(b)]
        draw.line(points, line, 2 * FINER, joint="curve")
        drawn += points
    draw.text((across((left + right) / 2), (HEIGHT - 8) * FINER), x_label, INK, font, anchor="mb")
    label = _upright(y_label, font)
    sheet.paste(label, (2 * FINER, ((TOP + HEIGHT - BOTTOM) * FINER - label.height) // 2))
    _legend(draw, list(heights), font, drawn)
    return sheet.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _pillow_bars(values: Mapping[str, float], x_label: str) -> Image.Image:
    """Draw bars with Pillow."""
    font = ImageFont.load_default(FONT_SIZE)
    left = 24 + max(int(font.getlength(name)) for name in values)
    most = max(max(values.values()), 0) or 1
    sheet = Image.new("RGB", (WIDTH, TOP + BAR_HEIGHT * len(values) + BOTTOM), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (name, value) in enumerate(values.items()):
        top = TOP + BAR_HEIGHT * index
        right = left + max(value, 0) / most * (WIDTH - left - 90)
        draw.rectangle((left, top + 3, max(right, left + 1), top + BAR_HEIGHT - 4), LINES[0])
        draw.text((left - 10, top + BAR_HEIGHT / 2), name, INK, font, anchor="rm")
        draw.text((right + 6, top + BAR_HEIGHT / 2), _number(value), INK, font, anchor="lm")
    draw.text((left, sheet.height - BOTTOM / 2), x_label, INK, font, anchor="lm")
    return sheet


def _legend(draw: ImageDraw.ImageDraw, names: list[str], font: Any, points: list[tuple[float, float]]) -> None:
    """Write the names of several curves, in their colours, into the corner in which the fewest points are."""
    if len(names) < 2:
        return
    pad, line_height = 8 * FINER, (FONT_SIZE + 5) * FINER
    width = max(font.getlength(name) for name in names) + 2 * pad
    height = line_height * len(names) + pad
    lefts = ((WIDTH - RIGHT) * FINER - width, LEFT * FINER)
    tops = (TOP * FINER, (HEIGHT - BOTTOM) * FINER - height)

    def covered(corner: tuple[float, float]) -> int:
        left, top = corner
        return sum(left <= x <= left + width and top <= y <= top + height for x, y in points)

    left, top = min([(left, top) for top in tops for left in lefts], key=covered)
    draw.rectangle((left, top, left + width, top + height), PAPER, GRID)
    for index, (name, line) in enumerate(zip(names, _line_colours(len(names)), strict=True)):
        draw.text((left + pad, top + pad / 2 + index * line_height), name, line, font)


def _upright(text: str, font: Any) -> Image.Image:
    """Return a line of text, turned to be read from below."""
    strip = Image.new("RGB", (max(1, int(font.getlength(text))), (FONT_SIZE + 5) * FINER), PAPER)
    ImageDraw.Draw(strip).text((0, 0), text, INK, font)
    return strip.rotate(90, expand=True)


def _line_colours(count: int) -> list[tuple[int, int, int]]:
    """Return a colour for each curve."""
    return [LINES[index % len(LINES)] for index in range(count)]


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return limits with a little room around the values."""
    room = 0.05 * (high - low) or 0.5
    return float(low - room), float(high + room)


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return round numbers between two limits, about six."""
    rough = (high - low) / 6 or 1
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    step = max(1, round(step)) if whole else step
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _number(value: float) -> str:
    """Return a number as an axis shows it."""
    return "0" if abs(value) < 1e-12 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
