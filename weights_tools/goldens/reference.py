"""The reference models: transformers' classes, with what they lack added.

Added to all is the activation ``selu``, which the documentation of transformers names and its table lacks. What a
family lacks, the file of its cases adds (``tests/golden_cases``).

Needs torch and transformers (the extra ``reference``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch
import transformers
from torch import nn
from transformers.activations import ACT2FN

from npconv.models import find_family
from weights_tools.goldens.cases import family_file


def config_class(family: str) -> Any:
    """Return the class of transformers for a family's configurations."""
    return getattr(transformers, find_family(family).config_name)


def model_class(family: str, task: str) -> Any:
    """Return the class of transformers for a family's models."""
    return getattr(transformers, find_family(family).class_names[task])


def as_it_is(family: str, task: str, fields: Mapping[str, Any]) -> Any:
    """Return a model of transformers that computes what it computes; its parameters are called as in its files."""
    model = model_class(family, task)(config_class(family)(**fields))
    named = getattr(family_file(family), "named_as_in_files", None)
    return named(model) if named else model


def build(family: str, task: str, fields: Mapping[str, Any]) -> Any:
    """Return a model of transformers for inference in float64; `fields` are those of npconv's configuration."""
    ACT2FN.setdefault("selu", nn.SELU)
    own = getattr(family_file(family), "build", None)
    model = own(task, fields) if own else as_it_is(family, task, fields)
    return model.double().eval()


def patched(family: str, fields: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields, sorted, whose values transformers does not run; none: its classes as they are."""
    own = getattr(family_file(family), "patched", None)
    if own:
        return own(fields)
    return ["hidden_act"] if fields.get("hidden_act") == "selu" else []


def load(model: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Give a model its weights: all of them, exactly."""
    model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})


def run(model: Any, pixel_values: np.ndarray, **labels: Any) -> dict[str, np.ndarray]:
    """Return every output of a model by name, in the model's dtype; hidden states and feature maps are numbered."""
    with torch.no_grad():
        outputs = model(torch.tensor(pixel_values).to(model.dtype), output_hidden_states=True, **labels)
    arrays: dict[str, np.ndarray] = {}
    for name, value in outputs.items():
        parts = {f"{name}.{i}": part for i, part in enumerate(value)} if isinstance(value, tuple) else {name: value}
        arrays |= {name: part.numpy() for name, part in parts.items()}
    return arrays


def loss(model: Any, pixel_values: np.ndarray, labels: np.ndarray, problem_type: str | None) -> np.ndarray:
    """Return the loss of an image classifier; floating-point labels are taken in the model's dtype."""
    targets = torch.tensor(labels)
    model.config.problem_type = problem_type
    outputs = run(model, pixel_values, labels=targets.to(model.dtype) if targets.is_floating_point() else targets)
    model.config.problem_type = None  # transformers stores what it has inferred
    return outputs["loss"]
