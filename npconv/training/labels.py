"""Which class of a model the labels of photos mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from npconv.errors import InputError
from npconv.messages import hint, listed, quoted
from npconv.models import PretrainedConfig
from npconv.training.photo_tables import MULTI, REGRESSION, SINGLE
from npconv.training.photos import LabelledPhotos
from npconv.training.problems import Problem, counted


def problem_type_of(config: PretrainedConfig) -> str:
    """Return what a model tells: one class of several, any number of them, or numbers."""
    if config.problem_type in (MULTI, REGRESSION):
        return str(config.problem_type)
    return MULTI if len(config.id2label) == 1 else SINGLE


def in_classes_of(photos: LabelledPhotos, config: PretrainedConfig) -> LabelledPhotos:
    """Return photos with the classes of a model; those of a class that it does not have are left out, and named.

    Names are compared exactly first, then without regard to capitals, ``_`` and ``-``, and with each of the names that
    a label has with commas between (``"tench, Tinca tinca"``).

    Raises
    ------
    InputError
        If the model has none of the classes, or tells something else than the labels.
    """
    kind, names = problem_type_of(config), tuple(config.id2label.values())
    if kind == REGRESSION:
        return _numbers(photos, names)
    if photos.problem_type == REGRESSION:
        raise InputError(f"expected labels for a model of classes ({listed(names)}), got numbers; see its problem_type")
    if kind == SINGLE:
        photos = _with_one_label(photos)
    numbers = [_find(name, names) for name in photos.classes]
    number = np.array([found[0] if len(found) == 1 else -1 for found in numbers])
    if (number < 0).all():
        raise InputError(
            f"expected photos of the model's classes ({listed(list(map(quoted, names)), 12)}); got "
            f"{listed(list(map(quoted, photos.classes)))}{hint(photos.classes[0], names)}"
        )
    photos = replace(photos, problems=(*photos.problems, *_unknown(photos, numbers)))
    if photos.problem_type == SINGLE:
        kept = np.flatnonzero(number[photos.targets] >= 0)
        if not len(kept):
            raise InputError("expected photos of the model's classes, got photos of others alone")
        photos = photos.take(kept)
    targets = number[photos.targets] if kind == SINGLE else _in_columns(photos, number, len(names))
    return replace(photos, targets=targets, classes=names, problem_type=kind)


def _with_one_label(photos: LabelledPhotos) -> LabelledPhotos:
    """Return photos whose labels are in columns with the number of the one that each has."""
    if photos.problem_type == SINGLE:
        return photos
    if (photos.targets.sum(axis=1) != 1).any():
        raise InputError("expected one label for each photo, as the model tells one class; got several, or none")
    return replace(photos, targets=photos.targets.argmax(axis=1), problem_type=SINGLE)


def _in_columns(photos: LabelledPhotos, number: np.ndarray, classes: int) -> np.ndarray:
    """Return labels in the columns of the model, (N, K) float32; NaN in those of which the photos say nothing."""
    targets = photos.targets
    if photos.problem_type == SINGLE:
        targets = targets[:, None] == np.arange(len(photos.classes))
    columns = np.full((len(photos), classes), np.nan, np.float32)
    columns[:, number[number >= 0]] = targets[:, number >= 0]
    return columns


def _numbers(photos: LabelledPhotos, names: tuple[str, ...]) -> LabelledPhotos:
    """Return photos with as many numbers each as a model of regression gives."""
    wanted = counted(len(names), "number", "numbers")
    if photos.problem_type != REGRESSION:
        raise InputError(f"expected {wanted} for each photo, as the model gives; got labels: give a CSV with numbers")
    columns = photos.targets.reshape(len(photos), -1)
    if columns.shape[1] != len(names):
        raise InputError(f"expected {wanted} for each photo, as the model gives; got {columns.shape[1]}")
    return replace(photos, targets=columns, classes=photos.classes)


def _unknown(photos: LabelledPhotos, numbers: list[list[int]]) -> list[Problem]:
    """Say which classes the model does not have, or has several times."""
    problems = []
    for place, (name, found) in enumerate(zip(photos.classes, numbers, strict=True)):
        if len(found) != 1:
            is_single = photos.problem_type == SINGLE
            count = int(np.count_nonzero(photos.targets == place if is_single else photos.targets[:, place]))
            what = f"{counted(count, 'photo', 'photos')} of it {'is' if count == 1 else 'are'}"
            kind = "ambiguous_class" if found else "unknown_class"
            problems.append(Problem(kind, name, what if is_single else "its column is"))
    return problems


def _find(name: str, classes: tuple[str, ...]) -> list[int]:
    """Return the numbers that a class may have: one if it is known, several if its name is not enough."""
    for ways in _spellings(classes):
        if found := ways.get(name) or ways.get(_plain(name)):
            return found
    return []


@lru_cache(maxsize=1)
def _spellings(classes: tuple[str, ...]) -> tuple[Mapping[str, list[int]], ...]:
    """Return the numbers of classes by their names, exact ones first and then each way to write them."""
    exact: dict[str, list[int]] = defaultdict(list)
    alike: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(classes):
        exact[name].append(number)
        for way in {_plain(name), *map(_plain, name.split(", "))}:
            alike[way].append(number)
    return exact, alike


def _plain(name: str) -> str:
    """Return a name such that ways to write it become one."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
