"""ConvNeXt V2: "Co-designing and Scaling ConvNets with Masked Autoencoders", https://arxiv.org/abs/2301.00808.

The stem, the downsampling and the pooling are those of ConvNeXt and are taken from ``convnext.py``. The block is new:
global response normalization (GRN) after the activation, and no layer scale.

Reference implementations: ``models/convnextv2.py`` of facebookresearch/ConvNeXt-V2 and ``modeling_convnextv2.py`` of
transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npconv.layers import (
    activation,
    depthwise_conv2d,
    drop_path,
    global_response_norm,
    layer_norm,
    pointwise_conv2d,
)
from npconv.models.convnext.configuration import StagedConfig
from npconv.models.convnext.model import (
    STEMS,
    check_pixel_values,
    choose_features,
    classify,
    downsample,
    feature_shapes,
    summarize,
)
from npconv.models.convnext.variants import head_shapes, last_norm_shapes
from npconv.models.convnextv2.configuration import ConvNextV2Config
from npconv.models.parameters import Shapes, affine_shapes, norm_shapes

GRN_EPS = 1e-6

Rng = np.random.Generator | None


def layer(
    x: Any,
    dwconv: Mapping[str, Any],
    layernorm: Mapping[str, Any],
    pwconv1: Mapping[str, Any],
    grn: Mapping[str, Any],
    pwconv2: Mapping[str, Any],
    *,
    config: ConvNextV2Config,
    drop_path_rate: float = 0.0,
    rng: Rng = None,
) -> Any:
    """One ConvNeXt V2 block (figure 5 of the paper): (N, C, H, W) -> (N, C, H, W)."""
    residual = x
    x = depthwise_conv2d(x, **dwconv, padding=dwconv["weight"].shape[2] // 2)  # 3 for the usual kernel of 7 x 7
    x = layer_norm(x, **layernorm, eps=config.norm_eps, axis=1)
    x = pointwise_conv2d(x, **pwconv1)  # (N, 4C, H, W)
    x = activation(config.hidden_act)(x)
    x = global_response_norm(x, **grn, eps=GRN_EPS)
    x = pointwise_conv2d(x, **pwconv2)  # (N, C, H, W)
    x = drop_path(x, rate=drop_path_rate, rng=rng)
    return residual + x


def stage(
    x: Any,
    downsampling_layer: Sequence[Mapping[str, Any]] = (),
    layers: Sequence[Mapping[str, Any]] = (),
    *,
    config: ConvNextV2Config,
    drop_path_rates: Sequence[float],
    rng: Rng = None,
) -> Any:
    """One stage: the downsampling, which the first stage lacks, then the blocks."""
    if downsampling_layer:
        x = downsample(x, *downsampling_layer, config=config)
    for params, rate in zip(layers, drop_path_rates, strict=True):
        x = layer(x, **params, config=config, drop_path_rate=rate, rng=rng)
    return x


def encode(x: Any, stages: Sequence[Mapping[str, Any]], *, config: ConvNextV2Config, rng: Rng = None) -> list[Any]:
    """Run all stages; return the stem's output and each stage's: ``num_stages + 1`` maps."""
    hidden_states = [x]
    for params, rates in zip(stages, config.drop_path_rates(), strict=True):
        x = stage(x, **params, config=config, drop_path_rates=rates, rng=rng)
        hidden_states.append(x)
    return hidden_states


def model(
    pixel_values: Any,
    embeddings: Mapping[str, Any],
    encoder: Mapping[str, Any],
    layernorm: Mapping[str, Any] | None = None,
    layernorm_before_pooling: Mapping[str, Any] | None = None,
    *,
    config: ConvNextV2Config,
    rng: Rng = None,
) -> tuple[Any, list[Any]]:
    """Run the bare model.

    Parameters
    ----------
    pixel_values : array (N, C, H, W)
        Normalized pictures, floating-point.
    embeddings, encoder, layernorm, layernorm_before_pooling
        The parameter tree; of the last two, the one that ``config.head_norm_first`` asks for.
    config : ConvNextV2Config
        What the parameters mean.
    rng : numpy.random.Generator, optional
        Training: drop path draws from it. ``None`` is inference.

    Returns
    -------
    pooler_output : array (N, hidden_sizes[-1])
        The last map averaged over its positions and normalized; in the other order with ``head_norm_first``.
    hidden_states : list of arrays (N, hidden_sizes[i], H', W')
        The stem's output and each stage's, before any further normalization.
    """
    check_pixel_values(pixel_values, config)
    x = STEMS[config.stem_type](pixel_values, **embeddings, config=config)
    hidden_states = encode(x, **encoder, config=config, rng=rng)
    return summarize(hidden_states[-1], layernorm, layernorm_before_pooling, config=config), hidden_states


def image_classification(
    pixel_values: Any,
    convnextv2: Mapping[str, Any],
    classifier: Mapping[str, Any] | None = None,
    pre_classifier: Mapping[str, Any] | None = None,
    *,
    config: ConvNextV2Config,
    rng: Rng = None,
) -> tuple[Any, list[Any]]:
    """Run the classifier: as :func:`model`, with logits (N, K) in place of the pooled features."""
    pooled, hidden_states = model(pixel_values, **convnextv2, config=config, rng=rng)
    return classify(pooled, classifier, pre_classifier, config=config), hidden_states


def backbone(
    pixel_values: Any,
    embeddings: Mapping[str, Any],
    encoder: Mapping[str, Any],
    hidden_states_norms: Mapping[str, Mapping[str, Any]],
    *,
    config: ConvNextV2Config,
    rng: Rng = None,
) -> tuple[list[Any], list[Any]]:
    """Run the backbone: the maps of ``config.out_features``, each normalized, and all hidden states."""
    check_pixel_values(pixel_values, config)
    x = STEMS[config.stem_type](pixel_values, **embeddings, config=config)
    hidden_states = encode(x, **encoder, config=config, rng=rng)
    return choose_features(hidden_states, hidden_states_norms, config=config), hidden_states


def model_shapes(config: ConvNextV2Config) -> Shapes:
    """Return the shape of every parameter of the bare model, by its name in a checkpoint."""
    return {**feature_shapes(config, layer_shapes), **last_norm_shapes(config)}


def image_classification_shapes(config: ConvNextV2Config) -> Shapes:
    """Return the shape of every parameter of the classifier, by its name in a checkpoint."""
    shapes = {f"convnextv2.{name}": shape for name, shape in model_shapes(config).items()}
    return {**shapes, **head_shapes(config)}


def backbone_shapes(config: ConvNextV2Config) -> Shapes:
    """Return the shape of every parameter of the backbone, by its name in a checkpoint."""
    shapes = feature_shapes(config, layer_shapes)
    for name in config.out_features:
        shapes |= norm_shapes(f"hidden_states_norms.{name}", config.feature_sizes[name])
    return shapes


def layer_shapes(prefix: str, size: int, kernel: int, config: StagedConfig) -> Shapes:
    """Return the shapes of one block with `size` channels."""
    return {
        **affine_shapes(f"{prefix}.dwconv", (size, 1, kernel, kernel)),
        **norm_shapes(f"{prefix}.layernorm", size),
        **affine_shapes(f"{prefix}.pwconv1", (4 * size, size)),
        **{f"{prefix}.grn.{name}": (1, 1, 1, 4 * size) for name in ("weight", "bias")},
        **affine_shapes(f"{prefix}.pwconv2", (size, 4 * size)),
    }
