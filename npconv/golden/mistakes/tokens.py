"""Mistakes in tokens and the class token, and in the pooling of either."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import mistake
from npconv.golden.mistakes.convolution import is_padded, is_strided
from npconv.layers import average_pool2d
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Plan, Step


def flat(x: Any) -> Any:
    """Lay a map's positions out rightly: (N, D, H, W) -> (N, H * W, D)."""
    return x.reshape(*x.shape[:2], -1).transpose(0, 2, 1)


def with_class_token(cls_token: Any, x: Any, *, last: bool = False) -> Any:
    """Put the class token before all tokens, or behind them."""
    if cls_token is None:
        return x
    token = np.broadcast_to(cls_token, (len(x), cls_token.shape[1], x.shape[2])).astype(x.dtype, copy=False)
    return np.concatenate([x, token] if last else [token, x], axis=1)


@mistake(
    "by-columns",
    "positions laid out column by column",
    ("tokens", "map_tokens"),
    "width and height taken for each other",
)
def by_columns(x: Any, cls_token: Any = None) -> Any:
    """Down the first column, then the second."""
    return with_class_token(cls_token, flat(x.transpose(0, 1, 3, 2)))


@mistake("not-transposed", "map reshaped to tokens without a transpose", ("tokens", "map_tokens"), "reshape(N, T, D)")
def tokens_not_transposed(x: Any, cls_token: Any = None) -> Any:
    """Return the numbers as they lie in memory."""
    return with_class_token(cls_token, x.reshape(len(x), -1, x.shape[1]))


def takes_class_token(step: Step) -> bool:
    """Tell whether a class token is put before the positions."""
    return "cls_token" in step.params


@mistake("class-token-last", "class token last", "tokens", "the class token appended", applies=takes_class_token)
def class_token_last(x: Any, cls_token: Any = None) -> Any:
    """Behind the positions."""
    return with_class_token(cls_token, flat(x), last=True)


@mistake(
    "class-token-of-zeros",
    "class token of zeros",
    "tokens",
    "a parameter that was not loaded",
    applies=takes_class_token,
)
def class_token_of_zeros(x: Any, cls_token: Any = None) -> Any:
    """As a new model has it."""
    return with_class_token(None if cls_token is None else 0 * cls_token, flat(x))


@mistake("class-token-joined-last", "class token last", "join_class_token", "the class token appended")
def class_token_joined_last(cls_token: Any, x: Any) -> Any:
    """Behind the queries, keys or values."""
    return with_class_token(cls_token, x, last=True)


@mistake(
    "class-token-through-convolution",
    "class token through the convolution (the map begins with it)",
    "positions_map",
    "the map made of the first H * W tokens; the class token must skip the convolution",
)
def class_token_in_map(x: Any, like: Any) -> Any:
    """Return the class token at the first position, all others one further, the last left out."""
    height, width = like.shape[2:]
    return x[:, : height * width].transpose(0, 2, 1).reshape(len(x), x.shape[2], height, width)


@mistake(
    "positions-by-columns", "map filled column by column", "positions_map", "width and height taken for each other"
)
def map_by_columns(x: Any, like: Any) -> Any:
    """Down the first column, then the second."""
    height, width = like.shape[2:]
    positions = x[:, -height * width :].transpose(0, 2, 1)
    return positions.reshape(len(x), x.shape[2], width, height).transpose(0, 1, 3, 2)


@mistake(
    "positions-not-transposed", "tokens reshaped to a map without a transpose", "positions_map", "reshape(N, D, H, W)"
)
def map_not_transposed(x: Any, like: Any) -> Any:
    """Return the numbers as they lie in memory."""
    height, width = like.shape[2:]
    return x[:, -height * width :].reshape(len(x), x.shape[2], height, width)


@mistake(
    "class-token-taken-last", "last token taken for the class token", "class_token", "a class token that stands last"
)
def last_token(x: Any, like: Any) -> Any:
    """Return the last position."""
    count = x.shape[1] - like.shape[2] * like.shape[3]
    return x[:, x.shape[1] - count :]


@mistake(
    "class-token-averaged", "mean of all tokens taken for the class token", "class_token", "average pooling of tokens"
)
def mean_of_tokens(x: Any, like: Any) -> Any:
    """Return the average over class token and positions."""
    count = x.shape[1] - like.shape[2] * like.shape[3]
    return np.repeat(x.mean(axis=1, keepdims=True), count, axis=1)


@mistake(
    "token-mean-first", "first token in place of the mean", "token_mean", "a class token expected where there is none"
)
def first_token(x: Any) -> Any:
    """Return the first position."""
    return x[:, 0].copy()


@mistake("token-mean-sum", "sum over tokens, not the mean", "token_mean", "a division that was left out")
def token_sum(x: Any) -> Any:
    """T times too large."""
    return x.sum(axis=1)


@mistake("token-mean-maximum", "maximum over tokens, not the mean", "token_mean", "max pooling")
def token_maximum(x: Any) -> Any:
    """Return the largest of each channel."""
    return x.max(axis=1)


def tokens_with_class_token(step: Step, plan: Plan) -> Step:
    """Let a norm of the class token alone take all tokens of its stage."""
    source = step.inputs[0]
    if source not in plan or plan[source].operation != "class_token":
        return step
    return replace(step, inputs=(plan[source].inputs[0],))


@mistake(
    "head-takes-all-tokens",
    "average over all tokens, class token included",
    "layer_norm",
    "the head of a model without class token",
    rewire=tokens_with_class_token,
)
def all_tokens(x: Any, weight: Any, bias: Any, *, eps: float, axis: int) -> Any:
    """All tokens normalized, where the class token alone is classified."""
    return OPERATIONS["layer_norm"](x, weight, bias, eps=eps, axis=axis)


@mistake(
    "average-pool-padding-not-counted",
    "average pooling without the padding in the count",
    "average_pool2d",
    "count_include_pad=False, as in TensorFlow and ONNX",
    applies=is_padded,
)
def padding_not_counted(x: Any, *, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool) -> Any:
    """Divided by the positions of the map alone."""
    window = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    return average_pool2d(x, **window) / average_pool2d(np.ones_like(x), **window)


@mistake(
    "average-pool-floor",
    "average pooling with the size rounded down",
    "average_pool2d",
    "ceil_mode=False, the default",
    applies=lambda step: bool(step.attributes["ceil_mode"]),
)
def rounded_down(x: Any, *, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool) -> Any:
    """Return the last window left out."""
    return average_pool2d(x, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=False)


@mistake(
    "average-pool-unstrided",
    "stride 1 (keys and values unstrided)",
    "average_pool2d",
    "CvT takes keys and values with stride 2, queries with 1",
    applies=is_strided,
)
def pooled_unstrided(x: Any, *, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool) -> Any:
    """Return a window at every position."""
    return average_pool2d(x, kernel_size=kernel_size, stride=1, padding=padding, ceil_mode=ceil_mode)
