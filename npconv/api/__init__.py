"""The face that users of transformers know: model classes, Auto classes, pipeline.

The classes hold a configuration and a tree of parameters and call the functions of ``npconv.models``. Read in this
order:

- ``base``: making, loading and saving; ``loading``: what a file of weights must be; ``folded``: the fast engine's
  arrays in a file that processes share
- ``holder``: the parameters of a model and its engine; ``module``: what is typed on a model as on one of torch, and on
  a ``part`` of it; ``parameter``: one array
- ``heads``: bare models and classifiers, how they are called and compute; ``backbone``: the third kind of class;
  ``outputs``, ``loss``: what comes out; ``torch_array``: and how those who call with tensors of torch can go on with it
- ``notebook``: what a notebook shows of models and outputs
- ``gradients``: what each parameter or pixel does to the loss
- ``families``: ``ConvNextModel`` and so on, made from the list of families; ``tensorflow``: what is different in those
  called ``TF...``; ``auto``: which of them a file asks for
- ``pipelines``, on ``pictures`` (what all have in common), ``classification`` and ``extraction``; ``inputs``: what one
  may be given; ``choices``: what callers of it leave open; ``sizes``: of the pictures that a model takes
- ``shared``: a classifier in worker processes; ``together``: all of them with one picture
"""

from typing import Any

from npconv.api import families
from npconv.api.auto import (
    AutoBackbone,
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoProcessor,
    TFAutoModel,
    TFAutoModelForImageClassification,
)
from npconv.api.base import PreTrainedModel
from npconv.api.classification import ImageClassificationPipeline
from npconv.api.extraction import ImageFeatureExtractionPipeline
from npconv.api.pipelines import pipeline
from npconv.api.tensorflow import TFPreTrainedModel
from npconv.models import FAMILIES

__all__ = [
    "AutoBackbone",
    "AutoConfig",
    "AutoFeatureExtractor",
    "AutoImageProcessor",
    "AutoModel",
    "AutoModelForImageClassification",
    "AutoProcessor",
    "ImageClassificationPipeline",
    "ImageFeatureExtractionPipeline",
    "PreTrainedModel",
    "TFAutoModel",
    "TFAutoModelForImageClassification",
    "TFPreTrainedModel",
    "pipeline",
]
__all__ += [
    name for family in FAMILIES.values() for name in (*family.class_names.values(), *family.tensorflow_names.values())
]


def __getattr__(name: str) -> Any:
    """Return the model class of a name, such as ``ConvNextModel``, when it is first asked for."""
    if name in __all__:
        return getattr(families, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
