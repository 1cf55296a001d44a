"""ConvNeXt V2, https://arxiv.org/abs/2301.00808: the block and what differs from ``npconv.models.convnext``."""

from npconv.models.convnextv2.configuration import ConvNextV2Config
from npconv.models.convnextv2.model import (
    GRN_EPS,
    backbone,
    backbone_shapes,
    encode,
    image_classification,
    image_classification_shapes,
    layer,
    layer_shapes,
    model,
    model_shapes,
    name_outputs,
    stage,
)

#: What ``npconv info`` says of the family.
DESCRIPTION = "a convolutional network: ConvNeXt with global response normalization in each block"
PAPER = "ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders, https://arxiv.org/abs/2301.00808"

__all__ = [
    "GRN_EPS",
    "ConvNextV2Config",
    "backbone",
    "backbone_shapes",
    "encode",
    "image_classification",
    "image_classification_shapes",
    "layer",
    "layer_shapes",
    "model",
    "model_shapes",
    "name_outputs",
    "stage",
]
