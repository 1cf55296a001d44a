"""The tiny ConvNeXts of DINOv3."""

from __future__ import annotations

from typing import Any

from tests.golden.tiny_models import TinyGradients, TinyModel

#: Patches are larger than in the other families, and maps so must not be smaller than a kernel.
SHAPE, SQUARE = (2, 3, 33, 38), (2, 3, 33, 33)

FIELDS: dict[str, Any] = {"hidden_sizes": [6, 10], "depths": [2, 1]}

LARGE_MEAN = {"stages.0.downsample_layers.0.bias": 300.0}

MODELS = (
    TinyModel("dinov3_convnext", "usual", FIELDS, SHAPE),
    TinyModel("dinov3_convnext", "square", FIELDS, SQUARE),
    TinyModel("dinov3_convnext", "tanh GELU", {**FIELDS, "hidden_act": "gelu_new"}, SHAPE),
    TinyModel("dinov3_convnext", "tiny variance", FIELDS, SHAPE, scale=1e-3),
    TinyModel("dinov3_convnext", "large mean", FIELDS, SHAPE, offsets=LARGE_MEAN),
)

DROPPING = TinyModel("dinov3_convnext", "drop path", {**FIELDS, "drop_path_rate": 0.8}, (3, *SHAPE[1:]))

USUAL, _, TANH, TINY, _ = MODELS

GRADIENTS = (
    TinyGradients(USUAL, "gradients"),
    TinyGradients(TANH, "gradients, tanh GELU"),
    TinyGradients(TINY, "gradients, tiny variance"),
    TinyGradients(DROPPING, "gradients in training", training=True),
)
