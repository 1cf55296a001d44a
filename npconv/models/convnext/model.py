"""ConvNeXt: "A ConvNet for the 2020s", https://arxiv.org/abs/2201.03545.

From top to bottom: the parts in the order in which a picture passes them, the models made of them, and the shapes of
their parameters. The argument names of a part are the names of its parameters in a checkpoint, so that
``layer(x, **params["layers"][0], config=config)`` calls it. What only some models of timm have is in ``variants.py``:
overlapping stems, stages that do not halve the map, and other heads.

ConvNeXt V2 has another block and takes the rest from here: whatever contains blocks takes the function of one as its
argument `block`.

Reference implementations: ``models/convnext.py`` of facebookresearch/ConvNeXt and ``modeling_convnext.py`` of
transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from npconv.backend import Array, Rng
from npconv.errors import ShapeError
from npconv.layers import (
    activation,
    conv2d,
    depthwise_conv2d,
    drop_path,
    layer_scale,
    linear,
    norm_layer,
    pointwise_conv2d,
)
from npconv.models.backbone import BackboneConfig
from npconv.models.convnext import variants
from npconv.models.convnext.configuration import ConvNextConfig, StagedConfig
from npconv.models.parameters import Shapes, affine_shapes

#: The names in checkpoints that a task has no use for: what comes after the last stage.
OF_OTHER_TASKS = {
    "model": ("classifier.*", "pre_classifier.*"),
    "image_classification": (),
    "backbone": ("classifier.*", "pre_classifier.*", "layernorm.*", "layernorm_before_pooling.*"),
}


def stem(
    pixel_values: Array, patch_embeddings: Mapping[str, Any], layernorm: Mapping[str, Any], *, config: StagedConfig
) -> Array:
    """Cut the picture into patches and embed each: (N, C, H, W) -> (N, hidden_sizes[0], H / patch, W / patch).

    Sizes are rounded down, here and in every downsampling: 225 pixels give 56, 28, 14 and 7 positions.
    """
    x = conv2d(pixel_values, **patch_embeddings, stride=config.patch_size)  # (N, hidden_sizes[0], H / patch, W / patch)
    return norm_layer(config.norm_type)(x, **layernorm, eps=config.norm_eps, axis=1)


#: By ``config.stem_type``.
STEMS: dict[str, Callable[..., Array]] = {
    "patch": stem,
    "overlap": variants.overlapping_stem,
    "overlap_tiered": variants.overlapping_stem,
    "overlap_act": variants.activated_overlapping_stem,
}


def downsample(x: Array, norm: Mapping[str, Any], conv: Mapping[str, Any], *, config: BackboneConfig) -> Array:
    """Halve the map and widen the channels: (N, C, H, W) -> (N, C', H / 2, W / 2)."""
    x = norm_layer(config.norm_type)(x, **norm, eps=config.norm_eps, axis=1)
    return conv2d(x, **conv, stride=2)  # (N, C', H / 2, W / 2)


def layer(
    x: Array,
    dwconv: Mapping[str, Any],
    layernorm: Mapping[str, Any],
    pwconv1: Mapping[str, Any],
    pwconv2: Mapping[str, Any],
    layer_scale_parameter: Array | None = None,
    *,
    config: BackboneConfig,
    dilation: int = 1,
    drop_path_rate: float = 0.0,
    rng: Rng = None,
) -> Array:
    """One ConvNeXt block (figure 4 of the paper): (N, C, H, W) -> (N, C, H, W)."""
    residual = x
    around = dwconv["weight"].shape[2] // 2 * dilation  # 3 for the usual kernel of 7 x 7
    x = depthwise_conv2d(x, **dwconv, padding=around, dilation=dilation)
    x = norm_layer(config.norm_type)(x, **layernorm, eps=config.norm_eps, axis=1)
    x = pointwise_conv2d(x, **pwconv1)  # (N, 4C, H, W)
    x = activation(config.hidden_act)(x)
    x = pointwise_conv2d(x, **pwconv2)  # (N, C, H, W)
    if layer_scale_parameter is not None:
        x = layer_scale(x, layer_scale_parameter)
    x = drop_path(x, rate=drop_path_rate, rng=rng)
    return residual + x


def stage(
    x: Array,
    downsampling_layer: Sequence[Mapping[str, Any]] = (),
    layers: Sequence[Mapping[str, Any]] = (),
    *,
    config: StagedConfig,
    dilation: int = 1,
    drop_path_rates: Sequence[float],
    rng: Rng = None,
    block: Callable[..., Array] = layer,
) -> Array:
    """One stage: the downsampling, which the first stage lacks, then the blocks."""
    if downsampling_layer and dilation == 1:
        x = downsample(x, *downsampling_layer, config=config)
    elif downsampling_layer:
        x = variants.widen_channels(x, *downsampling_layer, dilation=dilation, config=config)
    for params, rate in zip(layers, drop_path_rates, strict=True):
        x = block(x, **params, config=config, dilation=dilation, drop_path_rate=rate, rng=rng)
    return x


def encode(
    x: Array,
    stages: Sequence[Mapping[str, Any]],
    *,
    config: StagedConfig,
    rng: Rng = None,
    block: Callable[..., Array] = layer,
) -> list[Array]:
    """Run all stages; return the stem's output and each stage's: ``num_stages + 1`` maps."""
    hidden_states = [x]
    for params, dilation, rates in zip(stages, config.stage_dilations, config.drop_path_rates(), strict=True):
        x = stage(x, **params, config=config, dilation=dilation, drop_path_rates=rates, rng=rng, block=block)
        hidden_states.append(x)
    return hidden_states


def pool(x: Array, layernorm: Mapping[str, Any], *, config: StagedConfig) -> Array:
    """Average the last map over its positions, then normalize: (N, C, H, W) -> (N, C)."""
    x = variants.pool_positions(x, config=config)  # (N, C)
    return norm_layer(config.norm_type)(x, **layernorm, eps=config.layer_norm_eps, axis=-1)


def summarize(
    x: Array,
    layernorm: Mapping[str, Any] | None = None,
    layernorm_before_pooling: Mapping[str, Any] | None = None,
    *,
    config: StagedConfig,
) -> Array:
    """Make one vector of the last map, (N, C, H, W) -> (N, C), in the order that ``config.head_norm_first`` says."""
    if config.head_norm_first:
        return variants.normalize_and_pool(x, layernorm_before_pooling or {}, config=config)
    return pool(x, layernorm or {}, config=config)


def pool_stage(x: Array, *, config: StagedConfig) -> Array:
    """Summarize the map of any stage, (N, C, H, W) -> (N, C), as a model that ends there does before it is trained."""
    names = variants.norm_shapes("norm", x.shape[1], config)
    norm = {name.removeprefix("norm."): np.full(x.shape[1], name == "norm.weight", x.dtype) for name in names}
    return summarize(x, norm, norm, config=config)


def classify(
    pooled: Array,
    classifier: Mapping[str, Any] | None = None,
    pre_classifier: Mapping[str, Any] | None = None,
    *,
    config: StagedConfig,
) -> Array:
    """Make logits of the pooled features, (N, C) -> (N, K), or what the classifier would get if there is no class."""
    if config.head_hidden_size is not None:
        pooled = variants.hidden_head(pooled, pre_classifier or {})
    return linear(pooled, **classifier or {}) if config.id2label else pooled


def choose_features(
    hidden_states: Sequence[Array], hidden_states_norms: Mapping[str, Mapping[str, Any]], *, config: StagedConfig
) -> list[Array]:
    """Take the maps of ``config.out_features``, each normalized: what a backbone returns."""
    named = dict(zip(config.stage_names, hidden_states, strict=True))
    return [
        norm_layer(config.norm_type)(named[name], **hidden_states_norms[name], eps=config.norm_eps, axis=1)
        for name in config.out_features
    ]


def model(
    pixel_values: Array,
    embeddings: Mapping[str, Any],
    encoder: Mapping[str, Any],
    layernorm: Mapping[str, Any] | None = None,
    layernorm_before_pooling: Mapping[str, Any] | None = None,
    *,
    config: StagedConfig,
    rng: Rng = None,
    block: Callable[..., Array] = layer,
) -> tuple[Array, list[Array]]:
    """Run the bare model.

    Parameters
    ----------
    pixel_values : array (N, C, H, W)
        Normalized pictures, floating-point.
    embeddings, encoder, layernorm, layernorm_before_pooling
        The parameter tree; of the last two, the one that ``config.head_norm_first`` asks for.
    config : StagedConfig
        What the parameters mean.
    rng : numpy.random.Generator, optional
        Training: drop path draws from it. ``None`` is inference.
    block : callable
        The block: :func:`layer`, or that of V2.

    Returns
    -------
    pooler_output : array (N, hidden_sizes[-1])
        The last map averaged over its positions and normalized; in the other order with ``head_norm_first``. With
        ``pooling``, its maximum or both.
    hidden_states : list of arrays (N, hidden_sizes[i], H', W')
        The stem's output and each stage's, before any further normalization.
    """
    check_pixel_values(pixel_values, config)
    x = STEMS[config.stem_type](pixel_values, **embeddings, config=config)
    hidden_states = encode(x, **encoder, config=config, rng=rng, block=block)
    return summarize(hidden_states[-1], layernorm, layernorm_before_pooling, config=config), hidden_states


def image_classification(
    pixel_values: Array,
    convnext: Mapping[str, Any],
    classifier: Mapping[str, Any] | None = None,
    pre_classifier: Mapping[str, Any] | None = None,
    *,
    config: ConvNextConfig,
    rng: Rng = None,
) -> tuple[Array, list[Array]]:
    """Run the classifier: as :func:`model`, with logits (N, K) in place of the pooled features."""
    pooled, hidden_states = model(pixel_values, **convnext, config=config, rng=rng)
    return classify(pooled, classifier, pre_classifier, config=config), hidden_states


def backbone(
    pixel_values: Array,
    embeddings: Mapping[str, Any],
    encoder: Mapping[str, Any],
    hidden_states_norms: Mapping[str, Mapping[str, Any]],
    *,
    config: StagedConfig,
    rng: Rng = None,
    block: Callable[..., Array] = layer,
) -> tuple[list[Array], list[Array]]:
    """Run the backbone: the maps of ``config.out_features``, each normalized, and all hidden states."""
    check_pixel_values(pixel_values, config)
    x = STEMS[config.stem_type](pixel_values, **embeddings, config=config)
    hidden_states = encode(x, **encoder, config=config, rng=rng, block=block)
    return choose_features(hidden_states, hidden_states_norms, config=config), hidden_states


def name_outputs(pooled: Array, hidden_states: Sequence[Array]) -> dict[str, Any]:
    """Return what the bare model gives out by its names in transformers."""
    return {"last_hidden_state": hidden_states[-1], "pooler_output": pooled}


def check_pixel_values(pixel_values: Array, config: BackboneConfig) -> None:
    """Refuse pictures with other channels than the model's, or too small to have one position in the last stage."""
    if pixel_values.ndim != 4 or pixel_values.shape[1] != config.num_channels:
        raise ShapeError(
            f"expected pixel_values of shape (N, {config.num_channels}, H, W), got {pixel_values.shape}; "
            "an image processor makes them from pictures"
        )
    least_height, least_width = config.least_picture
    if pixel_values.shape[2] < least_height or pixel_values.shape[3] < least_width:
        raise ShapeError(
            f"expected pictures of at least {least_height} x {least_width} pixels for {config.num_stages} stages, got "
            f"{pixel_values.shape[2]} x {pixel_values.shape[3]}; resize them"
        )


def layer_shapes(prefix: str, size: int, kernel: int, config: ConvNextConfig) -> Shapes:
    """Return the shapes of one block with `size` channels."""
    return {
        **({f"{prefix}.layer_scale_parameter": (size,)} if config.layer_scale_init_value > 0 else {}),
        **affine_shapes(f"{prefix}.dwconv", (size, 1, kernel, kernel)),
        **variants.norm_shapes(f"{prefix}.layernorm", size, config),
        **affine_shapes(f"{prefix}.pwconv1", (4 * size, size)),
        **affine_shapes(f"{prefix}.pwconv2", (size, 4 * size)),
    }


def feature_shapes(config: StagedConfig, block_shapes: Callable[..., Shapes] = layer_shapes) -> Shapes:
    """Return the shapes of the stem and all stages."""
    shapes = variants.stem_shapes(config)
    stages = zip(config.hidden_sizes, config.depths, config.stage_kernel_sizes, strict=True)
    for i, (size, depth, kernel) in enumerate(stages):
        if i > 0:
            previous = config.hidden_sizes[i - 1]
            shapes |= variants.norm_shapes(f"encoder.stages.{i}.downsampling_layer.0", previous, config)
            shapes |= affine_shapes(f"encoder.stages.{i}.downsampling_layer.1", (size, previous, 2, 2))
        for j in range(depth):
            shapes |= block_shapes(f"encoder.stages.{i}.layers.{j}", size, kernel, config)
    return shapes


def model_shapes(config: StagedConfig, block_shapes: Callable[..., Shapes] = layer_shapes) -> Shapes:
    """Return the shape of every parameter of the bare model, by its name in a checkpoint."""
    return {**feature_shapes(config, block_shapes), **variants.last_norm_shapes(config)}


def image_classification_shapes(config: StagedConfig, block_shapes: Callable[..., Shapes] = layer_shapes) -> Shapes:
    """Return the shape of every parameter of the classifier, by its name in a checkpoint."""
    shapes = {f"{config.model_type}.{name}": shape for name, shape in model_shapes(config, block_shapes).items()}
    return {**shapes, **variants.head_shapes(config)}


def backbone_shapes(config: StagedConfig, block_shapes: Callable[..., Shapes] = layer_shapes) -> Shapes:
    """Return the shape of every parameter of the backbone, by its name in a checkpoint."""
    shapes = feature_shapes(config, block_shapes)
    for name in config.out_features:
        shapes |= variants.norm_shapes(f"hidden_states_norms.{name}", config.feature_sizes[name], config)
    return shapes
