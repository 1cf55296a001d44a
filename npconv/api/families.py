"""The model classes, made from the list of families: one for each task of each family, when it is first asked for."""

from __future__ import annotations

from typing import Any

from npconv.api.heads import Backbone, BareModel, ImageClassifier
from npconv.models import FAMILIES, Family

#: By task, the base of the classes, and how their docstrings go on after the family's title.
KINDS: dict[str, tuple[type[BareModel], str]] = {
    "model": (BareModel, "without a head"),
    "image_classification": (ImageClassifier, "with a linear classifier"),
    "backbone": (Backbone, "that returns chosen stages"),
}


def class_for(family: Family, task: str) -> Any:
    """Return the class for a task of a family, which is made once."""
    name = family.class_names[task]
    if name in globals():
        return globals()[name]
    base, what = KINDS[task]
    fields = {
        "__module__": __name__,
        "__doc__": f"{family.title} {what}. See :class:`npconv.api.base.PreTrainedModel` for the arguments.",
        "family": family,
        "config_class": family.config_class,
        "base_model_prefix": family.base_model_prefix,
    }
    return globals().setdefault(name, type(name, (base,), fields))  # another thread may have been faster


def __getattr__(name: str) -> Any:
    """Return the class of a name, such as ``ConvNextModel``."""
    for family in FAMILIES.values():
        for task, class_name in family.class_names.items():
            if name == class_name:
                return class_for(family, task)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
