"""What the lessons show things with: pictures, curves, tables and source code, made with Pillow alone.

Run as a script, a lesson prints its texts and writes its pictures to ``tutorials/build/pictures``. When all lessons
are built into a page, or in a notebook, the same calls put them there instead: see :func:`show_on`.
"""

from __future__ import annotations

import ast
import inspect
import io
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import plots

#: Where a lesson that is run as a script leaves its pictures.
FOLDER = Path(__file__).parent / "build" / "pictures"

FONT_SIZE, GAP = 13, 10
PAPER, INK = (255, 255, 255), (30, 34, 40)

#: Dark blue, blue, green, yellow: from the lowest value to the highest, and still in order when printed in grey.
COLOURS = np.array([(40, 20, 80), (45, 90, 150), (35, 150, 140), (110, 200, 90), (250, 230, 60)], dtype=np.float64)


@dataclass(frozen=True)
class Code:
    """Source code of the library."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A finished picture and what it shows."""

    image: Image.Image
    caption: str

    def png(self) -> bytes:
        """Return the bytes of a PNG file."""
        file = io.BytesIO()
        self.image.save(file, "PNG", optimize=True)
        return file.getvalue()


Item = Code | Picture
_shown: list[Callable[[Item], None]] = []
_count = count(1)


@contextmanager
def show_on(take: Callable[[Item], None]) -> Iterator[None]:
    """Hand all that is shown to `take` for as long as this lasts."""
    _shown.append(take)
    try:
        yield
    finally:
        _shown.pop()


def show_source(function: Any, *, docstring: bool = False) -> None:
    """Show the source code of a function of the library, as it is installed; of its docstring the first line only."""
    source = textwrap.dedent(inspect.getsource(function)).rstrip()
    if not docstring and function.__doc__:
        first = ast.parse(source).body[0].body[0]  # type: ignore[attr-defined]  # that of a function or class
        lines = source.splitlines()
        if first.end_lineno > first.lineno:
            lines[first.lineno - 1 : first.end_lineno] = [lines[first.lineno - 1] + '"""']
        source = "\n".join(lines)
    _show(Code(source))


def show_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table: texts to the left, numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(header), *cells]) for column in range(len(header))]
    right = [all(isinstance(row[column], int | float | np.number) for row in rows) for column in range(len(header))]
    for row in [list(header), ["-" * width for width in widths], *cells]:
        parts = [t.rjust(w) if r else t.ljust(w) for t, w, r in zip(row, widths, right, strict=True)]
        print("  ".join(parts).rstrip())


def show_pictures(
    pictures: Mapping[str, Any], caption: str, *, size: int = 160, columns: int = 4, same_scale: bool = False
) -> None:
    """Show pictures in rows, each with its name below.

    Parameters
    ----------
    pictures : mapping of str to array or PIL.Image.Image
        (H, W, 3) uint8 or floats from 0 to 1, or a single channel (H, W), which gets colours from its lowest value to
        its highest.
    caption : str
        What the pictures show.
    size : int
        Edge in pixels that the longer side is scaled to, whole pixels kept square.
    columns : int
        Pictures in a row.
    same_scale : bool
        Give all single channels colours on one scale, from the lowest value of them all to the highest.
    """
    limits = _limits(pictures.values()) if same_scale else None
    tiles = [(name, _fit(_as_image(picture, limits), size)) for name, picture in pictures.items()]
    font = ImageFont.load_default(FONT_SIZE)
    width = max([size, *(int(font.getlength(name)) for name in pictures)]) + GAP
    height = max(tile.height for _, tile in tiles) + FONT_SIZE + 2 * GAP
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (width * min(columns, len(tiles)) + GAP, height * rows + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (name, tile) in enumerate(tiles):
        left, top = GAP + width * (index % columns), GAP + height * (index // columns)
        sheet.paste(tile, (left, top))
        draw.text((left, top + height - FONT_SIZE - 2 * GAP + 4), name, INK, font)
    _show(Picture(sheet, caption))


def show_curves(
    x: Any, curves: Mapping[str, Any], caption: str, *, x_label: str = "", y_label: str = "", log: bool = False
) -> None:
    """Show curves over the same x; with matplotlib where it is installed. `log` makes the vertical axis logarithmic."""
    _show(Picture(plots.curves(np.asarray(x), curves, x_label=x_label, y_label=y_label, log=log), caption))


def show_bars(bars: Mapping[str, float], caption: str, *, x_label: str = "") -> None:
    """Show numbers as bars, one below the other; with matplotlib where it is installed."""
    _show(Picture(plots.bars(bars, x_label=x_label), caption))


def sample(name: str) -> Path:
    """Return the path of a sample picture that comes with npconv, such as ``"ship.png"``."""
    return Path(str(files("npconv"))) / "zoo" / "samples" / name


def colour(values: Any, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Return colours (H, W, 3) uint8 for values (H, W), from the lowest to the highest or between limits."""
    values = np.asarray(values, dtype=np.float64)
    low, high = _limits([values]) if limits is None else limits
    position = (values - low) / (high - low if high > low else 1) * (len(COLOURS) - 1)
    channels = [np.interp(position, np.arange(len(COLOURS)), COLOURS[:, index]) for index in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _limits(pictures: Iterable[Any]) -> tuple[float, float]:
    """Return the lowest and the highest value of all single channels."""
    arrays = [np.asarray(picture) for picture in pictures]
    return min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)


def _as_image(picture: Any, limits: tuple[float, float] | None = None) -> Image.Image:
    """Return a picture in colours."""
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    array = np.asarray(picture)
    if array.ndim == 2:
        return Image.fromarray(colour(array, limits))
    if array.dtype != np.uint8:
        array = (np.clip(array, 0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(array)


def _fit(image: Image.Image, size: int) -> Image.Image:
    """Scale a picture: a small one so that its pixels are seen as squares, a large one smoothly."""
    scale = size / max(image.size)
    if scale >= 1:
        return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.NEAREST)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def _cell(value: Any) -> str:
    """Return a value of a table as text."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _show(item: Item) -> None:
    """Show something where it was asked for: on a page, in a notebook, or beside the printed text."""
    if _shown:
        _shown[-1](item)
    elif isinstance(item, Code):
        print(item.text)
    elif "ipykernel" in sys.modules:
        from IPython.display import display

        display(item.image)
    else:
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{Path(sys.argv[0]).stem}-{next(_count):02d}.png"
        path.write_bytes(item.png())
        print(f"[picture: {item.caption}: {path}]")
