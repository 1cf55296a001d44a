"""The ConvNeXt of DINOv3, https://arxiv.org/abs/2508.10104: trained without labels, taught by a vision transformer.

The block is that of ConvNeXt under other names, and every LayerNorm has the same epsilon. What is new is the end: the
mean of the last map stands before its positions as a class token would, and one LayerNorm normalizes them all. There is
no classifier.

From top to bottom: the parts in the order in which a picture passes them, the models made of them, and the shapes of
their parameters. The argument names of a part are the names of its parameters in a checkpoint. (In transformers, the
names of a loaded model begin with ``model.``, but for ``layer_norm``; those in its files do not.)

Reference implementations: ``dinov3/models/convnext.py`` of facebookresearch/dinov3 and ``modeling_dinov3_convnext.py``
of transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npconv.backend import Array, Rng
from npconv.layers import conv2d, global_average_pool, join_class_token, map_tokens
from npconv.layers import layer_norm as normalize  # `layer_norm` is what checkpoints call a part of a block
from npconv.models import convnext
from npconv.models.dinov3_convnext.configuration import DINOv3ConvNextConfig
from npconv.models.parameters import Shapes, affine_shapes, norm_shapes

#: Kernel and stride of the first convolution.
PATCH_SIZE = 4


#: The names in checkpoints that a task has no use for: a backbone gives out maps as they are.
OF_OTHER_TASKS = {"model": (), "backbone": ("layer_norm.*",)}


def stem(
    pixel_values: Array, conv: Mapping[str, Any], norm: Mapping[str, Any], *, config: DINOv3ConvNextConfig
) -> Array:
    """Cut the picture into patches and embed each: (N, C, H, W) -> (N, hidden_sizes[0], H / 4, W / 4)."""
    x = conv2d(pixel_values, **conv, stride=PATCH_SIZE)  # (N, hidden_sizes[0], H / 4, W / 4)
    return normalize(x, **norm, eps=config.layer_norm_eps, axis=1)


downsample = convnext.downsample


def layer(
    x: Array,
    depthwise_conv: Mapping[str, Any],
    layer_norm: Mapping[str, Any],
    pointwise_conv1: Mapping[str, Any],
    pointwise_conv2: Mapping[str, Any],
    gamma: Array,
    *,
    config: DINOv3ConvNextConfig,
    drop_path_rate: float = 0.0,
    rng: Rng = None,
) -> Array:
    """One block, which is that of ConvNeXt: (N, C, H, W) -> (N, C, H, W)."""
    return convnext.layer(
        x,
        dwconv=depthwise_conv,
        layernorm=layer_norm,
        pwconv1=pointwise_conv1,
        pwconv2=pointwise_conv2,
        layer_scale_parameter=gamma,
        config=config,
        drop_path_rate=drop_path_rate,
        rng=rng,
    )


def stage(
    x: Array,
    downsample_layers: Sequence[Mapping[str, Any]],
    layers: Sequence[Mapping[str, Any]] = (),
    *,
    config: DINOv3ConvNextConfig,
    stage_index: int,
    rng: Rng = None,
) -> Array:
    """One stage: the stem or the downsampling, then the blocks."""
    x = (stem if stage_index == 0 else downsample)(x, *downsample_layers, config=config)
    for params, rate in zip(layers, config.drop_path_rates()[stage_index], strict=True):
        x = layer(x, **params, config=config, drop_path_rate=rate, rng=rng)
    return x


def encode(
    pixel_values: Array, stages: Sequence[Mapping[str, Any]], *, config: DINOv3ConvNextConfig, rng: Rng = None
) -> list[Array]:
    """Run all stages; return the picture and each stage's map: transformers calls the picture ``stem``."""
    convnext.check_pixel_values(pixel_values, config)
    hidden_states = [pixel_values]
    for stage_index, params in enumerate(stages):
        x = stage(hidden_states[-1], **params, config=config, stage_index=stage_index, rng=rng)
        hidden_states.append(x)
    return hidden_states


def summarize(x: Array, layer_norm: Mapping[str, Any], *, config: DINOv3ConvNextConfig) -> Array:
    """Put the mean of the last map before its positions and normalize all: (N, C, H, W) -> (N, 1 + H * W, C)."""
    x = join_class_token(global_average_pool(x), map_tokens(x))  # (N, 1 + H * W, C)
    return normalize(x, **layer_norm, eps=config.layer_norm_eps, axis=-1)


def model(
    pixel_values: Array,
    stages: Sequence[Mapping[str, Any]],
    layer_norm: Mapping[str, Any],
    *,
    config: DINOv3ConvNextConfig,
    rng: Rng = None,
) -> tuple[Array, list[Array]]:
    """Run the bare model.

    Parameters
    ----------
    pixel_values : array (N, C, H, W)
        Normalized pictures, floating-point.
    stages, layer_norm
        The parameter tree.
    config : DINOv3ConvNextConfig
        What the parameters mean.
    rng : numpy.random.Generator, optional
        Training: drop path draws from it. ``None`` is inference.

    Returns
    -------
    tokens : array (N, 1 + H' * W', hidden_sizes[-1])
        Of the whole picture, then of each position of the last map, row by row.
    hidden_states : list of arrays (N, C, H, W)
        The picture, and each stage's map.
    """
    hidden_states = encode(pixel_values, stages, config=config, rng=rng)
    return summarize(hidden_states[-1], layer_norm, config=config), hidden_states


def backbone(
    pixel_values: Array, stages: Sequence[Mapping[str, Any]], *, config: DINOv3ConvNextConfig, rng: Rng = None
) -> tuple[list[Array], list[Array]]:
    """Run the backbone: the maps of ``config.out_features`` as they are, and all hidden states."""
    hidden_states = encode(pixel_values, stages, config=config, rng=rng)
    return choose_features(hidden_states, config=config), hidden_states


def choose_features(hidden_states: Sequence[Array], *, config: DINOv3ConvNextConfig) -> list[Array]:
    """Take the maps of ``config.out_features``."""
    named = dict(zip(config.stage_names, hidden_states, strict=True))
    return [named[name] for name in config.out_features]


def name_outputs(tokens: Array, hidden_states: Sequence[Array]) -> dict[str, Any]:
    """Return what the bare model gives out by its names in transformers."""
    return {"last_hidden_state": tokens, "pooler_output": tokens[:, 0]}


def layer_shapes(prefix: str, size: int) -> Shapes:
    """Return the shapes of one block with `size` channels."""
    return {
        f"{prefix}.gamma": (size,),
        **affine_shapes(f"{prefix}.depthwise_conv", (size, 1, 7, 7)),
        **norm_shapes(f"{prefix}.layer_norm", size),
        **affine_shapes(f"{prefix}.pointwise_conv1", (4 * size, size)),
        **affine_shapes(f"{prefix}.pointwise_conv2", (size, 4 * size)),
    }


def backbone_shapes(config: DINOv3ConvNextConfig) -> Shapes:
    """Return the shape of every parameter of the backbone, by its name in a checkpoint."""
    shapes: Shapes = {}
    inputs = config.num_channels
    for i, (size, depth) in enumerate(zip(config.hidden_sizes, config.depths, strict=True)):
        convolution, norm = (f"stages.{i}.downsample_layers.{place}" for place in ((0, 1) if i == 0 else (1, 0)))
        side = PATCH_SIZE if i == 0 else 2
        shapes |= affine_shapes(convolution, (size, inputs, side, side))
        shapes |= norm_shapes(norm, size if i == 0 else inputs)
        for j in range(depth):
            shapes |= layer_shapes(f"stages.{i}.layers.{j}", size)
        inputs = size
    return shapes


def model_shapes(config: DINOv3ConvNextConfig) -> Shapes:
    """Return the shape of every parameter of the bare model, by its name in a checkpoint."""
    return {**backbone_shapes(config), **norm_shapes("layer_norm", config.hidden_sizes[-1])}
