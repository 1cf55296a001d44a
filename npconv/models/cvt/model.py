"""CvT: "Introducing Convolutions to Vision Transformers", https://arxiv.org/abs/2103.15808.

From top to bottom: the parts in the order in which a picture passes them, the models made of them, and the shapes of
their parameters. The argument names of a part are the names of its parameters in a checkpoint.

Reference implementations: ``lib/models/cls_cvt.py`` of microsoft/CvT and ``modeling_cvt.py`` of transformers. They
differ in the activation: Microsoft trained with quick GELU, transformers runs the exact GELU. The default here follows
transformers; ``hidden_act`` chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npconv.backend import Array, Rng
from npconv.errors import InputError, ShapeError
from npconv.layers import (
    activation,
    average_pool2d,
    batch_norm,
    batch_norm_training,
    class_token,
    conv2d,
    depthwise_conv2d,
    drop_path,
    dropout,
    join_class_token,
    layer_norm,
    linear,
    map_tokens,
    positions_map,
    token_mean,
)
from npconv.layers import attention as multi_head_attention  # `attention` is what checkpoints call a part of a block
from npconv.models.cvt.configuration import CvtConfig
from npconv.models.parameters import Shapes, affine_shapes, batch_norm_shapes, norm_shapes

#: Of every LayerNorm: ``config.layer_norm_eps`` has no effect, here as in transformers.
LAYER_NORM_EPS = 1e-5

BATCH_NORM_EPS = 1e-5


#: The names in checkpoints that a task has no use for: what comes after the last stage.
OF_OTHER_TASKS = {"model": ("classifier.*", "layernorm.*"), "image_classification": ()}


def convolutional_embedding(
    x: Array,
    projection: Mapping[str, Any],
    normalization: Mapping[str, Any],
    *,
    config: CvtConfig,
    stage_index: int,
    rng: Rng = None,
) -> Array:
    """Embed overlapping patches (section 3.1 of the paper): (N, C, H, W) -> (N, D, H / stride, W / stride)."""
    stride, padding = config.patch_stride[stage_index], config.patch_padding[stage_index]
    x = conv2d(x, **projection, stride=stride, padding=padding)  # (N, D, H / stride, W / stride)
    x = layer_norm(x, **normalization, eps=LAYER_NORM_EPS, axis=1)
    return dropout(x, rate=config.drop_rate[stage_index], rng=rng)


def convolutional_projection(
    x: Array,
    convolution_projection: Mapping[str, Any] | None = None,
    *,
    method: str,
    kernel_size: int,
    stride: int,
    padding: int,
    rng: Rng = None,
) -> Array:
    """Let each position look around before the linear projection: (N, D, H, W) -> (N, H / stride * W / stride, D).

    ``"dw_bn"`` is a depthwise convolution and a batch norm, ``"avg"`` an average, ``"linear"`` nothing. In training the
    batch norm takes the statistics of the batch.
    """
    if method == "dw_bn":
        if convolution_projection is None:
            raise InputError("expected convolution_projection for the method 'dw_bn', got none; check the parameters")
        x = depthwise_conv2d(x, **convolution_projection["convolution"], stride=stride, padding=padding)
        x = normalize_batch(x, **convolution_projection["normalization"], rng=rng)
    elif method == "avg":
        x = average_pool2d(x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=True)
    return map_tokens(x)


def normalize_batch(x: Array, weight: Array, bias: Array, *, rng: Rng = None, **statistics: Array) -> Array:
    """Normalize by the stored statistics, or in training by those of the batch."""
    if rng is None:
        return batch_norm(x, weight=weight, bias=bias, **statistics, eps=BATCH_NORM_EPS)
    return batch_norm_training(x, weight=weight, bias=bias, eps=BATCH_NORM_EPS)


def project_positions(
    x: Array,
    query: Mapping[str, Any] | None,
    key: Mapping[str, Any] | None,
    value: Mapping[str, Any] | None,
    *,
    config: CvtConfig,
    stage_index: int,
    rng: Rng = None,
) -> tuple[Array, Array, Array]:
    """Make queries, keys and values of a map: (N, D, H, W) -> (N, T, D), (N, S, D), (N, S, D).

    Keys and values are taken in larger steps than queries, so that there are fewer of them. Queries are never
    averaged: ``"avg"`` is for keys and values.
    """
    i, method = stage_index, config.qkv_projection_method[stage_index]
    method_q = "linear" if method == "avg" else method
    kernel_size, stride_q, padding_q = config.kernel_qkv[i], config.stride_q[i], config.padding_q[i]
    window_q = {"kernel_size": kernel_size, "stride": stride_q, "padding": padding_q}
    window_kv = {"kernel_size": kernel_size, "stride": config.stride_kv[i], "padding": config.padding_kv[i]}
    queries = convolutional_projection(x, **(query or {}), method=method_q, **window_q, rng=rng)
    keys = convolutional_projection(x, **(key or {}), method=method, **window_kv, rng=rng)
    values = convolutional_projection(x, **(value or {}), method=method, **window_kv, rng=rng)
    return queries, keys, values


def self_attention(
    x: Array,
    height: int,
    width: int,
    projection_query: Mapping[str, Any],
    projection_key: Mapping[str, Any],
    projection_value: Mapping[str, Any],
    convolution_projection_query: Mapping[str, Any] | None = None,
    convolution_projection_key: Mapping[str, Any] | None = None,
    convolution_projection_value: Mapping[str, Any] | None = None,
    *,
    config: CvtConfig,
    stage_index: int,
    rng: Rng = None,
) -> Array:
    """Attention with convolutional projections (section 3.2 of the paper): (N, T, D) -> (N, T, D).

    The class token, if there is one, is the first of the T tokens. It skips the convolutions and joins query, key and
    value before their linear layers.
    """
    cls_token = class_token(x, height, width)  # (N, 0 or 1, D)
    query, key, value = project_positions(
        positions_map(x, height, width),
        convolution_projection_query,
        convolution_projection_key,
        convolution_projection_value,
        config=config,
        stage_index=stage_index,
        rng=rng,
    )
    if query.shape[1] != height * width:
        raise ShapeError(
            f"stage {stage_index}: expected as many queries as positions, {height * width}, got {query.shape[1]}; "
            "stride_q must be 1, and padding_q half of kernel_qkv - 1"
        )
    return multi_head_attention(
        linear(join_class_token(cls_token, query), **projection_query),
        linear(join_class_token(cls_token, key), **projection_key),
        linear(join_class_token(cls_token, value), **projection_value),
        num_heads=config.num_heads[stage_index],
        scale=config.embed_dim[stage_index] ** -0.5,  # of the whole embedding, not of one head: trained so
        dropout_rate=config.attention_drop_rate[stage_index],
        rng=rng,
    )


def layer(
    x: Array,
    height: int,
    width: int,
    attention: Mapping[str, Any],
    intermediate: Mapping[str, Any],
    output: Mapping[str, Any],
    layernorm_before: Mapping[str, Any],
    layernorm_after: Mapping[str, Any],
    *,
    config: CvtConfig,
    stage_index: int,
    rng: Rng = None,
) -> Array:
    """One block (figure 2(b) of the paper) over the tokens of a height x width map: (N, T, D) -> (N, T, D).

    In training, drop path acts on the branch alone, as in the paper. transformers lets the second one act on the sum
    with the residual as well; the expectation is the same.
    """
    drop_rate, drop_path_rate = config.drop_rate[stage_index], config.layer_drop_path_rate(stage_index)

    residual = x
    x = layer_norm(x, **layernorm_before, eps=LAYER_NORM_EPS, axis=-1)
    x = self_attention(x, height, width, **attention["attention"], config=config, stage_index=stage_index, rng=rng)
    x = linear(x, **attention["output"]["dense"])
    x = dropout(x, rate=drop_rate, rng=rng)
    x = residual + drop_path(x, rate=drop_path_rate, rng=rng)

    residual = x
    x = layer_norm(x, **layernorm_after, eps=LAYER_NORM_EPS, axis=-1)
    x = linear(x, **intermediate["dense"])  # (N, T, hidden_channels)
    x = activation(config.hidden_act)(x)
    x = linear(x, **output["dense"])  # (N, T, D)
    x = dropout(x, rate=drop_rate, rng=rng)
    return residual + drop_path(x, rate=drop_path_rate, rng=rng)


def stage(
    x: Array,
    embedding: Mapping[str, Any],
    layers: Sequence[Mapping[str, Any]] = (),
    cls_token: Array | None = None,
    *,
    config: CvtConfig,
    stage_index: int,
    rng: Rng = None,
) -> tuple[Array, Array | None]:
    """One stage: (N, C, H, W) -> the map (N, D, H / stride, W / stride) and the class token (N, 1, D) or None."""
    x = convolutional_embedding(
        x, **embedding["convolution_embeddings"], config=config, stage_index=stage_index, rng=rng
    )
    height, width = x.shape[2:]
    x = map_tokens(x)
    if cls_token is not None:
        x = join_class_token(cls_token, x)  # (N, 1 + H * W, D)
    for params in layers:
        x = layer(x, height, width, **params, config=config, stage_index=stage_index, rng=rng)
    feature_map = positions_map(x, height, width)
    return feature_map, None if cls_token is None else x[:, :1]


def model(
    pixel_values: Array, encoder: Mapping[str, Any], *, config: CvtConfig, rng: Rng = None
) -> tuple[Array | None, list[Array]]:
    """Run the bare model.

    Parameters
    ----------
    pixel_values : array (N, C, H, W)
        Normalized pictures, floating-point.
    encoder
        The parameter tree.
    config : CvtConfig
        What the parameters mean.
    rng : numpy.random.Generator, optional
        Training: dropout and drop path draw from it. ``None`` is inference.

    Returns
    -------
    cls_token_value : array (N, 1, D) or None
        The class token after the last stage, if that stage has one.
    hidden_states : list of arrays (N, embed_dim[i], H', W')
        Each stage's map, without the class token.
    """
    check_pixel_values(pixel_values, config)
    x, hidden_states = pixel_values, []
    cls_token: Array | None = None
    for stage_index, params in enumerate(encoder["stages"]):
        x, cls_token = stage(x, **params, config=config, stage_index=stage_index, rng=rng)
        hidden_states.append(x)
    return cls_token, hidden_states


def image_classification(
    pixel_values: Array,
    cvt: Mapping[str, Any],
    layernorm: Mapping[str, Any],
    classifier: Any = None,
    *,
    config: CvtConfig,
    rng: Rng = None,
) -> tuple[Array, list[Array]]:
    """Run the classifier: logits (N, K) and the hidden states of :func:`model`.

    The class token is classified; without one, the mean of all normalized tokens.
    """
    cls_token, hidden_states = model(pixel_values, **cvt, config=config, rng=rng)
    return classify(cls_token, hidden_states[-1], layernorm, classifier, config=config), hidden_states


def classify(
    cls_token: Array | None, x: Array, layernorm: Mapping[str, Any], classifier: Any = None, *, config: CvtConfig
) -> Array:
    """Turn the class token (N, 1, D), or without one the last map (N, D, H, W), into logits (N, K)."""
    x = map_tokens(x) if cls_token is None else cls_token
    x = layer_norm(x, **layernorm, eps=LAYER_NORM_EPS, axis=-1)
    x = token_mean(x)  # (N, D)
    return x if config.num_labels == 0 else linear(x, **classifier)


def name_outputs(cls_token: Array | None, hidden_states: Sequence[Array]) -> dict[str, Any]:
    """Return what the bare model gives out by its names in transformers."""
    return {"last_hidden_state": hidden_states[-1], "cls_token_value": cls_token}


def check_pixel_values(pixel_values: Array, config: CvtConfig) -> None:
    """Refuse pictures with other channels than the model's."""
    if pixel_values.ndim != 4 or pixel_values.shape[1] != config.num_channels:
        raise ShapeError(
            f"expected pixel_values of shape (N, {config.num_channels}, H, W), got {pixel_values.shape}; "
            "an image processor makes them from pictures"
        )


def model_shapes(config: CvtConfig) -> Shapes:
    """Return the shape of every parameter of the bare model, by its name in a checkpoint."""
    shapes: Shapes = {}
    for i, depth in enumerate(config.depth):
        prefix, embed_dim = f"encoder.stages.{i}", config.embed_dim[i]
        channels = config.num_channels if i == 0 else config.embed_dim[i - 1]
        size = config.patch_sizes[i]
        kernel = size if isinstance(size, list) else [size, size]
        if config.cls_token[i]:
            shapes[f"{prefix}.cls_token"] = (1, 1, embed_dim)
        embeddings = f"{prefix}.embedding.convolution_embeddings"
        shapes |= affine_shapes(f"{embeddings}.projection", (embed_dim, channels, *kernel))
        shapes |= norm_shapes(f"{embeddings}.normalization", embed_dim)
        for j in range(depth):
            shapes |= layer_shapes(f"{prefix}.layers.{j}", config, i)
    return shapes


def image_classification_shapes(config: CvtConfig) -> Shapes:
    """Return the shape of every parameter of the classifier, by its name in a checkpoint."""
    shapes = {f"cvt.{name}": shape for name, shape in model_shapes(config).items()}
    shapes |= norm_shapes("layernorm", config.embed_dim[-1])
    if config.num_labels > 0:
        shapes |= affine_shapes("classifier", (config.num_labels, config.embed_dim[-1]))
    return shapes


def layer_shapes(prefix: str, config: CvtConfig, stage_index: int) -> Shapes:
    """Return the shapes of one block of a stage."""
    embed_dim, hidden = config.embed_dim[stage_index], config.hidden_channels(stage_index)
    kernel, bias = config.kernel_qkv[stage_index], config.qkv_bias[stage_index]
    inner = f"{prefix}.attention.attention"
    shapes: Shapes = {}
    if config.qkv_projection_method[stage_index] == "dw_bn":
        for name in ("query", "key", "value"):
            convolution = f"{inner}.convolution_projection_{name}.convolution_projection"
            shapes |= affine_shapes(f"{convolution}.convolution", (embed_dim, 1, kernel, kernel), bias=False)
            shapes |= batch_norm_shapes(f"{convolution}.normalization", embed_dim)
    for name in ("query", "key", "value"):
        shapes |= affine_shapes(f"{inner}.projection_{name}", (embed_dim, embed_dim), bias=bias)
    return {
        **shapes,
        **affine_shapes(f"{prefix}.attention.output.dense", (embed_dim, embed_dim)),
        **affine_shapes(f"{prefix}.intermediate.dense", (hidden, embed_dim)),
        **affine_shapes(f"{prefix}.output.dense", (embed_dim, hidden)),
        **norm_shapes(f"{prefix}.layernorm_before", embed_dim),
        **norm_shapes(f"{prefix}.layernorm_after", embed_dim),
    }
