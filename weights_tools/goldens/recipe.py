"""How a golden case is made, and what draws its arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weights_tools.goldens import draw

#: Draws arrays: a generator in, inputs and parameters out.
Draw = Callable[[np.random.Generator], tuple[Sequence[np.ndarray], dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Recipe:
    """How a case is made.

    Parameters
    ----------
    operation, name, why : str
        See ``npconv.golden.case.Case``.
    draw : callable
        Takes a generator of random numbers, returns inputs and parameters.
    attributes : dict
    """

    operation: str
    name: str
    why: str
    draw: Draw
    attributes: dict[str, Any] = field(default_factory=dict)


def uniform(rng: np.random.Generator, *shape: int, std: float = 1.0, mean: float = 0.0) -> np.ndarray:
    """Return random numbers in float16."""
    return draw.pixel_values(rng, shape, scale=std, offset=mean)


def arrays(*inputs: Sequence[int], std: float = 1.0, mean: float = 0.0, **params: Sequence[int]) -> Draw:
    """Return what draws inputs and parameters of some shapes; weights keep the size of what passes through them."""

    def make(rng: np.random.Generator) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        drawn = [uniform(rng, *shape, std=std, mean=mean) for shape in inputs]
        named = {f"x.{name}": tuple(shape) for name, shape in params.items()}
        weights = draw.weights(rng, named.items())
        return drawn, {name: weights[f"x.{name}"] for name in params}

    return make


def norm(*shape: int, channels: int, std: float = 1.0, mean: float = 0.0) -> Draw:
    """Return what draws the arguments of a LayerNorm."""
    return arrays(shape, std=std, mean=mean, weight=(channels,), bias=(channels,))


def picture(height: int, width: int) -> Draw:
    """Return what draws a uint8 picture: waves of colour with noise on them."""

    def make(rng: np.random.Generator) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        rows, columns = np.arange(height)[:, None] / height, np.arange(width) / width
        waves = [4 * np.abs((rng.random() + 2 * rows + (c + 1) * columns) % 1 - 0.5) - 1 for c in range(3)]
        noise = rng.random((3, height, width)) - 0.5
        return [np.clip(np.stack(waves) * 90 + noise * 120 + 128, 0, 255).astype(np.uint8)], {}

    return make
