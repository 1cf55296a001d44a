"""What some ConvNeXt models of timm have and those of the paper have not; ``convnext.py`` takes it from here.

Parameters that transformers has no names for are called

- ``embeddings.overlap_embeddings.0`` and ``.1``: the two convolutions of an overlapping stem;
  ``embeddings.overlap_act_embeddings.0`` and ``.1`` where an activation is between them;
- ``layernorm_before_pooling``: what is ``layernorm`` in other models, where it comes before the pooling;
- ``pre_classifier``: the hidden layer before the classifier.

Where ``norm_type`` is not ``layer_norm``, the norms have no bias. So a file says by its names what it is of, and
transformers, which would not look at the configuration's field, finds its own parameters missing. Of ``pooling`` and
``output_stride`` no name says anything.

Reference implementation: ``models/convnext.py`` of timm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npconv.backend import Array
from npconv.layers import (
    activation,
    conv2d,
    global_average_pool,
    global_max_pool,
    halfway,
    join_features,
    linear,
    norm_layer,
    pad_end,
)
from npconv.models.convnext.configuration import StagedConfig
from npconv.models.parameters import Shapes, affine_shapes

#: Of the hidden layer before the classifier, whatever the blocks have.
HEAD_ACT = "gelu"


def overlapping_stem(
    pixel_values: Array,
    overlap_embeddings: Sequence[Mapping[str, Any]],
    layernorm: Mapping[str, Any],
    *,
    config: StagedConfig,
) -> Array:
    """Convolve twice in place of patches: (N, C, H, W) -> (N, hidden_sizes[0], H / 4, W / 4), sizes rounded up."""
    first, second = overlap_embeddings
    x = conv2d(pixel_values, **first, stride=2, padding=1)  # (N, stem_hidden_size, H / 2, W / 2)
    x = conv2d(x, **second, stride=2, padding=1)  # (N, hidden_sizes[0], H / 4, W / 4)
    return norm_layer(config.norm_type)(x, **layernorm, eps=config.norm_eps, axis=1)


def activated_overlapping_stem(
    pixel_values: Array,
    overlap_act_embeddings: Sequence[Mapping[str, Any]],
    layernorm: Mapping[str, Any],
    *,
    config: StagedConfig,
) -> Array:
    """Like :func:`overlapping_stem`, with an activation between the convolutions: same shapes."""
    first, second = overlap_act_embeddings
    x = conv2d(pixel_values, **first, stride=2, padding=1)  # (N, stem_hidden_size, H / 2, W / 2)
    x = activation(config.hidden_act)(x)
    x = conv2d(x, **second, stride=2, padding=1)  # (N, hidden_sizes[0], H / 4, W / 4)
    return norm_layer(config.norm_type)(x, **layernorm, eps=config.norm_eps, axis=1)


def widen_channels(
    x: Array, norm: Mapping[str, Any], conv: Mapping[str, Any], *, dilation: int, config: StagedConfig
) -> Array:
    """Do what downsampling does without halving the map, where ``output_stride`` is reached: (N, C', H, W).

    The places of the 2x2 kernel are next to each other in the first such stage, and two apart in those after it,
    whatever the `dilation` of the blocks.
    """
    x = norm_layer(config.norm_type)(x, **norm, eps=config.norm_eps, axis=1)
    if dilation == 2:
        return conv2d(pad_end(x), **conv, stride=1)
    return conv2d(x, **conv, stride=1, padding=1, dilation=2)


def pool_positions(x: Array, *, config: StagedConfig) -> Array:
    """Make one number of each map, or two, as ``config.pooling`` says: (N, C, H, W) -> (N, C) or (N, 2 C)."""
    if config.pooling == "avg":
        return global_average_pool(x)
    maximum = global_max_pool(x)
    if config.pooling == "max":
        return maximum
    return (halfway if config.pooling == "avgmax" else join_features)(global_average_pool(x), maximum)


def normalize_and_pool(x: Array, layernorm_before_pooling: Mapping[str, Any], *, config: StagedConfig) -> Array:
    """Normalize the last map, then average it over its positions: (N, C, H, W) -> (N, C)."""
    x = norm_layer(config.norm_type)(x, **layernorm_before_pooling, eps=config.layer_norm_eps, axis=1)
    return pool_positions(x, config=config)  # (N, C)


def hidden_head(pooled: Array, pre_classifier: Mapping[str, Any]) -> Array:
    """Pass the pooled features through the hidden layer before the classifier: (N, C) -> (N, head_hidden_size)."""
    x = linear(pooled, **pre_classifier)  # (N, head_hidden_size)
    return activation(HEAD_ACT)(x)


def norm_shapes(prefix: str, size: int, config: StagedConfig) -> Shapes:
    """Return the shapes of a norm: only a LayerNorm has a bias."""
    return affine_shapes(prefix, (size,), bias=config.norm_type == "layer_norm")


def stem_shapes(config: StagedConfig) -> Shapes:
    """Return the shapes of the stem."""
    size, between = config.hidden_sizes[0], config.stem_hidden_size
    if config.stem_type == "patch":
        shapes = affine_shapes("embeddings.patch_embeddings", (size, config.num_channels, *config.patch_shape))
    else:
        name = "overlap_act_embeddings" if config.stem_type == "overlap_act" else "overlap_embeddings"
        shapes = affine_shapes(f"embeddings.{name}.0", (between, config.num_channels, 3, 3))
        shapes |= affine_shapes(f"embeddings.{name}.1", (size, between, 3, 3))
    return {**shapes, **norm_shapes("embeddings.layernorm", size, config)}


def last_norm_shapes(config: StagedConfig) -> Shapes:
    """Return the shapes of the norm before or after the pooling."""
    name = "layernorm_before_pooling" if config.head_norm_first else "layernorm"
    return norm_shapes(name, config.hidden_sizes[-1], config)


def head_shapes(config: StagedConfig) -> Shapes:
    """Return the shapes of the classifier itself, and of the hidden layer before it if there is one."""
    shapes, size = {}, config.pooled_size
    if config.head_hidden_size is not None:
        shapes = affine_shapes("pre_classifier", (config.head_hidden_size, size))
        size = config.head_hidden_size
    return {**shapes, **affine_shapes("classifier", (config.num_labels, size))} if config.num_labels > 0 else shapes
