"""Names of tensors without what does not matter in them: separators, and what stands in front of all of them.

``model/encoder/stages_0/layers_1/dwconv`` and ``convnext.encoder.stages.0.layers.1.dwconv`` are the same name. What
stands in front is found from the names themselves, and only where it leaves no doubt: see :func:`respell`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

from npconv.golden.trace_file import PIXELS
from npconv.messages import LONGEST_NAME
from npconv.models import FAMILIES

#: A name in parts: ``("stages", "0", "layers", "1", "dwconv")``.
Parts = tuple[str, ...]

#: No model has so many tensors, and no name so many parts; a hostile file must not make it slow.
MOST_NAMES, MOST_PARTS = 5000, 40

_SEPARATORS = re.compile(r"[./_\[\]]+")

#: What stands before the names of a model inside another one, or of a compiled or distributed one.
PREFIXES: tuple[Parts, ...] = (
    *(("module",), ("orig", "mod"), ("model",), ("encoder",)),
    *(tuple(_SEPARATORS.split(family.base_model_prefix)) for family in FAMILIES.values()),
)


def parts_of(name: str) -> Parts:
    """Return the parts of a name; longer ones than models have are one part."""
    parts = tuple(filter(None, _SEPARATORS.split(name))) if len(name) <= LONGEST_NAME else ()
    return parts if 0 < len(parts) <= MOST_PARTS else (name,)


def without_prefixes(parts: Parts) -> Parts:
    """Return the parts of a name without those that models put before it, as long as something is left."""
    for prefix in PREFIXES * 2:  # one may stand before another
        if parts[: len(prefix)] == prefix and len(parts) > len(prefix):
            parts = parts[len(prefix) :]
    return parts


def _without_ends(before: Parts) -> Parts:
    """Return what stands before a name without what models put there themselves, as long as something is left."""
    for prefix in PREFIXES * 2:
        if before[-len(prefix) :] == prefix and len(before) > len(prefix):
            before = before[: -len(prefix)]
    return before


def by_spelling(names: Mapping[str, str]) -> dict[Parts, str]:
    """Return what names stand for by their parts; without those that are alike and stand for different things."""
    found: dict[Parts, set[str]] = {}
    for name, target in names.items():
        found.setdefault(without_prefixes(parts_of(name)), set()).add(target)
    return {parts: targets.pop() for parts, targets in found.items() if len(targets) == 1}


def respell(names: Collection[str], known: Collection[Parts]) -> dict[str, Parts]:
    """Return which of some known names each name is; those that are none, or the same as another of them, are left out.

    Of more names than models have, none is looked at.

    A prefix is taken away where at least half of the names that have it are known without it, and one of these holds a
    number, as the name of a stage does; or where all names but that of the input have it, and are known. So the
    ``pooled`` of a block, or ``pre_classifier``, is not taken for that of the model.
    """
    split = {name: parts_of(name) for name in names} if len(names) <= MOST_NAMES else {}
    found = {name: short for name, parts in split.items() if (short := without_prefixes(parts)) in known}
    prefixes = _prefixes({name: parts for name, parts in split.items() if name not in found}, split, known)
    for name, parts in split.items():
        ends = (without_prefixes(parts[size:]) for size in range(1, len(parts)) if parts[:size] in prefixes)
        end = next((end for end in ends if end in known), None)
        if end is not None:
            found.setdefault(name, end)
    counts = Counter(found.values())
    return {name: parts for name, parts in found.items() if counts[parts] == 1}


def _prefixes(unknown: Mapping[str, Parts], split: Mapping[str, Parts], known: Collection[Parts]) -> set[Parts]:
    """Return what may be taken away from the front of names."""
    numbered: dict[Parts, bool] = {}
    for parts in unknown.values():
        size = _longest_end(parts, known)
        if size:
            before, is_numbered = _without_ends(parts[:-size]), any(map(str.isdigit, parts[-size:]))
            numbered[before] = numbered.get(before, False) or is_numbered
    sizes = sorted({len(prefix) for prefix in numbered})
    have = Counter(parts[:size] for parts in split.values() for size in sizes if len(parts) > size)
    fit = Counter(
        parts[:size]
        for parts in split.values()
        for size in sizes
        if parts[:size] in numbered and without_prefixes(parts[size:]) in known
    )
    count = len(split) - (PIXELS in split)
    return {
        prefix
        for prefix, is_numbered in numbered.items()
        if (is_numbered and 2 * fit[prefix] >= have[prefix]) or fit[prefix] == have[prefix] == count
    }


def _longest_end(parts: Parts, known: Collection[Parts]) -> int:
    """Return how many parts the longest end of a name has that is a known name; 0 if none is."""
    return next((len(parts) - start for start in range(1, len(parts)) if parts[start:] in known), 0)
