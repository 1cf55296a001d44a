"""Small models that the tests of the API and the command line share."""

from __future__ import annotations

import numpy as np

import npconv
from npconv.models.parameters import random_parameters
from support.families import TASKS, classes_of

STAGED = {"hidden_sizes": [6, 10, 14], "depths": [1, 2, 1], "num_stages": 3, "patch_size": 2, "num_labels": 4}
CONFIGS = {
    "convnext": npconv.ConvNextConfig(**STAGED, layer_scale_init_value=0.5),
    "convnextv2": npconv.ConvNextV2Config(**STAGED),
    "cvt": npconv.CvtConfig(
        embed_dim=[6, 10, 12], num_heads=[1, 2, 3], depth=[1, 1, 2], patch_stride=[2, 2, 2], num_labels=4
    ),
}
CLASSIFIERS, BARE_MODELS, BACKBONES = (classes_of(task, CONFIGS) for task in TASKS)
FAMILIES = list(CONFIGS)


def filled_state_dict(model_class, config, seed=1):
    """Return parameters that are all away from their first values, so that none can be left out unseen."""
    rng = np.random.default_rng(seed)
    first = dict(random_parameters(model_class.parameter_shapes(config), config, seed))
    return {
        name: value if value.dtype == np.int64 else value + rng.uniform(0.1, 0.5, value.shape).astype(np.float32)
        for name, value in first.items()
    }


def filled_model(model_class, config, **options):
    """Return a model with such parameters."""
    return model_class(config, filled_state_dict(model_class, config), **options)


def pictures(batch=2, height=21, width=17, channels=3, seed=0, dtype="float32"):
    """Return random pixel values, odd and not square."""
    return np.random.default_rng(seed).standard_normal((batch, channels, height, width)).astype(dtype)
