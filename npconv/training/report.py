"""What an evaluation says, as data for JSON: no sentence, shares from 0 to 1, None for what there is not."""

from __future__ import annotations

import math
from typing import Any

from npconv.training.evaluate import Evaluation
from npconv.training.label_measures import exact, label_loss, per_label, per_number
from npconv.training.measures import Share, calibration, calibration_error, mistakes, per_class, top
from npconv.training.photo_tables import MULTI, SINGLE

#: The more labels a model knows, the less it says that the truth is among so many; of fewer labels it says nothing.
SEVERAL = 5


def report(evaluation: Evaluation) -> dict[str, Any]:
    """Return the measures of an evaluation.

    ``model``, ``part``, ``problem_type``, ``photos`` (how many were measured) and ``problems``; then, of a model that
    tells one class, ``top_1`` and ``top_5`` with their intervals, ``log_loss``, ``calibration_error``, ``calibration``,
    ``classes`` and ``mistakes``; of several labels ``all_labels_right``, ``mean_average_precision``, ``log_loss`` and
    ``labels``; of a regression ``numbers``.
    """
    photos = evaluation.photos
    said = {
        "model": evaluation.model,
        "part": photos.part,
        "problem_type": photos.problem_type,
        "photos": len(photos),
    }
    if photos.problem_type == SINGLE:
        said |= _of_one_class(evaluation)
    elif photos.problem_type == MULTI:
        said |= _of_labels(evaluation)
    else:
        said |= _of_numbers(evaluation)
    problems = [{"kind": each.kind, "file": each.file, "detail": each.detail} for each in photos.problems]
    return {**said, "problems": problems}


def _of_one_class(evaluation: Evaluation) -> dict[str, Any]:
    """Return the measures of a model that tells one class."""
    answers, classes = evaluation.answers_of_one_class(), evaluation.photos.classes
    bins = calibration(answers)
    return {
        "top_1": _share(top(answers, 1)),
        "top_5": _share(top(answers, SEVERAL)) if len(classes) > SEVERAL else None,
        "log_loss": float(answers.loss.mean()),
        "calibration_error": calibration_error(bins),
        "mean_confidence": float(answers.confidence.mean()),
        "calibration": [each._asdict() for each in bins],
        "classes": [
            {
                "class": name,
                "photos": each.photos,
                "right": each.right,
                "recall": _number(each.recall),
                "precision": _number(each.precision),
                "f1": _number(each.f1),
                "taken_for": None if each.taken_for is None else classes[each.taken_for],
                "taken_for_count": each.taken_for_count,
            }
            for name, each in zip(classes, per_class(answers, len(classes)), strict=True)
        ],
        "mistakes": [
            {"class": classes[truth], "answer": classes[answer], "count": count}
            for truth, answer, count in mistakes(answers)
        ],
    }


def _of_labels(evaluation: Evaluation) -> dict[str, Any]:
    """Return the measures of a model that tells any number of labels, for those that the photos know."""
    scores, targets = evaluation.scores, evaluation.photos.targets
    assert scores is not None
    known = {
        name: each
        for name, each in zip(evaluation.photos.classes, per_label(scores, targets), strict=True)
        if each is not None
    }
    precisions = [each.average_precision for each in known.values() if math.isfinite(each.average_precision)]
    return {
        "all_labels_right": _share(exact(scores, targets)),
        "mean_average_precision": sum(precisions) / len(precisions) if precisions else None,
        "log_loss": label_loss(scores, targets),
        "labels": [
            {
                "label": name,
                "photos": each.photos,
                "answered": each.answered,
                "right": each.right,
                "recall": _number(each.recall),
                "precision": _number(each.precision),
                "average_precision": _number(each.average_precision),
            }
            for name, each in known.items()
        ],
    }


def _of_numbers(evaluation: Evaluation) -> dict[str, Any]:
    """Return the measures of a regression."""
    assert evaluation.scores is not None
    found = per_number(evaluation.scores, evaluation.photos.targets)
    return {
        "numbers": [
            {"name": name, **{key: _number(value) for key, value in each._asdict().items()}}
            for name, each in zip(evaluation.photos.classes, found, strict=True)
        ]
    }


def _share(found: Share) -> dict[str, Any]:
    """Return a share with its interval."""
    return {"value": _number(found.value), **found._asdict()}


def _number(value: float) -> float | None:
    """Return a number, None for one that is not finite."""
    return value if math.isfinite(value) else None
