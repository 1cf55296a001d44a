"""Which class of a model a label means."""

from __future__ import annotations

import numpy as np
import pytest

from npconv import ConvNextConfig
from npconv.errors import InputError
from npconv.training import LabelledPhotos, describe
from npconv.training.labels import in_classes_of, problem_type_of
from npconv.training.photo_tables import MULTI, REGRESSION, SINGLE


def photos_of(targets, classes, **more) -> LabelledPhotos:
    return LabelledPhotos(tuple(map(str, range(len(targets)))), np.asarray(targets), tuple(classes), **more)


def model_of(*classes: str, **fields) -> ConvNextConfig:
    return ConvNextConfig(id2label=dict(enumerate(classes)), **fields)


def test_numbers_become_those_of_the_model():
    photos = in_classes_of(photos_of([0, 1, 1], ["cat", "dog"]), model_of("dog", "elk", "cat"))
    assert photos.targets.tolist() == [2, 0, 0]
    assert photos.classes == ("dog", "elk", "cat")
    assert photos.problems == ()


@pytest.mark.parametrize("written", ["Great White-Shark", "great_white_shark", "GREAT  WHITE SHARK", "white shark"])
def test_ways_to_write_a_class_are_one(written):
    labels = ("great white shark, white shark, man-eater", "tench, Tinca tinca")
    assert in_classes_of(photos_of([0], [written]), model_of(*labels)).targets.tolist() == [0]


def test_an_exact_name_goes_before_another_way_to_write_it():
    config = model_of("maillot", "maillot, tank suit", "Cat", "cat")
    assert in_classes_of(photos_of([0, 1, 2], ["maillot", "cat", "tank suit"]), config).targets.tolist() == [0, 3, 1]


def test_a_name_of_several_classes_is_left_out_and_named():
    photos = in_classes_of(photos_of([0, 0, 1], ["crane", "dog"]), model_of("crane", "dog", "crane"))
    assert (photos.files, photos.targets.tolist()) == (("2",), [1])
    assert [describe(problem) for problem in photos.problems] == [
        "crane: the model has several classes of this name; 2 photos of it are left out"
    ]


def test_photos_of_a_class_that_the_model_lacks_are_left_out_and_named():
    photos = in_classes_of(photos_of([0, 1, 0, 2], ["cat", "dog", "elk"]), model_of("cat", "dog"))
    assert photos.files == ("0", "1", "2")
    assert [describe(problem) for problem in photos.problems] == [
        "elk: the model has no such class; 1 photo of it is left out"
    ]


def test_photos_of_other_classes_alone_are_an_error_that_names_the_nearest():
    with pytest.raises(
        InputError, match=r"model's classes \('automobile', 'truck'\); got 'auto_mobile' \(nearest: 'auto"
    ):
        in_classes_of(photos_of([0], ["auto_mobile"]), model_of("automobile", "truck"))
    with pytest.raises(InputError, match="photos of others alone"):
        in_classes_of(photos_of([1], ["truck", "boat"]), model_of("automobile", "truck"))


def test_what_a_model_tells_is_said_by_its_configuration():
    assert problem_type_of(model_of("a", "b")) == SINGLE
    assert problem_type_of(model_of("a")) == MULTI  # as the pipeline: one class is there or not
    assert problem_type_of(model_of("a", "b", problem_type=MULTI)) == MULTI
    assert problem_type_of(model_of("a", problem_type=REGRESSION)) == REGRESSION


def test_columns_become_those_of_the_model_and_unknown_ones_are_named():
    photos = photos_of(np.array([[1, 0, 1], [0, 1, 1]], np.float32), ["dog", "cat", "elk"], problem_type=MULTI)
    found = in_classes_of(photos, model_of("cat", "dog", "owl", problem_type=MULTI))
    np.testing.assert_array_equal(found.targets, [[0, 1, np.nan], [1, 0, np.nan]])
    assert [describe(problem) for problem in found.problems] == [
        "elk: the model has no such class; its column is left out"
    ]


def test_one_label_for_each_photo_is_a_column_for_a_model_of_several():
    found = in_classes_of(photos_of([0, 1], ["cat", "elk"]), model_of("cat", "dog", problem_type=MULTI))
    np.testing.assert_array_equal(found.targets, [[1, np.nan]])
    assert found.files == ("0",)


def test_columns_with_one_label_each_fit_a_model_of_one():
    photos = photos_of(np.array([[0, 1], [1, 0]], np.float32), ["a", "b"], problem_type=MULTI)
    found = in_classes_of(photos, model_of("b", "a"))
    assert (found.targets.tolist(), found.problem_type) == ([0, 1], SINGLE)
    for targets in ([[1, 1], [1, 0]], [[0, 0], [1, 0]]):
        photos = photos_of(np.array(targets, np.float32), ["a", "b"], problem_type=MULTI)
        with pytest.raises(InputError, match="one label for each photo, as the model tells one class; got several, or"):
            in_classes_of(photos, model_of("b", "a"))


def test_a_regression_needs_as_many_numbers_as_it_gives():
    one = photos_of(np.array([1.5, 2], np.float32), ["age"], problem_type=REGRESSION)
    assert in_classes_of(one, model_of("LABEL_0", problem_type=REGRESSION)).targets.tolist() == [[1.5], [2]]
    with pytest.raises(InputError, match="expected 2 numbers for each photo, as the model gives; got 1"):
        in_classes_of(one, model_of("x", "y", problem_type=REGRESSION))
    with pytest.raises(InputError, match="got labels: give a CSV with numbers"):
        in_classes_of(photos_of([0], ["cat"]), model_of("x", problem_type=REGRESSION))
    with pytest.raises(InputError, match=r"expected labels for a model of classes \(cat, dog\), got numbers"):
        in_classes_of(one, model_of("cat", "dog"))
