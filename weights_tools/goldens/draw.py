"""Random pictures and weights that leave no part of a model without effect.

Every parameter is away from its first value: batch-norm statistics, layer scales, GRN, biases, the scales and shifts of
normalizations. Numbers come from NumPy's PCG64 by ``Generator.random`` alone, whose stream depends on no version of
another library, and are rounded to float16: exact in every dtype, and half the size in a file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np


def generator(seed: int, name: str) -> np.random.Generator:
    """Return the stream of random numbers of one case."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def pixel_values(
    rng: np.random.Generator, shape: Sequence[int], *, scale: float = 1.0, offset: float = 0.0
) -> np.ndarray:
    """Return a batch of pictures (N, C, H, W) in float16: uniform, standard deviation `scale`, mean `offset`."""
    return _uniform(rng, shape, -(3**0.5), 3**0.5, scale, offset)


def weights(
    rng: np.random.Generator, shapes: Iterable[tuple[str, Sequence[int]]], *, scale: float = 1.0
) -> dict[str, np.ndarray]:
    """Return a value for each parameter by its name in a checkpoint: float16, or int64 for counters of batches.

    They are drawn in the order of their names. Matrices and kernels keep the size of what passes through them (standard
    deviation ``fan_in ** -0.5``). `scale` is that of biases, class tokens, and the scales and shifts of normalizations:
    a small one makes maps of tiny variance, in which the epsilon of every normalization is seen.
    """
    return {name: _parameter(rng, name, shape, scale) for name, shape in sorted(shapes)}


def _parameter(rng: np.random.Generator, name: str, shape: Sequence[int], scale: float) -> np.ndarray:
    """Return one parameter."""
    layer, _, kind = name.rpartition(".")
    if kind == "num_batches_tracked":
        return np.asarray(rng.random() * 100).astype(np.int64)
    if kind == "running_var":
        return _uniform(rng, shape, 0.5, 2.0, scale**2)
    if kind == "layer_scale_parameter":
        return _uniform(rng, shape, 0.25, 1.0)
    if layer.endswith("grn") or kind == "cls_token":
        return _uniform(rng, shape, -1.0, 1.0, 1.0 if kind == "weight" else scale)
    if kind == "weight" and len(shape) == 1:
        return _uniform(rng, shape, 0.5, 1.5, scale)
    if len(shape) == 1:
        return _uniform(rng, shape, -0.5, 0.5, scale)
    return _uniform(rng, shape, -1.0, 1.0, (3 / np.prod(shape[1:])) ** 0.5)


def tensor_shapes(tensors: Mapping[str, np.ndarray]) -> list[tuple[str, tuple[int, ...]]]:
    """Return (name, shape) of each tensor."""
    return [(name, tuple(tensor.shape)) for name, tensor in tensors.items()]


def _uniform(
    rng: np.random.Generator, shape: Sequence[int], low: float, high: float, scale: float = 1.0, offset: float = 0.0
) -> np.ndarray:
    """Return uniform random numbers, multiplied and moved, in float16."""
    return ((low + (high - low) * rng.random(tuple(shape))) * scale + offset).astype(np.float16)
