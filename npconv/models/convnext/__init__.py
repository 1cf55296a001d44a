"""ConvNeXt: "A ConvNet for the 2020s", https://arxiv.org/abs/2201.03545. Read ``model.py`` first."""

from npconv.models.convnext.configuration import ConvNextConfig
from npconv.models.convnext.model import (
    OF_OTHER_TASKS,
    STEMS,
    backbone,
    backbone_shapes,
    check_pixel_values,
    choose_features,
    classify,
    downsample,
    encode,
    feature_shapes,
    image_classification,
    image_classification_shapes,
    layer,
    layer_shapes,
    model,
    model_shapes,
    name_outputs,
    pool,
    pool_stage,
    stage,
    stem,
    summarize,
)

#: What ``npconv info`` says of the family.
DESCRIPTION = "a convolutional network: large depthwise convolutions, LayerNorm, wide pointwise layers"
PAPER = "A ConvNet for the 2020s, https://arxiv.org/abs/2201.03545"

__all__ = [
    "OF_OTHER_TASKS",
    "STEMS",
    "ConvNextConfig",
    "backbone",
    "backbone_shapes",
    "check_pixel_values",
    "choose_features",
    "classify",
    "downsample",
    "encode",
    "feature_shapes",
    "image_classification",
    "image_classification_shapes",
    "layer",
    "layer_shapes",
    "model",
    "model_shapes",
    "name_outputs",
    "pool",
    "pool_stage",
    "stage",
    "stem",
    "summarize",
]
