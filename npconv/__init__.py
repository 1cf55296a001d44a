"""ConvNeXt, ConvNeXt V2 and CvT in plain NumPy: a reference to read, step through, port from and use.

Letters in the shapes of every docstring and comment:

====  =====================================================
N     samples in the batch
C     channels
H, W  height and width of a map, in positions
T     tokens (the H * W positions of a map, one after another)
S     tokens that are attended to (keys and values)
D     embedding: the channels of a token
h     attention heads
O     output channels
K     classes
====  =====================================================

``import npconv`` loads NumPy and the standard library only; every name below brings its module when it is first used.
"""

from __future__ import annotations

import npconv.startup  # first, so that Ctrl-C is caught while the rest is loaded

# isort: split
import importlib
from typing import Any

import npconv.hub  # noqa: F401 - so that a hub id is found wherever a model is named
from npconv._version import __version__
from npconv.errors import (
    ConfigError,
    GoldenError,
    ImageError,
    InputError,
    ModelNotFoundError,
    NpconvError,
    NpconvWarning,
    SafetensorsError,
    UnavailableError,
    WeightsError,
)
from npconv.models import FAMILIES

#: The package that each public name comes from; the classes of the families are made from their list.
_HOME = {
    "AutoBackbone": "npconv.api",
    "AutoConfig": "npconv.api",
    "AutoFeatureExtractor": "npconv.api",
    "AutoImageProcessor": "npconv.api",
    "AutoModel": "npconv.api",
    "AutoModelForImageClassification": "npconv.api",
    "AutoProcessor": "npconv.api",
    "ConvNextFeatureExtractor": "npconv.images",
    "ConvNextImageProcessor": "npconv.images",
    "ImageClassificationPipeline": "npconv.api",
    "ImageFeatureExtractionPipeline": "npconv.api",
    "BatchFeature": "npconv.images",
    "PreTrainedConfig": "npconv.models",
    "PreTrainedModel": "npconv.api",
    "PretrainedConfig": "npconv.models",
    "TFAutoModel": "npconv.api",
    "TFAutoModelForImageClassification": "npconv.api",
    "TFPreTrainedModel": "npconv.api",
    "TensorType": "npconv.tensors",
    "pipeline": "npconv.api",
    "value_and_grad": "npconv.api.gradients",
    **{family.config_name: "npconv.models" for family in FAMILIES.values()},
    **{family.processor_name: "npconv.models" for family in FAMILIES.values() if family.pictures},
    **{name: "npconv.models" for family in FAMILIES.values() for name, _ in family.spellings},
    **{name: "npconv.api" for family in FAMILIES.values() for name in family.class_names.values()},
    **{name: "npconv.api" for family in FAMILIES.values() for name in family.tensorflow_names.values()},
}

#: Packages and modules that are used by their own names: ``npconv.golden.trace()``.
PACKAGES = ("golden", "gradients", "image_utils", "layers", "modeling_outputs", "pictures", "pipelines", "training")

__all__ = [
    "ConfigError",
    "GoldenError",
    "ImageError",
    "InputError",
    "ModelNotFoundError",
    "NpconvError",
    "NpconvWarning",
    "SafetensorsError",
    "UnavailableError",
    "WeightsError",
    "__version__",
]
__all__ += _HOME


def __getattr__(name: str) -> Any:
    """Import the home of a public name when the name is first used."""
    if name in PACKAGES:
        return importlib.import_module(f"npconv.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'npconv' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not, and what Python itself asks for."""
    return sorted({*(name for name in globals() if name[:2] == "__"), *__all__, *PACKAGES})
