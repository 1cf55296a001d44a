"""The tiny ConvNeXts, and the sizes that V2 shares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.golden.tiny_models import TinyGradients, TinyModel

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

#: Of three pictures, so that a mask drops some and not others.
DROPPING = TinyModel("convnext", "drop path", {**FIELDS, "drop_path_rate": 0.8}, (3, *SHAPE[1:]))

#: Labels: of each picture a class, of which -100 is none, or a number for each class.
LABELS, IGNORED = [3, 5], [-100, 3]
NUMBERS = [[0.5, -1.0, 0.25, 2.0, -0.75, 1.5, 0.0], [1.0, 0.5, -0.25, -2.0, 0.75, -1.5, 3.0]]
SHARES = [[0.5, 1.0, 0.25, 0.0, 0.75, 1.0, 0.0], [1.0, 0.5, 0.0, 0.0, 0.25, 1.0, 0.75]]


def with_problem(model: TinyModel, problem_type: str) -> TinyModel:
    """Return a model with the loss of another kind of labels."""
    return replace(model, fields={**model.fields, "problem_type": problem_type})


USUAL, _, TANH, TINY, _, *OF_TIMM = MODELS

GRADIENTS = (
    TinyGradients(USUAL, "gradients", LABELS),
    TinyGradients(USUAL, "gradients, a label ignored", IGNORED),
    TinyGradients(TANH, "gradients, tanh GELU", LABELS),
    TinyGradients(TINY, "gradients, tiny variance", LABELS),
    *(TinyGradients(model, f"gradients, {model.says}", LABELS) for model in OF_TIMM),
    TinyGradients(with_problem(USUAL, "regression"), "gradients, regression", NUMBERS),
    TinyGradients(with_problem(USUAL, "multi_label_classification"), "gradients, several labels", SHARES),
    TinyGradients(DROPPING, "gradients in training", [3, 5, 1], training=True),
)
