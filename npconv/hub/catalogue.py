"""The published checkpoints of all families: nothing is asked of the hub."""

from __future__ import annotations

from functools import cache

from npconv.messages import nearest
from npconv.models import FAMILIES
from npconv.models.publishing import Published

#: How alike a name must be to be suggested (1: equal).
_ALIKE = 0.75


@cache
def catalogue() -> tuple[Published, ...]:
    """Return the checkpoints, in the order of the families."""
    return tuple(found for family in FAMILIES.values() for found in family.part("published").CHECKPOINTS)


def suggestion(name: str, others: tuple[str, ...] = ()) -> str:
    """Return ``"; did you mean ...?"`` with the known name that is most like an unknown one, or nothing.

    The name may come with or without the organisation. `others` are known besides those of the catalogue.
    """
    known = {published.name: published.name for published in catalogue()}
    short = {full.split("/")[1]: full for full in known}
    tail = name.split("/")[-1]
    if tail in short and name not in known:
        return f"; did you mean {short[tail]}?"  # the right name, of another organisation or none
    known = known if "/" in name else short
    known |= {other: other for other in others}
    near = nearest(name, known, _ALIKE)
    return f"; did you mean {known[near]}?" if near and known[near] != name else ""
