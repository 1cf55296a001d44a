"""Random small models of every family and task for the tests of gradients, and what they start from.

All options of the configurations are drawn, those of training as well. Batches have two pictures or more: the variance
of a batch of one number a channel is not defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import hypothesis.strategies as st
import numpy as np

from npconv.plan.backward import RANDOM
from npconv.plan.operations import OPERATIONS
from support import fast_models
from support.families import CLASSES, CONFIGS

#: Every family with each of its tasks.
KINDS = sorted(CLASSES)


@st.composite
def dinov3_configs(choose: Any) -> Any:
    """Draw a configuration of DINOv3's ConvNeXt."""
    stages = choose(st.integers(1, 3))
    names = ["stem", *(f"stage{number}" for number in range(1, stages + 1))]
    chosen = choose(st.sets(st.sampled_from(names), min_size=1))
    return CONFIGS["dinov3_convnext"](
        num_channels=choose(st.sampled_from([1, 3])),
        hidden_sizes=choose(st.lists(st.integers(3, 16), min_size=stages, max_size=stages)),
        depths=[1, *choose(st.lists(st.integers(0, 2), min_size=stages - 1, max_size=stages - 1))],
        hidden_act=choose(st.sampled_from(sorted(fast_models.ACTIVATIONS))),
        layer_norm_eps=choose(st.sampled_from([1e-12, 1e-6, 0.1])),
        out_features=[name for name in names if name in chosen],
    )


@st.composite
def configs(choose: Any, family: str) -> Any:
    """Draw a configuration of a family, with an activation that has a name, that may drop at random in training."""
    config = choose(dinov3_configs() if family == "dinov3_convnext" else fast_models.configs(family))
    if callable(config.hidden_act):
        config.hidden_act = "gelu"
    rates = st.sampled_from([0.0, 0.3])
    if family == "cvt":
        for name in ("drop_rate", "attention_drop_rate", "drop_path_rate"):
            setattr(config, name, [choose(rates) for _ in config.depth])
    else:
        config.drop_path_rate = choose(rates)
    return config


@st.composite
def models(choose: Any, family: str, task: str, dtype: str = "float64") -> Any:
    """Draw a model, and pictures for it."""
    config, kind = choose(configs(family)), CLASSES[family, task]
    height, width = (side + choose(st.integers(0, 5)) for side in fast_models.least_size(config))
    tensors = fast_models.weights(kind, config, choose(st.integers(0, 99)))
    pixel_values = fast_models.pictures((choose(st.sampled_from([2, 3])), config.num_channels, height, width))
    return kind(config, tensors, dtype=dtype), pixel_values.astype(dtype)


def wanted(model: Any) -> list[str]:
    """Return the names of all parameters that are trained, and of the pixels."""
    return [name for name, _ in model.named_parameters()] + ["pixel_values"]


def starts(plan: Any, pixel_values: np.ndarray, dtype: str = "float64") -> dict[str, np.ndarray]:
    """Return what a plan with gradients and no labels starts from: the pictures, and 1 as the gradient of each loss."""
    losses = [step.name for step in plan if step.operation == "half_square"]
    return {"pixel_values": pixel_values, **{f"{name}.grad": np.ones((), dtype) for name in losses}}


def drawing(seed: int) -> Callable[[Any], Callable[..., Any]]:
    """Return what chooses the function of each step for ``run_plan``, where masks are drawn from a generator."""
    rng = np.random.default_rng(seed)

    def function_of(step: Any) -> Callable[..., Any]:
        function = OPERATIONS[step.operation]
        return partial(function, rng=rng) if step.operation in RANDOM else function

    return function_of


def shapes_of(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array."""
    return {name: array.shape for name, array in arrays.items()}
