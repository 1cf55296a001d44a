"""The first stages of a model as a model of their own: for photos that are unlike those that it was trained on.

The last stage knows what its own classes need. For other classes than those, the one before may serve better: its maps
say more of how things look and less of what they are.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from npconv.models import PretrainedConfig, family_of
from npconv.models.parameters import random_parameters


def stage_names(config: PretrainedConfig) -> list[str]:
    """Return the stages after which a model can end: ``stage1`` and so on, its own last one at the end."""
    return [name for name in config.stage_names if name != "stem"]


def first_stages(config: PretrainedConfig, count: int) -> PretrainedConfig | None:
    """Return the configuration of a model that ends after so many of the stages of another; None if there is none."""
    return config if count == len(stage_names(config)) else config.first_stages(count)


def shortened_state(model: Any, config: PretrainedConfig) -> dict[str, np.ndarray]:
    """Return the parameters of a classifier with the stages of another model, or its first ones, by their names.

    If it has fewer, what comes after the last one is at its first values, as ``pool_stage`` of the family says; so is
    the classifier itself.
    """
    family, state = family_of(config), model.state_dict()
    prefix = f"{family.base_model_prefix}."
    new = {"classifier.*"}
    if len(stage_names(config)) < len(stage_names(model.config)):
        new.update(*family.part("model").OF_OTHER_TASKS.values())
    return {
        name: value if any(fnmatchcase(name.removeprefix(prefix), pattern) for pattern in new) else state[name]
        for name, value in random_parameters(model.parameter_shapes(config), config, 0)
    }
