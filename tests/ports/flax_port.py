"""The ConvNeXt of the package ``jax-models``, which is written in Flax, with weights by the original code's names."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from jax_models.models import convnext

#: It was written when ``nn.gelu`` took the erf; now that is its tanh form.
EXACT = functools.partial(nn.gelu, approximate=False)


def model(fields: Mapping[str, Any]) -> convnext.ConvNeXt:
    """Return the model of some fields of a configuration."""
    return convnext.ConvNeXt(fields["depths"], fields["hidden_sizes"], num_classes=fields["num_labels"])


def variables(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the weights as the modules of the package want them: ``stages.0.1.dwconv`` is ``stages01``, ``dwconv``."""
    tree: dict[str, Any] = {}
    for name, value in weights.items():
        *modules, kind = joined(name).split(".")
        here = functools.reduce(lambda branch, module: branch.setdefault(module, {}), modules, tree)
        if kind == "weight":
            kind = "scale" if value.ndim == 1 else "kernel"
            value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
        here[kind] = value
    return {"params": tree}


def joined(name: str) -> str:
    """Return a name of the original code as the package writes it: ``downsample_layers.1.0`` without its points."""
    return re.sub(r"(stages|downsample_layers)\.(\d+)\.(\d+)", r"\1\2\3", name)


def parted(name: str) -> str:
    """Return a name of the package as the original code writes it, of models with fewer than ten blocks a stage."""
    return re.sub(r"(stages|downsample_layers)(\d)(\d)", r"\1.\2.\3", name)
