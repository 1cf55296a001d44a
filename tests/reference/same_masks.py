"""A model of transformers in training that drops what npconv drops.

Both sides draw from NumPy's generators of one seed, in the order in which a picture passes the model.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from npconv.models.plans import make_plan
from npconv.plan.step import Step


class SameDropout(nn.Module):
    """Dropout, or drop path of whole samples, by a generator of NumPy."""

    def __init__(self, rate: float, rng: np.random.Generator, *, samples: bool) -> None:
        super().__init__()
        self.rate, self.rng, self.samples = rate, rng, samples

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = (x.shape[0], *[1] * (x.ndim - 1)) if self.samples else tuple(x.shape)
        kept = torch.tensor(self.rng.random(shape) >= self.rate)
        return x * kept / (1 - self.rate)


def train(theirs: Any, ours: Any, rng: np.random.Generator) -> None:
    """Set a model of transformers to training, with the rates of ours in float64 (its own are rounded to float32)."""
    theirs.train()
    for module in theirs.modules():
        if type(module).__name__ == "CvtLayer":
            module.forward = partial(cvt_block, module)
            module.drop_path = nn.Identity()  # its rate is another in stages that transformers cannot make as they are
    for step in make_plan(ours.config, ours.task, training=True):
        if step.operation in ("drop_path_mask", "dropout_mask"):
            place, _, name = _module(theirs, step).rpartition(".")
            samples = step.operation == "drop_path_mask"
            setattr(theirs.get_submodule(place), name, SameDropout(step.attributes["rate"], rng, samples=samples))


def cvt_block(block: Any, hidden_state: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Run a block of CvT as the paper has it: transformers lets drop path act on the sum with the residual as well."""
    branch = block.attention(block.layernorm_before(hidden_state), height, width)
    hidden_state = hidden_state + block.drop_path(branch)
    branch = block.output.dense(block.intermediate(block.layernorm_after(hidden_state)))
    return hidden_state + block.drop_path(block.output.dropout(branch))


def _module(theirs: Any, step: Step) -> str:
    """Return the name of the module that drops by the mask of a step."""
    name = step.name.removesuffix(".mask")
    for part in ("attention", "output"):  # CvT calls one module twice
        name = name.replace(f".{part}.drop_path", ".drop_path")
    return f"model.{name}" if name.startswith("stages.") else name  # as DINOv3's are called once they are loaded
