"""Scales: all numbers are on them, and those that stand at an axis are round and told apart."""

import numpy as np
import pytest

from npconv.pictures.scales import Scale, as_number, as_numbers, round_numbers, scale_of


def test_a_logarithmic_scale_has_equal_factors_at_equal_distances():
    scale = Scale(1e-3, 1e3, log=True)
    np.testing.assert_allclose(scale.shares(np.array([1e-3, 1.0, 1e3])), [0, 0.5, 1])
    np.testing.assert_allclose(scale.ticks(), [1e-3, 1e-1, 1e1, 1e3])


@pytest.mark.parametrize(("low", "high"), [(2.0, 7.0), (0.2, 0.9), (2.0, 80.0)])
def test_a_logarithmic_scale_without_two_powers_of_ten_has_other_round_numbers(low, high):
    ticks = Scale(low, high, log=True).ticks()
    assert len(ticks) >= 2
    assert low <= min(ticks) < max(ticks) <= high


def test_a_scale_holds_all_finite_numbers_and_0_when_asked():
    scale = scale_of(np.array([2.0, np.nan]), np.array([5.0, np.inf]))
    assert scale.low < 2 < 5 < scale.high
    assert scale.low > 1.8
    assert scale_of(np.array([2.0]), zero=True).low < 0
    flat = scale_of(np.full(3, 7.0))
    assert flat.low < 7 < flat.high
    assert scale_of(np.array([np.nan])).high > 0


def test_a_logarithmic_scale_holds_all_numbers_above_0():
    scale = scale_of(np.array([-1.0, 0.0, 1e-3, 1e300]), log=True)
    assert scale.log
    assert 1e-20 < scale.low < 1e-3
    assert 1e300 < scale.high < np.inf
    one = scale_of(np.array([5.0]), log=True)
    assert one.low < 5 < one.high
    assert scale_of(np.array([-1.0]), log=True).low > 0


@pytest.mark.parametrize(
    ("low", "high", "whole", "found"),
    [
        (0.0, 1.0, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.0, 6.0, False, [0, 1, 2, 3, 4, 5, 6]),
        (0.23, 2.31, False, [0.5, 1, 1.5, 2]),
        (1.0, 3.0, True, [1, 2, 3]),
        (5.0, 5.0, True, [5]),
        (-3.0, 7e5, False, [0, 2e5, 4e5, 6e5]),
        (0.0, 0.3, False, [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]),
        (1e-9, 3e-9, False, [1e-9, 1.5e-9, 2e-9, 2.5e-9, 3e-9]),
    ],
)
def test_numbers_at_an_axis_are_round(low, high, whole, found):
    assert round_numbers(low, high, whole=whole) == pytest.approx(found, rel=1e-9)


def test_numbers_are_short():
    found = [as_number(value) for value in (0.0, 1e-15, 0.5, 123456.0, -2.5, 1e12)]
    assert found == ["0", "1e-15", "0.5", "123,456", "-2.5", "1e+12"]


def test_numbers_beside_each_other_are_told_apart():
    assert [as_number(value) for value in (999.0, 1000.0, 1e10, 10_000_000_000.5)] == ["999", "1,000", "1e+10", "1e+10"]
    assert as_number(9_999_999_999.0) == "9,999,999,999"
    assert as_numbers([0.9982, 0.9984, 0.9986]) == ["0.9982", "0.9984", "0.9986"]
    assert as_numbers([1000.0, 1000.5, 1001.0]) == ["1,000.0", "1,000.5", "1,001.0"]
    assert as_numbers([0.0, 500.0, 1000.0]) == ["0", "500", "1,000"]
