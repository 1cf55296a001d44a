"""The model classes of the three families."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from npconv.api.heads import Backbone, BareModel, ImageClassifier
from npconv.api.outputs import BaseModelOutputWithCLSToken, BaseModelOutputWithPoolingAndNoAttention, ModelOutput
from npconv.models import ConvNextConfig, ConvNextV2Config, CvtConfig, convnext, convnextv2, cvt


def _head_names(family: str) -> tuple[str, ...]:
    """Return patterns of the names that come after the last stage, which a backbone has no use for."""
    norms = [f"{prefix}{norm}.*" for prefix in ("", f"{family}.") for norm in ("layernorm", "layernorm_before_pooling")]
    return ("classifier.*", "pre_classifier.*", *norms)


class _PooledModel(BareModel):
    """The bare models of ConvNeXt and V2: they return a pooled output as well."""

    _names_of_other_classes = ("classifier.*", "pre_classifier.*")

    def _forward(self, pixel_values: Any, labels: Any, rng: np.random.Generator | None) -> ModelOutput:
        pooled, hidden_states = self._compute(self.family.model, pixel_values, rng)
        return BaseModelOutputWithPoolingAndNoAttention(hidden_states[-1], pooled, tuple(hidden_states))


class ConvNextModel(_PooledModel):
    """ConvNeXt without a head. See :class:`npconv.api.base.PreTrainedModel` for the arguments."""

    config_class = ConvNextConfig
    base_model_prefix = "convnext"
    family: ClassVar[Any] = convnext


class ConvNextForImageClassification(ImageClassifier):
    """ConvNeXt with a linear classifier. See :class:`npconv.api.base.PreTrainedModel` for the arguments."""

    config_class = ConvNextConfig
    base_model_prefix = "convnext"
    family: ClassVar[Any] = convnext


class ConvNextBackbone(Backbone):
    """ConvNeXt that returns chosen stages. See :class:`npconv.api.base.PreTrainedModel` for the arguments."""

    config_class = ConvNextConfig
    base_model_prefix = "convnext"
    family: ClassVar[Any] = convnext
    _names_of_other_classes = _head_names("convnext")


class ConvNextV2Model(_PooledModel):
    """ConvNeXt V2 without a head. See :class:`npconv.api.base.PreTrainedModel` for the arguments."""

    config_class = ConvNextV2Config
    base_model_prefix = "convnextv2"
    family: ClassVar[Any] = convnextv2


class ConvNextV2ForImageClassification(ImageClassifier):
    """ConvNeXt V2 with a linear classifier. See :class:`npconv.api.base.PreTrainedModel` for the arguments."""

    config_class = ConvNextV2Config
    base_model_prefix = "convnextv2"
    family: ClassVar[Any] = convnextv2


class ConvNextV2Backbone(Backbone):
    """ConvNeXt V2 that returns chosen stages. See :class:`npconv.api.base.PreTrainedModel` for the arguments."""

    config_class = ConvNextV2Config
    base_model_prefix = "convnextv2"
    family: ClassVar[Any] = convnextv2
    _names_of_other_classes = _head_names("convnextv2")


class CvtModel(BareModel):
    """CvT without a head. See :class:`npconv.api.base.PreTrainedModel` for the arguments."""

    config_class = CvtConfig
    base_model_prefix = "cvt"
    family: ClassVar[Any] = cvt
    _names_of_other_classes = ("classifier.*", "layernorm.*")

    def _forward(self, pixel_values: Any, labels: Any, rng: np.random.Generator | None) -> ModelOutput:
        cls_token, hidden_states = self._compute(self.family.model, pixel_values, rng)
        return BaseModelOutputWithCLSToken(hidden_states[-1], cls_token, tuple(hidden_states))


class CvtForImageClassification(ImageClassifier):
    """CvT with a linear classifier. See :class:`npconv.api.base.PreTrainedModel` for the arguments."""

    config_class = CvtConfig
    base_model_prefix = "cvt"
    family: ClassVar[Any] = cvt
