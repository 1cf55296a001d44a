"""Parameters by name and shape: what the models ask of a checkpoint, and random values of these shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from npconv.errors import InputError

#: Name in a checkpoint -> shape.
Shapes = dict[str, tuple[int, ...]]

#: Last parts of the names of stored statistics: they are in the checkpoint but are not trained parameters.
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


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


def is_buffer(name: str) -> bool:
    """Tell whether a name is that of a stored statistic."""
    return name.endswith(BUFFERS)


def count_parameters(shapes: Shapes) -> int:
    """Return the number of trained parameters, by shape alone."""
    return sum(math.prod(shape) for name, shape in shapes.items() if not is_buffer(name))


def random_parameters(shapes: Shapes, config: Any, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a first value for each parameter, as transformers initializes it: name and float32 array.

    Weights of convolutions and linear layers and class tokens are normal with standard deviation
    ``config.initializer_range``; biases 0, scales of normalizations 1, GRN 0, layer scales
    ``config.layer_scale_init_value``. Each parameter has a stream of random numbers of its own, from the seed and its
    place in the list.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"expected seed to be a whole number of at least 0, got {seed!r}")
    for (name, shape), stream in zip(shapes.items(), np.random.SeedSequence(seed).spawn(len(shapes)), strict=True):
        kind = name.rpartition(".")[2]
        if kind == "num_batches_tracked":
            yield name, np.zeros(shape, np.int64)
        elif kind == "layer_scale_parameter":
            yield name, np.full(shape, config.layer_scale_init_value, np.float32)
        elif ".grn." in name or kind in ("bias", "running_mean"):
            yield name, np.zeros(shape, np.float32)
        elif len(shape) == 1:
            yield name, np.ones(shape, np.float32)
        else:
            normal = np.random.default_rng(stream).standard_normal(shape, np.float32)
            yield name, normal * np.float32(config.initializer_range)
