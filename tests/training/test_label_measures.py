"""Measures of several labels and of numbers, beside their definitions in plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from npconv.training.label_measures import exact, label_loss, per_label, per_number

PROBABILITIES = np.array([[0.9, 0.2, 0.5], [0.4, 0.7, 0.1], [0.6, 0.8, 0.3], [0.1, 0.1, 0.2]], np.float32)
TARGETS = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0], [0, 0, 1]], np.float32)


def test_each_label_is_counted_where_it_is_there_and_where_it_is_given():
    found = per_label(PROBABILITIES, TARGETS)
    assert [each[:3] for each in found] == [(2, 2, 1), (2, 2, 2), (2, 1, 1)]
    assert [each.recall for each in found] == [0.5, 1, 0.5]
    assert [each.precision for each in found] == [0.5, 1, 1]
    assert found[0].average_precision == pytest.approx((1 + 2 / 3) / 2)


def test_a_label_of_which_nothing_is_known_is_left_out():
    targets = TARGETS.copy()
    targets[:, 0] = np.nan
    found = per_label(PROBABILITIES, targets)
    assert found[0] is None
    assert found[1:] == per_label(PROBABILITIES[:, 1:], TARGETS[:, 1:])
    assert exact(PROBABILITIES, targets)[:2] == (3, 4)
    assert label_loss(PROBABILITIES, targets) == label_loss(PROBABILITIES[:, 1:], TARGETS[:, 1:])


def test_a_photo_is_right_with_all_its_labels_and_no_others():
    assert exact(PROBABILITIES, TARGETS)[:2] == (1, 4)


def test_the_loss_is_the_binary_cross_entropy():
    terms = [
        -math.log(p if target else 1 - p)
        for p, target in zip(PROBABILITIES.ravel().tolist(), TARGETS.ravel().tolist(), strict=True)
    ]
    # float32 probabilities near 0.1 have an error of 4e-9, and 1 - p is rounded to float32, too
    assert label_loss(PROBABILITIES, TARGETS) == pytest.approx(sum(terms) / len(terms), rel=1e-6)


def test_a_probability_of_nothing_has_a_finite_loss():
    assert math.isfinite(label_loss(np.array([[0.0]]), np.array([[1.0]])))


def test_what_was_never_given_or_there_has_no_share():
    none = per_label(np.array([[0.1, 0.9]]), np.array([[1.0, 0.0]]))
    assert math.isnan(none[0].precision)
    assert math.isnan(none[1].recall)


def test_numbers_have_their_errors_and_the_share_of_variance_that_is_explained():
    truth = np.array([[1.0, 5], [2, 5], [6, 5]])
    found = per_number(truth + np.array([[1, 0], [-1, 0], [2, 3]]), truth)
    assert found[0].mean_absolute_error == pytest.approx(4 / 3)
    assert found[0].root_mean_squared_error == pytest.approx(math.sqrt(2))
    assert found[0].r_squared == pytest.approx(1 - 2 / np.var([1, 2, 6]))
    assert found[1].mean_absolute_error == 1
    assert math.isnan(found[1].r_squared)
    (mean,) = per_number(np.full((3, 1), 3.0), truth[:, :1])
    assert mean.r_squared == pytest.approx(0, abs=1e-15)
