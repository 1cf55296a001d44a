"""The Auto classes: they read a model's ``config.json`` and choose the class that it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from npconv.api.families import (
    ConvNextBackbone,
    ConvNextForImageClassification,
    ConvNextModel,
    ConvNextV2Backbone,
    ConvNextV2ForImageClassification,
    ConvNextV2Model,
    CvtForImageClassification,
    CvtModel,
)
from npconv.errors import ConfigError
from npconv.images import ConvNextImageProcessor
from npconv.models import ConvNextConfig, ConvNextV2Config, CvtConfig, PretrainedConfig
from npconv.models.configuration import read_config_file

CONFIGS: dict[str, type[PretrainedConfig]] = {
    config.model_type: config for config in (ConvNextConfig, ConvNextV2Config, CvtConfig)
}


class AutoConfig:
    """Chooses the configuration class of a model."""

    @staticmethod
    def from_pretrained(model: str | Path, *, revision: str = "main", **overrides: Any) -> PretrainedConfig:
        """Read the configuration of a model, found by name, directory, file or hub id.

        Raises
        ------
        NpconvError
            If there is no such model, or it is of none of the three families.
        """
        fields = read_config_file(model, revision=revision)
        model_type = fields.get("model_type")
        if not isinstance(model_type, str) or model_type not in CONFIGS:
            raise ConfigError(f"{model}: expected model_type to be one of {', '.join(CONFIGS)}; got {model_type!r}")
        return CONFIGS[model_type].from_dict(fields, **overrides)


class _AutoModel:
    """Chooses the class of one kind for a model."""

    _classes: ClassVar[dict[type[PretrainedConfig], Any]]

    @classmethod
    def from_pretrained(
        cls, model: str | Path, *, config: PretrainedConfig | None = None, revision: str = "main", **kwargs: Any
    ) -> Any:
        """Load a model; the arguments are those of :meth:`npconv.api.base.PreTrainedModel.from_pretrained`."""
        chosen = AutoConfig.from_pretrained(model, revision=revision) if config is None else config
        return cls._choose(chosen).from_pretrained(model, config=config, revision=revision, **kwargs)

    @classmethod
    def from_config(cls, config: PretrainedConfig, **kwargs: Any) -> Any:
        """Make a model with random parameters; the arguments are those of the class."""
        return cls._choose(config)(config, **kwargs)

    @classmethod
    def _choose(cls, config: PretrainedConfig) -> Any:
        """Return the class for a configuration."""
        if type(config) not in cls._classes:
            known = ", ".join(known.__name__ for known in cls._classes)
            raise ConfigError(f"{cls.__name__}: expected one of {known}; got {type(config).__name__}")
        return cls._classes[type(config)]


class AutoModel(_AutoModel):
    """Chooses the bare model class."""

    _classes: ClassVar = {ConvNextConfig: ConvNextModel, ConvNextV2Config: ConvNextV2Model, CvtConfig: CvtModel}


class AutoModelForImageClassification(_AutoModel):
    """Chooses the image classifier class."""

    _classes: ClassVar = {
        ConvNextConfig: ConvNextForImageClassification,
        ConvNextV2Config: ConvNextV2ForImageClassification,
        CvtConfig: CvtForImageClassification,
    }


class AutoBackbone(_AutoModel):
    """Chooses the backbone class. CvT has none."""

    _classes: ClassVar = {ConvNextConfig: ConvNextBackbone, ConvNextV2Config: ConvNextV2Backbone}


class AutoImageProcessor:
    """Reads the preprocessing of a model. All three families use :class:`ConvNextImageProcessor`."""

    @staticmethod
    def from_pretrained(model: str | Path, *, revision: str = "main", **overrides: Any) -> ConvNextImageProcessor:
        """Read the ``preprocessor_config.json`` of a model, found by name, directory, file or hub id.

        Raises
        ------
        NpconvError
            If there is no such model, or its preprocessing is another one.
        """
        return ConvNextImageProcessor.from_pretrained(model, revision=revision, **overrides)
