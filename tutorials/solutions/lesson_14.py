"""Answers to lesson 14."""

from __future__ import annotations

import numpy as np


def rms_norm_backward(grad_y, x):
    """Return the gradient of x (N, C) of an RMS norm over the channels."""
    spread = np.sqrt((x**2).mean(axis=1, keepdims=True))
    z = x / spread
    return (grad_y - z * (grad_y * z).mean(axis=1, keepdims=True)) / spread


def rms_norm_backward_with_fixed_spread(grad_y, x):
    """Return the same as if the spread did not depend on x."""
    return grad_y / np.sqrt((x**2).mean(axis=1, keepdims=True))


RIGHT = [rms_norm_backward, 1.25]
WRONG = [rms_norm_backward_with_fixed_spread, 1.0]
