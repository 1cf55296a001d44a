"""The face that users of transformers know: model classes, Auto classes, pipeline.

The classes hold a configuration and a tree of parameters and call the functions of ``npconv.models``. Read in this
order: ``base`` (loading and saving), ``heads`` (calling), ``families``, ``auto``, ``pipelines``.
"""

from npconv.api.auto import AutoBackbone, AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification
from npconv.api.families import (
    ConvNextBackbone,
    ConvNextForImageClassification,
    ConvNextModel,
    ConvNextV2Backbone,
    ConvNextV2ForImageClassification,
    ConvNextV2Model,
    CvtForImageClassification,
    CvtModel,
)
from npconv.api.pipelines import pipeline

__all__ = [
    "AutoBackbone",
    "AutoConfig",
    "AutoImageProcessor",
    "AutoModel",
    "AutoModelForImageClassification",
    "ConvNextBackbone",
    "ConvNextForImageClassification",
    "ConvNextModel",
    "ConvNextV2Backbone",
    "ConvNextV2ForImageClassification",
    "ConvNextV2Model",
    "CvtForImageClassification",
    "CvtModel",
    "pipeline",
]
