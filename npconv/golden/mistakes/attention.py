"""Mistakes in attention: scores, softmax, context and the projections before them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import mistake
from npconv.layers import softmax
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Plan, Step


def has_heads(step: Step) -> bool:
    """Tell whether there is more than one head."""
    return bool(step.attributes["num_heads"] > 1)


def heads(x: Any, num_heads: int) -> Any:
    """Split the channels rightly: (N, T, D) -> (N, h, T, D / h)."""
    batch, count, embed_dim = x.shape
    return x.reshape(batch, count, num_heads, embed_dim // num_heads).transpose(0, 2, 1, 3)


def interleaved_heads(x: Any, num_heads: int) -> Any:
    """Give each head every h-th channel: (N, T, D) -> (N, h, T, D / h)."""
    batch, count, embed_dim = x.shape
    return x.reshape(batch, count, embed_dim // num_heads, num_heads).transpose(0, 3, 1, 2)


def reshaped_heads(x: Any, num_heads: int) -> Any:
    """Split without a transpose, which mixes tokens: (N, T, D) -> (N, h, T, D / h)."""
    batch, count, embed_dim = x.shape
    return x.reshape(batch, num_heads, count, embed_dim // num_heads)


def merged(x: Any) -> Any:
    """Put the heads side by side rightly: (N, h, T, D / h) -> (N, T, D)."""
    batch, num_heads, count, depth = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, count, num_heads * depth)


def products(query: Any, key: Any) -> Any:
    """Multiply the queries and keys of each head."""
    return query @ key.transpose(0, 1, 3, 2)


@mistake(
    "attention-scale-of-one-head",
    "attention scale of one head",
    "attention_scores",
    "every other transformer; CvT was trained with the scale of the whole embedding",
    applies=has_heads,
)
def scale_of_one_head(query: Any, key: Any, *, num_heads: int, scale: float) -> Any:
    """``(D / heads) ** -0.5``."""
    head_scale = (query.shape[-1] // num_heads) ** -0.5
    return products(heads(query, num_heads), heads(key, num_heads)) * head_scale


@mistake("attention-no-scale", "attention without scale", "attention_scores", "a factor that was left out")
def no_scale(query: Any, key: Any, *, num_heads: int, scale: float) -> Any:
    """Products as they are."""
    return products(heads(query, num_heads), heads(key, num_heads))


@mistake(
    "attention-scale-twice", "attention scale taken twice", "attention_scores", "a library call that scales as well"
)
def scale_twice(query: Any, key: Any, *, num_heads: int, scale: float) -> Any:
    """Scale the queries, and the scores once more."""
    return products(heads(query * scale, num_heads), heads(key, num_heads)) * scale


@mistake("attention-one-head", "attention with one head", "attention_scores", "num_heads left at 1", applies=has_heads)
def one_head(query: Any, key: Any, *, num_heads: int, scale: float) -> Any:
    """All channels in one product, the same scores for every head."""
    scores = products(heads(query, 1), heads(key, 1)) * scale
    return np.repeat(scores, num_heads, axis=1)


@mistake(
    "scores-heads-interleaved",
    "heads split in the wrong order (every h-th channel)",
    "attention_scores",
    "(D / h, h) in place of (h, D / h)",
    applies=has_heads,
)
def scores_interleaved(query: Any, key: Any, *, num_heads: int, scale: float) -> Any:
    """Take queries and keys of every h-th channel."""
    return products(interleaved_heads(query, num_heads), interleaved_heads(key, num_heads)) * scale


@mistake(
    "scores-heads-reshaped",
    "heads split without a transpose",
    "attention_scores",
    "reshape(N, h, T, D / h) at once",
    applies=has_heads,
)
def scores_reshaped(query: Any, key: Any, *, num_heads: int, scale: float) -> Any:
    """Tokens cut into heads."""
    return products(reshaped_heads(query, num_heads), reshaped_heads(key, num_heads)) * scale


@mistake(
    "attention-scaled-query",
    "attention scale folded into the queries",
    "attention_scores",
    "most fast kernels",
    invisible="(q * scale) @ k is (q @ k) * scale",
)
def scaled_query(query: Any, key: Any, *, num_heads: int, scale: float) -> Any:
    """Scale the queries, not the scores."""
    return products(heads(query * scale, num_heads), heads(key, num_heads))


@mistake("softmax-over-queries", "softmax over the queries", "softmax", "the last but one axis in place of the last")
def softmax_over_queries(x: Any, *, axis: int) -> Any:
    """Columns sum to 1, not rows."""
    return softmax(x, axis=-2)


@mistake("softmax-over-heads", "softmax over the heads", "softmax", "axis 1, the default place of classes")
def softmax_over_heads(x: Any, *, axis: int) -> Any:
    """Return the heads of one score sum to 1."""
    return softmax(x, axis=1)


@mistake("softmax-missing", "no softmax", "softmax", "a line that was left out")
def no_softmax(x: Any, *, axis: int) -> Any:
    """Scores as they are."""
    return x.copy()


@mistake("softmax-not-normalized", "softmax without its sum", "softmax", "exponentials as they are")
def not_normalized(x: Any, *, axis: int) -> Any:
    """``exp(x - max(x))``."""
    return np.exp(x - x.max(axis=axis, keepdims=True))


@mistake("softmax-base-2", "softmax with base 2", "softmax", "exp2 of a GPU without the factor log2(e)")
def base_2(x: Any, *, axis: int) -> Any:
    """``2**x / sum(2**x)``."""
    return softmax(x * np.log(2.0), axis=axis)


@mistake(
    "softmax-overflow",
    "softmax without its maximum, in float32 (overflow)",
    "softmax",
    "the formula of a textbook",
)
def overflow(x: Any, *, axis: int) -> Any:
    """``exp(x) / sum(exp(x))``: infinite beyond 88.7."""
    exponentials = np.exp(x.astype(np.float32))
    return (exponentials / exponentials.sum(axis=axis, keepdims=True)).astype(x.dtype)


@mistake(
    "softmax-by-logarithms",
    "softmax as exp(x - log(sum(exp(x))))",
    "softmax",
    "logsumexp",
    invisible="exp(x - log(s)) is exp(x) / s",
)
def by_logarithms(x: Any, *, axis: int) -> Any:
    """Return the exponential of the logarithm of the softmax."""
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.exp(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


@mistake(
    "softmax-without-maximum",
    "softmax without its maximum, where nothing overflows",
    "softmax",
    "the formula of a textbook",
    invisible="exp(x - c) / sum(exp(x - c)) does not depend on c, as long as the exponentials are finite",
)
def without_maximum(x: Any, *, axis: int) -> Any:
    """``exp(x) / sum(exp(x))``."""
    exponentials = np.exp(x)
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


@mistake(
    "context-heads-interleaved",
    "heads of the values split and merged in the wrong order (every h-th channel)",
    "attention_context",
    "(D / h, h) in place of (h, D / h)",
)
def context_interleaved(probabilities: Any, value: Any) -> Any:
    """Each head weighs, and gives out, every h-th channel."""
    context = probabilities @ interleaved_heads(value, probabilities.shape[1])  # (N, h, T, D / h)
    batch, _, count, _ = context.shape
    return context.transpose(0, 2, 3, 1).reshape(batch, count, -1)


@mistake(
    "context-heads-reshaped",
    "heads of the values split without a transpose",
    "attention_context",
    "reshape(N, h, S, D / h) at once",
)
def context_reshaped(probabilities: Any, value: Any) -> Any:
    """Tokens cut into heads."""
    return merged(probabilities @ reshaped_heads(value, probabilities.shape[1]))


@mistake(
    "context-heads-not-transposed",
    "heads merged without a transpose",
    "attention_context",
    "reshape(N, T, D) at once",
)
def context_not_transposed(probabilities: Any, value: Any) -> Any:
    """One head after the other, which mixes tokens."""
    context = probabilities @ heads(value, probabilities.shape[1])
    return context.reshape(context.shape[0], context.shape[2], -1)


@mistake(
    "context-heads-merged-interleaved",
    "heads merged in the wrong order (interleaved)",
    "attention_context",
    "(D / h, h) in place of (h, D / h)",
)
def context_merged_interleaved(probabilities: Any, value: Any) -> Any:
    """Return the first channel of every head, then the second, and so on."""
    context = probabilities @ heads(value, probabilities.shape[1])
    batch, _, count, _ = context.shape
    return context.transpose(0, 2, 3, 1).reshape(batch, count, -1)


def swap_parameters(one: str, other: str) -> Any:
    """Return what exchanges the parameters of two projections."""

    def rewire(step: Step, plan: Plan) -> Step:
        path, _, kind = step.name.rpartition("projection_")
        partner = f"{path}projection_{other if kind == one else one}"
        if kind not in (one, other) or partner not in plan or plan[partner].params.keys() != step.params.keys():
            return step
        return replace(step, params=plan[partner].params)

    return rewire


def is_projection(step: Step) -> bool:
    """Tell whether the step makes queries, keys or values."""
    return step.name.rpartition(".")[2].startswith("projection_")


@mistake(
    "query-and-key-swapped",
    "weights of query and key swapped",
    "linear",
    "a checkpoint's projections by position",
    applies=is_projection,
    rewire=swap_parameters("query", "key"),
)
def query_and_key_swapped(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return the other's weights."""
    return OPERATIONS["linear"](x, weight, bias)


@mistake(
    "key-and-value-swapped",
    "weights of key and value swapped",
    "linear",
    "a checkpoint's projections by position",
    applies=is_projection,
    rewire=swap_parameters("key", "value"),
)
def key_and_value_swapped(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return the other's weights."""
    return OPERATIONS["linear"](x, weight, bias)
