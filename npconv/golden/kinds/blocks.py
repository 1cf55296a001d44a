"""Whole blocks: one with the parameters of another, or two exchanged, which is as if they ran in the other order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from npconv.golden.kinds.change import Change, Place

KIND = "parameters"


def block_of(name: str) -> str:
    """Return the name of the block that a step or parameter is in; its own name if in none."""
    before, layers, after = name.rpartition(".layers.")
    return f"{before}{layers}{after.partition('.')[0]}" if layers else name


def blocks(places: Sequence[Place]) -> Iterator[list[Change]]:
    """Give out the steps of a block with the parameters of another of its stage, and those of two exchanged."""
    steps: dict[str, list[Place]] = {}
    for place in places:
        block = block_of(place.step.name)
        if block != place.step.name and place.step.params:
            steps.setdefault(block, []).append(place)
    for one, other in itertools.combinations(steps, 2):
        changed = _taken(steps[one], one, other), _taken(steps[other], other, one)
        if all(changed):
            says = f"the parameters of {one} and {other} exchanged, or the blocks in the other order"
            yield [
                replace(change, says=says, values={"exchanged": [one, other]}) for change in itertools.chain(*changed)
            ]
        yield from filter(None, changed)


def _taken(places: Sequence[Place], own: str, other: str) -> list[Change]:
    """Return the steps of a block with the parameters of another; none if these have other names or shapes."""
    says, values = f"the parameters of {other} in the place of those of {own}", {"block": own, "taken": other}
    found = []
    for place in places:
        weights = place.weights.data  # not decoded
        names = {name: f"{other}.{full.removeprefix(f'{own}.')}" for name, full in place.step.params.items()}
        shapes = {name: weights[full].shape for name, full in names.items() if full in weights}
        if shapes != {name: array.shape for name, array in place.arguments.items()}:
            return []
        found.append(Change(KIND, says, replace(place.step, params=names), place.function, values))
    return found
