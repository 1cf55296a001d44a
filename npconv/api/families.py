"""The model classes, made from the list of families: one for each task of each family, when it is first asked for."""

from __future__ import annotations

from typing import Any

from npconv.api import outputs
from npconv.api.backbone import Backbone
from npconv.api.heads import BareModel, ImageClassifier
from npconv.api.tensorflow import TFImageClassifier, TFImageClassifierLabelsLast, TFPreTrainedModel
from npconv.errors import ConfigError
from npconv.models import FAMILIES, Family

#: By task, the base of the classes, and how their docstrings go on after the family's title.
KINDS: dict[str, tuple[type[BareModel[Any]], str]] = {
    "model": (BareModel, "without a head"),
    "image_classification": (ImageClassifier, "with a linear classifier"),
    "backbone": (Backbone, "that returns chosen stages"),
}


def class_for(family: Family, task: str) -> Any:
    """Return the class for a task of a family, which is made once."""
    bare = None if task == "model" else class_for(family, "model")
    return _made(family, task, family.class_names[task], KINDS[task][0], bare_class=bare)


def tensorflow_class_for(family: Family, task: str) -> Any:
    """Return the class for a task of a family as transformers had it for TensorFlow, which is made once.

    Raises
    ------
    ConfigError
        If there was none.
    """
    face = family.tensorflow
    if face is None or task not in family.tensorflow_names:
        name = f"TF{family.class_names[task]}"
        raise ConfigError(f"{family.title} has no {name}; use {name.removeprefix('TF')}")
    name = family.tensorflow_names[task]
    if task == "model":
        return _made(family, task, name, TFPreTrainedModel, output_class=getattr(outputs, face.model_output))
    base = TFImageClassifier if face.labels_second else TFImageClassifierLabelsLast
    bare = tensorflow_class_for(family, "model")
    return _made(family, task, name, base, output_class=getattr(outputs, face.classifier_output), bare_class=bare)


def _made(family: Family, task: str, name: str, base: type[BareModel[Any]], **more: Any) -> Any:
    """Return the class of a name, which is made if it is not there."""
    if name in globals():
        return globals()[name]
    fields = {
        "__module__": __name__,
        "__doc__": f"{family.title} {KINDS[task][1]}. See :class:`npconv.api.base.PreTrainedModel` for the arguments.",
        "family": family,
        "config_class": family.config_class,
        "base_model_prefix": family.base_model_prefix,
        **more,
    }
    return globals().setdefault(name, type(name, (base,), fields))  # another thread may have been faster


def __getattr__(name: str) -> Any:
    """Return the class of a name, such as ``ConvNextModel``."""
    for family in FAMILIES.values():
        for task, class_name in family.class_names.items():
            if name == class_name:
                return class_for(family, task)
        for task, class_name in family.tensorflow_names.items():
            if name == class_name:
                return tensorflow_class_for(family, task)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
