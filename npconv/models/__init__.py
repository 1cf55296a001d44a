"""The families of models, a folder each, and what they share. Everything asks for a family by its ``model_type``.

Read in this order: ``convnext``, ``convnextv2``, ``cvt``.

A new family is a folder here and a line in :data:`FAMILIES`. The folder is called as ``config.json`` says in
``model_type``. In it, with TASK for each of the family's tasks (:data:`TASKS`):

``__init__.py``
    - ``DESCRIPTION``, ``PAPER``: what ``npconv info`` says of the family, and where it was published;
    - the names of ``configuration`` and ``model`` that people use.
``configuration.py``
    - the class ``NameConfig(PretrainedConfig)``, with Name as in FAMILIES: ``model_type``, ``stage_names`` (of its
      hidden states), ``num_channels``, ``image_size``, ``hidden_act``, ``initializer_range``; for a backbone also
      ``out_features``, ``out_indices`` and ``feature_sizes``, as in ``npconv/models/backbone.py``;
    - if need be ``added_fields``, ``implied_fields``, ``first_values`` and ``first_stages`` of
      :class:`PretrainedConfig`.
``model.py``
    - ``TASK(pixel_values, **params, config, rng=None)``: what the task gives out (features, logits, or a list of
      feature maps) and the list of hidden states, of the tree of parameters;
    - ``TASK_shapes(config)``: the shape of each parameter by its name in a checkpoint;
    - ``name_outputs(features, hidden_states)``: the outputs of the bare model by their names in transformers, without
      the hidden states;
    - if ``first_stages`` of the configuration gives any, ``pool_stage(x, config)``: what the classifier of a model gets
      that ends after a stage, given the map of that;
    - ``OF_OTHER_TASKS``: for each task patterns of the names in checkpoints that it has no use for.
``plan.py``
    - ``TASK(config, *, training)``: the same as a :class:`npconv.plan.step.Plan`. Its outputs are what ``TASK`` gives
      out; of the bare model, what it gives out beside ``last_hidden_state``, or that if there is nothing else or it is
      not a map. In `training` it has the steps for dropout and drop path.
``fast.py``
    - ``fold(config, params)``: the tree of float32 arrays of the fast engine, of the tree of parameters of any task;
    - ``make_engine(config, folded, threads=None)``: the :class:`npconv.fast.engine.Engine` that works with them.
``processor.py``, if the line says so
    - a class made of ``npconv.images.ConvNextImageProcessor`` for another preprocessing.
``names.py``
    - how other libraries name and lay out its parameters, and what names and shapes say of the configuration: see
      ``npconv/models/naming.py``.
``modules.py``
    - what other libraries call its modules that have no parameters: see ``npconv/models/naming_modules.py``.
``published.py``
    - architectures and checkpoints that have been published, and numbers they are known by: see
      ``npconv/models/publishing.py``.

From these, ``npconv.api`` makes the classes ``NameModel``, ``NameForImageClassification`` and ``NameBackbone``, those
called ``TF...`` and the choices of the Auto classes, and traces, ``npconv info``, engines and benchmarks know the
family.

What the families share: ``configuration`` (with ``checks`` of its fields), ``backbone``, ``parameters`` (from a
checkpoint to the tree of parameters), ``tree`` (how it is shown), ``plans``, ``summary`` (the table of layers),
``fields`` (of a configuration, those that say something), ``naming``, ``naming_tensorflow``, ``naming_keras``,
``naming_modules``, ``publishing``, ``processors``.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, NamedTuple

from npconv.errors import ConfigError
from npconv.messages import shown

#: What a family can be asked for, and how the names of the classes for it end.
TASKS = {"model": "Model", "image_classification": "ForImageClassification", "backbone": "Backbone"}


class TensorFlowFace(NamedTuple):
    """What is documented of the classes that transformers had for TensorFlow, of one family."""

    #: The class of a bare model's outputs, and of a classifier's: names of ``npconv.api.outputs``.
    model_output: str
    classifier_output: str
    #: Whether a classifier's labels come right after the pixel values, as in PyTorch, and not after the options.
    labels_second: bool = False


class Family(NamedTuple):
    """One family of models."""

    #: What a ``config.json`` calls it, and the name of its folder.
    model_type: str
    #: How the names of its classes begin: ``"ConvNext"``.
    name: str
    #: What people call it: ``"ConvNeXt"``.
    title: str
    #: What it can be asked for, of :data:`TASKS`.
    tasks: tuple[str, ...]
    #: What comes before the names of the bare model's parameters in checkpoints of larger ones; `model_type` if empty.
    base: str = ""
    #: How the name of the class begins that makes pictures ready, ``"DINOv3ViT"``, if the folder has one of its own.
    pictures: str = ""
    #: Its classes for TensorFlow, if transformers had such.
    tensorflow: TensorFlowFace | None = None
    #: Further names of its classes in transformers or its documents, and which of the properties below each means.
    spellings: tuple[tuple[str, str], ...] = ()

    @cache  # noqa: B019 - families live as long as the process
    def part(self, name: str) -> Any:
        """Return a module of the family's folder: ``"configuration"``, ``"model"``, ``"plan"`` and so on."""
        return importlib.import_module(f"npconv.models.{self.model_type}.{name}")

    @property
    def folder(self) -> Any:
        """The package that is its folder."""
        return importlib.import_module(f"npconv.models.{self.model_type}")

    @property
    def config_class(self) -> Any:
        """The class of its configurations."""
        return getattr(self.part("configuration"), self.config_name)

    @property
    def config_name(self) -> str:
        """The name of the class of its configurations."""
        return f"{self.name}Config"

    @property
    def processor_name(self) -> str:
        """The name of the class that makes pictures ready."""
        return f"{self.pictures or 'ConvNext'}ImageProcessor"

    @property
    def processor_class(self) -> Any:
        """The class that makes pictures ready."""
        home = self.part("processor") if self.pictures else importlib.import_module("npconv.images")
        return getattr(home, self.processor_name)

    @property
    def class_names(self) -> dict[str, str]:
        """The name of the class for each of its tasks."""
        return {task: self.name + TASKS[task] for task in self.tasks}

    @property
    def tensorflow_names(self) -> dict[str, str]:
        """The name of the class for TensorFlow for each task that has one."""
        tasks = ("model", "image_classification") if self.tensorflow else ()
        return {task: f"TF{self.class_names[task]}" for task in tasks}

    @property
    def base_model_prefix(self) -> str:
        """What comes before the names of the bare model's parameters in checkpoints of larger ones."""
        return self.base or self.model_type

    @property
    def main_task(self) -> str:
        """What its published models are for: classifying, if it can."""
        return "image_classification" if "image_classification" in self.tasks else self.tasks[0]


#: The list of families: a new one is a folder and a line here.
FAMILIES = {
    family.model_type: family
    for family in (
        Family(
            "convnext",
            "ConvNext",
            "ConvNeXt",
            ("model", "image_classification", "backbone"),
            tensorflow=TensorFlowFace("TFBaseModelOutputWithPooling", "TFSequenceClassifierOutput"),
            spellings=(
                ("ConvNextImageProcessorFast", "processor_class"),
                ("ConvNextImageProcessorPil", "processor_class"),
            ),
        ),
        Family(
            "convnextv2",
            "ConvNextV2",
            "ConvNeXt V2",
            ("model", "image_classification", "backbone"),
            tensorflow=TensorFlowFace(
                "TFBaseModelOutputWithPoolingAndNoAttention", "TFImageClassifierOutputWithNoAttention"
            ),
            spellings=(("ConvNeXTV2Config", "config_class"),),
        ),
        Family(
            "cvt",
            "Cvt",
            "CvT",
            ("model", "image_classification"),
            tensorflow=TensorFlowFace(
                "TFBaseModelOutputWithCLSToken", "TFImageClassifierOutputWithNoAttention", labels_second=True
            ),
            spellings=(("CvtImageProcessor", "processor_class"),),
        ),
        Family(
            "dinov3_convnext",
            "DINOv3ConvNext",
            "DINOv3",
            ("model", "backbone"),
            "model",
            "DINOv3ViT",
            spellings=(("DINOv3ViTImageProcessorFast", "processor_class"),),
        ),
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
        raise ConfigError(f"expected model_type to be one of {', '.join(FAMILIES)}; got {shown(model_type)}")
    return FAMILIES[model_type]


def family_of(config: Any) -> Family:
    """Return the family of a configuration.

    Raises
    ------
    ConfigError
        If it is the configuration of none.
    """
    model_type = getattr(config, "model_type", None)
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        *titles, last = (family.title for family in FAMILIES.values())
        raise ConfigError(f"expected the configuration of {', '.join(titles)} or {last}, got {type(config).__name__}")
    return FAMILIES[model_type]


def __getattr__(name: str) -> Any:
    """Return a class of a family, such as ``ConvNextConfig``, when it is first asked for."""
    for family in FAMILIES.values():
        if name == family.config_name:
            return family.config_class
        if family.pictures and name == family.processor_name:
            return family.processor_class
        for spelling, meant in family.spellings:
            if name == spelling:
                return getattr(family, meant)
    if name in ("PretrainedConfig", "PreTrainedConfig"):
        return importlib.import_module("npconv.models.configuration").PretrainedConfig
    raise AttributeError(f"module 'npconv.models' has no attribute {name!r}")
