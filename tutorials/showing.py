"""What the lessons show things with: pictures, curves, tables and source code, made by ``npconv.pictures``.

Run as a script, a lesson prints its texts and writes its pictures to ``tutorials/build/pictures``. When all lessons
are built into a page, or in a notebook, the same calls put them there instead: see :func:`show_on`.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from npconv.pictures import Picture, bar_chart, curves, gallery

#: Where a lesson that is run as a script leaves its pictures.
FOLDER = Path(__file__).parent / "build" / "pictures"


@dataclass(frozen=True)
class Code:
    """Source code of the library."""

    text: str


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


def show_pictures(pictures: Mapping[str, Any], caption: str, **options: Any) -> None:
    """Show pictures in rows, each with its name below, as :func:`npconv.pictures.gallery` puts them on a sheet."""
    _show(gallery(pictures, caption, **options))


def show_curves(x: Any, lines: Mapping[str, Any], caption: str, **options: Any) -> None:
    """Show curves over the same x, as :func:`npconv.pictures.curves` draws them."""
    _show(Picture(curves(x, lines, **options).pixels, caption))


def show_bars(bars: Mapping[str, float], caption: str, *, x_label: str = "") -> None:
    """Show numbers as bars, one below the other."""
    _show(Picture(bar_chart(bars, x_label=x_label).pixels, caption))


def sample(name: str) -> Path:
    """Return the path of a sample picture that comes with npconv, such as ``"ship.png"``."""
    return Path(str(files("npconv"))) / "zoo" / "samples" / name


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

        display(item)
    else:
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{Path(sys.argv[0]).stem}-{next(_count):02d}.png"
        path.write_bytes(item.png())
        print(f"[picture: {item.caption}: {path}]")
