"""What a port calls its tensors: names of the reference, of a library, or of its own; told, or recognised."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from npconv.convert.dialects import family_of_names
from npconv.convert.modules import module_dialects, module_names, parameter_names, skipped_modules
from npconv.errors import GoldenError, WeightsError
from npconv.golden.gradients import without_gradients_of_one
from npconv.golden.measures import is_before_model
from npconv.golden.output_names import spelled
from npconv.golden.pairing import Pairs, find_targets, pair
from npconv.golden.readings import readings
from npconv.golden.spelling import MOST_NAMES, by_spelling, parts_of, without_prefixes
from npconv.golden.trace_file import PARAMETERS, about, part, shape_of
from npconv.messages import quoted
from npconv.models import FAMILIES
from npconv.plan.gradient_steps import GRAD, is_gradient
from npconv.plan.step import Plan

#: Others that are asked for the likeliest partner of a name.
MOST_OTHERS = 1000

#: Fewer names than these do not show whose they are: many libraries have a ``head`` and a ``norm``.
FEWEST = 3


class Named(NamedTuple):
    """How the names of a port were understood: the library that they are of, and how many have a partner.

    Parameters
    ----------
    dialect : str
        Empty where they are the reference's, or a map says what they stand for.
    paired, total : int
        Of the names in mine, without those of inputs, of parameters and of what belongs to something else.
    """

    dialect: str
    paired: int
    total: int


def pair_names(
    reference: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray], names: Mapping[str, str] | str | None
) -> tuple[Pairs, Named, list[str]]:
    """Return which names belong together, how they were understood, and what to say of it.

    Raises
    ------
    GoldenError
        See :func:`npconv.golden.compare`.
    """
    notes = []
    dialect = names if isinstance(names, str) else None if names is not None else recognise(reference, mine)
    theirs = {} if dialect is None else names_in(reference, dialect, mine)
    renamed = names if isinstance(names, Mapping) else None
    pairs = pair(reference, mine, part(reference, "aliases"), renamed, theirs)
    if names is None and dialect is not None:
        notes.append(f"names: those in MINE are taken for those of {dialect}; --names {dialect} says so")
    if pairs.unused:
        notes.append(
            f"the map of names speaks of {len(pairs.unused)} that MINE lacks ({quoted(pairs.unused[0])} first)"
        )
    other = set() if dialect is None else skipped_modules(family_of(reference), dialect, pairs.extra)
    pairs = pairs._replace(extra=[name for name in pairs.extra if name not in other])
    pairs, more = without_gradients_of_one(reference, mine, pairs)
    notes += more
    counted = [name for name in mine if _counts(name) and name not in other]
    named = Named(dialect or "", len(counted) - sum(map(_counts, pairs.extra)), len(counted))
    # Who gives a map, or records little in one trace, has chosen what is compared; else so few are a misunderstanding.
    least = min(named.total, sum(map(_counts, reference)))
    if renamed is None and 0 < 2 * named.paired < least:
        raise GoldenError(_too_few(reference, mine, pairs, named))
    return pairs, named, notes


def _counts(name: str) -> bool:
    """Tell whether a tensor is one that the model computes."""
    return not is_before_model(name) and not name.startswith(PARAMETERS)


def _too_few(reference: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray], pairs: Pairs, named: Named) -> str:
    """Say that most names of mine have no partner."""
    left = [name for name in pairs.extra if _counts(name)][:1]
    near = partners(left, pairs.missing, mine, reference)
    likely = "".join(f"; {quoted(name)} may be {quoted(other)}" for name, other in near.items() if other)
    try:
        known = f"the name of a library ({', '.join(module_dialects(family_of(reference)))}) or "
    except GoldenError:
        known = ""
    return (
        f"only {named.paired} of {named.total} names of MINE are in REFERENCE, expected half of them at least{likely}; "
        f"give --names with {known}a JSON file of {{mine: reference}}"
    )


def family_of(reference: Mapping[str, Any]) -> str:
    """Return the ``model_type`` of what a trace is of.

    Raises
    ------
    GoldenError
        If it does not say so.
    """
    said = about(reference).get("family")
    if said in FAMILIES:
        return str(said)
    try:
        return family_of_names(reference)
    except WeightsError:
        raise GoldenError(
            "REFERENCE does not say of which family its model is, so that names of libraries are unknown; give a "
            "trace that npconv trace wrote, or a JSON file of {mine: reference} as --names"
        ) from None


def names_in(reference: Mapping[str, Any], dialect: str, mine: Iterable[str] = ()) -> dict[str, str]:
    """Return what a library calls the tensors of a trace: its names -> those of the reference.

    Where the library has several modules for one place, `mine` shows which they are; names that could stand for two
    tensors then are left out.

    Raises
    ------
    GoldenError
        If there is no such dialect, or none of it for the family of the reference.
    """
    family = family_of(reference)
    if dialect not in module_dialects(family):
        raise GoldenError(
            f"expected as names one of the libraries that have {FAMILIES[family].title}: "
            f"{', '.join(module_dialects(family))}, or a map; got {quoted(dialect)}"
        )
    steps = Plan.from_json(about(reference)["steps"]) if about(reference).get("steps") else ()
    ours = [*(name for step in steps for name in (step.name, *step.aliases)), *reference, *part(reference, "aliases")]
    kinds = module_names(family, dialect, ours)
    there = list(mine)
    counts = [len(find_targets(there, kind)) for kind in kinds]
    best = [kind for kind, count in zip(kinds, counts, strict=True) if count == max(counts)]
    found = {
        theirs: ours
        for kind in best
        for theirs, ours in kind.items()
        if all(other.get(theirs, ours) == ours for other in best)
    }
    known = {name.removesuffix(GRAD) for name in ours if is_gradient(name)}
    params = known & {name for step in steps for name in step.params.values()}
    # Of parameters the library's own tables know most; others are those of the modules that mine has them of.
    of_modules = {f"{path}.{kind}": f"{name}.{kind}" for path, name in found.items() for kind in ("weight", "bias")}
    of_params = {path: name for path, name in of_modules.items() if f"{path}{GRAD}" in there}
    of_params |= parameter_names(family, dialect, params) if params else {}
    return found | {f"{theirs}{GRAD}": f"{name}{GRAD}" for theirs, name in (of_params | found).items() if name in known}


def recognise(reference: Mapping[str, Any], mine: Mapping[str, Any]) -> str | None:
    """Return the library whose names a trace is in; None if they are the reference's, or it is not certain.

    It is where its table tells at least half of the names, and more than any other table; where no other tells anything
    else of one of them; and where none of them is, as it stands, a name of the reference for another tensor.
    """
    try:
        dialects = module_dialects(family_of(reference))
    except GoldenError:
        return None
    names = [name for name in mine if _counts(name) and spelled(name) is None]
    aliases = {alias: name for alias, name in part(reference, "aliases").items() if name in reference}
    exact = aliases | {name: name for name in reference}
    direct = find_targets(names, exact, mine)
    if len(direct) == len(names) or len(names) > MOST_NAMES:
        return None
    told, sure = {}, {}
    for dialect in dialects:
        table = {theirs: exact[ours] for theirs, ours in names_in(reference, dialect, names).items() if ours in exact}
        alike = by_spelling(table)
        told[dialect] = find_targets(names, table)
        sure[dialect] = {name for name in names if without_prefixes(parts_of(name)) in alike}
    best = max(told, key=lambda dialect: len(told[dialect]))
    found, others = told.pop(best), told

    def agree(name: str, target: str, is_sure: bool) -> bool:
        """Tell whether another table says the same; what it tells only without a prefix counts less."""
        return found.get(name, target) == target or (name in sure[best] and not is_sure)

    agreed = all(agree(name, target, name in sure[other]) for other in others for name, target in others[other].items())
    is_most = all(len(other) < len(found) or other == found for other in others.values())
    is_news = all(found.get(name, target) == target for name, target in direct.items()) and len(found) > len(direct)
    return best if agreed and is_most and is_news and len(found) >= max(FEWEST, len(names) / 2) else None


def partners(
    names: Sequence[str], others: Collection[str], arrays: Mapping[str, Any], of_others: Mapping[str, Any]
) -> dict[str, str | None]:
    """Return the likeliest partner of each of some names among others: by the shape of its array, then by its name.

    None where no other is alike.
    """
    others = list(islice(others, MOST_OTHERS))
    shapes = {name: shape_of(of_others, name) for name in others}
    split = {name: without_prefixes(parts_of(name)) for name in others}
    found: dict[str, str | None] = {}
    for name in names:
        shape, parts = shape_of(arrays, name), without_prefixes(parts_of(name))
        fitting = [other for other in others if _fits(shapes[other], shape)]
        scores = {other: _likeness(parts, split[other]) for other in fitting or others}
        best = max(scores, key=lambda other: scores[other], default=None)
        found[name] = best if best is not None and (fitting or scores[best] >= 1) else None
    return found


def _fits(a: Sequence[int], b: Sequence[int]) -> bool:
    """Tell whether an array of one shape can be read as one of another."""
    return next(readings(a, b), None) is not None


def _likeness(a: Sequence[str], b: Sequence[str]) -> float:
    """Return how alike two names are, from 0 to 2: their parts, and the letters of the last one."""
    if not (a and b):
        return 0.0
    common = sum(min(a.count(one), b.count(one)) for one in set(a))
    return 2 * common / (len(a) + len(b)) + SequenceMatcher(None, a[-1], b[-1]).ratio()
