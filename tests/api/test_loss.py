import math

import numpy as np
import pytest

import npconv
from npconv import InputError
from npconv.api.loss import image_classification_loss


def config(num_labels, problem_type=None):
    return npconv.ConvNextConfig(num_labels=num_labels, problem_type=problem_type)


LOGITS = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, -0.3]])


def test_one_column_is_a_regression():
    loss = image_classification_loss(np.array([[1.0], [4.0]]), [3, 1], config(1))
    assert loss == pytest.approx((4 + 9) / 2)


def test_integers_are_a_single_label_and_minus_100_does_not_count():
    row = LOGITS[1]
    expected = -(row[2] - math.log(sum(math.exp(z) for z in row)))
    assert image_classification_loss(LOGITS, [-100, 2], config(3)) == pytest.approx(expected)


def test_two_classes_are_a_single_label_too():
    logits = np.array([[2.0, -1.0], [0.25, 0.5]])
    expected = (math.log1p(math.exp(2.0 - -1.0)) + math.log1p(math.exp(0.25 - 0.5))) / 2
    assert image_classification_loss(logits, [1, 1], config(2)) == pytest.approx(expected)


def test_numbers_are_a_multi_label():
    targets = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 1.0]])
    terms = [
        -t * math.log(1 / (1 + math.exp(-z))) - (1 - t) * math.log(1 - 1 / (1 + math.exp(-z)))
        for z, t in zip(LOGITS.ravel(), targets.ravel(), strict=True)
    ]
    assert image_classification_loss(LOGITS, targets, config(3)) == pytest.approx(sum(terms) / 6)


def test_numbers_of_a_single_label_classification_are_probabilities():
    single = config(3, "single_label_classification")
    soft = np.array([[0.7, 0.3, 0.0], [0.1, 0.0, 0.9]])
    hard = [image_classification_loss(LOGITS, [a, b], single) for a, b in ((0, 0), (1, 2))]
    of_rows = [image_classification_loss(LOGITS[k : k + 1], [label], single) for k in range(2) for label in range(3)]
    expected = sum(share * loss for share, loss in zip(soft.ravel(), of_rows, strict=True)) / 2
    assert image_classification_loss(LOGITS, soft, single) == pytest.approx(expected)
    assert image_classification_loss(LOGITS, np.eye(3)[[1, 2]], single) == pytest.approx(hard[1])


def test_the_configuration_decides_before_the_labels_do():
    targets = np.array([[1, 0, 0], [0, 1, 1]])
    multi = image_classification_loss(LOGITS, targets, config(3, "multi_label_classification"))
    assert multi == image_classification_loss(LOGITS, targets.astype(float), config(3))
    regression = image_classification_loss(LOGITS, targets, config(3, "regression"))
    assert regression == pytest.approx(((LOGITS - targets) ** 2).mean())


def test_a_call_leaves_no_trace_in_the_configuration():
    shared = config(3)
    image_classification_loss(LOGITS, [0, 1], shared)
    assert shared.problem_type is None


@pytest.mark.parametrize(
    ("labels", "problem_type", "message"),
    [
        ([0, 3], None, "from 0 to 2"),
        ([-1, 0], None, "from 0 to 2"),
        ([0], None, "expected 2 integer labels"),
        ([0.0, 1.0], None, r"shape \(2, 3\), got \(2,\)"),
        ([0.5, 1.0], "single_label_classification", "integer labels"),
        (["cat", "dog"], None, "numbers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, problem_type, message):
    with pytest.raises(InputError, match=message):
        image_classification_loss(LOGITS, labels, config(3, problem_type))


def test_a_model_without_classes_has_no_loss():
    with pytest.raises(InputError, match="num_labels 0"):
        image_classification_loss(LOGITS, [0, 1], config(0))
