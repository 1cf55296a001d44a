"""Models with random weights whose activations look like those of trained ones.

First values as transformers draws them (standard deviation 0.02, GRN 0, layer scale 1e-6) leave most of a model
asleep: wrong engines agree, and the slow paths of exponentials are never met. Here every weight has a part in the
result, signals keep their size from layer to layer, and the rows before an activation have a log-normal spread of
scales, so that most pre-activations are small and some lie beyond +-20, as in trained models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from npconv.api import AutoModelForImageClassification
from npconv.models import ConvNextConfig, ConvNextV2Config, CvtConfig, PretrainedConfig
from npconv.models.parameters import Shapes

#: Named after the published models; 1000 classes.
ARCHITECTURES: dict[str, Callable[[], PretrainedConfig]] = {
    "convnext-tiny": lambda: ConvNextConfig(num_labels=1000),
    "convnextv2-tiny": lambda: ConvNextV2Config(num_labels=1000),
    "convnextv2-atto": lambda: ConvNextV2Config(num_labels=1000, hidden_sizes=[40, 80, 160, 320], depths=[2, 2, 6, 2]),
    "cvt-13": lambda: CvtConfig(num_labels=1000),
}

#: The linear layers whose outputs go through the activation.
BEFORE_ACTIVATION = ("pwconv1.weight", "intermediate.dense.weight")

#: Of the logarithm of the scales of their rows: of a thousand rows, some are 10 times as large as the usual one.
SPREAD = 0.9


def lifelike_parameters(shapes: Shapes, seed: int) -> dict[str, np.ndarray]:
    """Return a value for each parameter, see the top of this module: float32, the same for the same seed."""
    streams = np.random.SeedSequence(seed).spawn(len(shapes))
    return {
        name: _lifelike(name, shape, np.random.default_rng(stream))
        for (name, shape), stream in zip(shapes.items(), streams, strict=True)
    }


def _lifelike(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return the value of one parameter."""
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if kind == "running_var":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    normal = rng.standard_normal(shape, np.float32)
    if kind == "layer_scale_parameter":
        return 0.3 * normal
    if ".grn." in name:
        return 0.5 * normal
    if kind in ("bias", "running_mean"):
        return 0.1 * normal
    if len(shape) == 1:
        return 1 + 0.1 * normal
    normal *= np.float32(math.prod(shape[1:]) ** -0.5)
    if name.endswith(BEFORE_ACTIVATION):
        normal *= np.exp(SPREAD * rng.standard_normal((len(normal), *[1] * (normal.ndim - 1)), np.float32))
    return normal


def make_random_model(config: PretrainedConfig, seed: int = 0) -> Any:
    """Return a classifier with lifelike parameters."""
    shapes = type(AutoModelForImageClassification.from_config(config)).parameter_shapes(config)
    return AutoModelForImageClassification.from_config(config, state_dict=lifelike_parameters(shapes, seed))


def write_random_model(config: PretrainedConfig, folder: Path, seed: int = 0) -> None:
    """Write ``config.json`` and ``model.safetensors`` of a classifier with lifelike parameters."""
    make_random_model(config, seed).save_pretrained(folder)
