"""The tiny models on which ``tests.golden.proof`` makes every mistake, a file for each family.

Each shows other mistakes: a model of tiny variance shows each epsilon, one of large numbers what overflows or loses its
digits. Sizes are odd and all different, pictures are two and, but for one model of each family, not square, and no
parameter is 0, 1 or the same for all channels; so whatever is swapped, left out or mixed up changes the numbers.

The file of a family is called as its ``model_type``, and holds its ``MODELS`` in the order in which a mistake is looked
for, and its ``GRADIENTS``, those whose way back is looked at.
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
from npconv.golden.made import draw_parameters, draw_pictures
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
        params = draw_parameters(rng, model_class.parameter_shapes(config), self.scale, self.offsets, self.gains)
        return model_class(config, params), draw_pictures(rng, self.shape, self.scale)


@dataclass(frozen=True)
class TinyGradients:
    """What a trace with gradients is made of.

    Parameters
    ----------
    model : TinyModel
    says : str
        What it is for.
    labels : sequence, optional
        What the loss of a classifier is of.
    training : bool
        Whether it drops at random and takes the statistics of the batch.
    """

    model: TinyModel
    says: str
    labels: Sequence[Any] | None = None
    training: bool = False


def models_of(family: str) -> tuple[TinyModel, ...]:
    """Return the tiny models of a family."""
    found: tuple[TinyModel, ...] = importlib.import_module(f"{__name__}.{family}").MODELS
    return found


def gradients_of(family: str) -> tuple[TinyGradients, ...]:
    """Return what the traces with gradients of a family are made of."""
    found: tuple[TinyGradients, ...] = importlib.import_module(f"{__name__}.{family}").GRADIENTS
    return found


def every_model() -> list[TinyModel]:
    """Return the tiny models of all families."""
    return [model for family in FAMILIES for model in models_of(family)]
