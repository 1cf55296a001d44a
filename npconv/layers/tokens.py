"""Layers over tokens (N, T, D), what makes tokens of a map and a map of tokens, and the means of both."""

from __future__ import annotations

from npconv.backend import Array, Rng, array_module, widen
from npconv.layers.shapes import guarded, shapes
from npconv.layers.stochastic import dropout


@shapes(x="... D", weight="O D", bias="O", result="... O")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Multiply the last axis by a matrix: ``y = x @ weight.T + bias``. PyTorch stores a row of it for each output."""
    y = array_module(x).matmul(x, weight.T)
    return y if bias is None else y + bias


@shapes(x="...", result="...")
def softmax(x: Array, *, axis: int) -> Array:
    """Turn scores into probabilities along an axis, which then sums to 1: ``exp(x) / sum(exp(x))``.

    The largest score is subtracted first. That changes nothing in exact arithmetic, and keeps exp from overflowing:
    its argument is then never positive.
    """
    if x.size == 0:
        return x  # there is no largest of no scores
    exponentials = array_module(x).exp(x - x.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


@shapes(query="N T D", key="N S D", value="N S D", num_heads="divides D", result="N T D")
def attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    num_heads: int,
    scale: float,
    dropout_rate: float = 0.0,
    rng: Rng = None,
) -> Array:
    """Multi-head scaled dot-product attention: ``softmax(query @ key.T * scale) @ value`` in each head.

    Head h owns the channels from ``h * D / num_heads`` on. The scale is usually ``(D / num_heads) ** -0.5``; CvT was
    trained with ``D ** -0.5``. In training, probabilities are dropped: see :func:`npconv.layers.dropout`.

    Attention Is All You Need, section 3.2, https://arxiv.org/abs/1706.03762.
    """
    scores = attention_scores(query, key, num_heads=num_heads, scale=scale)  # (N, h, T, S)
    probabilities = softmax(scores, axis=-1)
    probabilities = dropout(probabilities, rate=dropout_rate, rng=rng)
    return attention_context(probabilities, value)


@guarded(query="N T D", key="N S D", result="N num_heads T S")
def attention_scores(query: Array, key: Array, *, num_heads: int, scale: float) -> Array:
    """First part of attention: ``query @ key.T * scale`` in each head, (N, T, D), (N, S, D) -> (N, h, T, S).

    float16 is computed in float32, and stays so.
    """
    keys = split_heads(key, num_heads).transpose(0, 1, 3, 2)  # (N, h, D / h, S)
    return array_module(query).matmul(split_heads(query, num_heads), keys) * scale


@guarded(probabilities="N h T S", value="N S D", result="N T D")
def attention_context(probabilities: Array, value: Array) -> Array:
    """Last part of attention: ``probabilities @ value`` in each head, the heads side by side: (N, T, D).

    float16 is computed in float32, and comes back as float16.
    """
    context = array_module(value).matmul(probabilities, split_heads(value, probabilities.shape[1]))  # (N, h, T, D / h)
    batch, _, length, _ = context.shape
    y = context.transpose(0, 2, 1, 3).reshape(batch, length, value.shape[2])
    return y.astype(value.dtype) if value.dtype == "float16" else y


def split_heads(x: Array, num_heads: int) -> Array:
    """Give each head its channels: (N, T, D) -> (N, h, T, D / h)."""
    batch, length, embed_dim = x.shape
    return widen(x).reshape(batch, length, num_heads, embed_dim // num_heads).transpose(0, 2, 1, 3)


@guarded(x="N D H W", result="N H*W D")
def map_tokens(x: Array) -> Array:
    """Lay the positions of a map out one after another, row by row: (N, D, H, W) -> (N, H * W, D)."""
    batch, embed_dim, height, width = x.shape
    return x.reshape(batch, embed_dim, height * width).transpose(0, 2, 1)


@guarded(x="N T D", result="N D height width")
def positions_map(x: Array, height: int, width: int) -> Array:
    """Lay the last H * W tokens out as a map, row by row: (N, T, D) -> (N, D, H, W)."""
    batch, _, embed_dim = x.shape
    return x[:, -height * width :].transpose(0, 2, 1).reshape(batch, embed_dim, height, width)


@guarded(x="N T D", result="N t D")
def class_token(x: Array, height: int, width: int) -> Array:
    """Take what stands before the last H * W tokens: (N, T, D) -> (N, 1, D), or (N, 0, D) without a class token."""
    return x[:, : -height * width]


@guarded(cls_token="1 1 D | N 1 D | N D", x="N T D", result="N 1+T D")
def join_class_token(cls_token: Array, x: Array) -> Array:
    """Put the class token, (N, 1, D), (N, D) or one for all samples (1, 1, D), before the T tokens: (N, 1 + T, D)."""
    xp = array_module(x)
    if cls_token.ndim == 2:
        cls_token = cls_token[:, None]
    if cls_token.shape[0] != x.shape[0]:
        cls_token = xp.broadcast_to(cls_token, (x.shape[0], *cls_token.shape[1:]))
    return xp.concatenate([cls_token, x], axis=1)


@shapes(x="N T D", result="N D")
def token_mean(x: Array) -> Array:
    """Average tokens: ``y[n, d] = mean over t of x[n, t, d]``."""
    return x.mean(axis=1)


@shapes(x="N C H W", result="N C")
def global_average_pool(x: Array) -> Array:
    """Average each map over all its positions: ``y[n, c] = mean over i, j of x[n, c, i, j]``."""
    return x.mean(axis=(2, 3))


@shapes(x="N C H W", result="N C")
def global_max_pool(x: Array) -> Array:
    """Take the largest value of each map: ``y[n, c] = max over i, j of x[n, c, i, j]``."""
    return x.max(axis=(2, 3))


@shapes(x="N C", y="N C", result="N C")
def halfway(x: Array, y: Array) -> Array:
    """Return the mean of two arrays of features, ``(x + y) / 2``: timm's ``avgmax`` of an average and a maximum."""
    return (x + y) * 0.5


@shapes(x="N C", y="N D", result="N C+D")
def join_features(x: Array, y: Array) -> Array:
    """Put features one after the other: (N, C) and (N, D) -> (N, C + D)."""
    return array_module(x).concatenate([x, y], axis=-1)
