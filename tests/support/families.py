"""The families as tests take them; all of it follows from ``npconv.models.FAMILIES``."""

from __future__ import annotations

from typing import Any

import npconv
from npconv.models import FAMILIES
from weights_tools.goldens.cases import class_name

MODULES: dict[str, Any] = {name: family.part("model") for name, family in FAMILIES.items()}
CONFIGS: dict[str, Any] = {name: family.config_class for name, family in FAMILIES.items()}

#: By family and task.
CLASSES: dict[tuple[str, str], Any] = {
    (name, task): getattr(npconv, class_name(name, task)) for name, family in FAMILIES.items() for task in family.tasks
}


def _with_task(task: str) -> dict[str, Any]:
    """Return the classes of a task by family; not every family has one."""
    return {name: found for (name, own_task), found in CLASSES.items() if own_task == task}


BARE_MODELS = _with_task("model")
CLASSIFIERS = _with_task("image_classification")
BACKBONES = _with_task("backbone")
