"""The families as tests take them; all of it follows from ``npconv.models.FAMILIES``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import npconv
from npconv.models import FAMILIES

MODULES: dict[str, Any] = {name: family.part("model") for name, family in FAMILIES.items()}
CONFIGS: dict[str, Any] = {name: family.config_class for name, family in FAMILIES.items()}

TASKS = ("image_classification", "model", "backbone")

#: By family and task.
CLASSES: dict[tuple[str, str], Any] = {
    (model_type, task): getattr(npconv, name)
    for model_type, family in FAMILIES.items()
    for task, name in family.class_names.items()
}


def classes_of(task: str, among: Iterable[str] = FAMILIES) -> dict[str, Any]:
    """Return the classes of a task by family, of some families; not every family has every task."""
    return {name: CLASSES[name, task] for name in among if (name, task) in CLASSES}
