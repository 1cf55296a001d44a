"""ConvNeXt V2: "Co-designing and Scaling ConvNets with Masked Autoencoders", https://arxiv.org/abs/2301.00808.

The block is new: global response normalization (GRN) after the activation, and no layer scale. The stem, the stages,
the pooling and the models made of them are those of ConvNeXt, with this block: see ``npconv/models/convnext/model.py``.

Reference implementations: ``models/convnextv2.py`` of facebookresearch/ConvNeXt-V2 and ``modeling_convnextv2.py`` of
transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from npconv.backend import Array, Rng
from npconv.layers import activation, depthwise_conv2d, drop_path, global_response_norm, norm_layer, pointwise_conv2d
from npconv.models import convnext
from npconv.models.convnext import variants
from npconv.models.convnext.configuration import StagedConfig
from npconv.models.convnextv2.configuration import ConvNextV2Config
from npconv.models.parameters import Shapes, affine_shapes

GRN_EPS = 1e-6


OF_OTHER_TASKS = convnext.OF_OTHER_TASKS
name_outputs = convnext.name_outputs
pool_stage = convnext.pool_stage


def layer(
    x: Array,
    dwconv: Mapping[str, Any],
    layernorm: Mapping[str, Any],
    pwconv1: Mapping[str, Any],
    grn: Mapping[str, Any],
    pwconv2: Mapping[str, Any],
    *,
    config: ConvNextV2Config,
    dilation: int = 1,
    drop_path_rate: float = 0.0,
    rng: Rng = None,
) -> Array:
    """One ConvNeXt V2 block (figure 5 of the paper): (N, C, H, W) -> (N, C, H, W)."""
    residual = x
    around = dwconv["weight"].shape[2] // 2 * dilation  # 3 for the usual kernel of 7 x 7
    x = depthwise_conv2d(x, **dwconv, padding=around, dilation=dilation)
    x = norm_layer(config.norm_type)(x, **layernorm, eps=config.norm_eps, axis=1)
    x = pointwise_conv2d(x, **pwconv1)  # (N, 4C, H, W)
    x = activation(config.hidden_act)(x)
    x = global_response_norm(x, **grn, eps=GRN_EPS)
    x = pointwise_conv2d(x, **pwconv2)  # (N, C, H, W)
    x = drop_path(x, rate=drop_path_rate, rng=rng)
    return residual + x


# Of ConvNeXt, with this block.
stage = partial(convnext.stage, block=layer)
encode = partial(convnext.encode, block=layer)
model = partial(convnext.model, block=layer)
backbone = partial(convnext.backbone, block=layer)


def image_classification(
    pixel_values: Array,
    convnextv2: Mapping[str, Any],
    classifier: Mapping[str, Any] | None = None,
    pre_classifier: Mapping[str, Any] | None = None,
    *,
    config: ConvNextV2Config,
    rng: Rng = None,
) -> tuple[Array, list[Array]]:
    """Run the classifier: as :func:`model`, with logits (N, K) in place of the pooled features."""
    pooled, hidden_states = model(pixel_values, **convnextv2, config=config, rng=rng)
    return convnext.classify(pooled, classifier, pre_classifier, config=config), hidden_states


def layer_shapes(prefix: str, size: int, kernel: int, config: StagedConfig) -> Shapes:
    """Return the shapes of one block with `size` channels."""
    return {
        **affine_shapes(f"{prefix}.dwconv", (size, 1, kernel, kernel)),
        **variants.norm_shapes(f"{prefix}.layernorm", size, config),
        **affine_shapes(f"{prefix}.pwconv1", (4 * size, size)),
        **{f"{prefix}.grn.{name}": (1, 1, 1, 4 * size) for name in ("weight", "bias")},
        **affine_shapes(f"{prefix}.pwconv2", (size, 4 * size)),
    }


# Of ConvNeXt, with this block.
model_shapes = partial(convnext.model_shapes, block_shapes=layer_shapes)
image_classification_shapes = partial(convnext.image_classification_shapes, block_shapes=layer_shapes)
backbone_shapes = partial(convnext.backbone_shapes, block_shapes=layer_shapes)
