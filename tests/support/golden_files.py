"""The golden files as the tests of the models take them: every branch, and no part of a model without effect."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from npconv.files.safetensors import load_file, read_metadata
from npconv.layers import ACTIVATIONS
from npconv.models.parameters import map_tree, nest
from support import naive_layers
from support.families import CLASSES, CONFIGS, MODULES
from tests.golden_cases import convnext

FOLDER = Path(__file__).parents[1] / "goldens"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
NAMES = sorted(MANIFEST["cases"])

#: Activations that have a file in ConvNeXt and none in V2, which calls the same functions.
ACTIVATIONS_OF_V1 = tuple(convnext.ACTIVATIONS.values())


@dataclass(frozen=True)
class Golden:
    """One golden file; arrays are read-only."""

    name: str
    family: str
    task: str
    fields: dict[str, Any]
    problem_types: dict[str, str | None]
    pixel_values: np.ndarray
    weights: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]

    def config(self, **changes):
        return CONFIGS[self.family](**{**self.fields, **changes})

    def model(self, dtype, device="cpu", **changes):
        """Return the model as a user builds it."""
        return CLASSES[self.family, self.task](self.config(**changes), self.weights, dtype=dtype, device=device)

    def params(self, dtype):
        """Return the tree of parameters, every array read-only."""
        return map_tree(lambda array: in_dtype(array, dtype), nest(self.weights))

    def run(self, pixel_values, params, rng=None, **changes):
        """Call the family's function: what it pools, classifies or maps, and the hidden states."""
        function = getattr(MODULES[self.family], self.task)
        return function(pixel_values, **params, config=self.config(**changes), rng=rng)


def load(name):
    """Read a golden file."""
    path = FOLDER / f"{name}.safetensors"
    case = json.loads(read_metadata(path)["case"])
    parts = {"weights": {}, "labels": {}, "expected": {}}
    tensors = load_file(path)
    pixel_values = tensors.pop("pixel_values")
    for key, array in tensors.items():
        part, _, rest = key.partition(".")
        parts[part][rest] = array
    problem_types = case["problem_types"]
    return Golden(name, case["family"], case["task"], case["config"], problem_types, pixel_values, **parts)


def with_activation(name, hidden_act):
    """Return a golden with another activation: its outputs with the formula of ``naive_layers`` in that place."""
    golden, formula = load(name), getattr(naive_layers, ACTIVATIONS[hidden_act].__name__)
    outputs = outputs_of(golden.model("float64", hidden_act=lambda x: formula(x).astype(x.dtype)), golden.pixel_values)
    return replace(golden, fields={**golden.fields, "hidden_act": hidden_act}, expected=outputs)


def outputs_of(model, pixel_values):
    """Return all outputs by the names in the files, hidden states and feature maps numbered."""
    arrays = {}
    output = model(pixel_values, output_hidden_states=True)
    for name, value in output.items():
        if isinstance(value, tuple):
            arrays |= {f"{name}.{index}": part for index, part in enumerate(value)}
        elif name != "last_hidden_state" or value is not output.hidden_states[-1]:
            arrays[name] = value
    return arrays


def in_dtype(array, dtype):
    """Return a floating-point array in `dtype`, any other as it is, read-only."""
    converted = array.astype(dtype) if array.dtype.kind == "f" else array.copy()
    converted.flags.writeable = False
    return converted


def distance(actual, expected):
    """Return the largest difference by the largest expected number."""
    actual = np.asarray(actual, np.float64)
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()
    return float(np.abs(actual - expected).max() / np.abs(expected).max())
