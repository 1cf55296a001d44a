"""The tiny ConvNeXts, and the sizes that V2 shares."""

from __future__ import annotations

from typing import Any

from tests.golden.tiny_models import TinyModel

FIELDS: dict[str, Any] = {"num_stages": 2, "hidden_sizes": [6, 10], "depths": [2, 1], "patch_size": 3, "num_labels": 7}

#: Of pictures; published models take square ones, whose maps have other numbers of channels than of rows.
SHAPE, SQUARE = (2, 3, 25, 29), (2, 3, 25, 25)

LARGE_MEAN = {"patch_embeddings.bias": 300.0}

MODELS = (
    TinyModel("convnext", "usual", FIELDS, SHAPE),
    TinyModel("convnext", "square", FIELDS, SQUARE),
    TinyModel("convnext", "tanh GELU", {**FIELDS, "hidden_act": "gelu_new"}, SHAPE),
    TinyModel("convnext", "tiny variance", FIELDS, SHAPE, scale=1e-3),
    TinyModel("convnext", "large mean", FIELDS, SHAPE, offsets=LARGE_MEAN),
)
