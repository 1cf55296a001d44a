"""Photos with labels, as people have them: a folder of classes, a table, a zip file of folders.

What is wrong with them is data (:class:`npconv.training.problems.Problem`); only what leaves nothing to work on is an
error.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import ImageError, InputError
from npconv.images.decode import read_picture_file
from npconv.images.folder import is_picture, natural_key
from npconv.messages import escape, quoted, shown
from npconv.training.photo_archives import archive_of, is_archive, list_archive, read_member
from npconv.training.photo_folders import list_folder
from npconv.training.photo_lists import ALL, Entry, PhotoList
from npconv.training.photo_tables import MULTI, REGRESSION, SINGLE, list_table
from npconv.training.problems import Problem

#: A split keeps so large a share of the photos, and splits off the rest.
EXPECTED_SHARE = "a share between 0 and 1 of the photos"


@dataclass(frozen=True)
class LabelledPhotos:
    """The photos of one part, and what they show.

    Attributes
    ----------
    files : tuple of str
        N paths; one that goes on behind a zip file is of a photo in it. :func:`read_photo` reads either.
    targets : np.ndarray
        The number of each photo's class, (N,) int64; of several labels, 1 and 0 for each class, (N, K) float32; of a
        regression its numbers, (N,) or (N, K) float32.
    classes : tuple of str
        The K names, the same for all parts, numbers in them by their value.
    problem_type : str
        As in a configuration: ``"single_label_classification"``, ``"multi_label_classification"``, ``"regression"``.
    part : str
        ``"train"``, ``"validation"``, ``"test"``, or ``"all"`` if they are not divided.
    problems : tuple of Problem
        What was left out, and what else is wrong.
    """

    files: tuple[str, ...]
    targets: np.ndarray
    classes: tuple[str, ...]
    problem_type: str = SINGLE
    part: str = ALL
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def take(self, places: np.ndarray, part: str | None = None) -> LabelledPhotos:
        """Return some of the photos, by their places (M,), as a part; what was wrong stays said."""
        files = tuple(self.files[place] for place in places)
        return replace(self, files=files, targets=self.targets[places], part=part or self.part)


def read_photos(source: str | Path, *, problem_type: str | None = None) -> dict[str, LabelledPhotos]:
    """Find labelled photos; none is decoded yet.

    Parameters
    ----------
    source : str or Path
        A folder with one for each class (``cat/1.jpg``), or with ``train``, ``validation`` (``val``) and ``test``
        around these; a CSV file with a row for each photo; a zip file of such folders.
    problem_type : str, optional
        Of a CSV file, where its columns do not say it: see :func:`npconv.training.photo_tables.list_table`.

    Returns
    -------
    dict
        Part -> its photos; ``"all"`` alone where they are not divided. Pictures that have one content and other labels
        are left out. The problems of all parts are those of the first.

    Raises
    ------
    InputError
        If there is no such source, or nothing in it that can be used.
    """
    if problem_type not in (None, SINGLE, MULTI, REGRESSION):
        raise InputError(f"expected problem_type {SINGLE}, {MULTI} or {REGRESSION}, got {shown(problem_type)}")
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"expected the path of labelled photos, got {type(source).__name__}")
    path = os.fsdecode(source)
    if os.path.isdir(path):
        photos = list_folder(path)
    elif not os.path.exists(path):
        raise InputError(f"{escape(path)}: no such folder or file; expected a folder of classes, a CSV or a zip file")
    elif not os.path.isfile(path):
        raise InputError(f"{escape(path)}: is a pipe or a device; expected a folder of classes, a CSV or a zip file")
    elif is_archive(path):
        photos = list_archive(path)
    elif is_picture(path):
        raise InputError(f"{escape(path)}: is a single picture; expected a folder of classes, a CSV or a zip file")
    else:
        photos = list_table(path, problem_type)
    _leave_out_contradictions(photos)
    return _by_parts(photos, path)


def read_photo(file: str) -> bytes:
    """Return the bytes of a photo, of a file or in a zip file; `ImageError` if they cannot be had."""
    return read_picture_file(file) if archive_of(file) is None else read_member(file)


def photo_source(file: str) -> str | bytes:
    """Return what `npconv.images.open_image` takes for a photo: its path, or its bytes where it is in a zip file."""
    return file if archive_of(file) is None else read_member(file)


def split(photos: LabelledPhotos, share: float, seed: int) -> tuple[LabelledPhotos, LabelledPhotos]:
    """Split photos into a part to train on and one to validate with.

    Parameters
    ----------
    photos : LabelledPhotos
    share : float
        Of the photos of each class that are split off: at least one of two, never all. Of photos with several labels,
        the rarest counts; of a regression, photos are drawn from all of its range.
    seed : int
        Of what is drawn.

    Returns
    -------
    train, validation : LabelledPhotos
        In the order of before. The first has the problems, and those classes with a single photo.

    Raises
    ------
    InputError
        If `share` is not between 0 and 1, or nothing would be split off.
    """
    if not 0 < share < 1:
        raise InputError(f"expected {EXPECTED_SHARE} to validate with, got {share}")
    rng = np.random.default_rng(seed)
    is_split = np.zeros(len(photos), bool)
    alone = []
    for group in _groups(photos, share):
        if len(group) > 1:
            count = min(max(1, round(share * len(group))), len(group) - 1)
            is_split[rng.permutation(group)[:count]] = True
        elif photos.problem_type == SINGLE:
            alone.append(Problem("one_photo", photos.classes[photos.targets[group[0]]]))
    if not is_split.any():
        raise InputError(f"expected at least two photos of a class to validate with one, got {len(photos)} photos")
    train = photos.take(np.flatnonzero(~is_split), "train")
    validation = photos.take(np.flatnonzero(is_split), "validation")
    return replace(train, problems=(*photos.problems, *alone)), replace(validation, problems=())


def check_trainable(photos: LabelledPhotos) -> None:
    """Raise an `InputError` for photos that no classifier can be trained on: of one class, or one of each class."""
    if photos.problem_type != SINGLE:
        return
    there = np.unique(photos.targets)
    if len(there) == 1:
        raise InputError(
            f"expected photos of two classes or more, which a model could tell apart, got {len(photos):,} of "
            f"{quoted(photos.classes[there[0]])} alone; add a folder of others, or give a CSV file with a column of 1 "
            "and 0"
        )
    if len(there) == len(photos):
        raise InputError(
            f"expected several photos of each class, got one of each of {len(there):,}; give the folder that has a "
            "folder for each class in it"
        )


def _groups(photos: LabelledPhotos, share: float) -> list[np.ndarray]:
    """Return the places of the photos of each class, or of what is like one: a share of each is split off."""
    targets = photos.targets
    if photos.problem_type == REGRESSION:
        first = targets if targets.ndim == 1 else targets[:, 0]
        size = max(2, round(1 / share))  # such that one of each group is split off
        return np.array_split(np.argsort(first, kind="stable"), max(1, len(first) // size))
    if photos.problem_type == MULTI:
        counts = np.where(targets > 0, targets.sum(axis=0), np.inf)
        targets = np.where(np.isinf(counts).all(axis=1), -1, counts.argmin(axis=1))
        targets[np.bincount(targets + 1)[targets + 1] == 1] = -1
    order = np.argsort(targets, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(targets[order])) + 1)


def _leave_out_contradictions(photos: PhotoList) -> None:
    """Leave out the photos that have the same bytes as one with other labels, whatever the files are called."""
    alike = [photos.entries]
    for key in (photos.fingerprint, photos.ending, lambda file: hashlib.sha256(photos.read(file)).digest()):
        alike = [
            same for entries in alike for same in _alike(entries, key) if len({entry.labels for entry in same}) > 1
        ]
    other: dict[str, str] = {}
    for copies in alike:
        for entry in copies:
            other[entry.file] = next(copy.file for copy in copies if copy.labels != entry.labels)
    photos.problems += [Problem("two_labels", file, twin) for file, twin in other.items()]
    photos.entries = [entry for entry in photos.entries if entry.file not in other]


def _alike(entries: list[Entry], key: Callable[[str], Any]) -> Iterable[list[Entry]]:
    """Return the photos in groups of one key; those that cannot be read are told when they are read to be used."""
    groups: dict[Any, list[Entry]] = defaultdict(list)
    for entry in entries:
        with suppress(ImageError):
            groups[key(entry.file)].append(entry)
    return groups.values()


def _by_parts(photos: PhotoList, path: str) -> dict[str, LabelledPhotos]:
    """Return the photos of each part, their labels as numbers."""
    if not photos.entries:
        raise InputError(f"{escape(path)}: expected photos with one label each, got each picture with two")
    labels = {str(label) for entry in photos.entries for label in entry.labels}
    classes = photos.classes or tuple(sorted(labels, key=natural_key))
    parts = sorted({entry.part for entry in photos.entries}, key=("train", "validation", "test", ALL).index)
    if photos.problem_type == SINGLE and len(parts) > 1:
        pairs = {(str(entry.labels[0]), entry.part) for entry in photos.entries}
        having = {name: [part for part in parts if (name, part) in pairs] for name in classes}
        photos.problems += [
            Problem("class_in_one_part", name, found[0]) for name, found in having.items() if len(found) == 1
        ]
    problems = tuple(photos.problems)
    found = {}
    for part in parts:
        entries = [entry for entry in photos.entries if entry.part == part]
        targets = _targets(entries, classes, photos.problem_type)
        files = tuple(entry.file for entry in entries)
        found[part] = LabelledPhotos(files, targets, classes, photos.problem_type, part, problems)
        problems = ()
    return found


def _targets(entries: list[Entry], classes: tuple[str, ...], problem_type: str) -> np.ndarray:
    """Return labels as numbers, as :class:`LabelledPhotos` says."""
    if problem_type == REGRESSION:
        values = np.array([entry.labels for entry in entries], np.float32)
        return values[:, 0] if values.shape[1] == 1 else values
    number = {name: place for place, name in enumerate(classes)}
    if problem_type == SINGLE:
        return np.array([number[str(entry.labels[0])] for entry in entries], np.int64)
    targets = np.zeros((len(entries), len(classes)), np.float32)
    for row, entry in zip(targets, entries, strict=True):
        row[[number[str(label)] for label in entry.labels]] = 1
    return targets
