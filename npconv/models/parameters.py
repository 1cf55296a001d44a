"""Parameters by name and shape: what the models ask of a checkpoint, and random values of these shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from npconv.errors import InputError
from npconv.plan.costs import count_parameters, is_buffer

__all__ = [
    "Shapes",
    "affine_shapes",
    "batch_norm_shapes",
    "count_parameters",
    "is_buffer",
    "norm_shapes",
    "random_parameters",
]

#: Name in a checkpoint -> shape.
Shapes = dict[str, tuple[int, ...]]


def affine_shapes(prefix: str, weight: tuple[int, ...], *, bias: bool = True) -> Shapes:
    """Return the shapes of a convolution or linear layer."""
    shapes = {f"{prefix}.weight": weight}
    return {**shapes, f"{prefix}.bias": weight[:1]} if bias else shapes


def norm_shapes(prefix: str, size: int) -> Shapes:
    """Return the shapes of a LayerNorm."""
    return {f"{prefix}.weight": (size,), f"{prefix}.bias": (size,)}


def batch_norm_shapes(prefix: str, size: int) -> Shapes:
    """Return the shapes of a BatchNorm with its stored statistics."""
    statistics: Shapes = {
        f"{prefix}.running_mean": (size,),
        f"{prefix}.running_var": (size,),
        f"{prefix}.num_batches_tracked": (),
    }
    return {**norm_shapes(prefix, size), **statistics}


def random_parameters(shapes: Shapes, config: Any, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a first value for each parameter, as transformers initializes it: name and float32 array.

    Weights of convolutions and linear layers and class tokens are normal with standard deviation
    ``config.initializer_range``; biases 0, scales of normalizations 1, others what ``config.first_values`` says (layer
    scales, GRN). Each parameter has a stream of random numbers of its own, from the seed and its place in the list.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"expected seed to be a whole number of at least 0, got {seed!r}")
    for (name, shape), stream in zip(shapes.items(), np.random.SeedSequence(seed).spawn(len(shapes)), strict=True):
        kind = name.rpartition(".")[2]
        special = next((value for ending, value in config.first_values.items() if name.endswith(ending)), None)
        if kind == "num_batches_tracked":
            yield name, np.zeros(shape, np.int64)
        elif special is not None:
            yield name, np.full(shape, special, np.float32)
        elif kind in ("bias", "running_mean"):
            yield name, np.zeros(shape, np.float32)
        elif len(shape) == 1:
            yield name, np.ones(shape, np.float32)
        else:
            normal = np.random.default_rng(stream).standard_normal(shape, np.float32)
            yield name, normal * np.float32(config.initializer_range)
