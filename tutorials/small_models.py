"""Small models with random weights that together have every layer there is: for checks of a backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import npconv
from npconv.layers import ACTIVATIONS
from npconv.models.parameters import flatten

STAGED: dict[str, Any] = {"num_stages": 2, "hidden_sizes": [4, 6], "depths": [2, 1], "patch_size": 2}
CVT: dict[str, Any] = {"embed_dim": [4, 6], "num_heads": [1, 2], "depth": [1, 2], "patch_stride": [2, 2]}
CLASS_TOKEN: dict[str, Any] = {"cls_token": [False, True]}

#: A name for each activation.
NAMES = {function: name for name, function in reversed(ACTIVATIONS.items())}

#: What is said of each: its configuration.
CONFIGS: dict[str, Any] = {
    "ConvNeXt V2": npconv.ConvNextV2Config(**STAGED),
    "RMS norm": npconv.ConvNextV2Config(**STAGED, norm_type="rms_norm"),
    "simple norm": npconv.ConvNextV2Config(**STAGED, norm_type="simple_norm"),
    "largest in place of average": npconv.ConvNextV2Config(**STAGED, pooling="max"),
    "halfway between both": npconv.ConvNextV2Config(**STAGED, pooling="avgmax"),
    "both, one after the other": npconv.ConvNextV2Config(**STAGED, pooling="catavgmax", head_norm_first=True),
    "dilated in place of smaller maps": npconv.ConvNextV2Config(hidden_sizes=[4] * 4, depths=[1] * 4, output_stride=8),
    "CvT": npconv.CvtConfig(**CVT, **CLASS_TOKEN),
    "CvT without class token": npconv.CvtConfig(**CVT, cls_token=[False, False]),
    "CvT with averages": npconv.CvtConfig(**CVT, **CLASS_TOKEN, qkv_projection_method=["avg", "avg"]),
    "one output, mean squared error": npconv.ConvNextConfig(**STAGED, num_labels=1),
    "several labels": npconv.ConvNextConfig(**STAGED, problem_type="multi_label_classification"),
    "a share of each class": npconv.ConvNextConfig(**STAGED, problem_type="single_label_classification"),
    **{name: npconv.ConvNextConfig(**STAGED, hidden_act=name) for name in NAMES.values()},
    "drop path": npconv.ConvNextConfig(**STAGED, drop_path_rate=0.5),
    "dropout, batch norm": npconv.CvtConfig(**CVT, **CLASS_TOKEN, drop_rate=[0.1, 0.3], attention_drop_rate=[0.2, 0.1]),
}

#: Those that are in training.
TRAINING = ("drop path", "dropout, batch norm")


def small_models() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield what is said of a model, the model, and the arguments of a call for a loss."""
    rng = np.random.default_rng(0)
    for name, config in CONFIGS.items():
        model = npconv.AutoModelForImageClassification.from_config(config, dtype="float64")
        model.load_state_dict({key: _filled(key, array, rng) for key, array in model.state_dict().items()})
        labels = rng.integers(0, config.num_labels, 3)
        call = {"pixel_values": rng.normal(size=(3, 3, 20, 24)), "labels": labels}
        if config.problem_type == "multi_label_classification":
            call["labels"] = rng.integers(0, 2, (3, config.num_labels))
        elif config.problem_type:
            call["labels"] = rng.dirichlet(np.ones(config.num_labels), 3)
        yield name, model, {**call, "training": name in TRAINING, "rng": 0}


def slope_error(model: Any, call: dict[str, Any], rng: np.random.Generator, h: float = 1e-6) -> float:
    """Return by how much gradient and slope differ along a random direction, relative to the gradient's size."""
    run = npconv.value_and_grad(model)
    start = {name: array.copy() for name, array in model.state_dict().items()}
    gradients = {name: array for name, array in flatten(run(**call).gradients).items() if array.any()}
    way = {name: rng.normal(size=array.shape) for name, array in gradients.items()}
    losses = []
    for step in (h, -h):
        model.load_state_dict(start | {name: start[name] + step * way[name] for name in way})
        losses.append(run(**call).loss)
    slope = (losses[0] - losses[1]) / (2 * h)
    expected = sum((gradients[name] * way[name]).sum() for name in way)
    size = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
    return float(abs(slope - expected) / size)


def _filled(name: str, array: Any, rng: np.random.Generator) -> Any:
    """Return random numbers for a parameter, none without effect."""
    if array.ndim > 1 and "cls_token" not in name:
        return rng.normal(size=array.shape) / np.sqrt(array[0].size)
    return array if array.dtype.kind == "i" else rng.uniform(0.5, 1.5, array.shape)
