"""Answers to lesson 04."""

from __future__ import annotations

import numpy as np


def layer_norm_channels_last(x, weight, bias):
    """LayerNorm of (N, H, W, C)."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * weight + bias


def without_eps(x, weight, bias):
    """LayerNorm that forgets eps."""
    return (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True) * weight + bias


RIGHT = [layer_norm_channels_last, 2.0647e-3]
WRONG = [without_eps, 1e-3]
