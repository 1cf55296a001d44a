"""The families of models, a folder each, and what they share. Everything asks for a family by its ``model_type``.

A folder holds all that is known about its family, under the same names in each:

- ``configuration``: the class ``...Config``, its fields and their defaults
- ``model``: for each task the function that computes it and the shapes of its parameters
- ``plan``: for each task the same as named steps
- ``fast``: the tuned engine for CPUs
- ``names``: how other libraries name and lay out its parameters, and what names and shapes say of the configuration
- ``published``: architectures and checkpoints that have been published, and numbers they are known by

Read in this order: ``convnext``, ``convnextv2``, ``cvt``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from npconv.errors import ConfigError


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes
    ----------
    model_type : str
        What a ``config.json`` calls it, and the name of its folder.
    name : str
        How the names of its classes begin: ``"ConvNext"``.
    tasks : tuple of str
        What it can be asked for: ``"model"``, ``"image_classification"``, ``"backbone"``.
    """

    model_type: str
    name: str
    tasks: tuple[str, ...]

    def part(self, name: str) -> Any:
        """Return a module of the family's folder: ``"configuration"``, ``"model"``, ``"plan"`` and so on."""
        return importlib.import_module(f"npconv.models.{self.model_type}.{name}")

    @property
    def config_class(self) -> Any:
        """The class of its configurations."""
        return getattr(self.part("configuration"), f"{self.name}Config")


#: The list of families: a new one is a folder and a line here.
FAMILIES = {
    family.model_type: family
    for family in (
        Family("convnext", "ConvNext", ("model", "image_classification", "backbone")),
        Family("convnextv2", "ConvNextV2", ("model", "image_classification", "backbone")),
        Family("cvt", "Cvt", ("model", "image_classification")),
    )
}


def find_family(model_type: object) -> Family:
    """Return the family of a ``model_type``.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ConfigError(f"expected model_type to be one of {', '.join(FAMILIES)}; got {str(model_type)[:80]!r}")
    return FAMILIES[model_type]


def __getattr__(name: str) -> Any:
    """Return the configuration class of a name, such as ``ConvNextConfig``, when it is first asked for."""
    for family in FAMILIES.values():
        if name == f"{family.name}Config":
            return family.config_class
    if name == "PretrainedConfig":
        return importlib.import_module("npconv.models.configuration").PretrainedConfig
    raise AttributeError(f"module 'npconv.models' has no attribute {name!r}")
