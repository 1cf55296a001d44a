"""Every kind of mistake in the steps of a part of a model, in the order in which they are tried."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from npconv.errors import NpconvError
from npconv.golden.compare import Comparison
from npconv.golden.kinds.change import Change, Place
from npconv.golden.kinds.continuous import continuous, numbers_of, read_off, shared
from npconv.golden.kinds.geometry import geometry
from npconv.golden.kinds.parameters import parameters
from npconv.golden.kinds.pictures import KIND as PICTURES
from npconv.golden.kinds.pictures import pictures
from npconv.golden.kinds.precision import precision
from npconv.golden.kinds.structure import structure
from npconv.golden.measures import distance
from npconv.golden.segment import FAILURES, make_segment, reach, run_changed
from npconv.images.settings import STEPS

Kind = Callable[[Place], Iterator[Change]]

#: Cheapest first.
KINDS: tuple[Kind, ...] = (pictures, parameters, structure, geometry, precision, continuous)


def changes(places: Sequence[Place], kinds: Sequence[Kind] = KINDS) -> Iterator[list[Change]]:
    """Give out the steps of a part of a model as a port may have them, those together that are changed at once.

    What several steps may have in common, such as the padding of every convolution, is tried in all of them first.
    """
    for kind in kinds:
        singles: list[Change] = []
        alike: dict[tuple[str, str], dict[str, Change]] = {}
        for place in places:
            for change in _all_of(kind, place):
                singles.append(change)
                several = alike.setdefault((place.step.operation, _without_numbers(change.says)), {})
                several.setdefault(place.step.name, change)
        yield from (list(several.values()) for several in alike.values() if len(several) > 1)
        yield from ([change] for change in singles)
    operations: dict[str, list[Place]] = {}
    for place in places:
        operations.setdefault(place.step.operation, []).append(place)
    for several_places in operations.values():
        if len(several_places) > 1:
            yield from shared(several_places)


def pairs(place: Place, firsts: Sequence[Change]) -> Iterator[Change]:
    """Give out a step with two changes, the first of them one of some; the second is of another kind or place."""
    for first in firsts:
        changed = replace(place, step=first.step, done=first.function)
        for kind in (pictures, parameters, structure, geometry, precision, read_off, numbers_of):
            for second in _all_of(kind, changed):
                if second.kind != first.kind or second.values.get("parameter") != first.values.get("parameter"):
                    values = {"first": dict(first.values), "second": dict(second.values)}
                    says = f"{first.says}, and {second.says}"
                    kind_of_both = first.kind if first.kind == second.kind else f"{first.kind}, {second.kind}"
                    yield replace(second, kind=kind_of_both, says=says, values=values)


def _all_of(kind: Kind, place: Place) -> Iterator[Change]:
    """Give out what a kind has for a place, up to where these arrays do not allow it."""
    try:
        for change in kind(place):
            yield replace(change, kind=PICTURES) if place.step.operation in STEPS else change
    except (*FAILURES, np.linalg.LinAlgError):
        return


def _without_numbers(says: str) -> str:
    """Return a text without the numbers of stages and blocks in it."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "#", says)


def is_refuted(comparison: Comparison, several: Sequence[Change]) -> bool:
    """Tell whether a tensor that is good would be wrong if steps were changed so.

    One that lies behind other wrong tensors says nothing: what makes these wrong may not reach it.
    """
    wrong = {found.name for found in comparison.differences if found.diverges}
    changed = {change.step.name: (change.step, change.function) for change in several}
    for good in comparison.differences:
        if good.diverges or good.reading is None:
            continue
        before = reach(comparison, good)
        if before is None or not before.names & changed.keys() or (before.names & wrong) - changed.keys():
            continue
        segment = make_segment(comparison, good)
        if segment is None:
            continue
        try:
            made = run_changed(segment, changed, comparison.reference)
        except (*FAILURES, NpconvError):  # it could not have been computed at all
            return True
        if not distance(made.squeeze(), comparison.array(good).squeeze()) <= good.tolerance:
            return True
    return False
