"""A page of HTML that may ask for nothing; what it is made of is in ``npconv/html.py``.

It is one file. Its content security policy forbids every request, and allows the one style and the one script that
stand in it by their hashes; pictures are in it as ``data:``.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from npconv.errors import InputError
from npconv.html import Markup, element, joined
from npconv.messages import escape

#: What stands at the beginning of every page, by which npconv knows its own.
MARK = Markup('<meta name="generator" content="npconv">')


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


def _hash(text: str) -> str:
    """Return what a content security policy calls a text that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
