"""The tiny CvTs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.golden.tiny_models import TinyGradients, TinyModel
from tests.golden.tiny_models.convnext import IGNORED, LABELS

FIELDS: dict[str, Any] = {
    **{"embed_dim": [6, 12], "num_heads": [2, 3], "depth": [2, 1], "mlp_ratio": [2.0, 1.5], "num_labels": 7},
    **{"patch_sizes": [5, 3], "patch_stride": [3, 2], "patch_padding": [2, 1], "cls_token": [False, True]},
    **{"kernel_qkv": [3, 3], "padding_kv": [1, 1], "stride_kv": [2, 2], "padding_q": [1, 1], "stride_q": [1, 1]},
    **{"qkv_bias": [True, True], "qkv_projection_method": ["dw_bn", "dw_bn"]},
    **{"drop_rate": [0.0, 0.0], "attention_drop_rate": [0.0, 0.0], "drop_path_rate": [0.0, 0.0]},
}

#: The second stage embeds with stride 1, and has no class token to classify.
POOLED: dict[str, Any] = {
    **FIELDS,
    **{"cls_token": [False, False], "qkv_projection_method": ["avg", "avg"], "patch_stride": [3, 1]},
}

#: A class token from the first stage on, which all stages must then be as wide as.
TOKENS: dict[str, Any] = {**FIELDS, "embed_dim": [12, 12], "cls_token": [True, True], "hidden_act": "quick_gelu"}

#: Of pictures; published models take square ones.
SHAPE, SQUARE = (2, 3, 29, 34), (2, 3, 29, 29)

MODELS = (
    TinyModel("cvt", "usual", FIELDS, SHAPE),
    TinyModel("cvt", "square", FIELDS, SQUARE),
    TinyModel("cvt", "no class token, average pooling", POOLED, SHAPE),
    TinyModel("cvt", "class tokens, quick GELU", TOKENS, SHAPE),
    TinyModel("cvt", "tiny variance", FIELDS, SHAPE, scale=1e-3),
    TinyModel("cvt", "large mean", FIELDS, SHAPE, offsets={"projection.bias": 300.0}),
    TinyModel("cvt", "large scores", FIELDS, SHAPE, gains={".projection_query.": 12.0, ".projection_key.": 12.0}),
)

#: Of three pictures, so that a mask drops some and not others.
DROPPING = TinyModel(
    "cvt",
    "drop path and dropout",
    {**FIELDS, "drop_path_rate": [0.5, 0.5], "drop_rate": [0.2, 0.2], "attention_drop_rate": [0.2, 0.2]},
    (3, *SHAPE[1:]),
)

USUAL, _, POOLING, QUICK, TINY, *_ = MODELS

GRADIENTS = (
    TinyGradients(USUAL, "gradients", LABELS),
    TinyGradients(USUAL, "gradients, a label ignored", IGNORED),
    *(TinyGradients(model, f"gradients, {model.says}", LABELS) for model in (POOLING, QUICK, TINY)),
    TinyGradients(DROPPING, "gradients in training", [3, 5, 1], training=True),
    TinyGradients(replace(TINY, fields=DROPPING.fields), "gradients in training, tiny variance", LABELS, training=True),
)
