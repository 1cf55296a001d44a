"""Mistakes in tokens and the class token, and in the pooling of either."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import as_it_is, edit, input_of, mistake, of_input, of_output, replaced
from npconv.golden.mistakes.convolution import is_padded, read_as_channels_last
from npconv.layers import average_pool2d, positions_map
from npconv.plan.step import Step

both, tokens, positions, token, mean, pool = (
    partial(mistake, operation)
    for operation in (
        ("tokens", "map_tokens"),
        *("tokens", "positions_map", "class_token", "token_mean", "average_pool2d"),
    )
)

both("by-columns", "positions laid out column by column", "width and height taken for each other")(
    of_input(lambda x: x.transpose(0, 1, 3, 2))
)
both("not-transposed", "map reshaped to tokens without a transpose", "reshape(N, T, D)")(
    of_input(read_as_channels_last)
)


def takes_class_token(step: Step) -> bool:
    """Tell whether a class token is put before the positions."""
    return "cls_token" in step.params


tokens("class-token-last", "class token last", "the class token appended", applies=takes_class_token)(
    of_output(lambda tokens: np.roll(tokens, -1, axis=1))
)
tokens("class-token-of-zeros", "class token of zeros", "a parameter that was not loaded")(
    edit(cls_token=lambda token: 0 * token)
)
mistake("join_class_token", "class-token-joined-last", "class token last", "the class token appended")(
    of_output(lambda y: np.concatenate([y[:, 1:], y[:, :1]], axis=1))
)


positions(
    "class-token-through-convolution",
    "class token through the convolution (the map begins with it)",
    "the map made of the first H * W tokens; the class token must skip the convolution",
)(lambda x, like: positions_map(x[:, : math.prod(like.shape[2:])], *like.shape[2:]))
positions("positions-by-columns", "map filled column by column", "width and height taken for each other")(
    lambda x, like: positions_map(x, *reversed(like.shape[2:])).transpose(0, 1, 3, 2)
)
positions("positions-not-transposed", "tokens reshaped to a map without a transpose", "reshape(N, D, H, W)")(
    lambda x, like: x[:, -math.prod(like.shape[2:]) :].reshape(len(x), x.shape[2], *like.shape[2:])
)


def count_before(x: Any, like: Any) -> int:
    """Return how many tokens come before those of a map."""
    return int(x.shape[1] - like.shape[2] * like.shape[3])


token("class-token-taken-last", "last token taken for the class token", "a class token that stands last")(
    replaced(lambda x, like: x[:, x.shape[1] - count_before(x, like) :])
)
token("class-token-averaged", "mean of all tokens taken for the class token", "average pooling of tokens")(
    replaced(lambda x, like: np.repeat(x.mean(axis=1, keepdims=True), count_before(x, like), axis=1))
)
mean("token-mean-first", "first token in place of the mean", "a class token expected where there is none")(
    replaced(lambda x: x[:, 0].copy())
)
mean("token-mean-sum", "sum over tokens, not the mean", "a division that was left out")(
    replaced(lambda x: x.sum(axis=1))
)
mean("token-mean-maximum", "maximum over tokens, not the mean", "max pooling")(replaced(lambda x: x.max(axis=1)))
mistake(
    "layer_norm",
    "head-takes-all-tokens",
    "average over all tokens, class token included",
    "the head of a model without class token",
    rewire=input_of("class_token"),
)(as_it_is())

pool(
    "average-pool-padding-not-counted",
    "average pooling without the padding in the count",
    "count_include_pad=False, as in TensorFlow and ONNX",
    applies=is_padded,
)(lambda x, **window: average_pool2d(x, **window) / average_pool2d(np.ones_like(x), **window))
pool("average-pool-floor", "average pooling with the size rounded down", "ceil_mode=False, the default")(
    edit(ceil_mode=False)
)
pool(
    "average-pool-unstrided",
    "stride 1 (keys and values unstrided)",
    "CvT takes keys and values with stride 2, queries with 1",
)(edit(stride=1))
