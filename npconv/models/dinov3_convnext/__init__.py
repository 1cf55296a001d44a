"""The ConvNeXt of DINOv3, https://arxiv.org/abs/2508.10104. Read ``model.py`` first."""

from npconv.models.dinov3_convnext.configuration import DINOv3ConvNextConfig
from npconv.models.dinov3_convnext.model import (
    OF_OTHER_TASKS,
    PATCH_SIZE,
    backbone,
    backbone_shapes,
    choose_features,
    downsample,
    encode,
    layer,
    layer_shapes,
    model,
    model_shapes,
    name_outputs,
    stage,
    stem,
    summarize,
)

#: What ``npconv info`` says of the family.
DESCRIPTION = "a ConvNeXt that learned without labels, for features: its last map as tokens, their mean first"
PAPER = "DINOv3, https://arxiv.org/abs/2508.10104"

__all__ = [
    "OF_OTHER_TASKS",
    "PATCH_SIZE",
    "DINOv3ConvNextConfig",
    "backbone",
    "backbone_shapes",
    "choose_features",
    "downsample",
    "encode",
    "layer",
    "layer_shapes",
    "model",
    "model_shapes",
    "name_outputs",
    "stage",
    "stem",
    "summarize",
]
