"""HTML that is safe to make of anything: every text and attribute is escaped, and the page may ask for nothing.

A page is one file. Its content security policy forbids every request, and allows the one style and the one script that
stand in it by their hashes; pictures are in it as ``data:``.
"""

from __future__ import annotations

import base64
import hashlib
import html
from importlib.resources import files
from pathlib import Path

from npconv.errors import InputError
from npconv.messages import escape


class Markup(str):
    """Text that is HTML already: made here, and put into other elements as it is."""


#: What stands at the beginning of every page, by which npconv knows its own.
MARK = Markup('<meta name="generator" content="npconv">')

#: Elements without an end.
_EMPTY = {"img", "input", "meta", "br"}


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
    inside = "".join(one if isinstance(one, Markup) else _safe(one) for one in content if one is not None)
    return Markup(f"<{tag}{words}>" + ("" if tag in _EMPTY else f"{inside}</{tag}>"))


def joined(*parts: str | None) -> Markup:
    """Return elements and texts one after the other."""
    return Markup("".join(one if isinstance(one, Markup) else _safe(one) for one in parts if one is not None))


def image(png: bytes, says: str, **attributes: str | int | bool | None) -> Markup:
    """Return a picture that stands in the page itself; `says` is for who does not see it."""
    return element("img", src=f"data:image/png;base64,{base64.b64encode(png).decode()}", alt=says, **attributes)


def page(title: str, body: str) -> str:
    """Return a whole page."""
    style, script = (files("npconv.pictures").joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        MARK,
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        Markup(f"<style>{style}</style>"),
    )
    whole = element("html", head, element("body", joined(body), Markup(f"<script>{script}</script>")), lang="en")
    return f"<!doctype html>\n{whole}\n"


def write_page(path: str, text: str, option: str) -> None:
    """Write a page where an option of a command says; one that cannot be written is an `InputError`."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{escape(path)}: cannot be written ({error.strerror}); give another {option}") from error


def is_page(path: Path) -> bool:
    """Tell whether a file is a page that npconv wrote."""
    with path.open("rb") as file:
        return MARK.encode() in file.read(4096)


def _safe(text: str) -> str:
    """Escape what HTML would take for its own, and what is not printable but for the ends of lines."""
    return html.escape(text if text.isprintable() else "\n".join(map(escape, text.split("\n"))))


def _hash(text: str) -> str:
    """Return what a content security policy calls a text that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
