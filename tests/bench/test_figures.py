"""Statistics, ratios and the check that engines agree."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npconv.bench.figures import TOLERANCE, agrees, difference, geometric_mean, median, paired_ratio, quartiles

positive = st.floats(1e-3, 1e3)


def test_median_and_quartiles_of_known_numbers():
    assert median([5.0, 1.0, 3.0]) == 3
    assert quartiles([4.0, 1.0, 2.0, 3.0, 5.0]) == (2, 4)
    assert quartiles([7.0]) == (7, 7)


@given(st.lists(positive, min_size=1))
def test_quartiles_stand_around_the_median(values):
    first, third = quartiles(values)
    assert min(values) <= first <= median(values) <= third <= max(values)


def test_a_ratio_is_taken_within_rounds():
    """The machine is ten times slower in round 1 for both; of medians alone, the ratio would be 10 or 0.2."""
    assert paired_ratio({0: 2.0, 1: 20.0, 2: 2.0}, {0: 1.0, 1: 10.0, 2: 1.0}) == 2


def test_a_ratio_uses_the_rounds_that_both_have():
    assert paired_ratio({0: 8.0, 4: 8.0}, {0: 2.0, 1: 99.0, 4: 4.0}) == 3
    assert paired_ratio({1: 8.0}, {0: 2.0}) is None


@given(st.lists(positive, min_size=1), positive)
def test_the_geometric_mean_scales(values, factor):
    scaled = geometric_mean([factor * value for value in values])
    assert scaled == pytest.approx(factor * geometric_mean(values))
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4)


def test_the_difference_is_relative_to_the_largest_logit():
    truth = [[1.0, -4.0], [0.5, 2.0]]
    assert difference([[1.0, -4.0], [0.5, 2.0]], truth) == 0
    assert difference([[1.0, -4.0], [0.5, 2.2]], truth) == pytest.approx(0.05)
    assert difference([[1.0, -4.0]], truth) == 0  # a smaller batch is the beginning of a larger one


@pytest.mark.parametrize("logits", [[[math.nan, 1.0]], [[math.inf, 1.0]], [[1.0]], [[1.0, 1.0], [1.0, 1.0]], []])
def test_what_cannot_be_compared_differs(logits):
    assert difference(logits, [[1.0, 1.0]]) == math.inf
    assert not agrees(math.inf)


def test_rounding_agrees_and_another_gelu_does_not():
    from npconv.layers import gelu, gelu_tanh

    x = np.linspace(-6, 6, 1001)
    exact = [gelu(x).tolist()]
    assert agrees(difference([gelu(x.astype(np.float32)).tolist()], exact))
    assert not agrees(difference([gelu_tanh(x).tolist()], exact))
    assert agrees(TOLERANCE)
    assert not agrees(math.nan)
