"""Answers to lesson 10."""

from __future__ import annotations

import numpy as np


def stable_cross_entropy(logits, labels):
    """Return the mean cross entropy of logits (N, K)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    chosen = shifted[np.arange(len(labels)), labels]
    return (np.log(np.exp(shifted).sum(axis=1)) - chosen).mean()


def overflowing_cross_entropy(logits, labels):
    """Return the same as the formula says."""
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


RIGHT = [stable_cross_entropy, 6.9078]
WRONG = [overflowing_cross_entropy, 3.0]
