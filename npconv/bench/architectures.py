"""Models with random weights whose activations look like those of trained ones.

First values as transformers draws them (standard deviation 0.02, GRN 0, layer scale 1e-6) leave most of a model
asleep: wrong engines agree, and the slow paths of exponentials are never met. Here every weight has a part in the
result, signals keep their size from layer to layer, and the rows before an activation have a log-normal spread of
scales, so that most pre-activations are small and some lie beyond +-20, as in trained models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from npconv.api.families import class_for
from npconv.models import FAMILIES, PretrainedConfig, family_of


def _make_config(model_type: str, architecture: Any) -> PretrainedConfig:
    """Return the configuration of a published architecture with 1000 classes."""
    fields = {**architecture.shape, **architecture.fields, "num_labels": 1000}
    return FAMILIES[model_type].config_class(**fields)


#: Named after the published models.
ARCHITECTURES: dict[str, Callable[[], PretrainedConfig]] = {
    name: partial(_make_config, model_type, architecture)
    for model_type, family in FAMILIES.items()
    for name, architecture in family.part("published").BENCHED.items()
}

#: Of the logarithm of the scales of the rows before an activation: of a thousand, some are 10 times as large as usual.
SPREAD = 0.9

#: In place of the operation of a layer whose outputs go through an activation.
BEFORE_ACTIVATION = "before activation"


def lifelike_parameters(config: PretrainedConfig, seed: int) -> dict[str, np.ndarray]:
    """Return a value for each parameter, see the top of this module: float32, the same for the same seed."""
    family = family_of(config)
    shapes = class_for(family, family.main_task).parameter_shapes(config)
    plan = getattr(family.part("plan"), family.main_task)(config, training=False)
    operations = {full: step.operation for step in plan for full in step.params.values()}
    for step in plan:
        if step.operation == "activation":
            operations[plan[step.inputs[0]].params["weight"]] = BEFORE_ACTIVATION
    streams = np.random.SeedSequence(seed).spawn(len(shapes))
    return {
        name: _lifelike(name, shape, operations.get(name, ""), np.random.default_rng(stream))
        for (name, shape), stream in zip(shapes.items(), streams, strict=True)
    }


def _lifelike(name: str, shape: tuple[int, ...], operation: str, rng: np.random.Generator) -> np.ndarray:
    """Return the value of one parameter of an operation."""
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if kind == "running_var":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    normal = rng.standard_normal(shape, np.float32)
    if operation == "layer_scale":
        return 0.3 * normal
    if operation == "grn_apply":
        return 0.5 * normal
    if kind in ("bias", "running_mean"):
        return 0.1 * normal
    if len(shape) == 1:
        return 1 + 0.1 * normal
    normal *= np.float32(math.prod(shape[1:]) ** -0.5)
    if operation == BEFORE_ACTIVATION:
        normal *= np.exp(SPREAD * rng.standard_normal((len(normal), *[1] * (normal.ndim - 1)), np.float32))
    return normal


def make_random_model(config: PretrainedConfig, seed: int = 0) -> Any:
    """Return a model with lifelike parameters: a classifier, or a bare model if its family has none."""
    family = family_of(config)
    return class_for(family, family.main_task)(config, state_dict=lifelike_parameters(config, seed))


def write_random_model(config: PretrainedConfig, folder: Path, seed: int = 0) -> None:
    """Write ``config.json`` and ``model.safetensors`` of such a model."""
    make_random_model(config, seed).save_pretrained(folder)
