"""A hundred mistakes that are in no catalogue: does ``npconv diff`` find where they are made, and say why?

    python -m tests.golden.unlisted [--traces full|coarse] [--kind KIND]

Told by kind, one file each, as porters make them in other libraries and languages. None is one that
``npconv.golden.mistakes`` holds. A stated reason counts only if it is the first that fits; it is right if it tells
the kind of thing, the place and the number, and else it is wrong. How that is judged stands beside each mistake.
"""

from __future__ import annotations

from tests.golden.unlisted import (
    continuous,
    geometry,
    parameters,
    precision,
    preprocessing,
    several,
    structure,
)
from tests.golden.unlisted.entry import Entry

#: In the order of a table.
ENTRIES: tuple[Entry, ...] = (
    *parameters.ENTRIES,
    *continuous.ENTRIES,
    *precision.ENTRIES,
    *geometry.ENTRIES,
    *structure.ENTRIES,
    *preprocessing.ENTRIES,
    *several.ENTRIES,
)
