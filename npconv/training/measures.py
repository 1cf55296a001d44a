"""How good answers are: shares that are right with their uncertainty, calibration, classes that are mixed up.

Letters as at the top of ``npconv``; N are photos here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from npconv.errors import ShapeError
from npconv.layers import softmax

#: Of a normal distribution, 95 % lie within so many standard deviations.
DEVIATIONS_95 = 1.959963984540054

#: Of confidence, of equal width; the number that papers on calibration use.
BINS = 15


class Answers(NamedTuple):
    """What a classifier answers for N photos of one class each, as far as it is measured: five arrays (N,)."""

    truth: np.ndarray  #: the class that a photo is of
    answer: np.ndarray  #: the class with the highest score
    rank: np.ndarray  #: how many classes are named before the true one; 0 if the answer is right
    confidence: np.ndarray  #: the probability that the model gives its answer
    loss: np.ndarray  #: minus the logarithm of the probability that it gives the truth

    @property
    def is_right(self) -> np.ndarray:
        """Whether each answer is the truth."""
        return self.rank == 0


class Share(NamedTuple):
    """How many of some photos are right, and between what shares that lies with a confidence of 95 %."""

    right: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """From 0 to 1; NaN of no photos."""
        return ratio(self.right, self.total)


class Bin(NamedTuple):
    """The photos with answers of about one confidence: how many, their mean confidence, the share that is right."""

    photos: int
    confidence: float
    accuracy: float


class ClassMeasures(NamedTuple):
    """One class of a classifier: its photos, those that are recognised, and what they are taken for otherwise."""

    photos: int
    right: int  #: of its photos, those with this answer
    answered: int  #: photos of any class with this answer
    taken_for: int | None  #: the most frequent wrong answer for its photos; None if all are right
    taken_for_count: int

    @property
    def recall(self) -> float:
        """The share of its photos that get this answer; NaN without photos."""
        return ratio(self.right, self.photos)

    @property
    def precision(self) -> float:
        """The share of the photos with this answer that are of it; NaN without such."""
        return ratio(self.right, self.answered)

    @property
    def f1(self) -> float:
        """The harmonic mean of both: 2 right / (photos + answered); NaN where it is neither there nor answered."""
        return ratio(2 * self.right, self.photos + self.answered)


def ratio(part: int, whole: int) -> float:
    """Return the share that a part is of a whole; NaN of nothing."""
    return part / whole if whole else math.nan


def answers_of(logits: np.ndarray, truth: np.ndarray) -> Answers:
    """Return the answers that logits give.

    Parameters
    ----------
    logits : np.ndarray, (N, K)
    truth : np.ndarray, (N,)
        Numbers of classes. Of equal logits, the first is the answer.

    Raises
    ------
    ShapeError
        If the arrays do not fit each other.
    """
    if logits.ndim != 2 or truth.shape != logits.shape[:1]:
        raise ShapeError(f"expected logits (N, K) and truth (N,), got {logits.shape} and {truth.shape}")
    logits = logits.astype(np.float64)
    rows = np.arange(len(truth))
    own = logits[rows, truth][:, None]
    is_before = (logits > own) | ((logits == own) & (np.arange(logits.shape[1]) < truth[:, None]))
    answer = logits.argmax(axis=1)
    highest = logits.max(axis=1, keepdims=True)
    log_sum = highest[:, 0] + np.log(np.exp(logits - highest).sum(axis=1))
    return Answers(
        truth=truth.astype(np.int64),
        answer=answer,
        rank=is_before.sum(axis=1),
        confidence=softmax(logits, axis=-1)[rows, answer],
        loss=log_sum - own[:, 0],
    )


def top(answers: Answers, k: int) -> Share:
    """Return the share of the photos of which the class is among the first `k` that are named."""
    return share(int(np.count_nonzero(answers.rank < k)), len(answers.rank))


def share(right: int, total: int) -> Share:
    """Return a share with its confidence interval of 95 %.

    Notes
    -----
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). It
    holds for few photos and shares near 0 and 1, where p +- 1.96 sqrt(p (1 - p) / n) leaves the range.
    """
    if total == 0:
        return Share(0, 0, 0.0, 1.0)
    z = DEVIATIONS_95
    p = right / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return Share(right, total, max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half)))  # as rounded


def calibration(answers: Answers, bins: int = BINS) -> list[Bin]:
    """Return the photos sorted into bins of confidence of equal width; those without photos are left out."""
    place = np.minimum((answers.confidence * bins).astype(int), bins - 1)
    found = []
    for number in np.unique(place):
        inside = place == number
        confidence, accuracy = answers.confidence[inside].mean(), answers.is_right[inside].mean()
        found.append(Bin(int(inside.sum()), float(confidence), float(accuracy)))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: how far confidence is from the share that is right, on average.

    Notes
    -----
    Source: Guo and others, "On Calibration of Modern Neural Networks" (2017), equation 3.
    """
    total = sum(each.photos for each in bins)
    return sum(each.photos * abs(each.accuracy - each.confidence) for each in bins) / total if total else math.nan


def confusion(answers: Answers, shown: np.ndarray) -> np.ndarray:
    """Return how often each answer is given for photos of each class.

    Parameters
    ----------
    answers : Answers
    shown : np.ndarray, (M,)
        The numbers of the classes to count: all of them, ``np.arange(K)``, or some, where K * K are too many.

    Returns
    -------
    np.ndarray, (M, M) int64
        A row for each class, a column for each answer.
    """
    place = np.full(1 + max(answers.truth.max(initial=0), answers.answer.max(initial=0), shown.max(initial=0)), -1)
    place[shown] = np.arange(len(shown))
    row, column = place[answers.truth], place[answers.answer]
    counts = np.zeros((len(shown), len(shown)), np.int64)
    is_shown = (row >= 0) & (column >= 0)
    np.add.at(counts, (row[is_shown], column[is_shown]), 1)
    return counts


def per_class(answers: Answers, classes: int) -> list[ClassMeasures]:
    """Return the measures of each of K classes; no array of (K, K) is made, so K may be large."""
    photos = np.bincount(answers.truth, minlength=classes)
    right = np.bincount(answers.truth[answers.is_right], minlength=classes)
    answered = np.bincount(answers.answer, minlength=classes)
    taken_for: dict[int, tuple[int | None, int]] = {}
    for truth, answer, count in mistakes(answers):
        taken_for.setdefault(truth, (answer, count))
    found = []
    for number, counts in enumerate(zip(photos.tolist(), right.tolist(), answered.tolist(), strict=True)):
        found.append(ClassMeasures(*counts, *taken_for.get(number, (None, 0))))
    return found


def mistakes(answers: Answers) -> list[tuple[int, int, int]]:
    """Return each pair of a class and a wrong answer for its photos, and how often it is given, most frequent first."""
    wrong = ~answers.is_right
    pairs = np.stack([answers.truth[wrong], answers.answer[wrong]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(found[place, 0]), int(found[place, 1]), int(counts[place])) for place in order]


def average_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    """Return the area under precision over recall of one label; NaN if no photo has it.

    Parameters
    ----------
    scores, targets : np.ndarray, (N,)
        Any numbers that grow with the probability of the label, and whether a photo has it. Photos of one score are
        taken together.
    """
    if not (targets > 0).any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    is_last = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(targets[order] > 0)[is_last]
    precision = found / (np.flatnonzero(is_last) + 1)
    return float(np.sum(np.diff(found, prepend=0) * precision) / found[-1])
