"""Losses backwards, against differences; labels that do not count, and what is refused."""

import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from support.gradient_cases import assert_is_gradient, numbers
from support.layer_cases import Case
from support.rounding import FLOATS

from npconv import gradients, layers
from npconv.errors import InputError

seeds = st.integers(0, 999)
shapes = st.lists(st.integers(1, 4), min_size=0, max_size=3)
ONE = np.ones(())


@given(st.integers(1, 4), st.integers(1, 4), st.data(), seeds)
def test_cross_entropy(batch, classes, data, seed):
    """One sample counts at least: the loss of none is NaN, see below."""
    label = st.integers(0, classes - 1)
    labels = [data.draw(label), *(data.draw(label | st.just(-100)) for _ in range(batch - 1))]
    arrays = {"logits": numbers(seed, batch, classes), "labels": np.array(labels)}
    assert_is_gradient(Case("", layers.cross_entropy, arrays, {"ignore_index": -100}), seed)


@given(shapes, seeds)
def test_mean_squared_error(shape, seed):
    predictions, targets = (np.asarray(numbers(seed + k, *shape)) for k in range(2))
    case = Case("", layers.mean_squared_error, {"predictions": predictions, "targets": targets})
    assert_is_gradient(case, seed)


@given(shapes, st.sampled_from([1, 8]), seeds)
def test_binary_cross_entropy_with_logits(shape, spread, seed):
    logits, targets = np.asarray(spread * numbers(seed, *shape)), np.random.default_rng(seed).random(shape)
    case = Case("", layers.binary_cross_entropy_with_logits, {"logits": logits, "targets": np.asarray(targets)})
    assert_is_gradient(case, seed)


def test_a_label_that_does_not_count_gives_nothing_back_and_no_part_of_the_mean():
    logits, labels = numbers(0, 4, 5), np.array([2, -1, 0, -1])
    found = gradients.cross_entropy_backward(ONE, logits, labels, ignore_index=-1)
    assert not found[1::2].any()
    alone = gradients.cross_entropy_backward(ONE, logits[::2], labels[::2], ignore_index=-1)
    np.testing.assert_array_equal(found[::2], alone)


def test_where_no_sample_counts_the_loss_is_no_number_and_the_gradient_0():
    """As in PyTorch; and without a warning."""
    logits, labels = numbers(0, 2, 5), np.array([-1, -1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gradients.cross_entropy_backward(ONE, logits, labels, ignore_index=-1)
    assert np.isnan(layers.cross_entropy(logits, labels, ignore_index=-1))
    np.testing.assert_array_equal(found, np.zeros((2, 5)))


@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_of_logits_far_apart(dtype):
    """Neither a warning nor NaN: the probabilities are 0 and 1."""
    logits, one = np.array([[1000.0, -1000.0, 0.0]], dtype), np.ones((), dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = gradients.cross_entropy_backward(one, logits, np.array([0]), ignore_index=-100)
        wrong = gradients.cross_entropy_backward(one, logits, np.array([1]), ignore_index=-100)
        zeros = np.zeros(logits.shape, dtype)
        binary = gradients.binary_cross_entropy_with_logits_backward(one, logits, zeros)
    assert right.tolist() == [[0, 0, 0]]
    assert wrong.tolist() == [[1, -1, 0]]
    np.testing.assert_array_equal(binary, np.array([[1 / 3, 0, 0.5 / 3]], dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_gradient_has_the_dtype_of_the_logits_whatever_the_targets_have(dtype):
    logits, one = numbers(0, 3, 4).astype(dtype), np.ones((), dtype)
    for other in ("int64", "uint8", "float64", "float16"):
        targets = np.arange(12).reshape(3, 4).astype(other) % 2
        assert gradients.mean_squared_error_backward(one, logits, targets).dtype == dtype
        assert gradients.binary_cross_entropy_with_logits_backward(one, logits, targets).dtype == dtype
    for labels in (np.array([0, 3, 1], np.uint8), np.array([-1, -1, -1])):
        assert gradients.cross_entropy_backward(one, logits, labels, ignore_index=-1).dtype == dtype


LOGITS, LABELS = numbers(0, 3, 4), np.array([0, 1, 3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cross_entropy(LOGITS, LABELS[:2]), r"expected 3 integer labels, got shape \(2,\)"),
        (lambda: cross_entropy(LOGITS, LABELS / 2), r"cross_entropy_backward: .* got shape \(3,\) of float64"),
        (lambda: cross_entropy(LOGITS, LABELS + 1), "cross_entropy_backward: expected labels from 0 to 3 or -100, got"),
        (lambda: cross_entropy(LOGITS, LABELS, np.ones(3)), r"expected grad_y of shape \(\), got \(3,\)"),
        (lambda: cross_entropy(LOGITS, LABELS, 1.0), "expected a NumPy or CuPy array, got float"),
        (lambda: cross_entropy(LOGITS[0], LABELS), r"cross_entropy_backward: expected x of shape \(N, K\)"),
        (
            lambda: gradients.mean_squared_error_backward(ONE, LOGITS, LOGITS[0]),
            r"mean_squared_error_backward: expected targets of shape \(3, 4\), got \(4,\)",
        ),
        (
            lambda: gradients.binary_cross_entropy_with_logits_backward(ONE, LOGITS, LOGITS[:1]),
            r"binary_cross_entropy_with_logits_backward: expected targets of shape \(3, 4\), got \(1, 4\)",
        ),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def cross_entropy(logits, labels, grad_y=ONE):
    """Go back through a cross-entropy."""
    return gradients.cross_entropy_backward(grad_y, logits, labels, ignore_index=-100)
