"""The tiny ConvNeXt V2s."""

from __future__ import annotations

from tests.golden.tiny_models import TinyModel
from tests.golden.tiny_models.convnext import FIELDS, LARGE_MEAN, SHAPE, SQUARE

MODELS = (
    TinyModel("convnextv2", "usual", FIELDS, SHAPE),
    TinyModel("convnextv2", "square", FIELDS, SQUARE),
    TinyModel("convnextv2", "tanh GELU", {**FIELDS, "hidden_act": "gelu_new"}, SHAPE),
    TinyModel("convnextv2", "tiny variance", FIELDS, SHAPE, scale=1e-3),
    TinyModel("convnextv2", "hardly any variance", FIELDS, SHAPE, scale=1e-6),
    TinyModel("convnextv2", "large mean", FIELDS, SHAPE, offsets=LARGE_MEAN),
)
