"""Photos of one part that are nearly the same as one of another: they make a model look better than it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from npconv.training.head import Scaling
from npconv.training.tables import Table, blocks

#: From so much likeness on, two photos count as nearly the same: of CIFAR-10, by the embedded model, the same photo
#: compressed anew or a tenth brighter comes to 0.99 and more, enlarged twice to 0.99, cut by a pixel a side to 0.98;
#: the pair that is most alike of 1,500 others has 0.96, but for a few that are in it twice.
ALIKE = 0.975

#: Photos that are compared at a time with all of the training part.
_ROWS = 1024


class Duplicate(NamedTuple):
    """A photo that is nearly the same as one of the training part: the places of both, and how alike they are."""

    place: int
    of: int
    likeness: float


def near_duplicates(train: Table, other: Table, *, alike: float = ALIKE) -> list[Duplicate]:
    """Return the photos of another part that are nearly the same as one of the training part, most alike first.

    Likeness is the cosine of the angle between the features, standardized by those of the training part. Those of all
    stages together tell photos apart: the last stage alone is nearly the same for all photos of a class.

    Parameters
    ----------
    train, other : array or Rows, (N, D) and (M, D)
        The features of all stages.
    alike : float
        From which likeness on, at most 1.
    """
    if not len(train):
        return []
    scaling = Scaling.of(train)
    found = [each for part in _parts(other) for each in _nearest(train, other, part, scaling) if each.likeness >= alike]
    return sorted(found, key=lambda each: (-each.likeness, each.place))


def _parts(other: Table) -> Iterator[slice]:
    """Yield the rows of another part, as many as are compared at a time."""
    return (slice(start, min(start + _ROWS, len(other))) for start in range(0, len(other), _ROWS))


def _nearest(train: Table, other: Table, part: slice, scaling: Scaling) -> Iterator[Duplicate]:
    """Yield for each of some photos of the other part the one of the training part that is most like it."""
    wanted = scaling.directions(other[part])
    rows = np.arange(len(wanted))
    of, likeness = np.zeros(len(wanted), np.int64), np.full(len(wanted), -np.inf)
    for block in blocks(train):
        found = wanted @ scaling.directions(train[block]).T
        best = found.argmax(axis=1)
        is_better = found[rows, best] > likeness
        likeness[is_better] = found[rows, best][is_better]
        of[is_better] = block.start + best[is_better]
    for row in rows.tolist():
        yield Duplicate(part.start + row, int(of[row]), min(1.0, float(likeness[row])))
