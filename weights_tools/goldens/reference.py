"""The reference models: transformers' classes, with what they lack added.

Added are: the activation ``selu``, which the documentation of transformers names and its table lacks; other activations
than GELU in CvT (Microsoft trained with quick GELU); CvT's projection methods ``avg`` and ``linear``, on which
transformers raises AttributeError; CvT stages with fewer blocks than their number, on which it raises IndexError.

Needs torch and transformers (the extra ``reference``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch
from torch import nn
from transformers import (
    ConvNextBackbone,
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextModel,
    ConvNextV2Backbone,
    ConvNextV2Config,
    ConvNextV2ForImageClassification,
    ConvNextV2Model,
    CvtConfig,
    CvtForImageClassification,
    CvtModel,
)
from transformers.activations import ACT2FN
from transformers.models.cvt import modeling_cvt

CONFIGS = {"convnext": ConvNextConfig, "convnextv2": ConvNextV2Config, "cvt": CvtConfig}

MODELS = {
    ("convnext", "model"): ConvNextModel,
    ("convnext", "image_classification"): ConvNextForImageClassification,
    ("convnext", "backbone"): ConvNextBackbone,
    ("convnextv2", "model"): ConvNextV2Model,
    ("convnextv2", "image_classification"): ConvNextV2ForImageClassification,
    ("convnextv2", "backbone"): ConvNextV2Backbone,
    ("cvt", "model"): CvtModel,
    ("cvt", "image_classification"): CvtForImageClassification,
}


def build(family: str, task: str, fields: Mapping[str, Any]) -> Any:
    """Return a model of transformers for inference in float64.

    Parameters
    ----------
    family : str
        ``"convnext"``, ``"convnextv2"`` or ``"cvt"``.
    task : str
        ``"model"``, ``"image_classification"`` or ``"backbone"``.
    fields : mapping
        Of the configuration, as npconv takes them.
    """
    make = _build_cvt if family == "cvt" else _build_staged
    return make(family, task, dict(fields)).double().eval()


def patched(family: str, fields: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields, sorted, whose values transformers does not run; none: its classes as they are."""
    if family != "cvt":
        return ["hidden_act"] if fields.get("hidden_act") == "selu" else []
    config = CvtConfig(**fields)
    shallow = any(blocks <= stage for stage, blocks in enumerate(config.depth))
    methods = config.qkv_projection_method[: len(config.depth)]
    found = {
        "depth": shallow,
        "hidden_act": fields.get("hidden_act", "gelu") != "gelu",
        "qkv_projection_method": any(method != "dw_bn" for method in methods),
    }
    return [name for name, is_patched in found.items() if is_patched]


def load(model: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Give a model its weights: all of them, exactly."""
    model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})


def run(model: Any, pixel_values: np.ndarray) -> dict[str, np.ndarray]:
    """Return every output of a model by name, in the model's dtype; hidden states and feature maps are numbered."""
    dtype = next(model.parameters()).dtype
    with torch.no_grad():
        outputs = model(torch.tensor(pixel_values).to(dtype), output_hidden_states=True)
    arrays: dict[str, np.ndarray] = {}
    for name, value in outputs.items():
        parts = {f"{name}.{i}": part for i, part in enumerate(value)} if isinstance(value, tuple) else {name: value}
        arrays |= {name: part.numpy() for name, part in parts.items()}
    return arrays


def loss(model: Any, pixel_values: np.ndarray, labels: np.ndarray, problem_type: str | None) -> np.ndarray:
    """Return the loss of an image classifier; floating-point labels are taken in the model's dtype."""
    dtype = next(model.parameters()).dtype
    targets = torch.tensor(labels)
    targets = targets.to(dtype) if targets.is_floating_point() else targets
    model.config.problem_type = problem_type
    with torch.no_grad():
        outputs = model(torch.tensor(pixel_values).to(dtype), labels=targets, output_hidden_states=True)
    model.config.problem_type = None  # transformers stores what it has inferred
    return outputs.loss.numpy()


def _build_staged(family: str, task: str, fields: dict[str, Any]) -> Any:
    """Return a ConvNeXt or ConvNeXt V2."""
    ACT2FN.setdefault("selu", nn.SELU)
    return MODELS[family, task](CONFIGS[family](**fields))


def _build_cvt(family: str, task: str, fields: dict[str, Any]) -> Any:
    """Return a CvT with what transformers lacks."""
    hidden_act = fields.pop("hidden_act", "gelu")
    depth = list(fields.get("depth", CvtConfig().depth))
    longer = [max(blocks, stage + 1) for stage, blocks in enumerate(depth)]
    model = MODELS[family, task](CvtConfig(**{**fields, "depth": longer}))
    stages = model.encoder.stages if task == "model" else model.cvt.encoder.stages
    for stage, blocks in zip(stages, depth, strict=True):
        stage.layers = stage.layers[:blocks]
    for module in model.modules():
        if isinstance(module, modeling_cvt.CvtIntermediate):
            module.activation = ACT2FN[hidden_act]
        if isinstance(module, modeling_cvt.CvtStage):
            _add_projections(module)
    return model


def _add_projections(stage: Any) -> None:
    """Give the attention of a stage its projections ``avg`` or ``linear``, as ``cls_cvt.py`` of microsoft/CvT has them.

    ``avg`` averages keys and values and leaves queries, ``linear`` leaves all three.
    """
    config, i = stage.config, stage.stage
    method = config.qkv_projection_method[i]
    window = {"kernel_size": config.kernel_qkv[i], "stride": config.stride_kv[i], "padding": config.padding_kv[i]}
    for layer in stage.layers if method != "dw_bn" else ():
        attention = layer.attention.attention
        attention.convolution_projection_query.convolution_projection = nn.Identity()
        for projection in (attention.convolution_projection_key, attention.convolution_projection_value):
            average = nn.AvgPool2d(**window, ceil_mode=True) if method == "avg" else nn.Identity()
            projection.convolution_projection = average
