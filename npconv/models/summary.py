"""What a model is made of, layer by layer: output shapes, parameters and multiply-adds, by formula, without any array.

The functions follow those of the model files step by step, with a row for each layer. Names are the paths of the
modules, as in a checkpoint; a step that is no module is called by its function.

Multiply-adds are counted as the papers count them ("FLOPs" there): those of convolutions, linear layers and the two
matrix products of attention, for one picture. Normalizations, activations, averages and residuals count as none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from npconv.errors import ConfigError, InputError
from npconv.models import convnextv2, cvt
from npconv.models.configuration import PretrainedConfig
from npconv.models.convnext import variants
from npconv.models.convnext.configuration import ConvNextConfig, StagedConfig
from npconv.models.convnextv2.configuration import ConvNextV2Config
from npconv.models.cvt.configuration import CvtConfig

Size = tuple[int, int]


class LayerRow(NamedTuple):
    """One layer of a model, for one picture.

    Attributes
    ----------
    name : str
        ``"convnext.encoder.stages.0.layers.2.dwconv"``.
    kind : str
        ``"depthwise 7x7"``.
    setting : str
        What the kind leaves open: ``"eps 1e-06"``, ``"stride 2"``, ``"gelu"``; may be empty.
    output_shape : tuple of int
        Of a map (C, H, W), of tokens (T, D), of pooled features or logits (C,).
    parameters : int
        Trained ones; stored batch-norm statistics do not count.
    multiply_adds : int
        See the top of this module.
    """

    name: str
    kind: str
    setting: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


Rows = Iterator[LayerRow]


def layer_table(config: PretrainedConfig, height: int, width: int) -> list[LayerRow]:
    """Return the layers of an image classifier in the order in which a picture passes them.

    Parameters
    ----------
    config : ConvNextConfig, ConvNextV2Config or CvtConfig
    height, width : int
        Of the picture, in pixels.

    Raises
    ------
    ConfigError
        If the configuration is of another family.
    InputError
        If the model cannot run on a picture of this size, or at all.
    """
    if height < 1 or width < 1:
        raise InputError(f"expected a picture of at least 1 x 1 pixels, got {height} x {width}")
    if isinstance(config, ConvNextConfig | ConvNextV2Config):
        return list(_staged_rows(config, (height, width)))
    if isinstance(config, CvtConfig):
        return list(_cvt_rows(config, (height, width)))
    raise ConfigError(f"expected the configuration of ConvNeXt, ConvNeXt V2 or CvT, got {type(config).__name__}")


def _staged_rows(config: ConvNextConfig | ConvNextV2Config, size: Size) -> Rows:
    """Rows of ConvNeXt and V2, which differ in their blocks only."""
    prefix, eps = config.model_type, config.norm_eps
    embed = list(_stem_rows(f"{prefix}.embeddings", size, config))
    yield from embed
    shape = embed[-1].output_shape
    stages = zip(config.hidden_sizes, config.depths, config.stage_kernel_sizes, strict=True)
    for i, (channels, depth, kernel) in enumerate(stages):
        stage = f"{prefix}.encoder.stages.{i}"
        if i > 0:
            previous, size = shape[0], (shape[1], shape[2])
            yield _norm(f"{stage}.downsampling_layer.0", "layer norm", shape, previous, eps)
            halve = _convolution(f"{stage}.downsampling_layer.1", previous, channels, size, (2, 2), stride=(2, 2))
            yield halve
            shape = halve.output_shape
        for j in range(depth):
            yield from _block_rows(f"{stage}.layers.{j}", channels, kernel, (shape[1], shape[2]), config)
    average = LayerRow(f"{prefix}.global_average_pool", "average", "over H and W", shape[:1], 0, 0)
    if config.head_norm_first:
        yield _norm(f"{prefix}.layernorm_before_pooling", "layer norm", shape, shape[0], config.layer_norm_eps)
        yield average
    else:
        yield average
        yield _norm(f"{prefix}.layernorm", "layer norm", shape[:1], shape[0], config.layer_norm_eps)
    yield from _head_rows(config)


def _stem_rows(prefix: str, size: Size, config: StagedConfig) -> Rows:
    """Rows of the stem: one convolution over patches, or two that overlap."""
    inputs, channels, between = config.num_channels, config.hidden_sizes[0], config.stem_hidden_size
    if config.stem_type == "patch":
        name = f"{prefix}.patch_embeddings"
        last = _convolution(name, inputs, channels, size, config.patch_shape, stride=config.patch_shape)
    else:
        is_activated = config.stem_type == "overlap_act"
        name = f"{prefix}.{'overlap_act' if is_activated else 'overlap'}_embeddings"
        first = _convolution(f"{name}.0", inputs, between, size, (3, 3), stride=(2, 2), padding=1)
        yield first
        if is_activated:
            yield _activation(f"{name}.act", first.output_shape, config.hidden_act)
        size = (first.output_shape[1], first.output_shape[2])
        last = _convolution(f"{name}.1", between, channels, size, (3, 3), stride=(2, 2), padding=1)
    yield last
    yield _norm(f"{prefix}.layernorm", "layer norm", last.output_shape, channels, config.norm_eps)


def _head_rows(config: StagedConfig) -> Rows:
    """Rows of the classifier, after the hidden layer if there is one."""
    channels, hidden = config.hidden_sizes[-1], config.head_hidden_size
    if hidden is not None:
        yield _linear("pre_classifier", channels, (hidden,), hidden)
        yield _activation("pre_classifier.act", (hidden,), variants.HEAD_ACT)
        channels = hidden
    if config.num_labels > 0:
        yield _linear("classifier", channels, (config.num_labels,), config.num_labels)


def _block_rows(prefix: str, channels: int, kernel: int, size: Size, config: StagedConfig) -> Rows:
    """Rows of one block: V2 has a GRN where V1 has a layer scale."""
    narrow, wide, padding = (channels, *size), (4 * channels, *size), kernel // 2
    yield _convolution(f"{prefix}.dwconv", channels, channels, size, (kernel, kernel), padding=padding, depthwise=True)
    yield _norm(f"{prefix}.layernorm", "layer norm", narrow, channels, config.norm_eps)
    yield _linear(f"{prefix}.pwconv1", channels, wide, 4 * channels, kind="conv 1x1")
    yield _activation(f"{prefix}.act", wide, config.hidden_act)
    if isinstance(config, ConvNextV2Config):
        yield _norm(f"{prefix}.grn", "response norm", wide, 4 * channels, convnextv2.GRN_EPS)
    yield _linear(f"{prefix}.pwconv2", 4 * channels, narrow, channels, kind="conv 1x1")
    if isinstance(config, ConvNextConfig) and config.layer_scale_init_value > 0:
        yield LayerRow(f"{prefix}.layer_scale_parameter", "layer scale", "", narrow, channels, 0)


def _cvt_rows(config: CvtConfig, size: Size) -> Rows:
    """Rows of CvT."""
    channels = config.num_channels
    for i, depth in enumerate(config.depth):
        stage, width = f"cvt.encoder.stages.{i}", config.embed_dim[i]
        patch = config.patch_sizes[i]
        embed = _convolution(
            f"{stage}.embedding.convolution_embeddings.projection",
            channels,
            width,
            size,
            (patch[0], patch[1]) if isinstance(patch, list) else (patch, patch),
            stride=(config.patch_stride[i], config.patch_stride[i]),
            padding=config.patch_padding[i],
        )
        yield embed
        normalization = f"{stage}.embedding.convolution_embeddings.normalization"
        yield _norm(normalization, "layer norm", embed.output_shape, width, cvt.LAYER_NORM_EPS)
        channels, size = width, (embed.output_shape[1], embed.output_shape[2])
        tokens = config.cls_token[i] + size[0] * size[1]
        if config.cls_token[i]:
            yield LayerRow(f"{stage}.cls_token", "class token", "prepended", (tokens, width), width, 0)
        for j in range(depth):
            yield from _cvt_block_rows(f"{stage}.layers.{j}", tokens, size, config, i)
    classified = 1 if config.cls_token[-1] else tokens
    yield _norm("layernorm", "layer norm", (classified, channels), channels, cvt.LAYER_NORM_EPS)
    if not config.cls_token[-1]:
        yield LayerRow("mean", "average", "over T", (channels,), 0, 0)
    if config.num_labels > 0:
        yield _linear("classifier", channels, (config.num_labels,), config.num_labels)


def _cvt_block_rows(prefix: str, tokens: int, size: Size, config: CvtConfig, i: int) -> Rows:
    """Rows of one block of stage `i`."""
    width, hidden = config.embed_dim[i], config.hidden_channels(i)
    yield _norm(f"{prefix}.layernorm_before", "layer norm", (tokens, width), width, cvt.LAYER_NORM_EPS)
    yield from _attention_rows(f"{prefix}.attention.attention", tokens, size, config, i)
    yield _linear(f"{prefix}.attention.output.dense", width, (tokens, width), width)
    yield _norm(f"{prefix}.layernorm_after", "layer norm", (tokens, width), width, cvt.LAYER_NORM_EPS)
    yield _linear(f"{prefix}.intermediate.dense", width, (tokens, hidden), hidden)
    yield _activation(f"{prefix}.intermediate.activation", (tokens, hidden), config.hidden_act)
    yield _linear(f"{prefix}.output.dense", hidden, (tokens, width), width)


def _attention_rows(prefix: str, tokens: int, size: Size, config: CvtConfig, i: int) -> Rows:
    """Rows of the attention in a block of stage `i`: queries, keys, values, and the two matrix products."""
    width, method, positions = config.embed_dim[i], config.qkv_projection_method[i], size[0] * size[1]
    seen = {}
    for name in ("query", "key", "value"):
        is_query = name == "query"
        stride, padding = (config.stride_q, config.padding_q) if is_query else (config.stride_kv, config.padding_kv)
        rows = list(
            _projection_rows(
                f"{prefix}.convolution_projection_{name}.convolution_projection",
                "linear" if is_query and method == "avg" else method,
                width,
                size,
                config.kernel_qkv[i],
                stride[i],
                padding[i],
            )
        )
        yield from rows
        _, height_seen, width_seen = rows[-1].output_shape if rows else (width, *size)
        seen[name] = tokens - positions + height_seen * width_seen
    if seen["query"] != tokens:
        raise InputError(
            f"stage {i}: expected as many queries as positions, {positions}, got {seen['query'] - tokens + positions}; "
            "stride_q must be 1, and padding_q half of kernel_qkv - 1"
        )
    for name, count in seen.items():
        yield _linear(f"{prefix}.projection_{name}", width, (count, width), width, bias=config.qkv_bias[i])
    heads = f"heads {config.num_heads[i]} scale {width}**-0.5"
    yield LayerRow(prefix, "attention", heads, (tokens, width), 0, 2 * tokens * seen["key"] * width)


def _projection_rows(
    prefix: str, method: str, channels: int, size: Size, kernel: int, stride: int, padding: int
) -> Rows:
    """Rows of the look around that precedes a linear projection: none for the method ``"linear"``."""
    strides = (stride, stride)
    if method == "dw_bn":
        look = _convolution(
            f"{prefix}.convolution",
            channels,
            channels,
            size,
            (kernel, kernel),
            stride=strides,
            padding=padding,
            depthwise=True,
            bias=False,
        )
        yield look
        yield _norm(f"{prefix}.normalization", "batch norm", look.output_shape, channels, cvt.BATCH_NORM_EPS)
    elif method == "avg":
        if 2 * padding > kernel:
            raise InputError(f"{prefix}: expected a padding of at most half the window of {kernel}, got {padding}")
        height, width = (_count_windows(prefix, s, kernel, stride, padding, ceil_mode=True) for s in size)
        setting = _window_setting(strides, padding)
        yield LayerRow(prefix, f"average {kernel}x{kernel}", setting, (channels, height, width), 0, 0)


def _convolution(
    name: str,
    in_channels: int,
    out_channels: int,
    size: Size,
    kernel: Size,
    *,
    stride: Size = (1, 1),
    padding: int = 0,
    depthwise: bool = False,
    bias: bool = True,
) -> LayerRow:
    """Return the row of a convolution over a map of some size."""
    height, width = (_count_windows(name, s, k, t, padding) for s, k, t in zip(size, kernel, stride, strict=True))
    weights = out_channels * (1 if depthwise else in_channels) * kernel[0] * kernel[1]
    kind = f"{'depthwise' if depthwise else 'conv'} {kernel[0]}x{kernel[1]}"
    parameters = weights + (out_channels if bias else 0)
    shape = (out_channels, height, width)
    return LayerRow(name, kind, _window_setting(stride, padding), shape, parameters, weights * height * width)


def _linear(
    name: str, inputs: int, shape: tuple[int, ...], outputs: int, *, kind: str = "linear", bias: bool = True
) -> LayerRow:
    """Return the row of a linear layer over every position, or of the 1x1 convolution that is the same."""
    return LayerRow(name, kind, "", shape, inputs * outputs + (outputs if bias else 0), inputs * math.prod(shape))


def _norm(name: str, kind: str, shape: tuple[int, ...], channels: int, eps: float) -> LayerRow:
    """Return the row of a normalization with a weight and a bias for each channel."""
    return LayerRow(name, kind, f"eps {eps:g}", shape, 2 * channels, 0)


def _activation(name: str, shape: tuple[int, ...], given: Any) -> LayerRow:
    """Return the row of an activation, given by name or as a function."""
    return LayerRow(name, "activation", given if isinstance(given, str) else _name_of(given), shape, 0, 0)


def _name_of(function: Any) -> str:
    """Return what to call a callable."""
    return getattr(function, "__name__", type(function).__name__)


def _window_setting(stride: Size, padding: int) -> str:
    """Return stride and padding in words, as far as there is something to say."""
    step = f"{stride[0]}" if stride[0] == stride[1] else f"{stride[0]}x{stride[1]}"
    return " ".join([f"stride {step}"] * (stride != (1, 1)) + [f"padding {padding}"] * (padding > 0))


def _count_windows(name: str, size: int, kernel: int, stride: int, padding: int, *, ceil_mode: bool = False) -> int:
    """Return how many windows of a convolution or average fit along one axis."""
    steps = size + 2 * padding - kernel
    if steps < 0:
        raise InputError(
            f"{name}: a window of {kernel} does not fit into {size} positions with padding {padding}; "
            "use a larger picture"
        )
    count = (-(-steps // stride) if ceil_mode else steps // stride) + 1
    starts_beyond_the_map = ceil_mode and (count - 1) * stride >= size + padding
    return count - 1 if starts_beyond_the_map else count
