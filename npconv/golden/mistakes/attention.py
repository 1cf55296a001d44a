"""Mistakes in attention: scores, softmax, context and the projections before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import Edit, as_it_is, edit, leave_out, mistake, of_input, replaced
from npconv.layers.tokens import attention_scores, split_heads
from npconv.plan.step import Plan, Step

scores, softmax, context, linear = (
    partial(mistake, operation) for operation in ("attention_scores", "softmax", "attention_context", "linear")
)


def has_heads(step: Step) -> bool:
    """Tell whether there is more than one head."""
    return bool(step.attributes["num_heads"] > 1)


def interleaved_heads(x: Any, num_heads: int) -> Any:
    """Give each head every h-th channel: (N, T, D) -> (N, h, T, D / h)."""
    return x.reshape(*x.shape[:2], -1, num_heads).transpose(0, 3, 1, 2)


def reshaped_heads(x: Any, num_heads: int) -> Any:
    """Split without a transpose, which mixes tokens: (N, T, D) -> (N, h, T, D / h)."""
    return x.reshape(len(x), num_heads, x.shape[1], -1)


def merged(x: Any) -> Any:
    """Put the heads side by side rightly: (N, h, T, D / h) -> (N, T, D)."""
    return x.transpose(0, 2, 1, 3).reshape(len(x), x.shape[2], -1)


def merged_interleaved(x: Any) -> Any:
    """Put the first channel of every head, then the second, and so on: (N, h, T, D / h) -> (N, T, D)."""
    return x.transpose(0, 2, 3, 1).reshape(len(x), x.shape[2], -1)


def merged_reshaped(x: Any) -> Any:
    """Put one head after the other, which mixes tokens: (N, h, T, D / h) -> (N, T, D)."""
    return x.reshape(len(x), x.shape[2], -1)


scores(
    "attention-scale-of-one-head",
    "attention scale of one head",
    "every other transformer; CvT was trained with the scale of the whole embedding",
    applies=has_heads,
)(lambda q, k, num_heads, scale: attention_scores(q, k, num_heads=num_heads, scale=(q.shape[2] // num_heads) ** -0.5))
scores("attention-no-scale", "attention without scale", "a factor that was left out")(edit(scale=1.0))
scores("attention-scale-twice", "attention scale taken twice", "a library call that scales as well")(
    lambda q, k, num_heads, scale: attention_scores(q * scale, k, num_heads=num_heads, scale=scale)
)
scores("attention-one-head", "attention with one head", "num_heads left at 1", applies=has_heads)(
    lambda q, k, num_heads, scale: np.repeat(attention_scores(q, k, num_heads=1, scale=scale), num_heads, axis=1)
)


def split_otherwise(split: Callable[[Any, int], Any]) -> Edit:
    """Multiply queries and keys that are split into heads in another way."""

    def call(right: Any, query: Any, key: Any, *, num_heads: int, scale: float) -> Any:
        return split(query, num_heads) @ split(key, num_heads).transpose(0, 1, 3, 2) * scale

    return Edit(call, has_heads)


scores(
    "scores-heads-interleaved",
    "heads split in the wrong order (every h-th channel)",
    "(D / h, h) in place of (h, D / h)",
)(split_otherwise(interleaved_heads))
scores("scores-heads-reshaped", "heads split without a transpose", "reshape(N, h, T, D / h) at once")(
    split_otherwise(reshaped_heads)
)
scores(
    "attention-scaled-query",
    "attention scale folded into the queries",
    "most fast kernels",
    invisible="(q * scale) @ k is (q @ k) * scale",
)(lambda q, k, num_heads, scale: attention_scores(q * scale, k, num_heads=num_heads, scale=1.0))

softmax("softmax-over-queries", "softmax over the queries", "the last but one axis in place of the last")(edit(axis=-2))
softmax("softmax-over-heads", "softmax over the heads", "axis 1, the default place of classes")(edit(axis=1))
softmax("softmax-missing", "no softmax", "a line that was left out")(leave_out())
softmax("softmax-not-normalized", "softmax without its sum", "exponentials as they are")(
    lambda x, axis: np.exp(x - x.max(axis=axis, keepdims=True))
)
softmax("softmax-base-2", "softmax with base 2", "exp2 of a GPU without the factor log2(e)")(
    of_input(lambda x: x * np.log(2.0))
)


def without_maximum(x: Any, axis: int) -> Any:
    """``exp(x) / sum(exp(x))``: in float32 infinite beyond 88.7."""
    exponentials = np.exp(x)
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


softmax("softmax-overflow", "softmax without its maximum, in float32 (overflow)", "the formula of a textbook")(
    lambda x, axis: without_maximum(x.astype(np.float32), axis).astype(x.dtype)
)


@softmax(
    "softmax-by-logarithms",
    "softmax as exp(x - log(sum(exp(x))))",
    "logsumexp",
    invisible="exp(x - log(s)) is exp(x) / s",
)
def by_logarithms(x: Any, *, axis: int) -> Any:
    """Subtract the logarithm of the sum before the exponential."""
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.exp(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


softmax(
    "softmax-without-maximum",
    "softmax without its maximum, where nothing overflows",
    "the formula of a textbook",
    invisible="exp(x - c) / sum(exp(x - c)) does not depend on c, as long as the exponentials are finite",
)(without_maximum)


def weighted(split: Callable[[Any, int], Any], merge: Callable[[Any], Any]) -> Edit:
    """Weigh the values by the probabilities, with the heads split and merged in another way."""
    return replaced(lambda probabilities, value: merge(probabilities @ split(value, probabilities.shape[1])))


context(
    "context-heads-interleaved",
    "heads of the values split and merged in the wrong order (every h-th channel)",
    "(D / h, h) in place of (h, D / h)",
)(weighted(interleaved_heads, merged_interleaved))
context("context-heads-reshaped", "heads of the values split without a transpose", "reshape(N, h, S, D / h) at once")(
    weighted(reshaped_heads, merged)
)
context("context-heads-not-transposed", "heads merged without a transpose", "reshape(N, T, D) at once")(
    weighted(split_heads, merged_reshaped)
)
context(
    "context-heads-merged-interleaved",
    "heads merged in the wrong order (interleaved)",
    "(D / h, h) in place of (h, D / h)",
)(weighted(split_heads, merged_interleaved))


def swap_parameters(one: str, other: str) -> Callable[[Step, Plan], Step]:
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


for one, other in (("query", "key"), ("key", "value")):
    linear(
        f"{one}-and-{other}-swapped",
        f"weights of {one} and {other} swapped",
        "a checkpoint's projections by position",
        applies=is_projection,
        rewire=swap_parameters(one, other),
    )(as_it_is())
