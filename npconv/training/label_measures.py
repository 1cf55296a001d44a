"""How good answers are where a photo has any number of labels, or numbers in their place.

In targets (N, K), NaN stands in the columns of which nothing is known; they are left out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from npconv.training.measures import Share, average_precision, ratio, share

#: A label is given from this probability on.
THRESHOLD = 0.5


class LabelMeasures(NamedTuple):
    """One label: the photos that have it, those that are given it, those where that is right, and its ranking."""

    photos: int
    answered: int
    right: int
    average_precision: float  #: the area under precision over recall; NaN if no photo has it

    @property
    def recall(self) -> float:
        """The share of its photos that are given it; NaN without photos."""
        return ratio(self.right, self.photos)

    @property
    def precision(self) -> float:
        """The share of the photos that are given it which have it; NaN without such."""
        return ratio(self.right, self.answered)


class NumberMeasures(NamedTuple):
    """One number that is predicted: its errors, in its own unit, and the share of its variance that is explained."""

    mean_absolute_error: float
    root_mean_squared_error: float
    r_squared: float  #: 1: exact, 0: as good as the mean; NaN if all photos have one value


def per_label(probabilities: np.ndarray, targets: np.ndarray) -> list[LabelMeasures | None]:
    """Return the measures of each label, None where nothing is known.

    Parameters
    ----------
    probabilities, targets : np.ndarray, (N, K)
        Of each label of each photo, and whether it has it: 1, 0 or, of a whole column, NaN.
    """
    found: list[LabelMeasures | None] = []
    for scores, truth in zip(probabilities.T, targets.T, strict=True):
        if np.isnan(truth).any():
            found.append(None)
            continue
        given, has = scores >= THRESHOLD, truth > 0
        photos, answered, right = (int(np.count_nonzero(each)) for each in (has, given, given & has))
        found.append(LabelMeasures(photos, answered, right, average_precision(scores, truth)))
    return found


def exact(probabilities: np.ndarray, targets: np.ndarray) -> Share:
    """Return the share of photos that are given all their labels and no others; arguments as of `per_label`."""
    known = ~np.isnan(targets).any(axis=0)
    is_right = ((probabilities >= THRESHOLD) == (targets > 0))[:, known].all(axis=1)
    return share(int(np.count_nonzero(is_right)), len(is_right))


def label_loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Return the binary cross-entropy, the mean over photos and known labels; arguments as of `per_label`."""
    known = ~np.isnan(targets).any(axis=0)
    right = np.where(targets > 0, probabilities, 1 - probabilities)[:, known]
    tiny = np.finfo(np.float64).tiny
    return float(-np.log(np.maximum(right.astype(np.float64), tiny)).mean())


def per_number(values: np.ndarray, targets: np.ndarray) -> list[NumberMeasures]:
    """Return the measures of each number, of predictions and targets (N, K)."""
    found = []
    for predicted, truth in zip(values.T.astype(np.float64), targets.T.astype(np.float64), strict=True):
        error = predicted - truth
        squared, variance = float((error**2).mean()), float(truth.var())
        r_squared = 1 - squared / variance if variance > 0 else math.nan
        found.append(NumberMeasures(float(np.abs(error).mean()), math.sqrt(squared), r_squared))
    return found
