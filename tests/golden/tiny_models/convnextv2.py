"""The tiny ConvNeXt V2s."""

from __future__ import annotations

from dataclasses import replace

from tests.golden.tiny_models import TinyGradients, TinyModel
from tests.golden.tiny_models.convnext import DROPPING, FIELDS, IGNORED, LABELS, LARGE_MEAN, SHAPE, SQUARE

MODELS = (
    TinyModel("convnextv2", "usual", FIELDS, SHAPE),
    TinyModel("convnextv2", "square", FIELDS, SQUARE),
    TinyModel("convnextv2", "tanh GELU", {**FIELDS, "hidden_act": "gelu_new"}, SHAPE),
    TinyModel("convnextv2", "tiny variance", FIELDS, SHAPE, scale=1e-3),
    TinyModel("convnextv2", "hardly any variance", FIELDS, SHAPE, scale=1e-6),
    TinyModel("convnextv2", "large mean", FIELDS, SHAPE, offsets=LARGE_MEAN),
)

USUAL, _, TANH, TINY, *_ = MODELS

#: GELU is 0 far to the left.
DEAD = TinyModel("convnextv2", "dead channels", FIELDS, SHAPE, offsets={"pwconv1.bias": -300.0})

GRADIENTS = (
    TinyGradients(USUAL, "gradients", LABELS),
    TinyGradients(USUAL, "gradients, a label ignored", IGNORED),
    TinyGradients(TANH, "gradients, tanh GELU", LABELS),
    TinyGradients(TINY, "gradients, tiny variance", LABELS),
    TinyGradients(DEAD, "gradients, dead channels", LABELS),
    TinyGradients(replace(DROPPING, family="convnextv2"), "gradients in training", [3, 5, 1], training=True),
)
