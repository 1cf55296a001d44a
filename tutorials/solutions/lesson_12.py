"""Answers to lesson 12."""

from __future__ import annotations

import numpy as np


def grn(x, weight, bias, eps):
    """GRN of (N, C, H, W)."""
    strength = np.sqrt((x * x).sum(axis=(2, 3), keepdims=True))
    relative = strength / (strength.mean(axis=1, keepdims=True) + np.float32(eps))
    return weight.reshape(-1, 1, 1) * (x * relative) + bias.reshape(-1, 1, 1) + x


def grn_over_batch(x, weight, bias, eps):
    """Return the same with the mean over the batch as well."""
    strength = np.sqrt((x * x).sum(axis=(2, 3), keepdims=True))
    relative = strength / (strength.mean(axis=(0, 1), keepdims=True) + np.float32(eps))
    return weight.reshape(-1, 1, 1) * (x * relative) + bias.reshape(-1, 1, 1) + x


RIGHT = [grn, "eps"]
WRONG = [grn_over_batch, "the padding"]
