"""The tiny ConvNeXts, and the sizes that V2 shares."""

from __future__ import annotations

from typing import Any

from tests.golden.tiny_models import TinyModel

FIELDS: dict[str, Any] = {"num_stages": 2, "hidden_sizes": [6, 10], "depths": [2, 1], "patch_size": 3, "num_labels": 7}

#: Of pictures; published models take square ones, whose maps have other numbers of channels than of rows.
SHAPE, SQUARE = (2, 3, 25, 29), (2, 3, 25, 25)

LARGE_MEAN = {"patch_embeddings.bias": 300.0}

#: Of timm.
RMS: dict[str, Any] = {**FIELDS, "norm_type": "rms_norm", "pooling": "avgmax", "layer_norm_eps": 1e-6}
SIMPLE: dict[str, Any] = {**RMS, "norm_type": "simple_norm", "pooling": "max"}
DILATED: dict[str, Any] = {
    **{"hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 1, 1], "patch_size": 3, "num_labels": 7, "kernel_sizes": 3},
    **{"output_stride": 8, "pooling": "catavgmax", "head_norm_first": True},
}

MODELS = (
    TinyModel("convnext", "usual", FIELDS, SHAPE),
    TinyModel("convnext", "square", FIELDS, SQUARE),
    TinyModel("convnext", "tanh GELU", {**FIELDS, "hidden_act": "gelu_new"}, SHAPE),
    TinyModel("convnext", "tiny variance", FIELDS, SHAPE, scale=1e-3),
    TinyModel("convnext", "large mean", FIELDS, SHAPE, offsets=LARGE_MEAN),
    TinyModel("convnext", "RMS norm of tiny squares", RMS, SHAPE, scale=1e-3),
    TinyModel("convnext", "simple norm of tiny variance", SIMPLE, SHAPE, scale=1e-3),
    TinyModel("convnext", "dilated", DILATED, (2, 3, 53, 46)),
)
