"""The operations that a model is made of: arrays in, array out, under the names that steps use.

Nearly all are functions of ``npconv.layers`` and stand here by name alone. The others take what a step can hold: an
activation by its name, the size of a map as that of the map `like`, the size of a picture as two numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npconv import layers
from npconv.backend import Array
from npconv.images.settings import STEPS


def activation(x: Array, *, hidden_act: str) -> Array:
    """Apply the activation of a name of ``npconv.layers.ACTIVATIONS``."""
    return layers.activation(hidden_act)(x)


def residual(x: Array, branch: Array) -> Array:
    """Add what a branch made of `x` to `x`: ``x + branch``."""
    return x + branch


def tokens(x: Array, cls_token: Array | None = None) -> Array:
    """Make a stage's tokens of its map: (N, D, H, W) -> (N, T, D); the class token (1, 1, D), if any, comes first."""
    positions = layers.map_tokens(x)
    return positions if cls_token is None else layers.join_class_token(cls_token, positions)


def positions_map(x: Array, like: Array) -> Array:
    """Return the last H * W of the tokens (N, T, D) as a map (N, D, H, W), with the H and W of the map `like`."""
    return layers.positions_map(x, *like.shape[2:])


def class_token(x: Array, like: Array) -> Array:
    """Return the tokens before those of the map `like`: (N, T, D) -> (N, 1, D)."""
    return layers.class_token(x, *like.shape[2:])


def join_nothing(x: Array, like: Array) -> Array:
    """Return the tokens `x`: what :func:`npconv.layers.join_class_token` is where no class token is.

    The numbers are the same, but not always their places in memory, on which the last bits of a matrix product may
    depend. The model joins the first no tokens of `like`, and so does this.
    """
    return layers.join_class_token(like[:, :0], x)


def half_square(x: Array) -> Array:
    """Return half the sum of squares: the loss of a model that has none, whose gradient is `x` itself."""
    return (x * x).sum() * 0.5


def sum_gradients(x: Array, *others: Array) -> Array:
    """Add what several steps give an array that they all took."""
    return sum(others, x)


def drop_path(x: Array, mask: Array) -> Array:
    """Drop samples by a mask of :func:`npconv.layers.drop_path_mask`."""
    return layers.drop(x, mask)


def dropout(x: Array, mask: Array) -> Array:
    """Drop elements by a mask of :func:`npconv.layers.dropout_mask`."""
    return layers.drop(x, mask)


#: Every operation by the name that steps call it by.
FORWARD: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        layers.conv2d,
        layers.depthwise_conv2d,
        layers.pad_end,
        layers.pointwise_conv2d,
        layers.linear,
        layers.layer_norm,
        layers.rms_norm,
        layers.simple_norm,
        layers.batch_norm,
        activation,
        layers.grn_strength,
        layers.grn_relative,
        layers.grn_apply,
        layers.layer_scale,
        residual,
        layers.global_average_pool,
        layers.global_max_pool,
        layers.halfway,
        layers.join_features,
        layers.average_pool2d,
        layers.token_mean,
        layers.map_tokens,
        tokens,
        positions_map,
        class_token,
        layers.join_class_token,
        join_nothing,
        layers.attention_scores,
        layers.softmax,
        layers.attention_context,
        layers.batch_norm_training,
        layers.running_mean,
        layers.running_var,
        layers.num_batches_tracked,
        layers.drop_path_mask,
        layers.dropout_mask,
        drop_path,
        dropout,
        layers.cross_entropy,
        layers.mean_squared_error,
        layers.binary_cross_entropy_with_logits,
        half_square,
        sum_gradients,
    )
} | STEPS
