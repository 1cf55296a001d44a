"""Losses: against loops over random shapes, in every dtype, at extremes, and what they refuse."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import naive_layers as naive
from support.rounding import FLOATS, LIBRARY, assert_rounded, normal

from npconv.errors import InputError
from npconv.gradients import cross_entropy_backward, soft_cross_entropy_backward
from npconv.layers import binary_cross_entropy_with_logits, cross_entropy, mean_squared_error, soft_cross_entropy

dtypes = st.sampled_from(FLOATS)
seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(1, 5), min_size=0, max_size=3)


@given(st.integers(1, 6), st.integers(1, 5), st.sampled_from([0.1, 3.0, 50.0]), st.data(), dtypes, seeds)
def test_cross_entropy(batch, classes, spread, data, dtype, seed):
    logits = normal(seed, batch, classes, dtype=dtype, spread=spread)
    label = st.integers(0, classes - 1) | st.just(-100)
    labels = np.array(data.draw(st.lists(label, min_size=batch, max_size=batch)), data.draw(st.sampled_from("bhiq")))
    loss = np.asarray(cross_entropy(logits, labels, ignore_index=-100))
    assert loss.dtype == dtype
    assert loss.shape == ()
    if (labels == -100).all():
        assert np.isnan(loss)
        return
    # Each loss is made of two differences of logits and the logarithm of a sum of 1 to K, all of one sign.
    magnitude = np.asarray(1 + np.log(classes) + 2 * (logits.max() - logits.min()).astype(np.float64))
    expected = naive.cross_entropy(logits, labels, ignore_index=-100)
    assert_rounded(loss, expected, magnitude, operations=batch + classes + 4 + 2 * LIBRARY)


@given(st.integers(1, 6), st.integers(1, 5), st.sampled_from([0.1, 3.0, 50.0]), dtypes, seeds)
def test_soft_cross_entropy(batch, classes, spread, dtype, seed):
    logits = normal(seed, batch, classes, dtype=dtype, spread=spread)
    targets = np.random.default_rng(seed).dirichlet(np.ones(classes), batch).astype(dtype)
    loss = np.asarray(soft_cross_entropy(logits, targets))
    assert loss.dtype == dtype
    assert loss.shape == ()
    # As of one label, but that each of the K logarithms is multiplied by a share, and the K are added.
    magnitude = np.asarray(1 + np.log(classes) + 2 * (logits.max() - logits.min()).astype(np.float64))
    expected = naive.soft_cross_entropy(logits, targets)
    assert_rounded(loss, expected, magnitude, operations=batch + 2 * classes + 5 + 2 * LIBRARY)


def test_soft_targets_with_a_single_1_are_labels():
    logits, labels = normal(0, 6, 5), np.array([2, 0, 4, 4, 1, 3])
    one = np.ones(())
    soft, hard = soft_cross_entropy(logits, np.eye(5)[labels]), cross_entropy(logits, labels, ignore_index=-100)
    assert soft == pytest.approx(hard, rel=1e-14)  # some roundings of float64
    np.testing.assert_allclose(
        soft_cross_entropy_backward(one, logits, np.eye(5)[labels]),
        cross_entropy_backward(one, logits, labels, ignore_index=-100),
        atol=1e-16,
    )


def test_the_gradient_of_soft_cross_entropy_is_its_slope():
    logits, targets = normal(0, 3, 4), np.random.default_rng(1).random((3, 4))  # whose rows add up to other than 1
    gradient = soft_cross_entropy_backward(np.full((), 2.0), logits, targets)
    for place in np.ndindex(*logits.shape):
        step = np.zeros_like(logits)
        step[place] = 1e-5
        slope = soft_cross_entropy(logits + step, targets) - soft_cross_entropy(logits - step, targets)
        assert gradient[place] == pytest.approx(2 * slope / 2e-5, abs=1e-9)  # 1e-5 squared, and roundings by 1e-5


@given(shapes, dtypes, seeds)
@example([], "float16", 0)
@example([2, 3], "float32", 0)
def test_mean_squared_error(shape, dtype, seed):
    predictions, targets = (np.asarray(normal(seed + k, *shape, dtype=dtype)) for k in range(2))
    loss = np.asarray(mean_squared_error(predictions, targets))
    assert loss.dtype == dtype
    expected = naive.mean_squared_error(predictions, targets)
    assert_rounded(loss, expected, expected, operations=predictions.size + 4)


@given(shapes, st.sampled_from([1.0, 30.0]), dtypes, seeds)
@example([], 1.0, "float16", 0)
@example([2, 3], 30.0, "float32", 0)
def test_binary_cross_entropy_with_logits(shape, spread, dtype, seed):
    logits = np.asarray(normal(seed, *shape, dtype=dtype, spread=spread))
    targets = np.random.default_rng(seed).random(shape).astype(dtype)
    targets = np.asarray(targets)
    loss = np.asarray(binary_cross_entropy_with_logits(logits, targets))
    assert loss.dtype == dtype
    expected = naive.binary_cross_entropy_with_logits(logits, targets)
    magnitude = np.asarray(1 + 3 * np.abs(logits.astype(np.float64)).mean())
    assert_rounded(loss, expected, magnitude, operations=logits.size + 4 + 2 * LIBRARY)


@pytest.mark.parametrize("dtype", FLOATS)
def test_losses_keep_the_dtype_of_the_logits_whatever_the_targets_have(dtype):
    logits = normal(0, 3, 4, dtype=dtype)
    for other in ("int64", "uint8", "float64", "float16"):
        targets = np.arange(12).reshape(3, 4).astype(other) % 2
        assert mean_squared_error(logits, targets).dtype == dtype
        assert binary_cross_entropy_with_logits(logits, targets).dtype == dtype
        assert soft_cross_entropy(logits, targets).dtype == dtype
    assert cross_entropy(logits, np.array([0, 3, 1], np.uint8), ignore_index=-100).dtype == dtype
    assert cross_entropy(logits, np.array([-1, -1, -1]), ignore_index=-1).dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_logits_give_neither_a_warning_nor_an_infinity(dtype):
    huge = np.array([[1e30, -1e30, 0.0]], dtype)
    assert cross_entropy(huge, np.array([0]), ignore_index=-100) == 0
    assert cross_entropy(huge, np.array([1]), ignore_index=-100) == 2 * huge[0, 0]
    logits = np.array([1e4, -1e4, 1e4, -1e4], dtype)
    assert binary_cross_entropy_with_logits(logits[:2], np.array([1.0, 0.0], dtype)) == 0
    assert binary_cross_entropy_with_logits(logits[2:], np.array([0.0, 1.0], dtype)) == 1e4


@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_of_logits_far_apart_do_not_disturb_each_other(dtype):
    rows = np.array([[0, 1], [2000, 2001]], dtype)
    expected = np.log1p(np.exp(1.0))  # of either row
    loss = cross_entropy(rows, np.array([0, 0]), ignore_index=-100)
    assert_rounded(np.asarray(loss), np.asarray(expected), np.asarray(expected), operations=6 + 2 * LIBRARY)


def test_known_values():
    zeros = np.zeros((3, 10))
    assert cross_entropy(zeros, np.array([0, 4, 9]), ignore_index=-100) == pytest.approx(np.log(10), rel=1e-15)
    assert binary_cross_entropy_with_logits(zeros, zeros) == pytest.approx(np.log(2), rel=1e-15)
    assert mean_squared_error(zeros, zeros + 3) == 9


def test_ignored_samples_do_not_count_in_the_mean():
    logits = normal(0, 4, 5)
    labels = np.array([2, -1, 0, -1])
    counted = cross_entropy(logits[::2], labels[::2], ignore_index=-1)
    assert cross_entropy(logits, labels, ignore_index=-1) == counted
    hostile = logits.copy()
    hostile[1::2] = np.nan
    assert cross_entropy(hostile, labels, ignore_index=-1) == counted
    ignored_class = cross_entropy(logits, np.array([2, 3, 0, 3]), ignore_index=3)
    assert ignored_class == counted, "a class itself may be the one that is ignored"


def test_float16_means_over_5000_do_not_stagnate_or_overflow():
    ones = np.ones(5000, np.float16)
    assert mean_squared_error(ones, 0 * ones) == 1
    assert mean_squared_error(300 * ones[:4], np.array([300, 300, 300, -100], np.float16)) == 40000  # 400**2 / 4
    assert binary_cross_entropy_with_logits(8 * ones, 0 * ones) == np.float16(8 + np.log1p(np.exp(-8)))
    uniform = np.zeros((5000, 2), np.float16)
    assert cross_entropy(uniform, np.zeros(5000, int), ignore_index=-100) == np.float16(np.log(2))


LOGITS, LABELS = normal(0, 3, 4), np.array([0, 1, 3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cross_entropy(LOGITS[0], LABELS, ignore_index=-100), r"cross_entropy: expected x of shape \(N, K\)"),
        (lambda: cross_entropy(LOGITS, LABELS[:2], ignore_index=-100), r"expected 3 integer labels, got shape \(2,\)"),
        (lambda: cross_entropy(LOGITS, LABELS[:, None], ignore_index=-100), r"expected 3 integer labels.*\(3, 1\)"),
        (lambda: cross_entropy(LOGITS, LABELS / 2, ignore_index=-100), r"got shape \(3,\) of float64"),
        (lambda: cross_entropy(LOGITS, LABELS > 0, ignore_index=-100), r"got shape \(3,\) of bool"),
        (lambda: cross_entropy(LOGITS, LABELS + 1, ignore_index=-100), "expected labels from 0 to 3 or -100, got one"),
        (lambda: cross_entropy(LOGITS, LABELS - 1, ignore_index=-100), "expected labels from 0 to 3 or -100, got one"),
        (lambda: cross_entropy(LOGITS.astype(int), LABELS, ignore_index=-100), "expected a floating-point array"),
        (
            lambda: soft_cross_entropy(LOGITS, LABELS),
            r"soft_cross_entropy: expected targets of shape \(3, 4\), got \(3,\)",
        ),
        (lambda: soft_cross_entropy(LOGITS[0], LOGITS[0]), r"soft_cross_entropy: expected x of shape \(N, K\)"),
        (lambda: mean_squared_error(LOGITS, LOGITS[0]), r"mean_squared_error: expected targets of shape \(3, 4\), got"),
        (lambda: mean_squared_error(LOGITS, LOGITS.T), r"expected targets of shape \(3, 4\), got \(4, 3\)"),
        (lambda: mean_squared_error(LOGITS.astype(int), LOGITS), "expected a floating-point array, got int64"),
        (
            lambda: binary_cross_entropy_with_logits(LOGITS, LOGITS[:1]),
            r"binary_cross_entropy_with_logits: expected targets of shape \(3, 4\), got \(1, 4\)",
        ),
        (lambda: binary_cross_entropy_with_logits(LOGITS.astype(int), LOGITS), "expected a floating-point array"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)
