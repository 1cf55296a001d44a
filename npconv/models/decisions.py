"""What was decided about a model, as data. :func:`lines` makes text of it at the edge, where a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from npconv.messages import in_json

#: A decision that the files settle; one that nothing settles; one that may surprise.
NOTE, GUESS, WARNING = "note", "guess", "warning"

#: Sources: names and shapes, the folder's configuration, the caller. Others are the name of a library or of a file.
SHAPES, CONFIG_FILE, GIVEN = "shapes", "config.json", "given"


@dataclass(frozen=True)
class Decision:
    """One decision.

    Parameters
    ----------
    field : str
        What is decided: a field of the configuration (``"depths"``), or ``"dialect"``, ``"dtype"`` and the like. Empty
        for an observation, which `reason` tells completely.
    value : object
        None where `reason` says more than a value could.
    source : str
        What decided: ``"shapes"``, ``"config.json"``, ``"given"``, the name of a dialect, of a library.
    level : str
        ``"note"``, ``"guess"`` or ``"warning"``.
    reason : str
        Why, for people.
    """

    field: str
    value: Any
    source: str
    level: str
    reason: str

    def __str__(self) -> str:
        return _sentence([self])


def lines(decisions: Iterable[Decision]) -> list[str]:
    """Return a line of text for each decision; one for all fields that the same shapes decide."""
    groups = [[decision for _, decision in group] for _, group in groupby(enumerate(decisions), _place)]
    return [f"warning: {_sentence(group)}" if group[0].level == WARNING else _sentence(group) for group in groups]


def _sentence(together: list[Decision]) -> str:
    """Return the text of decisions that have one reason."""
    first = together[0]
    reason = f"a guess, {first.reason}" if first.level == GUESS else first.reason
    named = ", ".join(map(_named, together))
    return f"{named}: {reason}" if named else reason


def _place(numbered: tuple[int, Decision]) -> tuple[Any, ...]:
    """Return what neighbours on one line have in common."""
    number, decision = numbered
    return ("", decision.reason) if decision.source == SHAPES else (number,)


def _named(decision: Decision) -> str:
    """Return a field and its value; a file's as it stands there."""
    if decision.value is None:
        return decision.field
    if isinstance(decision.value, Mapping):
        settings = ", ".join(f"{name} {in_json(value)}" for name, value in decision.value.items())
        return f"{decision.field} {settings}"
    value = in_json(decision.value) if decision.source == CONFIG_FILE else decision.value
    return f"{decision.field} {value}"
