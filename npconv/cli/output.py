"""How text leaves the program: on one line where it should be, and in any encoding that the terminal has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import Any, TextIO


def escape(text: str) -> str:
    r"""Return `text` on one line: what is not printable is written as in Python (``\n``, ``\x1b``, ``\udc80``)."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def write(stream: TextIO | None, text: str, *, flush: bool = False) -> None:
    """Write text to stdout or stderr; letters that its encoding lacks are escaped.

    Parameters
    ----------
    stream : text stream or None
        None is what Python has in place of a stream that was closed before it started; nothing happens then.
    text : str
    flush : bool
        Hand on at once what the stream still holds.
    """
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    if flush:
        stream.flush()


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as JSON in ASCII letters; a number that JSON lacks (NaN, infinity) becomes text."""
    plain = json.loads(json.dumps(value), parse_constant=str)
    return json.dumps(plain, indent=indent)


def screen_width() -> int:
    """Return the columns of the terminal, 80 where there is none, within what is easy to read."""
    return min(max(shutil.get_terminal_size().columns, 60), 120)


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), gap: int = 2, indent: int = 0) -> list[str]:
    """Return rows of text as lines with aligned columns.

    Parameters
    ----------
    rows : sequence of rows
        Each with as many cells as the first; a row with a single cell is a line of its own, whatever its width.
    right : sequence of int
        Columns that are aligned to the right.
    gap, indent : int
        Spaces between columns, and before the first.
    """
    widths = [max(map(len, column)) for column in zip(*(row for row in rows if len(row) > 1), strict=True)]
    lines = []
    for row in rows:
        cells = (
            row
            if len(row) == 1
            else [
                cell.rjust(width) if i in right else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
        )
        lines.append((" " * indent + (" " * gap).join(cells)).rstrip())
    return lines
