"""Photos divided into those to train on and those to validate with."""

from __future__ import annotations

import numpy as np
import pytest

from npconv.errors import InputError
from npconv.training import LabelledPhotos, Problem, split
from npconv.training.photo_tables import MULTI, REGRESSION


def photos_of(targets, classes=("a", "b", "c"), **more) -> LabelledPhotos:
    return LabelledPhotos(tuple(map(str, range(len(targets)))), np.asarray(targets), tuple(classes), **more)


def test_each_class_gives_its_share_and_nothing_is_lost():
    photos = photos_of([0] * 40 + [1] * 10 + [2] * 3, problems=(Problem("missing", "x"),))
    train, validation = split(photos, 0.2, 0)
    assert np.bincount(validation.targets).tolist() == [8, 2, 1]
    assert sorted([*train.files, *validation.files], key=int) == list(photos.files)
    for part in (train, validation):
        assert part.targets.tolist() == [photos.targets[int(file)] for file in part.files]
        assert list(part.files) == sorted(part.files, key=int)
        assert part.classes == photos.classes
    assert (train.part, validation.part) == ("train", "validation")
    assert (train.problems, validation.problems) == (photos.problems, ())


def test_a_split_depends_on_the_seed_alone():
    photos = photos_of([0] * 30 + [1] * 30)
    first, again, other = (split(photos, 0.3, seed)[1].files for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_class_with_one_photo_is_trained_on_and_named():
    train, validation = split(photos_of([0, 0, 0, 1, 2, 2]), 0.2, 0)
    assert np.bincount(train.targets, minlength=3).tolist() == [2, 1, 1]
    assert np.bincount(validation.targets, minlength=3).tolist() == [1, 0, 1]
    assert train.problems == (Problem("one_photo", "b"),)


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_both_parts_have_a_photo_of_a_class_with_two(share):
    train, validation = split(photos_of([0, 0, 1, 1]), share, 0)
    assert train.targets.tolist() == validation.targets.tolist() == [0, 1]


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(InputError, match="expected a share between 0 and 1 of the photos to validate with"):
        split(photos_of([0, 0, 1, 1]), share, 0)


def test_a_split_of_single_photos_is_refused():
    with pytest.raises(InputError, match="at least two photos of a class to validate with one, got 3 photos"):
        split(photos_of([0, 1, 2]), 0.2, 0)


def test_numbers_are_drawn_from_all_of_their_range():
    values = np.random.default_rng(0).permutation(np.arange(100, dtype=np.float32))
    for targets in (values, np.stack([values, -values], axis=1)):
        _, validation = split(photos_of(targets, ["age"], problem_type=REGRESSION), 0.2, 0)
        found = np.sort(validation.targets.reshape(len(validation), -1)[:, 0])
        assert (found // 5).tolist() == list(range(20))  # one of each five


def test_of_several_labels_the_rarest_is_shared_out():
    targets = np.zeros((60, 3), np.float32)
    targets[:, 0] = 1
    targets[:20, 1] = 1
    targets[:5, 2] = 1
    targets[50:, 0] = 0  # without a label
    _, validation = split(photos_of(targets, problem_type=MULTI), 0.2, 0)
    numbers = np.array(validation.files, int)
    counts = [
        np.count_nonzero((numbers >= low) & (numbers < high)) for low, high in ((0, 5), (5, 20), (20, 50), (50, 60))
    ]
    assert counts == [1, 3, 6, 2]


def test_labels_that_only_one_photo_has_are_shared_out_together():
    targets = np.eye(4, dtype=np.float32)
    train, validation = split(photos_of(targets, "abcd", problem_type=MULTI), 0.25, 0)
    assert (len(train), len(validation)) == (3, 1)
