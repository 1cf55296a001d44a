"""Arrays under the names of others: one that holds what belongs to another name, and two that are exchanged.

It is read off the data: an array that is not what its name says is held against the other tensors of its shape, a few
values of each first, and all of those that these few do not tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npconv.golden.measures import measure, tolerance

if TYPE_CHECKING:
    from npconv.golden.compare import Comparison, Difference

#: Values of an array that are compared before all of them are.
FEW = 64

#: Tensors of one shape that are held against each other; of the largest published models there are 400.
MOST_ALIKE = 512

#: Tolerances by which the values of an array must vary for it to be told from others.
TELLING = 4.0


@dataclass(frozen=True)
class Exchange:
    """Two tensors of which mine has each under the name of the other; both names are the reference's."""

    one: str
    other: str


@np.errstate(all="ignore")
def find_exchanged(comparison: Comparison, apart: Sequence[Difference]) -> list[Exchange]:
    """Return which of the tensors that differ are exchanged."""
    of_shape: dict[tuple[int, ...], list[Difference]] = {}
    for difference in apart:
        if difference.reading is not None and difference.finite:
            of_shape.setdefault(difference.shape_reference, []).append(difference)
    found = []
    for alike in of_shape.values():
        if 1 < len(alike) <= MOST_ALIKE:
            found += _exchanged(comparison, alike)
    return sorted(found, key=lambda pair: comparison[pair.one].index)


def _exchanged(comparison: Comparison, alike: Sequence[Difference]) -> list[Exchange]:
    """Return which tensors of one shape are exchanged."""
    truths = np.stack([_few(np.asarray(comparison.reference[d.name])) for d in alike])
    mine = np.stack([_few_of_mine(comparison, d) for d in alike])
    limits = np.array([d.tolerance for d in alike])
    near = np.stack([(np.abs(truths - own) <= limits[:, None]).all(axis=1) for own in mine])  # (mine's, reference's)
    found = []
    for i, j in np.argwhere(near & near.T):
        one, other = alike[i], alike[j]
        if i < j and holds(comparison, one, other.name) and holds(comparison, other, one.name):
            found.append(Exchange(one.name, other.name))
    return found


@np.errstate(all="ignore")
def find_held(comparison: Comparison, difference: Difference, names: Iterable[str]) -> str | None:
    """Return the first of some tensors of the reference that mine has under the name of another one."""
    if difference.reading is None or not difference.finite:
        return None
    few = _few_of_mine(comparison, difference)
    shape = [size for size in difference.shape_reference if size != 1]
    for name in names:
        truth = np.asarray(comparison.reference[name])
        if name == difference.name or [size for size in truth.shape if size != 1] != shape:
            continue
        limit = _limit(comparison, name)
        if (np.abs(_few(truth) - few) <= limit).all() and holds(comparison, difference, name):
            return name
    return None


def holds(comparison: Comparison, difference: Difference, name: str) -> bool:
    """Tell whether mine has one tensor of the reference, by its `name`, under the name of another one."""
    truth, mine = np.asarray(comparison.reference[name]), comparison.array(difference)
    limit = _limit(comparison, name)
    varies = float(np.ptp(truth)) > TELLING * limit if truth.size else False
    return varies and measure(truth.squeeze(), mine.squeeze(), limit).max_abs <= limit


def _limit(comparison: Comparison, name: str) -> float:
    """Return the tolerance of a tensor: as it is compared, or by the reference alone if mine lacks it."""
    found = next((difference.tolerance for difference in comparison.differences if difference.name == name), None)
    return tolerance(comparison.reference, name) if found is None else found


def _few(array: np.ndarray) -> np.ndarray:
    """Return a few values of an array, spread over it, in float64; nothing else of it is read."""
    places = np.linspace(0, array.size - 1, min(array.size, FEW)).astype(np.int64)
    return np.asarray(array[np.unravel_index(places, array.shape)] if array.ndim else [array], np.float64)


def _few_of_mine(comparison: Comparison, difference: Difference) -> np.ndarray:
    """Return the values of mine in the same places."""
    array, reading = np.asarray(comparison.mine[difference.mine]), difference.reading
    if reading is None or reading.axes is None:
        return _few(array)
    return _few((array.squeeze() if reading.split is None else array.reshape(reading.split)).transpose(reading.axes))
