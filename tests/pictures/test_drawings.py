"""All that charts and plots draw stands where it stood when it was looked at last: in ``data/drawings.txt``.

    PYTHONPATH=.:tests python tests/pictures/test_drawings.py     writes the file anew; look at what changed

Of a picture in a page its size is written, and the mean colours of its parts.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from support import gradient_samples

from npconv.html import Markup, joined
from npconv.pictures import diff_views as views
from npconv.pictures.charts import bar_chart, curves, panels
from npconv.pictures.diff_step_views import Seen, beside_inputs, by_kind
from npconv.pictures.difference import difference
from npconv.pictures.gallery import Caption, contact_sheet, share_table
from npconv.pictures.ink import cut
from npconv.pictures.plots import Plot, canvas, colour_bar, matrix, named_bars
from npconv.pictures.scales import Scale, scale_of
from npconv.pictures.sheets import Sheets, bar_table
from npconv.pictures.views import largest, make_sheet

FILE = Path(__file__).parent / "data" / "drawings.txt"

#: Parts of a picture in a page, down and across.
PARTS = 2

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?")


class Letters:
    """A font whose letters are all of one size."""

    def __init__(self, size: float) -> None:
        self.size = size

    def getlength(self, text: str) -> float:
        return 0.5 * self.size * len(text)

    def getbbox(self, text: str) -> tuple[float, float, float, float]:
        return 1.0, 2.0, 1.0 + self.getlength(text), 2.0 + self.size


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Give the calls of Pillow that are made meanwhile; letters are not drawn."""
    calls: list[str] = []

    class Pen(ImageDraw.ImageDraw):
        def text(self, xy: Any, text: str, fill: Any = None, font: Any = None, anchor: Any = None) -> None:  # type: ignore[override]
            calls.append(f"text {said(xy)} {text!r} {said(fill)} {font.size} {anchor}")

        def line(self, xy: Any, fill: Any = None, width: int = 0, joint: Any = None) -> None:
            calls.append(f"line {said(xy)} {said(fill)} {width} {joint}")

        def rectangle(self, xy: Any, fill: Any = None, outline: Any = None, width: int = 1) -> None:
            calls.append(f"rectangle {said(xy)} {said(fill)} {said(outline)} {width}")

        def ellipse(self, xy: Any, fill: Any = None, outline: Any = None, width: int = 1) -> None:
            calls.append(f"ellipse {said(xy)} {said(fill)}")

    def paste(self: Image.Image, other: Image.Image, box: Any) -> None:
        calls.append(f"paste {other.width} {other.height} at {said(box)}")

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(ImageDraw, "Draw", Pen))
        stack.enter_context(mock.patch.object(ImageFont, "load_default", Letters))
        stack.enter_context(mock.patch.object(Image.Image, "paste", paste))
        yield calls


def said(numbers: Any) -> str:
    """Return numbers in words."""
    return " ".join(f"{number:.1f}" for number in np.asarray(() if numbers is None else numbers, float).reshape(-1))


def charts() -> Iterator[tuple[str, Any]]:
    """Give out what is drawn with Pillow."""
    x = np.arange(2, 9)
    rising, falling = x**1.5 - 3, 30.0 / x
    yield "curves", lambda: curves(x, {"rising": rising, "falling": falling[:5]}, x_label="step", y_label="loss")
    yield "curves, log", lambda: curves(0.5 * x, {"rising": np.r_[np.nan, rising[1:]]}, y_label="loss", log=True)
    yield "seven lines", lambda: curves([0, 1], {f"line {number}": [number, 1] for number in range(7)})
    yield "one value", lambda: curves([3.0], {"one": [7.0]}, colours={"one": (1, 2, 3)})
    yield "nothing", lambda: curves([], {"one": []})
    yield "panels", lambda: panels({"loss": {"train": [3, 2, 1], "val": [4, 3.5]}, "accuracy": {"val": [0.5, 0.75]}})
    yield "bars", lambda: bar_chart({"one": 1.0, "another": 12.5, "none": 0.0, "below": -1.0}, x_label="seconds")
    photos = [Caption(Image.new("RGB", size), ("a", "b" * 70)) for size in ((20, 10), (10, 20), (100, 100))]
    yield "contact sheet", lambda: contact_sheet(photos, "title", size=50, columns=2)
    yield "contact sheet, cut", lambda: contact_sheet(photos, "title " * 99, widest=100)
    shares = np.array([[0.9, 0.1, 0.0], [0.004, 0.45, 0.46], [0.0, 0.0, 1.0]])
    yield "shares", lambda: share_table(["cat", "dog", "eel"], shares, "title")
    yield "shares, long names", lambda: share_table(["a cat of size", "dog", "e" * 99], shares, "title " * 20)
    yield "cut", lambda: Image.new("RGB", (len(cut("a\nb", Letters(10), 25)), len(cut("abcdefgh", Letters(10), 25))))


def pages() -> Iterator[tuple[str, Markup]]:
    """Give out what is drawn for a page."""
    x, y = np.linspace(0.0, 12.0, 13), np.sin(np.arange(13.0))
    plot = Plot(Scale(0.0, 12.0), scale_of(y, zero=True), 320, 90)
    marks = plot.line(x, y, "mine"), plot.bars(y, "mine"), plot.bars(y[:4], "both", 3), plot.dots(x, y, "mine")
    yield "plot", plot.drawn(*marks, x_says="x", y_says="y", alt="z", places=(10, 1))
    plot = Plot(Scale(0.0, 1.0), Scale(1e-3, 1e3, log=True), 300, 100)
    yield "small plot", plot.drawn(x_says="x", y_says="y", alt="z")
    many = np.sin(np.arange(900.0)), np.cos(2 * np.arange(900.0))
    plot = Plot(Scale(-1.0, 1.0), Scale(-1.0, 1.0))
    yield "many points", plot.points(many)
    yield "many points, twice", plot.points(many, (many[0][:600] / 2, many[1][300:]))
    yield "few points", plot.points((x / 12, y), (y, x / 12))
    square = np.outer(np.sin(np.arange(70.0)), np.cos(np.arange(9.0)))
    yield "matrix", matrix(square, 0.8, x_says="x", y_says="y", alt="z")
    yield "matrix, far", matrix(square[:9], 1.0, x_says="x", y_says="y", alt="z", far=4.0)
    yield "named bars", named_bars({"one": 0.75, "two": -0.25}, says="s", alt="z")
    yield "narrow bars", named_bars({"one": 0.75}, says="s", alt="z", width=60, names=90)
    yield "colour bar", colour_bar(2.5)
    yield "canvas", canvas(Markup(""), 3, 4, "z")
    maps = np.sin(np.arange(40 * 6.0)).reshape(40, 2, 3)
    sheets = Sheets()
    first = make_sheet(maps, list(range(39, 2, -2)))
    yield "sheets", sheets.chooser(before=first, after_it=make_sheet(-maps, list(range(39, 2, -2))))
    yield "a sheet again", sheets.chooser(again=first, none=None)
    yield "bar table", bar_table(largest({"one": y, "other": -2 * y}), "says")
    yield "bar table of nothing", bar_table(largest({"one": 0 * y}), "says")
    yield from comparisons()
    for family in ("convnextv2", "cvt"):
        yield from steps(family)


def comparisons() -> Iterator[tuple[str, Markup]]:
    """Give out the views of two arrays."""
    shape, letters = (2, 5, 4, 6), list("NCHW")
    reference = np.sin(0.7 * np.arange(240.0) ** 1.1).reshape(shape)
    others: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {
        "a factor": (1.5 * reference + 0.1 * np.cos(np.arange(240.0)).reshape(shape), ()),
        "an order": (reference[:, [0, 2, 1, 4, 3]], ("matched", "ordered")),
        "transposed": (np.ascontiguousarray(reference.swapaxes(2, 3)), ()),
        "a part": (reference[..., 1:, 1:4], ()),
        "shifted": (np.roll(reference, 1, axis=3), ("ordered",)),
        "holes": (np.where(reference > 0.9, np.nan, reference), ("planes", "over the input", "sizes", "fitted")),
        "a place": (reference + (np.arange(240).reshape(shape) == 131), ("wrong", "sizes")),
    }
    for name, (mine, kinds) in others.items():
        if mine.shape != shape:
            yield f"{name}: unlike", views.unlike(reference, mine) or Markup("")
            continue
        made = {
            "planes": views.planes(difference(reference, mine, "NCHW"), letters),
            "wrong": views.wrong(reference, mine, 1e-3, letters),
            "over the reference": views.over_reference(reference, mine),
            "over the input": views.difference_over(mine - reference, "input", 2 * reference),
            "sizes": views.error_size(reference, mine),
            "fitted": views.fitted(reference, mine, letters),
            "matched": views.matched(reference, mine, letters),
            "ordered": views.ordered(reference, mine, letters),
            "alike": views.alike({"reference": reference, "squares": reference**2}, mine),
        }
        for view in kinds or made:
            yield f"{name}: {view}", made[view] or Markup("")


def steps(family: str) -> Iterator[tuple[str, Markup]]:
    """Give out the views of the first step of each operation of a model and its gradients, in float64."""
    trace = gradient_samples.golden(family)
    params, firsts = trace.params or {}, {step.operation: step for step in reversed(list(trace.plan))}
    for operation, step in sorted(firsts.items()):
        if not {step.name, *step.inputs} <= trace.keys():
            continue
        right = np.asarray(trace[step.name], float)
        mine = 1.1 * right + 0.05 * np.cos(np.arange(right.size)).reshape(right.shape)
        inputs = {name: np.asarray(trace[name], float) for name in step.inputs}
        seen = Seen(step, inputs, params, right, mine)
        told = [(head, view) for head, view in by_kind(seen) if view is not None]
        yield f"{family}: {operation}", joined(*beside_inputs(seen), *(one for pair in told for one in pair))


def lines_of(markup: str, *, short: bool) -> Iterator[str]:
    """Give out the beginnings of elements and the texts of a page, each on a line, and of a long path the gist.

    If it is to be `short`, elements only that show numbers, and all texts on one line.
    """
    if short:
        markup = re.sub(
            r'<(?!image|img|svg|path|/)[^>]*>|<path [^>]*"frame">|href=|src=|preserveAspectRatio="none"', "", markup
        )
        yield re.sub(r"(<[^>]*>)+", " | ", markup).strip("| ")
        markup = re.sub(r">[^<>]+(?=<)", ">", markup)
    for part in re.findall(r"<[^/>][^>]*>|[^<>]+(?=<)", markup):
        part = re.sub(r"data:image/png;base64,([^\"]*)", lambda found: colours_of(base64.b64decode(found[1])), part)
        yield re.sub(r'(?<= d=")[^"]{100,}', gist, part)


def gist(path: re.Match[str]) -> str:
    """Return how many numbers a path has, the first of them, and their mean and spread."""
    numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", path[0])]
    return f"{len(numbers)} numbers: {said(numbers[:6])}; {np.mean(numbers):.1f} {np.std(numbers):.1f}"


def colours_of(png: bytes) -> str:
    """Return the size of a picture and the mean colours of its parts."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float)
    parts = [part for row in np.array_split(pixels, PARTS) for part in np.array_split(row, PARTS, axis=1) if part.size]
    return " ".join([f"{pixels.shape[1]} x {pixels.shape[0]}:", *(said(part.mean((0, 1))) for part in parts)])


def drawings() -> dict[str, list[str]]:
    """Return everything that is drawn."""
    found = {}
    for name, draw in charts():
        with recorded() as calls:
            made = draw()
            size = (made.image if hasattr(made, "image") else made).size
        found[name] = [*calls, f"{size[0]} x {size[1]}", *([made.caption] if hasattr(made, "caption") else [])]
    found |= {name: list(lines_of(markup, short=": " in name)) for name, markup in pages()}
    return found


def read() -> dict[str, list[str]]:
    """Return what is in the file."""
    found: dict[str, list[str]] = {}
    for line in FILE.read_text("utf-8").split("\n")[:-1]:
        if line.startswith("== "):
            found[line[3:]] = []
        else:
            list(found.values())[-1].append(line)
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    return drawings()


def numbers(line: str) -> list[float]:
    return [float(number.replace(",", "")) for number in _NUMBER.findall(line)]


KNOWN = read() if FILE.is_file() else {}


@pytest.mark.parametrize("name", KNOWN)
def test_a_drawing(found: dict[str, list[str]], name: str) -> None:
    """Words are the same, and numbers but for the last place that is written."""
    assert [_NUMBER.sub("#", line) for line in found[name]] == [_NUMBER.sub("#", line) for line in KNOWN[name]]
    for line, known in zip(found[name], KNOWN[name], strict=True):
        assert numbers(line) == pytest.approx(numbers(known), abs=0.11, rel=1e-4), (line, known)


def test_every_drawing_is_known(found: dict[str, list[str]]) -> None:
    assert list(found) == list(KNOWN)


if __name__ == "__main__":
    text = [line for name, lines in drawings().items() for line in (f"== {name}", *lines)]
    FILE.write_text("".join(f"{line}\n" for line in text), "utf-8")
