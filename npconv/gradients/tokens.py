"""Layers over tokens backwards, and what makes tokens of a map and a map of tokens.

Letters and arguments are those of ``npconv/layers/tokens.py``. What only moves numbers to other places moves their
gradients back; what takes a part gives 0 to the rest; what copies sums up.
"""

from __future__ import annotations

from collections.abc import Sequence

from npconv import layers
from npconv.backend import Array, array_module
from npconv.gradients.gradient_of import gradient_of
from npconv.gradients.stochastic import dropout_backward
from npconv.layers.tokens import split_heads


@gradient_of(layers.linear, "x", "weight", "bias")
def linear_backward(grad_y: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of `x`, `weight` and `bias` of :func:`npconv.layers.linear`.

    ``y = x @ weight.T + bias``, so ``grad_x = grad_y @ weight`` and ``grad_weight = grad_y.T @ x``, with all axes but
    the last as one; `grad_bias` is the sum of `grad_y` over them.
    """
    xp = array_module(x)
    grad_rows, rows = grad_y.reshape(-1, weight.shape[0]), x.reshape(-1, weight.shape[1])
    return xp.matmul(grad_y, weight), xp.matmul(grad_rows.T, rows), grad_rows.sum(axis=0)


@gradient_of(layers.softmax, "x")
def softmax_backward(grad_y: Array, y: Array, *, axis: int) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.softmax`, of which `y` is the result.

    ``dy[i] / dx[j] = y[i] * ((i == j) - y[j])``, so ``grad_x = y * (grad_y - sum(grad_y * y))``: the sum is there since
    every probability takes from the others.
    """
    return y * (grad_y - (grad_y * y).sum(axis=axis, keepdims=True))


@gradient_of(layers.attention, "query", "key", "value")
def attention_backward(
    grad_y: Array,
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None = None,
    *,
    num_heads: int,
    scale: float,
) -> tuple[Array, Array, Array]:
    """Return the gradients of `query`, `key` and `value` of :func:`npconv.layers.attention`.

    Its parts, last to first. `mask` is what dropout multiplied the probabilities by, (N, h, T, S).
    """
    probabilities = layers.softmax(layers.attention_scores(query, key, num_heads=num_heads, scale=scale), axis=-1)
    kept = probabilities if mask is None else layers.drop(probabilities, mask)
    grad_probabilities, grad_value = attention_context_backward(grad_y, kept, value)
    if mask is not None:
        grad_probabilities = dropout_backward(grad_probabilities, mask)
    grad_scores = softmax_backward(grad_probabilities, probabilities, axis=-1)
    grad_query, grad_key = attention_scores_backward(grad_scores, query, key, num_heads=num_heads, scale=scale)
    return grad_query, grad_key, grad_value


@gradient_of(layers.attention_scores, "query", "key")
def attention_scores_backward(
    grad_y: Array, query: Array, key: Array, *, num_heads: int, scale: float
) -> tuple[Array, Array]:
    """Return the gradients of `query` and `key` of :func:`npconv.layers.attention_scores`.

    ``y = query @ key.T * scale`` in each head: ``grad_query = grad_y @ key * scale`` and
    ``grad_key = grad_y.T @ query * scale``.
    """
    xp = array_module(grad_y)
    queries, keys = split_heads(query, num_heads), split_heads(key, num_heads)
    grad_queries = xp.matmul(grad_y, keys) * scale  # (N, h, T, D / h)
    grad_keys = xp.matmul(grad_y.swapaxes(2, 3), queries) * scale  # (N, h, S, D / h)
    return join_heads(grad_queries), join_heads(grad_keys)


@gradient_of(layers.attention_context, "probabilities", "value")
def attention_context_backward(grad_y: Array, probabilities: Array, value: Array) -> tuple[Array, Array]:
    """Return the gradients of `probabilities` and `value` of :func:`npconv.layers.attention_context`.

    ``y = probabilities @ value`` in each head: ``grad_probabilities = grad_y @ value.T`` and
    ``grad_value = probabilities.T @ grad_y``.
    """
    xp, num_heads = array_module(grad_y), probabilities.shape[1]
    grad_context, values = split_heads(grad_y, num_heads), split_heads(value, num_heads)
    grad_probabilities = xp.matmul(grad_context, values.swapaxes(2, 3))  # (N, h, T, S)
    return grad_probabilities, join_heads(xp.matmul(probabilities.swapaxes(2, 3), grad_context))


def join_heads(x: Array) -> Array:
    """Lay the channels of the heads side by side: (N, h, T, D / h) -> (N, T, D)."""
    batch, heads, length, channels = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, length, heads * channels)


@gradient_of(layers.map_tokens, "x")
def map_tokens_backward(grad_y: Array, x_shape: Sequence[int]) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.map_tokens`: (N, H * W, D) -> (N, D, H, W)."""
    return grad_y.transpose(0, 2, 1).reshape(x_shape)


@gradient_of(layers.positions_map, "x")
def positions_map_backward(grad_y: Array, x_shape: Sequence[int]) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.positions_map`: 0 for the tokens before the positions."""
    batch, embed_dim, height, width = grad_y.shape
    grad_x = array_module(grad_y).zeros(x_shape, grad_y.dtype)
    grad_x[:, -height * width :] = grad_y.reshape(batch, embed_dim, height * width).transpose(0, 2, 1)
    return grad_x


@gradient_of(layers.class_token, "x")
def class_token_backward(grad_y: Array, x_shape: Sequence[int]) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.class_token`: 0 for the tokens of positions."""
    grad_x = array_module(grad_y).zeros(x_shape, grad_y.dtype)
    grad_x[:, : grad_y.shape[1]] = grad_y
    return grad_x


@gradient_of(layers.join_class_token, "cls_token", "x")
def join_class_token_backward(grad_y: Array, cls_token_shape: Sequence[int]) -> tuple[Array, Array]:
    """Return the gradients of `cls_token` and `x` of :func:`npconv.layers.join_class_token`.

    A class token that is one for all samples was copied to each: its gradient is the sum over the batch, not the mean.
    """
    tokens = 1 if len(cls_token_shape) == 2 else cls_token_shape[1]
    grad_token = grad_y[:, :tokens]
    if cls_token_shape[0] != grad_y.shape[0]:
        grad_token = grad_token.sum(axis=0, keepdims=True)
    return grad_token.reshape(cls_token_shape), grad_y[:, tokens:]


@gradient_of(layers.token_mean, "x")
def token_mean_backward(grad_y: Array, x_shape: Sequence[int]) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.token_mean`: a T-th part of `grad_y` for each token."""
    return array_module(grad_y).broadcast_to(grad_y[:, None] / x_shape[1], x_shape)


@gradient_of(layers.global_average_pool, "x")
def global_average_pool_backward(grad_y: Array, x_shape: Sequence[int]) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.global_average_pool`: ``grad_y / (H * W)`` everywhere."""
    share = grad_y[:, :, None, None] / (x_shape[2] * x_shape[3])
    return array_module(grad_y).broadcast_to(share, x_shape)


@gradient_of(layers.global_max_pool, "x")
def global_max_pool_backward(grad_y: Array, x: Array, y: Array) -> Array:
    """Return the gradient of `x` of :func:`npconv.layers.global_max_pool`, of which `y` is the result.

    `grad_y` goes where the largest value was; among several places with that value, each gets the same share, as in
    PyTorch's ``amax``.
    """
    is_largest = (x == y[:, :, None, None]).astype(x.dtype)
    return grad_y[:, :, None, None] * is_largest / is_largest.sum(axis=(2, 3), keepdims=True)


@gradient_of(layers.halfway, "x", "y")
def halfway_backward(grad_y: Array) -> tuple[Array, Array]:
    """Return the gradients of both arguments of :func:`npconv.layers.halfway`: half of `grad_y` each."""
    half = grad_y * 0.5
    return half, half


@gradient_of(layers.join_features, "x", "y")
def join_features_backward(grad_y: Array, x_shape: Sequence[int]) -> tuple[Array, Array]:
    """Return the gradients of both arguments of :func:`npconv.layers.join_features`: each has its own part."""
    return grad_y[:, : x_shape[-1]], grad_y[:, x_shape[-1] :]
