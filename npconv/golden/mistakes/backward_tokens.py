"""Mistakes in the gradients of tokens and the class token, and in the pooling of maps and tokens."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import mistake, of_gradient, of_input, of_output, replaced
from npconv.golden.mistakes.tokens import takes_class_token

both, tokens, positions, token, joined, mean = (
    partial(mistake, operation)
    for operation in (
        ("tokens_backward", "map_tokens_backward"),
        *("tokens_backward", "positions_map_backward", "class_token_backward", "join_class_token_backward"),
        "token_mean_backward",
    )
)
of_x = of_gradient("x")


def filled_by_columns(gradient: Any) -> Any:
    """Fill a map, (N, D, H, W), column by column, with what fills it row by row."""
    return gradient.reshape(*gradient.shape[:2], *gradient.shape[:1:-1]).transpose(0, 1, 3, 2)


def filled_without_transpose(gradient: Any) -> Any:
    """Fill a map, (N, D, H, W), with its tokens (N, H * W, D) as they lie in memory."""
    batch, depth = gradient.shape[:2]
    return gradient.reshape(batch, depth, -1).transpose(0, 2, 1).reshape(gradient.shape)


both("by-columns", "map's gradient filled column by column", "width and height taken for each other", applies=of_x)(
    of_output(filled_by_columns)
)
both("not-transposed", "tokens' gradient reshaped to a map without a transpose", "reshape(N, D, H, W)", applies=of_x)(
    of_output(filled_without_transpose)
)
positions(
    "positions-backward-by-columns",
    "positions' gradient laid out column by column",
    "width and height taken for each other",
)(of_input(lambda grad_y: grad_y.transpose(0, 1, 3, 2)))
positions(
    "positions-backward-not-transposed", "map's gradient reshaped to tokens without a transpose", "reshape(N, T, D)"
)(of_input(lambda grad_y: grad_y.reshape(len(grad_y), -1, grad_y.shape[1]).transpose(0, 2, 1).reshape(grad_y.shape)))


@positions(
    "positions-backward-first",
    "positions' gradient given to the first tokens",
    "zeros for the class token put at the end",
)
def given_to_first_tokens(grad_y: Any, x: Any, *, wrt: str) -> Any:
    """Return the gradients of positions as those of the first tokens, and 0 for the others."""
    batch, depth = grad_y.shape[:2]
    gradient = np.zeros_like(x)
    gradient[:, : grad_y.shape[2] * grad_y.shape[3]] = grad_y.reshape(batch, depth, -1).transpose(0, 2, 1)
    return gradient


token("class-token-backward-last", "class token's gradient given to the last token", "a class token that stands last")(
    of_output(lambda gradient: gradient[:, ::-1].copy())
)
token("class-token-backward-everywhere", "class token's gradient given to every token", "average pooling of tokens")(
    replaced(lambda grad_y, x: np.repeat(grad_y, x.shape[1], axis=1))
)
joined(
    "join-class-token-backward-last", "class token's gradient taken from the last token", "the class token appended"
)(of_input(lambda grad_y: np.roll(grad_y, 1, axis=1)))


tokens(
    "tokens-backward-class-token-last",
    "class token's gradient taken from the last token",
    "the class token appended",
    applies=takes_class_token,
)(of_input(lambda grad_y: np.roll(grad_y, 1, axis=1)))
mean("token-mean-backward-sum", "gradient not divided by the number of tokens", "a division that was left out")(
    replaced(lambda grad_y, x: np.repeat(grad_y[:, None], x.shape[1], axis=1))
)


@mean(
    "token-mean-backward-first", "gradient given to the first token alone", "a class token expected where there is none"
)
def given_to_first(grad_y: Any, x: Any, *, wrt: str) -> Any:
    """Return a gradient of 0 for all tokens but the first."""
    gradient = np.zeros_like(x)
    gradient[:, 0] = grad_y
    return gradient


average, largest = (partial(mistake, f"global_{kind}_pool_backward") for kind in ("average", "max"))


def everywhere(grad_y: Any, x: Any) -> Any:
    """Return the gradient (N, C) at each position of a map."""
    return np.zeros_like(x) + grad_y[:, :, None, None]


average("pool-backward-sum", "gradient not divided by the number of positions", "a division that was left out")(
    replaced(everywhere)
)
average("pool-backward-height", "gradient divided by the height alone", "one of two axes of a mean")(
    replaced(lambda grad_y, x: everywhere(grad_y, x) / x.shape[2])
)


@average("pool-backward-corner", "gradient given to the first position alone", "a map taken for 1 x 1")
def given_to_corner(grad_y: Any, x: Any, *, wrt: str) -> Any:
    """Return a gradient of 0 for all positions but the first."""
    gradient = np.zeros_like(x)
    gradient[:, :, 0, 0] = grad_y
    return gradient


largest("max-pool-backward-everywhere", "gradient given to all positions, not the largest", "a mask left out")(
    replaced(lambda grad_y, x, y: everywhere(grad_y, x))
)
largest("max-pool-backward-mean", "gradient of an average pooling", "the pooling of most models")(
    replaced(lambda grad_y, x, y: everywhere(grad_y, x) / (x.shape[2] * x.shape[3]))
)
largest(
    "max-pool-backward-over-channels", "gradient given to the largest of the channels", "argmax over the wrong axis"
)(replaced(lambda grad_y, x, y: everywhere(grad_y, x) * (x == x.max(axis=1, keepdims=True))))
mistake("halfway_backward", "pools-backward-not-halved", "gradient not halved", "a half left out")(
    replaced(lambda grad_y: grad_y.copy())
)
mistake(
    "join_features_backward",
    "pools-backward-exchanged",
    "gradients of average and maximum exchanged",
    "two results by position",
)(of_input(lambda grad_y: np.roll(grad_y, grad_y.shape[1] // 2, axis=1)))
