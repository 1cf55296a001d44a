"""Plots with axes and numbers: SVG, whose text is text, with the dense part in it as a small PNG.

Everything that a plot says goes through :func:`npconv.html.element`, which escapes it. Colours of lines and
text are those of the page's style, so a plot is readable in the light and in the dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from npconv.html import Markup, element, source_of
from npconv.pictures.colours import BLUE
from npconv.pictures.maps import coloured
from npconv.pictures.picture import Picture
from npconv.pictures.relations import share_square, thinned
from npconv.pictures.scales import Scale, as_number, as_numbers

#: Left, right, above and below the plot: room for its numbers and what they are of.
LEFT, RIGHT, ABOVE, BELOW = 64, 10, 8, 34

#: Most points that are drawn each by itself; of more, how dense they lie is drawn in squares of so many units.
MOST_DOTS, SQUARE = 400, 2

#: Colours of squares of points: those of mine, and of both.
_OF_MINE, _OF_BOTH = (217, 95, 14), (70, 50, 60)


class Plot:
    """A frame of `width` x `height` units with two scales; its methods return what is drawn in it."""

    def __init__(self, x: Scale, y: Scale, width: int = 200, height: int = 200) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height

    def places(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where points are, in units from the upper left of the frame."""
        return self.x.shares(x) * self.width, (1 - self.y.shares(y)) * self.height

    def line(self, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, kind: str) -> Markup:
        """Draw a line through points."""
        across, down = self.places(np.asarray(x, np.float64), np.asarray(y, np.float64))
        good = np.isfinite(across) & np.isfinite(down)
        return _path("M" + "L".join(_pairs(across[good], down[good])) if good.any() else "", f"line {kind}")

    def bars(self, values: np.ndarray, kind: str, wide: int = 1) -> Markup:
        """Draw numbers at 0, 1, 2 and so on as bars from 0; or each over so many places of the axis."""
        places = wide * np.arange(len(values), dtype=np.float64) - 0.5
        left, ends = self.places(places + 0.1 * wide, np.nan_to_num(values))
        right, zero = self.places(places + 0.9 * wide, np.zeros(len(values)))
        corners = zip(left, right, np.clip(ends, 0, self.height), np.clip(zero, 0, self.height), strict=True)
        return _path("".join(f"M{a:.1f} {d:.1f}H{b:.1f}V{c:.1f}H{a:.1f}" for a, b, c, d in corners), f"bars {kind}")

    def dots(self, x: np.ndarray, y: np.ndarray, kind: str) -> Markup:
        """Draw points each by itself."""
        across, down = self.places(x, y)
        good = np.isfinite(across) & np.isfinite(down)
        return _path("".join(f"M{pair}h0" for pair in _pairs(across[good], down[good])), f"dots {kind}")

    def points(self, *series: tuple[np.ndarray, np.ndarray]) -> Markup:
        """Draw the points of mine, or those of the reference and of mine: few as dots, many as squares.

        The squares fill the frame, so lines come after them.
        """
        kinds = ("mine",) if len(series) == 1 else ("reference", "mine")
        if max(x.size for x, _ in series) <= MOST_DOTS:
            marks = (self.dots(x, y, kind) for (x, y), kind in zip(series, kinds, strict=True))
            return element("g", *marks)
        counts = [self._counted(x, y) for x, y in series]
        if len(counts) == 1:
            return self.pixels(_dense(counts[0]))
        colours = np.full((*counts[0].shape, 3), 255, np.uint8)
        for seen, colour in (
            (counts[0] > 0, BLUE),
            (counts[1] > 0, _OF_MINE),
            ((counts[0] > 0) & (counts[1] > 0), _OF_BOTH),
        ):
            colours[seen] = colour
        return self.pixels(colours)

    def pixels(self, pixels: np.ndarray) -> Markup:
        """Fill the frame with pixels (H, W, 3) uint8."""
        source = source_of(Picture(pixels).png())
        return element(
            "image", href=source, width=self.width, height=self.height, preserveAspectRatio="none", class_="pixels"
        )

    def _counted(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return how many points lie in each square of the frame."""
        across, down = self.places(x.reshape(-1), y.reshape(-1))
        bins = (self.height // SQUARE, self.width // SQUARE)
        good = np.isfinite(across) & np.isfinite(down)
        return np.histogram2d(down[good], across[good], bins, ((0, self.height), (0, self.width)))[0]

    def drawn(self, *marks: Markup, x_says: str, y_says: str, alt: str, places: tuple[int, ...] = ()) -> Markup:
        """Return the plot, with round numbers along both axes; along x, and y, of `places` none but whole ones."""
        ticks, levels = self.x.ticks(8 if self.width > 300 else 5), self.y.ticks(5 if self.height > 100 else 2)
        for several, count in zip((ticks, levels), places, strict=False):
            several[:] = [tick for tick in several if tick == round(tick) and 0 <= tick < count]
        numbers = []
        for tick, says in zip(ticks, as_numbers(ticks), strict=True):
            across = float(self.x.shares(tick)) * self.width
            numbers.append(_text(across, self.height + 12, says, "middle"))
            numbers.append(_path(f"M{across:.1f} {self.height}v3", "frame"))
        for tick, says in zip(levels, as_numbers(levels), strict=True):
            down = (1 - float(self.y.shares(tick))) * self.height
            numbers.append(_text(-5, down + 3.5, says, "end"))
            numbers.append(_path(f"M0 {down:.1f}h-3", "frame"))
        frame = _path(f"M0 0H{self.width}V{self.height}H0z", "frame")
        paper = element("rect", width=self.width, height=self.height, class_="sheet")
        names = (
            _text(self.width / 2, self.height + 27, x_says, "middle"),
            _text(-self.height / 2, -LEFT + 11, y_says, "middle", transform="rotate(-90)"),
        )
        inside = element("svg", *marks, width=self.width, height=self.height)  # what is beyond the frame is cut off
        whole = element("g", paper, inside, frame, *numbers, *names, transform=f"translate({LEFT} {ABOVE})")
        return canvas(whole, self.width + LEFT + RIGHT, self.height + ABOVE + BELOW, alt)


def canvas(inside: Markup, width: int, height: int, alt: str) -> Markup:
    """Return a picture of so many units, drawn one to a pixel where there is room."""
    return element("svg", inside, viewBox=f"0 0 {width} {height}", width=width, role="img", aria_label=alt)


def matrix(
    values: np.ndarray, highest: float, *, x_says: str, y_says: str, alt: str, size: int = 200, far: float | None = None
) -> Markup:
    """Draw numbers (down, across) as squares: blue below 0, white at 0, orange above, full at `highest`.

    Of many, a square shows the one of a few that is farthest from 0. With `far`, places are counted from the middle,
    which has a cross, to so far on each side.
    """
    down, across = values.shape
    squares = thinned(values)
    lengths = (count * share_square(length) for count, length in zip(squares.shape, values.shape, strict=True))
    bottom, right = (length - 0.5 for length in lengths)
    ends = (Scale(-0.5, right), Scale(bottom, -0.5)) if far is None else (Scale(-far, far), Scale(far, -far))
    plot = Plot(*ends, size, size)
    marks = [plot.pixels(coloured(squares, highest, signed=True))]
    if far is not None:
        marks += [plot.line([0, 0], [-far, far], "guide"), plot.line([-far, far], [0, 0], "guide")]
    places = (across, down) if far is None else ()
    return plot.drawn(*marks, x_says=x_says, y_says=y_says, alt=alt, places=places)


def named_bars(values: Mapping[str, float], *, says: str, alt: str, width: int = 120, names: int = 185) -> Markup:
    """Draw numbers up to 1 as bars to the right (or left), each with its name and its value."""
    row = 16
    x = Scale(min(0.0, *values.values()), max(1.0, *values.values()))
    zero = names + float(x.shares(0.0)) * width
    marks = []
    for number, (name, value) in enumerate(values.items()):
        middle = ABOVE + row * number + row / 2
        end = names + float(x.shares(value)) * width
        marks.append(_text(names - 6, middle + 4, name, "end"))
        marks.append(_path(f"M{zero:.1f} {middle - 5:.1f}H{end:.1f}v10H{zero:.1f}z", "bars mine"))
        marks.append(_text(names + width + 6, middle + 4, f"{value:.4f}", "start"))
    height = ABOVE + row * len(values)
    marks.append(_text(names + width / 2, height + 14, says, "middle"))
    return canvas(element("g", *marks), names + width + 60, height + 22, alt)


def colour_bar(highest: float) -> Markup:
    """Draw which colour is which number, from -highest to highest."""
    ramp = coloured(np.linspace(-highest, highest, 128)[None], highest, signed=True)
    plot = Plot(Scale(-1.0, 1.0), Scale(0.0, 1.0), 200, 8)
    numbers = [
        _text(100 + 100 * share, 20, as_number(share * highest), anchor)
        for share, anchor in ((-1, "start"), (0, "middle"), (1, "end"))
    ]
    frame = _path("M0 0H200V8H0z", "frame")
    whole = element("g", plot.pixels(ramp), frame, *numbers, transform="translate(4 2)")
    return canvas(whole, 208, 26, f"colours from {-highest:.3g} to {highest:.3g}")


def _dense(counts: np.ndarray) -> np.ndarray:
    """Return the colours of how many points lie in squares: white for none, darker for more."""
    shares = np.log1p(counts) / np.log1p(max(counts.max(), 1.0))
    light, dark = np.array([246.0, 180.0, 120.0]), np.array([110.0, 30.0, 20.0])
    colours = light + (dark - light) * shares[..., None]
    return np.where(counts[..., None] > 0, colours, 255.0).astype(np.uint8)


def _pairs(across: np.ndarray, down: np.ndarray) -> list[str]:
    """Return points as a path has them."""
    return [f"{a:.1f} {b:.1f}" for a, b in zip(across.reshape(-1), down.reshape(-1), strict=True)]


def _path(drawn: str, kind: str) -> Markup:
    """Return a path; the page's style says how each kind looks."""
    return element("path", d=drawn, class_=kind)


def _text(x: float, y: float, says: str, anchor: str, **more: str) -> Markup:
    """Return a text that begins, has its middle or ends at a point."""
    return element("text", says, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, **more)
