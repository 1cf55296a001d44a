"""How names out of files, which may be hostile, and values of callers are put into one-line messages."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any

from npconv.errors import NpconvError

SHOWN_CHARACTERS = 200
SHOWN_ITEMS = 3
VALUE_CHARACTERS = 80

#: Names are compared for likeness only so far as models have them: a hostile file must not make it slow.
LONGEST_NAME = 200
MOST_NAMES = 2000


def quoted(text: object) -> str:
    """Return `text` in quotes on one line: control characters escaped, a long text cut."""
    text = str(text)
    return repr(text) if len(text) <= SHOWN_CHARACTERS else repr(text[:SHOWN_CHARACTERS]) + "..."


def shown(value: Any) -> str:
    """Return any value as Python writes it, on one line, a long one cut."""
    if isinstance(value, int) and abs(value) > 10**12:
        return "a larger integer"
    try:
        return _cut(" ".join(repr(value).split()))
    except ValueError:  # Python refuses to print whole numbers of thousands of digits
        return f"a {type(value).__name__} with a huge number"
    except Exception:  # an object of the caller's raises what it likes
        return f"a {type(value).__name__}"


def in_json(value: Any) -> str:
    """Return a value of a configuration as JSON, a long one cut."""
    import json  # only here, as `import npconv` loads this module

    return _cut(json.dumps(value, default=str), 100)


def _cut(text: str, most: int = VALUE_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def listed(items: Collection[str], most: int = SHOWN_ITEMS) -> str:
    """Return the first few of some phrases, and how many more there are."""
    first = ", ".join(islice(items, most))
    hidden = len(items) - most
    return f"{first} and {hidden} more" if hidden > 0 else first


def escape(text: str) -> str:
    r"""Return `text` on one line: what is not printable is written as in Python (``\n``, ``\x1b``, ``\udc80``)."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def why_failed(error: Exception, *names: str, hint: str = "") -> str:
    """Return why something in the input failed, on one line and without its name, by any of the `names` it may have.

    Of an error that nobody foresaw it says so, and then the `hint`.
    """
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller picture or model"
    text = escape(str(error))
    if not isinstance(error, NpconvError):
        return f"unexpected {type(error).__name__}: {text}{hint}"
    for name in names:
        text = text.removeprefix(f"{name}: ").removeprefix(f"{name} ")
    return text


def nearest(name: str, candidates: Iterable[str], alike: float = 0.6) -> str | None:
    """Return the most similar of some names, or None if none is at least so much `alike` (1: equal)."""
    import difflib  # only here: most messages name nothing similar

    known = [other for other in islice(candidates, MOST_NAMES) if len(other) <= LONGEST_NAME]
    found = difflib.get_close_matches(name, known, cutoff=alike) if len(name) <= LONGEST_NAME else []
    return found[0] if found else None


def meant(name: str, candidates: Iterable[str]) -> str:
    """Return ``"; did you mean ...?"`` with the most similar of some names, or nothing."""
    near = nearest(name, candidates)
    return f"; did you mean {near!r}?" if near else ""


def hint(name: str, candidates: Iterable[str]) -> str:
    """Return ``" (nearest: ...)"`` with the most similar of some names, or nothing."""
    near = nearest(name, candidates)
    return "" if near is None else f" (nearest: {quoted(near)})"
