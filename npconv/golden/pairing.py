"""Which name of one trace belongs to which of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from npconv.errors import GoldenError
from npconv.golden.output_names import output_names, spelled
from npconv.golden.spelling import by_spelling, respell
from npconv.golden.trace_file import PIXELS, part
from npconv.messages import nearest, quoted

#: Names shown in an error or a note.
SHOWN = 3


class Pairs(NamedTuple):
    """Which names belong together.

    Parameters
    ----------
    names : dict of str to str
        Name in the reference -> name in mine, in the order of the reference.
    missing, extra : list of str
        Names of the reference that mine lacks, and of mine that the reference lacks.
    second : dict of str to list of str
        Name in the reference -> further names in mine that stand for the same tensor.
    unused : list of str
        Names of mine that the map of names speaks of and mine lacks.
    """

    names: dict[str, str]
    missing: list[str]
    extra: list[str]
    second: dict[str, list[str]]
    unused: list[str]


def pair(
    reference: Mapping[str, Any] | Iterable[str],
    mine: Mapping[str, Any] | Iterable[str],
    aliases: Mapping[str, str] | None = None,
    renamed: Mapping[str, str] | None = None,
    dialect: Mapping[str, str] | None = None,
) -> Pairs:
    """Find the names that belong together.

    Names that are renamed come first, then those that are equal, then those that are equal once aliases are resolved,
    then those that are so but for separators and prefixes (:mod:`npconv.golden.spelling`), then those of a model's
    outputs (``logits``), in either trace. A tensor of mine under a second name of the same module is no extra one, but
    a second. `aliases` go from a second name to the name in the reference, `renamed` from mine to one of either, and
    `dialect` from what another library calls a module to either, before the reference's own names.

    Raises
    ------
    GoldenError
        If no name is common but that of the input, or a new name does not exist, or none of those that are renamed.
    """
    wanted, there = list(reference), list(mine)
    known = set(wanted)
    exact = {alias: name for alias, name in (aliases or {}).items() if name in known} | {name: name for name in wanted}
    given = dict(renamed or {})
    _check_renamed(given, exact, wanted, there)
    renamed = {name: exact[target] for name, target in given.items() if name in there}
    exact |= {theirs: exact[ours] for theirs, ours in (dialect or {}).items() if ours in exact}
    outputs = {output: name for output, name in output_names(reference).items() if name in known}
    targets = find_targets([name for name in there if name not in renamed], {**outputs, **exact}, mine)
    targets |= _outputs(reference, mine, [name for name in there if name not in renamed and name not in targets])
    found = {target: name for name, target in reversed(renamed.items())}
    second: dict[str, list[str]] = {}
    # Those that are equal first, then as a library's table has them: a layer before what it stands in.
    order = {name: place for place, name in enumerate([*wanted, *(dialect or {})])}
    for name in sorted(targets, key=lambda name: order.get(name, len(order))):
        found.setdefault(targets[name], name)
    for name, target in (renamed | targets).items():
        if found[target] != name:
            second.setdefault(target, []).append(name)
    extra = [name for name in there if name not in renamed and name not in targets]
    if not found or (set(found) == {PIXELS} and extra and len(wanted) > 1):
        raise GoldenError(nothing_common(wanted, [name for name in there if name != found.get(PIXELS)]))
    names = {name: found[name] for name in wanted if name in found}
    unused = [name for name in given if name not in renamed]
    return Pairs(names, [name for name in wanted if name not in found], extra, second, unused)


def find_targets(
    names: Sequence[str], exact: Mapping[str, str], mine: Mapping[str, Any] | Iterable[str] = ()
) -> dict[str, str]:
    """Return what names stand for: as they are, by other names that `mine` has for them, or as they are spelled."""
    own: dict[str, list[str]] = {}
    for alias, name in (part(mine, "aliases") if isinstance(mine, Mapping) else {}).items():
        own.setdefault(name, []).append(alias)
    found = {name: exact[name] for name in names if name in exact}
    for name in names:
        others = {exact[alias] for alias in own.get(name, ()) if alias in exact}
        if name not in found and len(others) == 1:
            found[name] = others.pop()
    alike = by_spelling(exact)
    for name, parts in respell(names, alike).items():
        found.setdefault(name, alike[parts])
    return found


def _outputs(
    reference: Mapping[str, Any] | Iterable[str], mine: Mapping[str, Any] | Iterable[str], names: Iterable[str]
) -> dict[str, str]:
    """Return what names stand for that are those of a model's outputs, in either trace."""
    outputs = output_names(reference)
    own = {name: outputs[output] for output, name in output_names(mine).items() if output in outputs}
    known = set(reference)
    found = {name: outputs.get(spelled(name) or "") or own.get(name) for name in names}
    return {name: target for name, target in found.items() if target is not None and target in known}


def _check_renamed(
    renamed: Mapping[str, str], exact: Mapping[str, str], wanted: Sequence[str], there: Sequence[str]
) -> None:
    """Refuse a map of names that speaks of other tensors: of such as MINE lacks only if it lacks all of them."""
    absent = [name for name in renamed.values() if name not in exact]
    if absent:
        turned = "; is it {reference: mine}?" if set(renamed) <= set(wanted) else ""
        near = _nearest(absent[0], wanted)
        raise GoldenError(
            f"the map of names speaks of {quoted(absent[0])}, which REFERENCE lacks; nearest there: {near}{turned}"
        )
    if renamed and not set(renamed) & set(there):
        name = next(iter(renamed))
        near = _nearest(name, there)
        raise GoldenError(f"the map of names speaks of {quoted(name)}, which MINE lacks; nearest there: {near}")
    if len(set(renamed.values())) < len(renamed):
        twice = Counter(renamed.values()).most_common(1)[0][0]
        raise GoldenError(f"the map of names gives two tensors of MINE the name {quoted(twice)}; give one")


def nothing_common(wanted: Sequence[str], there: Sequence[str]) -> str:
    """Say that no name is common, and which are the nearest."""
    if not (wanted and there):
        return f"expected tensors in both traces, got {len(wanted)} in REFERENCE and {len(there)} in MINE"
    near = "; ".join(f"{quoted(name)} (nearest in REFERENCE: {_nearest(name, wanted)})" for name in there[:SHOWN])
    return (
        f"no name of MINE is in REFERENCE: {near}; give --names with the name of a library or a JSON file of "
        "{mine: reference}"
    )


def _nearest(name: str, names: Sequence[str]) -> str:
    """Return the name that is most like another one, however little."""
    near = nearest(name, names, alike=0)
    return "none" if near is None else quoted(near)
