"""The tiny models on which ``tests.golden.proof`` makes every mistake, a file for each family.

Each shows other mistakes: a model of tiny variance shows each epsilon, one of large numbers what overflows or loses its
digits. Sizes are odd and all different, pictures are two and, but for one model of each family, not square, and no
parameter is 0, 1 or the same for all channels; so whatever is swapped, left out or mixed up changes the numbers.

The file of a family is called as its ``model_type``, and holds its ``MODELS`` in the order in which a mistake is looked
for.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import npconv
from npconv.api.heads import BareModel
from npconv.models import FAMILIES, find_family


@dataclass(frozen=True)
class TinyModel:
    """What a tiny model is made of.

    Parameters
    ----------
    family : str
    says : str
        What it is for.
    fields : mapping
        Of the configuration.
    shape : tuple of int
        Of the pictures.
    scale : float
        Of pictures, biases, and the scales and shifts of normalizations.
    offsets : mapping of str to float
        How the names of biases end -> what is added to them, so that all channels have a large mean.
    gains : mapping of str to float
        What is in the names of weights -> their factor.
    """

    family: str
    says: str
    fields: Mapping[str, Any]
    shape: tuple[int, ...]
    scale: float = 1.0
    offsets: Mapping[str, float] = field(default_factory=dict)
    gains: Mapping[str, float] = field(default_factory=dict)

    def make(self) -> tuple[BareModel, np.ndarray]:
        """Return the model and its pictures, float32; the same numbers everywhere."""
        family = find_family(self.family)
        model_class = getattr(npconv, family.class_names[family.main_task])
        config = family.config_class(**self.fields)
        rng = np.random.Generator(np.random.PCG64(zlib.crc32(f"{self.family} {self.says}".encode())))
        shapes = sorted(model_class.parameter_shapes(config).items())
        params = {name: self._parameter(rng, name, shape) for name, shape in shapes}
        pixel_values = _uniform(rng, self.shape, -1.7, 1.7) * self.scale
        return model_class(config, params), pixel_values.astype(np.float32)

    def _parameter(self, rng: np.random.Generator, name: str, shape: Sequence[int]) -> np.ndarray:
        """Return one parameter of the model."""
        kind = name.rpartition(".")[2]
        if kind == "num_batches_tracked":
            return np.asarray(7)
        if kind == "running_var":
            return (_uniform(rng, shape, 0.5, 2.0) * self.scale**2).astype(np.float32)
        if kind in ("layer_scale_parameter", "gamma"):
            return _uniform(rng, shape, 0.25, 1.0).astype(np.float32)
        if name.endswith(".grn.weight"):
            return _uniform(rng, shape, -1.0, 1.0).astype(np.float32)
        if kind == "weight" and len(shape) == 1:
            return (_uniform(rng, shape, 0.5, 1.5) * self.scale).astype(np.float32)
        if kind in ("cls_token", "bias", "running_mean"):  # GRN has a bias of four axes
            offset = next((value for end, value in self.offsets.items() if name.endswith(end)), 0.0)
            return (_uniform(rng, shape, -0.5, 0.5) * self.scale + offset).astype(np.float32)
        gain = next((value for part, value in self.gains.items() if part in name), 1.0)
        return (_uniform(rng, shape, -1.0, 1.0) * gain * (3 / np.prod(shape[1:])) ** 0.5).astype(np.float32)


def _uniform(rng: np.random.Generator, shape: Sequence[int], low: float, high: float) -> np.ndarray:
    """Return uniform random numbers in float64."""
    return low + (high - low) * rng.random(tuple(shape))


def models_of(family: str) -> tuple[TinyModel, ...]:
    """Return the tiny models of a family."""
    found: tuple[TinyModel, ...] = importlib.import_module(f"{__name__}.{family}").MODELS
    return found


def every_model() -> list[TinyModel]:
    """Return the tiny models of all families."""
    return [model for family in FAMILIES for model in models_of(family)]
