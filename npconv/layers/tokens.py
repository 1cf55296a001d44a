"""Layers over the last axis: tokens (N, T, D), or pooled features (N, D)."""

from __future__ import annotations

from typing import Any

from npconv.backend import array_module, widen
from npconv.errors import InputError
from npconv.layers._checks import check_channels, check_ndim, check_per_channel, check_weight
from npconv.layers.stochastic import dropout


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Multiply the last axis by a matrix: ``y = x @ weight.T + bias``.

    Parameters
    ----------
    x : array (..., D)
        Floating-point; tokens (N, T, D) or pooled features (N, D).
    weight : array (O, D)
        One row for each output, as PyTorch stores it.
    bias : array (O,), optional
        Added to each output.

    Returns
    -------
    array (..., O)
        In the dtype of `x`; float16 is summed in float32.

    Raises
    ------
    InputError
        If shapes do not fit each other.
    """
    xp = array_module(x)
    check_weight("linear", weight, [2])
    check_channels("linear", x, weight.shape[1], axis=-1)
    check_per_channel("linear", weight.shape[0], bias=bias)
    y = xp.matmul(widen(x), widen(weight).T)
    if bias is not None:
        y = y + bias
    return y.astype(x.dtype, copy=False)


def softmax(x: Any, *, axis: int) -> Any:
    """Turn scores into probabilities along an axis: ``exp(x) / sum(exp(x))``.

    The largest score is subtracted first. That changes nothing in exact arithmetic, and keeps exp from overflowing:
    its argument is then never positive.

    Parameters
    ----------
    x : array
        Scores, floating-point, any shape.
    axis : int
        The axis that sums to 1.

    Returns
    -------
    array, same shape and dtype as `x`
        float16 is computed in float32.
    """
    xp = array_module(x)
    x_wide = widen(x)
    exponentials = xp.exp(x_wide - x_wide.max(axis=axis, keepdims=True))
    y = exponentials / exponentials.sum(axis=axis, keepdims=True)
    return y.astype(x.dtype, copy=False)


def attention(
    query: Any,
    key: Any,
    value: Any,
    *,
    num_heads: int,
    scale: float,
    dropout_rate: float = 0.0,
    rng: Any = None,
) -> Any:
    """Multi-head scaled dot-product attention: ``softmax(query @ key.T * scale) @ value`` in each head.

    Parameters
    ----------
    query : array (N, T, D)
        Floating-point, after its linear projection. Head h owns the channels from h * D / heads on.
    key, value : array (N, S, D)
        As many of one as of the other; CvT has fewer of them than queries.
    num_heads : int
        Must divide D.
    scale : float
        Factor of the scores. Usually ``(D / num_heads) ** -0.5``; CvT was trained with ``D ** -0.5``.
    dropout_rate, rng
        See :func:`npconv.layers.dropout`; applied to the probabilities in training.

    Returns
    -------
    array (N, T, D)
        The heads side by side again, in the dtype of `query`; float16 is computed in float32.

    Raises
    ------
    InputError
        If shapes do not fit each other.

    Notes
    -----
    Attention Is All You Need, section 3.2, https://arxiv.org/abs/1706.03762.
    """
    xp = array_module(query)
    check_ndim("attention", query, "NTD")
    batch, tokens, embed_dim = query.shape
    if key.shape != value.shape or key.ndim != 3 or key.shape[::2] != (batch, embed_dim):
        raise InputError(
            f"attention: expected key and value of one shape ({batch}, S, {embed_dim}) to go with query {query.shape}, "
            f"got {key.shape} and {value.shape}"
        )
    if num_heads < 1 or embed_dim % num_heads:
        raise InputError(f"attention: expected num_heads to divide the {embed_dim} channels, got {num_heads}")

    def split_heads(x: Any) -> Any:
        heads = widen(x).reshape(batch, x.shape[1], num_heads, embed_dim // num_heads)
        return heads.transpose(0, 2, 1, 3)  # (N, h, T, D / h)

    scores = xp.matmul(split_heads(query), split_heads(key).transpose(0, 1, 3, 2)) * scale  # (N, h, T, S)
    probabilities = softmax(scores, axis=-1)
    probabilities = dropout(probabilities, rate=dropout_rate, rng=rng)
    context = xp.matmul(probabilities, split_heads(value))  # (N, h, T, D / h)
    y = context.transpose(0, 2, 1, 3).reshape(batch, tokens, embed_dim)
    return y.astype(query.dtype, copy=False)
