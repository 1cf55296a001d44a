"""Answers to lesson 09."""

from __future__ import annotations

import numpy as np


def fold(weight, norm_weight, norm_bias, mean, variance):
    """Return kernel and bias with the batch norm in them."""
    factor = norm_weight / np.sqrt(variance + 1e-5)
    return weight * factor[:, None, None, None], norm_bias - mean * factor


def fold_with_mean_unscaled(weight, norm_weight, norm_bias, mean, variance):
    """Return the same with the mean as it is stored."""
    factor = norm_weight / np.sqrt(variance + 1e-5)
    return weight * factor[:, None, None, None], norm_bias - mean


RIGHT = [fold, 2.449]
WRONG = [fold_with_mean_unscaled, 6.0]
