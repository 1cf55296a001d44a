"""CvT: "Introducing Convolutions to Vision Transformers", https://arxiv.org/abs/2103.15808. Read ``model.py`` first."""

from npconv.models.cvt.configuration import LARGEST_PADDING, QKV_PROJECTION_METHODS, CvtConfig
from npconv.models.cvt.model import (
    BATCH_NORM_EPS,
    LAYER_NORM_EPS,
    check_pixel_values,
    classify,
    convolutional_embedding,
    convolutional_projection,
    image_classification,
    image_classification_shapes,
    layer,
    layer_shapes,
    model,
    model_shapes,
    name_outputs,
    project_positions,
    self_attention,
    stage,
)

#: What ``npconv info`` says of the family.
DESCRIPTION = "a vision transformer with convolutions in its embeddings and projections"
PAPER = "CvT: Introducing Convolutions to Vision Transformers, https://arxiv.org/abs/2103.15808"

__all__ = [
    "BATCH_NORM_EPS",
    "LARGEST_PADDING",
    "LAYER_NORM_EPS",
    "QKV_PROJECTION_METHODS",
    "CvtConfig",
    "check_pixel_values",
    "classify",
    "convolutional_embedding",
    "convolutional_projection",
    "image_classification",
    "image_classification_shapes",
    "layer",
    "layer_shapes",
    "model",
    "model_shapes",
    "name_outputs",
    "project_positions",
    "self_attention",
    "stage",
]
