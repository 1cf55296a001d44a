"""The Auto classes: they read a model's ``config.json`` and choose the class that it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from npconv.api.backbone import Backbone
from npconv.api.families import class_for, tensorflow_class_for
from npconv.api.heads import BareModel, ImageClassifier
from npconv.errors import ConfigError, InputError
from npconv.files.loading_arguments import sort_out
from npconv.images import ConvNextImageProcessor
from npconv.models import FAMILIES, Family, PretrainedConfig, find_family
from npconv.models.configuration import read_config_file
from npconv.models.processors import load_processor

#: The class of models that an Auto class gives.
Kind = TypeVar("Kind", bound=BareModel[Any])


class AutoConfig:
    """Chooses the configuration class of a model."""

    @staticmethod
    def for_model(model_type: str, **fields: Any) -> PretrainedConfig:
        """Make the configuration of a family, such as ``"convnextv2"``, from its fields.

        Raises
        ------
        ConfigError
            If there is no such family, or a field has a wrong value.
        """
        made: PretrainedConfig = find_family(model_type).config_class(**fields)
        return made

    @staticmethod
    def from_pretrained(model: str | Path | None = None, **arguments: Any) -> PretrainedConfig:
        """Read the configuration of a model, found by name, directory, file or hub id.

        The arguments are those of :meth:`npconv.models.PretrainedConfig.from_pretrained`.

        Raises
        ------
        NpconvError
            If there is no such model, or it is of no family that npconv knows; or an argument is unknown.
        """
        model = arguments.pop("pretrained_model_name_or_path", model)
        origin, overrides = sort_out(arguments)
        fields = read_config_file(model, origin)
        try:
            family = find_family(fields.get("model_type"))
        except ConfigError as error:
            raise ConfigError(f"{model}: {error}") from None
        made = family.config_class.from_file_fields(fields, overrides, "AutoConfig.from_pretrained", model)
        config: PretrainedConfig = made
        return config


class _AutoModel(Generic[Kind]):
    """Chooses the class of one kind for a model."""

    _task: ClassVar[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise InputError(f"{type(self).__name__} only chooses a class: from_pretrained(MODEL), or from_config(config)")

    @classmethod
    def from_pretrained(
        cls, model: str | Path | None = None, *, config: PretrainedConfig | str | Path | None = None, **kwargs: Any
    ) -> Kind:
        """Load a model; the arguments are those of :meth:`npconv.api.base.PreTrainedModel.from_pretrained`."""
        model = kwargs.pop("pretrained_model_name_or_path", model)
        origin, rest = sort_out(kwargs)
        if config is not None and not isinstance(config, PretrainedConfig):
            config = AutoConfig.from_pretrained(config, **origin.arguments())
        chosen = config
        if chosen is None:
            chosen = AutoConfig.from_pretrained(model, **origin.arguments())
            origin = origin.downloaded()
        return cls._choose(chosen).from_pretrained(model, config=config, **rest, **origin.arguments())

    @classmethod
    def from_config(cls, config: PretrainedConfig, **kwargs: Any) -> Kind:
        """Make a model with random parameters; the arguments are those of the class."""
        return cls._choose(config)(config, **sort_out(kwargs)[1])

    @classmethod
    def _choose(cls, config: PretrainedConfig) -> Any:
        """Return the class for a configuration."""
        families = {family.config_name: family for family in FAMILIES.values() if cls._task in family.tasks}
        found = families.get(type(config).__name__)
        if found is None or type(config) is not found.config_class:
            raise ConfigError(f"{cls.__name__}: expected one of {', '.join(families)}; got {type(config).__name__}")
        return cls._class_for(found, cls._task)

    @staticmethod
    def _class_for(family: Family, task: str) -> Any:
        """Return the class for a task of a family."""
        return class_for(family, task)


class AutoModel(_AutoModel[BareModel[Any]]):
    """Chooses the bare model class."""

    _task = "model"


class AutoModelForImageClassification(_AutoModel[ImageClassifier]):
    """Chooses the image classifier class."""

    _task = "image_classification"


class TFAutoModel(AutoModel):
    """Chooses the bare model class called ``TF...``."""

    @staticmethod
    def _class_for(family: Family, task: str) -> Any:
        """Return the class for a task of a family."""
        return tensorflow_class_for(family, task)


class TFAutoModelForImageClassification(AutoModelForImageClassification):
    """Chooses the image classifier class called ``TF...``."""

    @staticmethod
    def _class_for(family: Family, task: str) -> Any:
        """Return the class for a task of a family."""
        return tensorflow_class_for(family, task)


class AutoBackbone(_AutoModel[Backbone]):
    """Chooses the backbone class. CvT has none."""

    _task = "backbone"


class AutoImageProcessor:
    """Reads the preprocessing of a model: :class:`ConvNextImageProcessor`, or that of a family with another one."""

    @staticmethod
    def from_pretrained(model: str | Path | None = None, **arguments: Any) -> ConvNextImageProcessor:
        """Read the ``preprocessor_config.json`` of a model, found by name, directory, file or hub id.

        The arguments are those of :meth:`npconv.ConvNextImageProcessor.from_pretrained`.

        Raises
        ------
        NpconvError
            If there is no such model, or its preprocessing is another one; or an argument is unknown.
        """
        return load_processor(model, **arguments)


class AutoFeatureExtractor(AutoImageProcessor):
    """The older name of :class:`AutoImageProcessor`."""


class AutoProcessor(AutoImageProcessor):
    """What transformers gives for a model that takes pictures alone: its image processor."""
