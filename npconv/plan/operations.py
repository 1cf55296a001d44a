"""The operations that a plan is made of: arrays in, array out, under the names that steps use.

Where ``npconv.layers`` has a function for an operation, that one is called. Layers whose middle a porter wants to see
are cut into parts here: global response norm and attention. One part after another gives the numbers of the whole layer
bit for bit: the arithmetic is the same in the same order, what the layer keeps in float32 for a float16 input stays so
between the parts, and the last part returns to the dtype of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npconv import layers
from npconv.backend import array_module, widen
from npconv.images import transforms
from npconv.layers import (
    average_pool2d,
    conv2d,
    depthwise_conv2d,
    global_average_pool,
    layer_norm,
    linear,
    pointwise_conv2d,
    softmax,
)


def batch_norm(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *, eps: float) -> Any:
    """Normalize each channel by stored statistics: :func:`npconv.layers.batch_norm`."""
    return layers.batch_norm(x, weight, bias, running_mean, running_var, eps=eps)


def activation(x: Any, *, hidden_act: str) -> Any:
    """Apply the activation of a name of ``npconv.layers.ACTIVATIONS``."""
    return layers.activation(hidden_act)(x)


def grn_strength(x: Any) -> Any:
    """First part of GRN: ``sqrt(sum over i, j of x**2)``, the strength of each channel, (N, C, 1, 1)."""
    x_wide = widen(x)
    return array_module(x).sqrt((x_wide * x_wide).sum(axis=(2, 3), keepdims=True))


def grn_relative(strength: Any, *, eps: float) -> Any:
    """Second part of GRN: the strength by the mean strength of the channels, each sample by itself."""
    return strength / (strength.mean(axis=1, keepdims=True) + eps)


def grn_apply(x: Any, relative: Any, weight: Any, bias: Any) -> Any:
    """Last part of GRN: ``weight * (x * relative) + bias + x``."""
    x_wide = widen(x)
    y = weight.reshape(-1, 1, 1) * (x_wide * relative) + bias.reshape(-1, 1, 1) + x_wide
    return y.astype(x.dtype, copy=False)


def layer_scale(x: Any, layer_scale_parameter: Any) -> Any:
    """Multiply each channel of a map (N, C, H, W) by its own number."""
    return layer_scale_parameter[:, None, None] * x


def residual(x: Any, branch: Any) -> Any:
    """Add what a branch made of `x` to `x`."""
    return x + branch


def token_mean(x: Any) -> Any:
    """Average tokens: (N, T, D) -> (N, D)."""
    return widen(x).mean(axis=1).astype(x.dtype, copy=False)


def map_tokens(x: Any) -> Any:
    """Lay the positions of a map out one after another, row by row: (N, D, H, W) -> (N, H * W, D)."""
    batch, embed_dim, height, width = x.shape
    return x.reshape(batch, embed_dim, height * width).transpose(0, 2, 1)


def tokens(x: Any, cls_token: Any = None) -> Any:
    """Make a stage's tokens of its map: (N, D, H, W) -> (N, T, D); the class token (1, 1, D), if any, comes first."""
    positions = map_tokens(x)
    if cls_token is None:
        return positions
    xp, shape = array_module(x), (x.shape[0], 1, x.shape[1])
    return xp.concatenate([xp.broadcast_to(cls_token, shape), positions], axis=1)


def positions_map(x: Any, like: Any) -> Any:
    """Return the last H * W of the tokens (N, T, D) as a map (N, D, H, W), with the H and W of the map `like`."""
    height, width = like.shape[2:]
    batch, _, embed_dim = x.shape
    return x[:, -height * width :].transpose(0, 2, 1).reshape(batch, embed_dim, height, width)


def class_token(x: Any, like: Any) -> Any:
    """Return the tokens before those of the map `like`: (N, T, D) -> (N, 1, D)."""
    height, width = like.shape[2:]
    return x[:, : -height * width]


def join_class_token(cls_token: Any, x: Any) -> Any:
    """Put the class token (N, 1, D) before the tokens (N, T, D)."""
    return array_module(x).concatenate([cls_token, x], axis=1)


def join_nothing(x: Any, like: Any) -> Any:
    """Return the tokens `x`: what :func:`join_class_token` is where no class token is.

    The numbers are the same, but not always their places in memory, on which the last bits of a matrix product may
    depend. The model joins the first no tokens of `like`, and so does this.
    """
    return join_class_token(like[:, :0], x)


def attention_scores(query: Any, key: Any, *, num_heads: int, scale: float) -> Any:
    """First part of attention: ``query @ key.T * scale`` in each head, (N, T, D), (N, S, D) -> (N, h, T, S)."""
    key_heads = split_heads(key, num_heads).transpose(0, 1, 3, 2)  # (N, h, D / h, S)
    return array_module(query).matmul(split_heads(query, num_heads), key_heads) * scale


def attention_context(probabilities: Any, value: Any) -> Any:
    """Last part of attention: the values weighted by probabilities, the heads side by side: (N, T, D)."""
    context = array_module(value).matmul(probabilities, split_heads(value, probabilities.shape[1]))  # (N, h, T, D / h)
    batch, _, length, _ = context.shape
    y = context.transpose(0, 2, 1, 3).reshape(batch, length, value.shape[2])
    return y.astype(value.dtype, copy=False)


def split_heads(x: Any, num_heads: int) -> Any:
    """Give each head its channels: (N, T, D) -> (N, h, T, D / h)."""
    batch, length, embed_dim = x.shape
    return widen(x).reshape(batch, length, num_heads, embed_dim // num_heads).transpose(0, 2, 1, 3)


def resize(image: np.ndarray, *, height: int, width: int, resample: int | str) -> np.ndarray:
    """Resize a uint8 picture (C, H, W) with Pillow: :func:`npconv.images.transforms.resize`."""
    return transforms.resize(image, (height, width), resample)


def center_crop(image: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Cut the middle out of a picture (C, H, W): :func:`npconv.images.transforms.center_crop`."""
    return transforms.center_crop(image, (height, width))


def rescale(image: np.ndarray, *, factor: float) -> np.ndarray:
    """Multiply the values of a picture: :func:`npconv.images.transforms.rescale`."""
    return transforms.rescale(image, factor)


def normalize(image: np.ndarray, *, mean: float | Sequence[float], std: float | Sequence[float]) -> np.ndarray:
    """Return ``(image - mean) / std``, channel by channel: :func:`npconv.images.transforms.normalize`."""
    return transforms.normalize(image, mean, std)


#: Every operation by the name that steps call it by.
OPERATIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        conv2d,
        depthwise_conv2d,
        pointwise_conv2d,
        linear,
        layer_norm,
        batch_norm,
        activation,
        grn_strength,
        grn_relative,
        grn_apply,
        layer_scale,
        residual,
        global_average_pool,
        average_pool2d,
        token_mean,
        map_tokens,
        tokens,
        positions_map,
        class_token,
        join_class_token,
        join_nothing,
        attention_scores,
        softmax,
        attention_context,
        resize,
        center_crop,
        rescale,
        normalize,
    )
}
