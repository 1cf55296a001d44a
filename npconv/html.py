"""HTML that is safe to make of anything: every text and attribute is escaped.

Elements are what pages are made of (``npconv/pictures``) and what a notebook shows of an object. The latter has no
colours and no style but its own, so that it reads in light and in dark.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from npconv.messages import escape


class Markup(str):
    """Text that is HTML already: made here, and put into other elements as it is."""


#: Elements without an end.
_EMPTY = {"img", "input", "meta", "br"}

#: Of what a notebook shows: cells to the left, whose lines are the text's colour, thinned.
_CELL = "text-align: left; vertical-align: top; padding: 0.1em 1em 0.1em 0; white-space: pre-wrap; max-width: 40em"
_NUMBER = _CELL.replace("left", "right")
_BOX = "font-size: 90%; line-height: 1.4; overflow-x: auto"


def element(tag: str, *content: str | None, **attributes: str | int | bool | None) -> Markup:
    """Return an element. Texts are escaped, control characters in them made visible; `Markup` is left as it is.

    An attribute that is None or False is left out; of its name, an underscore at the end is, others become dashes.
    """
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    words = ""
    for name, value in named.items():
        if value is True:
            words += f" {name}"
        elif value is not None and value is not False:
            words += f' {name}="{_safe(str(value))}"'
    return Markup(f"<{tag}{words}>" + ("" if tag in _EMPTY else f"{joined(*content)}</{tag}>"))


def joined(*parts: str | None) -> Markup:
    """Return elements and texts one after the other."""
    return Markup("".join(one if isinstance(one, Markup) else _safe(one) for one in parts if one is not None))


def image(png: bytes, says: str, **attributes: str | int | bool | None) -> Markup:
    """Return a picture that stands in the page itself; `says` is for who does not see it."""
    return element("img", src=source_of(png), alt=says, **attributes)


def source_of(png: bytes) -> str:
    """Return the address of a picture that holds the picture itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def note(title: str, about: str, *content: Markup) -> str:
    """Return what a notebook shows of an object: what it is, some words about it, and more below."""
    return element(
        "div", element("div", element("strong", title), f" {about}" if about else None), *content, style=_BOX
    )


def note_table(rows: Iterable[Sequence[str | int]], head: Sequence[str] = ()) -> Markup:
    """Return a table of a note: texts to the left, whole numbers to the right, with commas."""
    lines = [element("tr", *(element("th", name, scope="col", style=_CELL) for name in head))] if head else []
    lines += [element("tr", *map(_cell, row)) for row in rows]
    return element("table", *lines, style="border-collapse: collapse; margin: 0.3em 0")


def folded(title: str, content: Markup, *, is_open: bool = False) -> Markup:
    """Return a part of a note that is opened by its title."""
    return element("details", element("summary", title, style="cursor: pointer"), content, open=is_open)


def _cell(value: str | int) -> Markup:
    """Return a cell of a table of a note."""
    return element(
        "td", value if isinstance(value, str) else f"{value:,}", style=_CELL if isinstance(value, str) else _NUMBER
    )


def _safe(text: str) -> str:
    """Escape what HTML would take for its own, and what is not printable but for the ends of lines."""
    return html.escape(text if text.isprintable() else "\n".join(map(escape, text.split("\n"))))
