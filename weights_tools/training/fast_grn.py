"""Global response normalization in fewer passes over the map: training on a CPU spends about half as long in it."""

from __future__ import annotations

from types import MethodType

import torch
from torch import nn

EPS = 1e-6


def use_fast_grn(model: nn.Module) -> None:
    """Replace ``forward`` of every ``ConvNextV2GRN`` of transformers inside `model`; its values stay the same."""
    for module in model.modules():
        if type(module).__name__ == "ConvNextV2GRN":
            # A bound method, as a copy of the module then computes with its own weights.
            module.forward = MethodType(_forward, module)


def _forward(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Compute ``x * (weight * n + 1) + bias`` of x (N, H, W, C); sums are in float32 at least."""
    squares = (x * x).sum((1, 2), keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    strength = squares.clamp_min(1e-24).sqrt()  # the derivative of the root of 0 is infinite
    scale = norm.weight * (strength / (strength.mean(-1, keepdim=True) + EPS)) + 1
    return torch.addcmul(norm.bias.to(x.dtype), x, scale.to(x.dtype))
