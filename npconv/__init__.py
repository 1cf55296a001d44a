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

import importlib
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from npconv.api import (
        AutoBackbone,
        AutoConfig,
        AutoImageProcessor,
        AutoModel,
        AutoModelForImageClassification,
        ConvNextBackbone,
        ConvNextForImageClassification,
        ConvNextModel,
        ConvNextV2Backbone,
        ConvNextV2ForImageClassification,
        ConvNextV2Model,
        CvtForImageClassification,
        CvtModel,
        pipeline,
    )
    from npconv.images import ConvNextFeatureExtractor, ConvNextImageProcessor
    from npconv.models import ConvNextConfig, ConvNextV2Config, CvtConfig

_HOME = {
    "AutoBackbone": "npconv.api",
    "AutoConfig": "npconv.api",
    "AutoImageProcessor": "npconv.api",
    "AutoModel": "npconv.api",
    "AutoModelForImageClassification": "npconv.api",
    "ConvNextBackbone": "npconv.api",
    "ConvNextConfig": "npconv.models",
    "ConvNextFeatureExtractor": "npconv.images",
    "ConvNextForImageClassification": "npconv.api",
    "ConvNextImageProcessor": "npconv.images",
    "ConvNextModel": "npconv.api",
    "ConvNextV2Backbone": "npconv.api",
    "ConvNextV2Config": "npconv.models",
    "ConvNextV2ForImageClassification": "npconv.api",
    "ConvNextV2Model": "npconv.api",
    "CvtConfig": "npconv.models",
    "CvtForImageClassification": "npconv.api",
    "CvtModel": "npconv.api",
    "pipeline": "npconv.api",
}

#: Packages that are used by their own names: ``npconv.golden.trace()``.
_PACKAGES = ("golden", "layers")

__all__ = [
    "AutoBackbone",
    "AutoConfig",
    "AutoImageProcessor",
    "AutoModel",
    "AutoModelForImageClassification",
    "ConfigError",
    "ConvNextBackbone",
    "ConvNextConfig",
    "ConvNextFeatureExtractor",
    "ConvNextForImageClassification",
    "ConvNextImageProcessor",
    "ConvNextModel",
    "ConvNextV2Backbone",
    "ConvNextV2Config",
    "ConvNextV2ForImageClassification",
    "ConvNextV2Model",
    "CvtConfig",
    "CvtForImageClassification",
    "CvtModel",
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
    "pipeline",
]


def __getattr__(name: str) -> Any:
    """Import the home of a public name when the name is first used."""
    if name in _PACKAGES:
        return importlib.import_module(f"npconv.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'npconv' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__, *_PACKAGES})
