"""Mistakes in the gradients of attention: scores, softmax and context."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from npconv.golden.mistakes.attention import (
    has_heads,
    interleaved_heads,
    merged,
    merged_interleaved,
    merged_reshaped,
    reshaped_heads,
)
from npconv.golden.mistakes.catalogue import edit, leave_out, mistake, of_gradient, replaced
from npconv.layers.tokens import split_heads

scores, softmax, context = (
    partial(mistake, f"{operation}_backward") for operation in ("attention_scores", "softmax", "attention_context")
)

softmax("softmax-backward-no-sum", "softmax's Jacobian without its row sum", "each probability taken by itself")(
    replaced(lambda grad_y, y: y * grad_y)
)
softmax("softmax-backward-diagonal", "softmax's Jacobian with its diagonal alone", "the derivative of a sigmoid")(
    replaced(lambda grad_y, y: y * (1 - y) * grad_y)
)
softmax("softmax-backward-not-multiplied", "softmax's Jacobian not times the probabilities", "half of the formula")(
    lambda grad_y, y, axis, wrt: grad_y - (grad_y * y).sum(axis=axis, keepdims=True)
)
softmax("softmax-backward-mean", "softmax's Jacobian with a row mean in place of the sum", "a mean in place of a sum")(
    lambda grad_y, y, axis, wrt: y * (grad_y - (grad_y * y).mean(axis=axis, keepdims=True))
)
softmax("softmax-backward-unweighted", "softmax's Jacobian with the sum of gradients alone", "a factor left out")(
    lambda grad_y, y, axis, wrt: y * (grad_y - grad_y.sum(axis=axis, keepdims=True))
)
softmax("softmax-backward-over-queries", "softmax's Jacobian over the queries", "the last but one axis")(edit(axis=-2))
softmax("softmax-backward-over-heads", "softmax's Jacobian over the heads", "axis 1, the default place of classes")(
    edit(axis=1)
)
softmax("softmax-backward-missing", "no softmax backwards", "a line that was left out")(leave_out())

scores("scores-backward-no-scale", "gradient of scores without scale", "a factor of the forward pass alone")(
    edit(scale=1.0)
)
scores("scores-backward-scale-twice", "gradient of scores scaled twice", "scaled in both factors")(
    edit(scale=lambda scale: scale * scale)
)
scores(
    "scores-backward-scale-of-one-head",
    "gradient of scores with the scale of one head",
    "every other transformer; CvT has the scale of the whole embedding",
    applies=has_heads,
)(
    lambda grad_y, query, key, num_heads, scale, wrt: product_of_scores(
        grad_y, query, key, num_heads, (query.shape[2] // num_heads) ** -0.5, wrt
    )
)
scores("scores-backward-exchanged", "gradients of queries and keys exchanged", "two results by position")(
    edit(wrt={"query": "key", "key": "query"}.get)
)
scores(
    "scores-backward-not-transposed",
    "keys' gradient by scores that were reshaped, not transposed",
    "reshape(N, h, S, T) of (N, h, T, S)",
    applies=of_gradient("key"),
)(
    lambda grad_y, query, key, num_heads, scale, wrt: merged(
        grad_y.reshape(*grad_y.shape[:2], grad_y.shape[3], -1) @ split_heads(query, num_heads) * scale
    )
)


def product_of_scores(
    grad_y: Any,
    query: Any,
    key: Any,
    num_heads: int,
    scale: float,
    wrt: str,
    split: Callable[[Any, int], Any] = split_heads,
    merge: Callable[[Any], Any] = merged,
) -> Any:
    """Return the gradient of queries or keys, with the heads split and merged in some way."""
    if wrt == "query":
        return merge(grad_y @ split(key, num_heads)) * scale
    return merge(grad_y.transpose(0, 1, 3, 2) @ split(query, num_heads)) * scale


def product_of_context(
    grad_y: Any,
    probabilities: Any,
    value: Any,
    wrt: str,
    split: Callable[[Any, int], Any] = split_heads,
    merge: Callable[[Any], Any] = merged,
) -> Any:
    """Return the gradient of probabilities or values, with the heads split and merged in some way."""
    grad_context, values = (split(array, probabilities.shape[1]) for array in (grad_y, value))
    if wrt == "probabilities":
        return grad_context @ values.transpose(0, 1, 3, 2)
    return merge(probabilities.transpose(0, 1, 3, 2) @ grad_context)


for key, says, origin, split, merge in (
    ("interleaved", "in the wrong order", "(D / h, h) in place of (h, D / h)", interleaved_heads, merged_interleaved),
    ("reshaped", "without a transpose", "reshape(N, h, T, D / h) at once", reshaped_heads, merged),
):
    scores(f"scores-backward-heads-{key}", f"heads split {says} backwards", origin, applies=has_heads)(
        partial(product_of_scores, split=split, merge=merge)
    )
    context(f"context-backward-heads-{key}", f"heads split {says} backwards", origin)(
        partial(product_of_context, split=split, merge=merge)
    )
scores(
    "scores-backward-heads-not-merged",
    "heads merged without a transpose backwards",
    "reshape(N, T, D) at once",
    applies=has_heads,
)(partial(product_of_scores, merge=merged_reshaped))
context(
    "context-backward-heads-not-merged",
    "heads merged without a transpose backwards",
    "reshape(N, S, D) at once",
    applies=of_gradient("value"),
)(partial(product_of_context, merge=merged_reshaped))
context(
    "context-backward-not-transposed",
    "values' gradient by probabilities that were reshaped, not transposed",
    "reshape(N, h, S, T) of (N, h, T, S)",
    applies=of_gradient("value"),
)(
    lambda grad_y, probabilities, value, wrt: merged(
        probabilities.reshape(*probabilities.shape[:2], probabilities.shape[3], -1)
        @ split_heads(grad_y, probabilities.shape[1])
    )
)
