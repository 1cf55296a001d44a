"""Every kind of mistake in the steps of a part of a model, in the order in which they are tried."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from npconv.errors import NpconvError
from npconv.golden.compare import Comparison
from npconv.golden.judge import squeezed_distance
from npconv.golden.kinds.change import Change, Place
from npconv.golden.kinds.continuous import continuous, numbers_of, read_off, shared
from npconv.golden.kinds.geometry import geometry
from npconv.golden.kinds.parameters import parameters
from npconv.golden.kinds.pictures import KIND as PICTURES
from npconv.golden.kinds.pictures import pictures, statistics
from npconv.golden.kinds.precision import precision
from npconv.golden.kinds.structure import structure
from npconv.golden.segment import FAILURES, make_segment, plan_of, run_changed, walk
from npconv.images.settings import STEPS
from npconv.plan.step import Plan

Kind = Callable[[Place], Iterator[Change]]

#: Cheapest first.
KINDS: tuple[Kind, ...] = (pictures, parameters, structure, geometry, precision, continuous, statistics)


def changes(places: Sequence[Place], kinds: Sequence[Kind] = KINDS) -> Iterator[list[list[Change]]]:
    """Give out how a port may have the steps of a part of a model.

    Each list holds the same change in several steps, such as the padding of every convolution, or one by itself. In
    parts of many steps numbers come first, as two runs tell whether one may be the reason; then all others in turn.
    """
    if len(places) == 1:
        yield from (_groups(kind, places) for kind in kinds)
    else:
        yield from (_groups(kind, places) for kind in kinds if kind is continuous)
        in_turn = itertools.zip_longest(*(_groups(kind, places) for kind in kinds if kind is not continuous))
        yield [group for groups in in_turn for group in groups if group is not None]


def _groups(kind: Kind, places: Sequence[Place]) -> list[list[Change]]:
    """Return the changes of a kind, those together that are the same in several steps.

    What is made of a result that one step alone takes is left out, as that step's is the same; but for pictures.
    """
    alike: dict[tuple[str, str], list[list[Change]]] = {}
    for place in places:
        is_handed_on = place.is_handed_on
        for change in all_of(kind, place):
            if is_handed_on and change.of_result and change.kind != PICTURES:
                continue
            groups = alike.setdefault((place.step.operation, without_numbers(change.says)), [[]])
            if groups[0] and groups[0][-1].step.name == change.step.name:
                groups.append([change])
            else:
                groups[0].append(change)
    return [group for groups in alike.values() for group in groups]


def together(places: Sequence[Place]) -> Iterator[list[Change]]:
    """Give out all steps of an operation with one other number."""
    operations: dict[str, list[Place]] = {}
    for place in places:
        operations.setdefault(place.step.operation, []).append(place)
    for several in operations.values():
        if len(several) > 1:
            yield from shared(several)


def pairs(place: Place, firsts: Sequence[Change]) -> Iterator[Change]:
    """Give out a step with two changes, the first of them one of some; the second is of another kind or place."""
    for first in firsts:
        changed = replace(place, step=first.step, done=first.function)
        for kind in (pictures, parameters, structure, geometry, precision, read_off, numbers_of):
            for second in all_of(kind, changed):
                others = second.values.keys() != first.values.keys()
                if (
                    second.kind != first.kind
                    or others
                    or second.values.get("parameter") != first.values.get("parameter")
                ):
                    values = {"first": dict(first.values), "second": dict(second.values)}
                    says = f"{first.says}, and {second.says}"
                    kind_of_both = first.kind if first.kind == second.kind else f"{first.kind}, {second.kind}"
                    yield replace(second, kind=kind_of_both, says=says, values=values)


def all_of(kind: Kind, place: Place) -> Iterator[Change]:
    """Give out what a kind has for a place, up to where these arrays do not allow it."""
    try:
        for change in kind(place):
            yield replace(change, kind=PICTURES) if place.step.operation in STEPS else change
    except (*FAILURES, np.linalg.LinAlgError):
        return


def without_numbers(says: str) -> str:
    """Return a text without the numbers of stages and blocks in it."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "#", says)


def is_refuted(comparison: Comparison, several: Sequence[Change], besides: str = "") -> bool:
    """Tell whether a tensor that is good would be wrong if steps were changed so.

    One that lies behind other wrong tensors says nothing: what makes these wrong may not reach it. Nor does one that
    lies behind the step `besides`.
    """
    wrong = {found.name for found in comparison.differences if found.diverges}
    changed = {change.step.name: (change.step, change.function) for change in several}
    plan = plan_of(comparison.reference, several[0].step.name) or Plan(())
    right = [one for one in comparison.differences if not (one.diverges or one.is_island) and one.reading is not None]
    names = {plan.resolve(good.name): good for good in right if good.name in plan}
    for name, good in names.items():
        steps, _ = walk(plan, name, names)
        if not steps & changed.keys() or (steps & wrong) - changed.keys() or besides in steps:
            continue
        segment = make_segment(comparison, good)
        if segment is None:
            continue
        try:
            made = run_changed(segment, changed, comparison.reference)
        except (*FAILURES, NpconvError):  # it could not have been computed at all
            return True
        if not squeezed_distance(made, comparison.array(good)) <= good.tolerance:
            return True
    return False
