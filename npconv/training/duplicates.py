"""Photos of one part that are nearly the same as one of another: they make a model look better than it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from npconv.training.head import Scaling

#: From so much likeness on, two photos count as nearly the same: of CIFAR-10, by the embedded model, the same photo
#: compressed anew or a tenth brighter comes to 0.99 and more, enlarged twice to 0.99, cut by a pixel a side to 0.98;
#: the pair that is most alike of 1,500 others has 0.96, but for a few that are in it twice.
ALIKE = 0.975

#: Photos that are compared at a time with all of the other part.
_ROWS = 256


class Duplicate(NamedTuple):
    """A photo that is nearly the same as one of the training part: the places of both, and how alike they are."""

    place: int
    of: int
    likeness: float


def near_duplicates(train: np.ndarray, other: np.ndarray, *, alike: float = ALIKE) -> list[Duplicate]:
    """Return the photos of another part that are nearly the same as one of the training part, most alike first.

    Likeness is the cosine of the angle between the features, standardized by those of the training part. Those of all
    stages together tell photos apart: the last stage alone is nearly the same for all photos of a class.

    Parameters
    ----------
    train, other : np.ndarray, (N, D) and (M, D)
        The features of all stages.
    alike : float
        From which likeness on, at most 1.
    """
    if not len(train):
        return []
    scaling = Scaling.of(train.astype(np.float64))
    found = [each for each in _nearest(scaling.directions(train), scaling.directions(other)) if each.likeness >= alike]
    return sorted(found, key=lambda each: (-each.likeness, each.place))


def _nearest(train: np.ndarray, other: np.ndarray) -> Iterator[Duplicate]:
    """Yield for each photo of the other part the one of the training part that is most like it."""
    for start in range(0, len(other), _ROWS):
        likeness = other[start : start + _ROWS] @ train.T
        for row, of in enumerate(likeness.argmax(axis=1).tolist()):
            yield Duplicate(start + row, of, min(1.0, float(likeness[row, of])))
