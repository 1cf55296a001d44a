"""Measures of answers, each beside its definition in plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, special

from npconv.errors import ShapeError
from npconv.training.measures import (
    Answers,
    answers_of,
    average_precision,
    calibration,
    calibration_error,
    confusion,
    mistakes,
    per_class,
    share,
    top,
)


def random_answers(photos: int = 400, classes: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Answers]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, photos)
    logits = rng.standard_normal((photos, classes)).astype(np.float32)
    logits[np.arange(photos), truth] += 1.5
    return logits, truth, answers_of(logits, truth)


def test_answers_are_what_their_names_say():
    logits, truth, answers = random_answers()
    probabilities = special.softmax(logits.astype(np.float64), axis=1)
    for photo, row in enumerate(probabilities):
        assert answers.answer[photo] == row.argmax()
        assert answers.rank[photo] == sum(value > row[truth[photo]] for value in row)
        # float64: a sum of seven exponentials, some units in the last place
        assert answers.confidence[photo] == pytest.approx(row.max(), rel=1e-14)
        assert answers.loss[photo] == pytest.approx(-math.log(row[truth[photo]]), rel=1e-13)
    assert answers.truth.tolist() == truth.tolist()
    assert answers.is_right.tolist() == (answers.answer == truth).tolist()


def test_of_equal_logits_the_first_class_is_the_answer():
    answers = answers_of(np.zeros((3, 3)), np.array([0, 1, 2]))
    assert answers.answer.tolist() == [0, 0, 0]
    assert answers.rank.tolist() == [0, 1, 2]
    assert answers.is_right.tolist() == [True, False, False]


def test_logits_far_from_zero_overflow_nothing():
    answers = answers_of(np.array([[3e38, -3e38], [-1000, 0]], np.float32), np.array([0, 0]))
    assert answers.loss[1] == 1000
    assert answers.confidence.tolist() == [1, 1]
    assert answers.loss[0] == 0


@pytest.mark.parametrize(("logits", "truth"), [((3, 2), (2,)), ((3,), (3,)), ((3, 2), (3, 1))])
def test_arrays_that_do_not_fit_are_refused(logits, truth):
    with pytest.raises(ShapeError, match=r"expected logits \(N, K\) and truth \(N,\)"):
        answers_of(np.zeros(logits), np.zeros(truth, int))


@pytest.mark.parametrize("k", [1, 3, 7])
def test_top_k_counts_photos_whose_class_is_among_the_k_best(k):
    logits, truth, answers = random_answers()
    right = sum(label in np.argsort(-row)[:k] for row, label in zip(logits, truth, strict=True))
    assert top(answers, k)[:2] == (right, 400)
    assert top(answers, k).value == right / 400


@pytest.mark.parametrize(("right", "total"), [(0, 1), (1, 1), (3, 10), (9089, 10000), (10, 10)])
def test_the_interval_ends_where_the_score_test_rejects(right, total):
    """Wilson's interval holds each p for which |right / total - p| is at most 1.96 sqrt(p (1 - p) / total)."""
    found = share(right, total)

    def distance(p: float) -> float:
        return (right / total - p) ** 2 - special.ndtri(0.975) ** 2 * p * (1 - p) / total

    inside = 1e-6  # at 0 and 1 themselves the distance is 0, too
    below = optimize.brentq(distance, 0, right / total - inside, xtol=1e-15) if right else 0
    above = optimize.brentq(distance, right / total + inside, 1, xtol=1e-15) if right < total else 1
    assert found.low == pytest.approx(below, abs=1e-12)  # brentq ends some units before
    assert found.high == pytest.approx(above, abs=1e-12)
    assert found.low <= found.value <= found.high


def test_of_no_photos_nothing_is_known():
    assert share(0, 0)[2:] == (0, 1)
    assert math.isnan(share(0, 0).value)


def test_calibration_sorts_photos_by_confidence():
    _, _, answers = random_answers()
    bins = calibration(answers, 5)
    error = 0.0
    for number in range(5):
        low, high = number / 5, (number + 1) / 5
        inside = [place for place, sure in enumerate(answers.confidence) if low <= sure < high or (sure == 1 == high)]
        if not inside:
            continue
        found = bins.pop(0)
        assert found.photos == len(inside)
        assert found.confidence == pytest.approx(np.mean(answers.confidence[inside]), rel=1e-12)
        assert found.accuracy == pytest.approx(np.mean(answers.is_right[inside]), rel=1e-12)
        error += len(inside) / 400 * abs(found.accuracy - found.confidence)
    assert bins == []
    assert error > 0.02
    assert calibration_error(calibration(answers, 5)) == pytest.approx(error, rel=1e-12)


def test_a_model_that_is_always_sure_and_right_is_calibrated():
    answers = answers_of(np.array([[800.0, 0], [0, 800]]), np.array([0, 1]))
    assert calibration_error(calibration(answers)) == 0
    assert [each.photos for each in calibration(answers)] == [2]
    assert calibration_error(calibration(answers_of(np.array([[800.0, 0]]), np.array([1])))) == 1
    assert math.isnan(calibration_error([]))


def test_confusion_counts_pairs_of_truth_and_answer():
    _, truth, answers = random_answers()
    counts = np.zeros((7, 7), int)
    for label, answer in zip(truth, answers.answer, strict=True):
        counts[label, answer] += 1
    np.testing.assert_array_equal(confusion(answers, np.arange(7)), counts)
    shown = np.array([5, 0, 3])
    np.testing.assert_array_equal(confusion(answers, shown), counts[np.ix_(shown, shown)])


def test_each_class_has_its_recall_precision_and_what_it_is_taken_for():
    _, _, answers = random_answers(classes=4)
    counts = confusion(answers, np.arange(5))  # of the fifth there is nothing
    found = per_class(answers, 5)
    for number in range(4):
        each, wrong = found[number], np.where(np.arange(5) == number, 0, counts[number])
        assert (each.photos, each.right, each.answered) == (
            counts[number].sum(), counts[number, number], counts[:, number].sum(),
        )  # fmt: skip
        assert each.recall == counts[number, number] / counts[number].sum()
        assert each.precision == counts[number, number] / counts[:, number].sum()
        assert each.f1 == pytest.approx(2 / (1 / each.recall + 1 / each.precision), rel=1e-12)
        assert each.taken_for_count == wrong.max()
        assert counts[number, each.taken_for] == wrong.max()
    assert found[4][:4] == (0, 0, 0, None)
    assert all(math.isnan(value) for value in (found[4].recall, found[4].precision, found[4].f1))


def test_mistakes_come_most_frequent_first():
    _, _, answers = random_answers()
    counts = confusion(answers, np.arange(7))
    np.fill_diagonal(counts, 0)
    found = mistakes(answers)
    assert [count for _, _, count in found] == sorted(counts[counts > 0].tolist(), reverse=True)
    assert all(counts[truth, answer] == count for truth, answer, count in found)
    assert mistakes(answers_of(np.eye(3), np.arange(3))) == []


def test_many_classes_take_no_square_of_memory():
    """21,841 classes squared are 3.8 GB of int64."""
    logits = np.zeros((2, 21841), np.float32)
    logits[:, 20000] = 1
    answers = answers_of(logits, np.array([20000, 7]))
    found = per_class(answers, 21841)
    assert (found[20000].right, found[7].taken_for) == (1, 20000)
    assert confusion(answers, np.array([7, 20000])).tolist() == [[0, 1], [0, 1]]


def test_average_precision_is_the_mean_precision_at_each_photo_that_has_the_label():
    rng = np.random.default_rng(1)
    scores, targets = rng.permutation(60), rng.random(60) < 0.3
    order = np.argsort(-scores)
    precisions = [targets[order[: place + 1]].mean() for place in range(60) if targets[order[place]]]
    assert average_precision(scores, targets) == pytest.approx(np.mean(precisions), rel=1e-12)


def test_average_precision_takes_equal_scores_together():
    assert average_precision(np.zeros(4), np.array([1, 0, 0, 0])) == 0.25
    assert average_precision(np.zeros(4), np.array([0, 0, 0, 1])) == 0.25
    assert average_precision(np.array([2.0, 1, 1]), np.array([1, 0, 1])) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert math.isnan(average_precision(np.zeros(3), np.zeros(3)))
    assert math.isnan(average_precision(np.zeros(0), np.zeros(0)))
