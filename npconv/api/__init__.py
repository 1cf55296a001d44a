"""The face that users of transformers know: model classes, Auto classes, pipeline.

The classes hold a configuration and a tree of parameters and call the functions of ``npconv.models``. Read in this
order: ``base`` (loading and saving), ``heads`` (calling), ``families`` (``ConvNextModel`` and so on), ``auto``,
``pipelines``.
"""

from typing import Any

from npconv.api import families
from npconv.api.auto import AutoBackbone, AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification
from npconv.api.pipelines import pipeline
from npconv.models import FAMILIES

__all__ = [
    "AutoBackbone",
    "AutoConfig",
    "AutoImageProcessor",
    "AutoModel",
    "AutoModelForImageClassification",
    "pipeline",
]
__all__ += [name for family in FAMILIES.values() for name in family.class_names.values()]


def __getattr__(name: str) -> Any:
    """Return the model class of a name, such as ``ConvNextModel``, when it is first asked for."""
    if name in __all__:
        return getattr(families, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
