"""Some of several steps: in which of them the same mistake was made, where the end of a part is all that is known.

Of n steps there are 2**n subsets. What the mistake does in each step alone tells which of them are likely: as long as
it is small, what it does in several is the sum. So the likeliest are run, and from the best of them the way goes on,
one block or step added or taken away at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npconv.golden.kinds.blocks import block_of
from npconv.golden.kinds.change import Change

if TYPE_CHECKING:
    from npconv.golden.judge import Suspect
    from npconv.golden.mistakes import Mistake

#: Mistakes whose subsets are tried, and the share of what is wrong (of its squares) that one of them may leave at most
#: when what it does in each step is added up, each times any number.
MOST_GROUPS, UNLIKELY = 20, 0.9

#: The share that a mistake leaves at most whose subsets are tried at once.
LIKELY = 0.02

#: Blocks, or steps, all subsets of which are run; subsets from which the way goes on at a time; and all that are run of
#: one mistake.
FEW, KEPT, MOST_RUNS = 5, 4, 250

Subset = frozenset[int]

#: Runs a subset; gives the sum of squares that it leaves, and what it is a suspect of if it fits.
Run = Callable[[Subset], "tuple[float, Suspect | None]"]


@dataclass(frozen=True)
class Group:
    """The same mistake in several steps.

    Parameters
    ----------
    changes : tuple of Change
        One for each step.
    effects : ndarray (steps, values)
        What each by itself does to the end of the part.
    left : float
        The share of what is wrong that no sum of these explains, each times any number.
    left_by_blocks : float
        The same where steps of one block are taken together: fewer numbers explain less by chance.
    mistake : Mistake, optional
        Of the catalogue.
    """

    changes: tuple[Change, ...]
    effects: np.ndarray
    left: float
    left_by_blocks: float
    mistake: Mistake | None = None


def make_group(
    changes: Sequence[Change], effects: np.ndarray, wrong: np.ndarray, mistake: Mistake | None = None
) -> Group | None:
    """Return the steps of a group in which the mistake does something; None if it is unlikely, or they are few.

    None as well if what is wrong is so large or small that its square is no number.
    """
    works = [index for index, effect in enumerate(effects) if np.isfinite(effect).all() and effect.any()]
    if len(works) < 3 or not 0 < float(wrong @ wrong) < np.inf:  # of two, each alone and both are tried already
        return None
    kept, changed = effects[works], tuple(changes[index] for index in works)
    by_blocks = np.array([kept[sorted(block)].sum(axis=0) for block in _blocks(changed)])
    left = _left(kept, wrong)
    return Group(changed, kept, left, _left(by_blocks, wrong), mistake) if left < UNLIKELY else None


def _left(effects: np.ndarray, wrong: np.ndarray) -> float:
    """Return the share of what is wrong (of its squares) that effects leave, each times the best number."""
    rest = wrong - _numbers(effects, wrong) @ effects
    return float(rest @ rest) / float(wrong @ wrong)


def best_of(groups: Sequence[Group]) -> list[Group]:
    """Return the likeliest groups, by steps and by blocks in turn, best first."""
    by_steps = sorted(groups, key=lambda group: group.left)
    by_blocks = sorted(groups, key=lambda group: group.left_by_blocks)
    in_turn = {id(group): group for pair in zip(by_blocks, by_steps, strict=True) for group in pair}
    return list(in_turn.values())[:MOST_GROUPS]


def find_some(group: Group, wrong: np.ndarray, run: Run) -> Suspect | None:
    """Look for the subset that fits; `wrong` is what is to be explained, and `run` runs a subset.

    Whole blocks are added and taken away first, where several steps of one are in the group, and then single steps.
    """

    def added_up(subset: Subset) -> float:
        rest = wrong - group.effects[sorted(subset)].sum(axis=0)
        return float(rest @ rest)

    steps = [frozenset({index}) for index in range(len(group.changes))]
    known = {subset: added_up(subset) for subset in (frozenset[int](), *steps)}
    blocks = _blocks(group.changes)
    for moves in [blocks, steps] if 1 < len(blocks) < len(steps) else [steps]:
        made = (frozenset[int]().union(*(moves[index] for index in some)) for some in patterns(len(moves)))
        likely = {*made, *moves, _rounded(group.effects, wrong)} - known.keys()
        todo = sorted(likely, key=added_up)
        while todo and len(known) < MOST_RUNS:
            for subset in todo:
                known[subset], suspect = run(subset)
                if suspect is not None:
                    return suspect
            nearest = sorted(known, key=known.__getitem__)[:KEPT]
            next_ = dict.fromkeys(subset ^ move for subset in nearest for move in moves)
            todo = [subset for subset in next_ if subset not in known]
    return None


def _blocks(changes: Sequence[Change]) -> list[Subset]:
    """Return the steps of each block, and each of those that are in none."""
    found: dict[str, set[int]] = {}
    for index, change in enumerate(changes):
        found.setdefault(block_of(change.step.name), set()).add(index)
    return list(map(frozenset, found.values()))


def patterns(count: int) -> Iterator[Subset]:
    """Give out the subsets that loops make: all from a step on or up to one, all but one, every second; of few, all."""
    every = frozenset(range(count))
    if count <= FEW:
        yield from (frozenset(some) for size in range(1, count) for some in itertools.combinations(every, size))
        return
    for index in range(1, count):
        yield frozenset(range(index))
        yield frozenset(range(index, count))
    yield from (every - {index} for index in every)
    yield frozenset(range(0, count, 2))
    yield frozenset(range(1, count, 2))


def _rounded(effects: np.ndarray, wrong: np.ndarray) -> Subset:
    """Return the steps whose effects add up to what is wrong, each times a number that is nearer to 1 than to 0."""
    return frozenset(np.flatnonzero(_numbers(effects, wrong) > 0.5).tolist())


def _numbers(effects: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Return the numbers times which the effects come nearest to what is wrong: of few effects, by their products.

    None of them counts if some are so large that their products are no numbers.
    """
    products = effects @ effects.T
    if not np.isfinite(products).all():
        return np.zeros(len(effects))
    numbers, *_ = np.linalg.lstsq(products, effects @ wrong, rcond=None)
    return numbers
