"""How names out of files, which may be hostile, are put into one-line messages."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

SHOWN_CHARACTERS = 200
SHOWN_ITEMS = 3


def quoted(text: object) -> str:
    """Return `text` in quotes on one line: control characters escaped, a long text cut."""
    text = str(text)
    return repr(text) if len(text) <= SHOWN_CHARACTERS else repr(text[:SHOWN_CHARACTERS]) + "..."


def listed(items: Collection[str]) -> str:
    """Return the first few of some phrases, and how many more there are."""
    shown = ", ".join(islice(items, SHOWN_ITEMS))
    hidden = len(items) - SHOWN_ITEMS
    return f"{shown} and {hidden} more" if hidden > 0 else shown


def escape(text: str) -> str:
    r"""Return `text` on one line: what is not printable is written as in Python (``\n``, ``\x1b``, ``\udc80``)."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
