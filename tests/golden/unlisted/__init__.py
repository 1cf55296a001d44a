"""A hundred mistakes that are in no catalogue: does ``npconv diff`` find where they are made, and say why?

    python -m tests.golden.unlisted [--traces full|coarse] [--kind KIND] [--list hundred|photos|fresh|last|parts]

Told by kind, one file each, as porters make them in other libraries and languages. None is one that
``npconv.golden.mistakes`` holds. A stated reason counts only if it is the first that fits; it is right if it tells
the kind of thing, the place and the number, as stands beside each mistake, or if it is proven to be the same function:
both are run in float64 on random inputs. Else it is wrong.

Beside the hundred there are twenty-five of preprocessing, thirty that were written when the search was nearly finished,
twenty-two that were written after it, and mistakes of the catalogue in some blocks of a stage, from outputs of stages
alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.golden.unlisted import (
    continuous,
    fresh,
    geometry,
    last,
    parameters,
    photos,
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

#: What the benchmark runs, by name.
LISTS: Mapping[str, tuple[Entry, ...]] = {
    "hundred": ENTRIES,
    "photos": photos.ENTRIES,
    "fresh": fresh.ENTRIES,
    "last": last.ENTRIES,
}
