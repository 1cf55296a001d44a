"""Models and pictures that hide no mistake: for ports without a checkpoint, and for npconv's own tests.

First values as transformers draws them leave most of a model without effect (GRN 0, layer scale 1e-6, norms 1 and 0,
biases 0), and so a mistake there. Here no parameter is 0, 1 or the same for all channels, matrices and kernels keep the
size of what passes through them, there are two pictures, and they are not square: whatever is left out, exchanged or
mixed up changes the numbers. All come of one stream of PCG64, the same everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from npconv.api import AutoConfig
from npconv.api.families import class_for
from npconv.api.heads import BareModel
from npconv.api.sizes import input_size, size_in
from npconv.errors import GoldenError
from npconv.golden.truth import class_of
from npconv.hub.catalogue import catalogue
from npconv.models import PretrainedConfig, family_of, find_family
from npconv.models.publishing import Published

#: The sides of pictures that are drawn where none is given: one less than a multiple of this has a remainder at every
#: stride of a model, so that it is seen at which end a map is cut.
STRIDES = 32

#: The most numbers that pictures may hold, as two of 1600 x 1600 do: a model makes tens of numbers of each.
MOST_NUMBERS = 1 << 24


def make(
    name: str | os.PathLike[str], *, seed: int = 0, size: tuple[int, int] | None = None, pictures: int = 2
) -> tuple[BareModel[Any], np.ndarray]:
    """Return a model with weights, and pictures for it, that hide nothing.

    Parameters
    ----------
    name : str or path
        Of a model that is embedded or published, a folder with a ``config.json``, or such a file. Weights are not read,
        and of published models nothing is downloaded.
    seed : int
    size : (int, int), optional
        Height and width of the pictures. By default the height is that of the model's own, and the width another.
    pictures : int

    Returns
    -------
    model of npconv in float32, array (N, C, H, W) of float32

    Raises
    ------
    NpconvError
        If there is no such model, or a number is out of range.
    """
    config = config_of(name)
    height, width = size or usual_size(config, None if _published(name) else name)
    shape = (pictures, config.num_channels, height, width)
    if seed < 0 or min(shape) < 1 or np.prod(shape, dtype=float) > MOST_NUMBERS:
        raise GoldenError(
            f"expected a seed of at least 0 and pictures of at least 1 and at most {MOST_NUMBERS} numbers, got seed "
            f"{seed} and {pictures} x {height} x {width}"
        )
    model_class = class_of(config) or class_for(family_of(config), family_of(config).main_task)
    rng = np.random.Generator(np.random.PCG64(seed))
    model: BareModel[Any] = model_class(config, draw_parameters(rng, model_class.parameter_shapes(config)))
    return model, draw_pictures(rng, shape)


def config_of(name: str | os.PathLike[str]) -> PretrainedConfig:
    """Return the configuration of a name; that of a published model without asking the hub."""
    published = _published(name)
    if published is None:
        return AutoConfig.from_pretrained(str(name))
    family = find_family(published.family)
    known = family.part("published").ARCHITECTURES
    shape = next(one for one in known if one.count(published.classes) == published.parameters)
    config: PretrainedConfig = family.config_class(
        **{**shape.shape, **shape.fields, "image_size": published.input, "num_labels": published.classes}
    )
    return config


def _published(name: str | os.PathLike[str]) -> Published | None:
    """Return the published checkpoint of a name, unless it is that of a folder or file."""
    return next((one for one in catalogue() if one.name == str(name) and not os.path.exists(name)), None)


def usual_size(config: Any, model: str | os.PathLike[str] | None = None) -> tuple[int, int]:
    """Return the height of a model's own pictures, and a width that is another and has a remainder at every stride.

    `model` is where its preprocessing may stand.
    """
    height, width = input_size(config, None) if model is None else size_in(config, model)
    return (height, width) if height != width else (height, height // STRIDES * STRIDES + STRIDES - 1)


def draw_parameters(
    rng: np.random.Generator,
    shapes: Mapping[str, Sequence[int]],
    scale: float = 1.0,
    offsets: Mapping[str, float] | None = None,
    gains: Mapping[str, float] | None = None,
) -> dict[str, np.ndarray]:
    """Return a value for each parameter by its name in a checkpoint, float32; they are drawn in the order of names.

    Parameters
    ----------
    rng : numpy.random.Generator
    shapes : mapping of str to shape
    scale : float
        Of biases, class tokens, and the scales and shifts of normalizations. A small one makes maps of tiny variance.
    offsets : mapping of str to float, optional
        How the names of biases end -> what is added to them, so that all channels have a large mean.
    gains : mapping of str to float, optional
        What is in the names of weights -> their factor.
    """
    return {
        name: _parameter(rng, name, shape, scale, offsets or {}, gains or {}) for name, shape in sorted(shapes.items())
    }


def draw_pictures(rng: np.random.Generator, shape: Sequence[int], scale: float = 1.0) -> np.ndarray:
    """Return pictures (N, C, H, W) in float32, of mean 0 and standard deviation `scale`."""
    return (_uniform(rng, shape, -1.7, 1.7) * scale).astype(np.float32)


def draw_labels(config: PretrainedConfig, pictures: int, seed: int = 0) -> np.ndarray | None:
    """Return labels as the loss of a classifier takes them; None if there are no classes."""
    rng = np.random.Generator(np.random.PCG64(seed))
    if config.num_labels == 1 or config.problem_type in ("regression", "multi_label_classification"):
        return rng.random((pictures, config.num_labels))
    return rng.integers(0, config.num_labels, pictures) if config.num_labels else None


def _parameter(
    rng: np.random.Generator,
    name: str,
    shape: Sequence[int],
    scale: float,
    offsets: Mapping[str, float],
    gains: Mapping[str, float],
) -> np.ndarray:
    """Return one parameter."""
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.asarray(7)
    if kind == "running_var":
        return (_uniform(rng, shape, 0.5, 2.0) * scale**2).astype(np.float32)
    if kind in ("layer_scale_parameter", "gamma"):
        return _uniform(rng, shape, 0.25, 1.0).astype(np.float32)
    if name.endswith(".grn.weight"):
        return _uniform(rng, shape, -1.0, 1.0).astype(np.float32)
    if kind == "weight" and len(shape) == 1:
        return (_uniform(rng, shape, 0.5, 1.5) * scale).astype(np.float32)
    if kind in ("cls_token", "bias", "running_mean"):  # GRN has a bias of four axes
        offset = next((value for end, value in offsets.items() if name.endswith(end)), 0.0)
        return (_uniform(rng, shape, -0.5, 0.5) * scale + offset).astype(np.float32)
    gain = next((value for part, value in gains.items() if part in name), 1.0)
    return (_uniform(rng, shape, -1.0, 1.0) * gain * (3 / np.prod(shape[1:])) ** 0.5).astype(np.float32)


def _uniform(rng: np.random.Generator, shape: Iterable[int], low: float, high: float) -> np.ndarray:
    """Return uniform random numbers in float64."""
    return low + (high - low) * rng.random(tuple(shape))
