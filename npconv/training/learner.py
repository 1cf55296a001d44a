"""A model that learns: its weights, and what a batch of photos does to them.

This is where a training computes; the loop asks for nothing else of a model. Here npconv computes, by its own
gradients; in ``torch_learner.py`` PyTorch does.
"""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np

from npconv.api.gradients import value_and_grad
from npconv.backend import Array, to_host
from npconv.errors import InputError
from npconv.models import PretrainedConfig
from npconv.models.parameters import flatten
from npconv.training.groups import parameter_groups
from npconv.training.pictures import Pictures
from npconv.training.recipe import Recipe
from npconv.training.weights import Weights


class Learner(Protocol):
    """What the loop takes."""

    #: A :class:`npconv.training.weights.Weights`, or what has the same attributes.
    weights: Any
    #: The configuration of the model: of how many classes, and of which problem type.
    config: Any

    def step(self, places: np.ndarray, rng: np.random.Generator) -> tuple[Any, Array]:
        """Return the loss, (), of the photos at some places, and its gradient (P,) by the trained parameters.

        The stored statistics in the weights are renewed. Variations, drop path and dropout are drawn from `rng`.
        """

    def logits(self, pixel_values: np.ndarray) -> np.ndarray:
        """Return the logits (M, K) of photos (M, C, H, W), in inference."""


class OwnLearner:
    """A model of npconv that learns by npconv's gradients.

    Parameters
    ----------
    model : a classifier of npconv
        With ``engine="explicit"``. Its parameters with ``requires_grad`` are trained, in place.
    pictures : Pictures
        To train on.
    recipe : Recipe

    Raises
    ------
    InputError
        If the model has another engine or is in float16, or nothing in it is to be trained.
    """

    def __init__(self, model: Any, pictures: Pictures, recipe: Recipe) -> None:
        self.model = copy.copy(model)  # with the same arrays
        self.model.config = with_drop_path(model.config, recipe.drop_path)
        self.config = self.model.config
        self._value_and_grad = value_and_grad(self.model)
        if model.dtype.itemsize < 4:
            raise InputError(f"expected a model in float32 or float64 to train, got {model.dtype}; load it so")
        groups = parameter_groups(model)
        if not groups:
            raise InputError("expected a parameter to train, got all of them with requires_grad = False")
        self.weights = Weights(model, groups)
        self.pictures, self.recipe = pictures, recipe

    def step(self, places: np.ndarray, rng: np.random.Generator) -> tuple[Any, Array]:
        """Vary photos, and take the loss and its gradient."""
        return self.gradient(*self.pictures.varied(places, self.recipe, rng), rng)

    def gradient(self, pixel_values: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> tuple[Any, Array]:
        """Return the loss of a batch and its gradient (P,); the stored statistics are renewed."""
        found = self._value_and_grad(pixel_values, targets, training=True, rng=rng)
        self.weights.renew(found.statistics)
        return found.loss, self.weights.gather(flatten(found.gradients))

    def logits(self, pixel_values: np.ndarray) -> np.ndarray:
        """Run the model as it is."""
        return np.asarray(to_host(self.model(pixel_values, training=False).logits))


def with_drop_path(config: PretrainedConfig, rate: float) -> PretrainedConfig:
    """Return a configuration with another rate of stochastic depth, in whatever form the family has it."""
    changed = copy.deepcopy(config)
    usual = changed.drop_path_rate
    changed.drop_path_rate = [rate] * len(usual) if isinstance(usual, list) else rate
    return changed
