"""A naive twin of every layer: plain loops over single numbers, in float64, written from the formulas.

Slow on purpose. Nothing is shared with ``npconv.layers``; sums are ``math.fsum``, which rounds once. The signatures are
those of the layers, so that a test can call both alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from math import fsum
from typing import Any

import numpy as np

Array = np.ndarray


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return a vertical and a horizontal number."""
    return (value, value) if isinstance(value, int) else value


def _float64(*arrays: Array | None) -> Iterator[Array | None]:
    """Widen the arrays; None stays."""
    return (None if array is None else np.asarray(array, np.float64) for array in arrays)


# --- convolutions ----------------------------------------------------------------------------------------------------


def conv2d(x: Array, weight: Array, bias: Array | None = None, *, stride: Any = 1, padding: Any = 0, dilation: int = 1, groups: int = 1) -> Array:  # fmt: skip  # noqa: E501
    x, weight, bias = _float64(x, weight, bias)
    (batch, _, height, width), (out_channels, group_channels, kernel_h, kernel_w) = x.shape, weight.shape
    (stride_h, stride_w), (pad_h, pad_w) = _pair(stride), _pair(padding)
    reach_h, reach_w = (kernel_h - 1) * dilation + 1, (kernel_w - 1) * dilation + 1
    out_h, out_w = (height + 2 * pad_h - reach_h) // stride_h + 1, (width + 2 * pad_w - reach_w) // stride_w + 1
    y = np.empty((batch, out_channels, out_h, out_w))
    for n, o, i, j in np.ndindex(*y.shape):
        first_channel = o // (out_channels // groups) * group_channels
        terms = [0.0 if bias is None else bias[o]]
        for c in range(group_channels):
            for u in range(kernel_h):
                for v in range(kernel_w):
                    row, column = i * stride_h + u * dilation - pad_h, j * stride_w + v * dilation - pad_w
                    if 0 <= row < height and 0 <= column < width:
                        terms.append(weight[o, c, u, v] * x[n, first_channel + c, row, column])
        y[n, o, i, j] = fsum(terms)
    return y


def depthwise_conv2d(x: Array, weight: Array, bias: Array | None = None, *, stride: Any = 1, padding: Any = 0, dilation: int = 1) -> Array:  # fmt: skip  # noqa: E501
    return conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=x.shape[1])


def pad_end(x: Array) -> Array:
    (x,) = _float64(x)
    y = np.zeros((*x.shape[:2], x.shape[2] + 1, x.shape[3] + 1))
    for place in np.ndindex(*x.shape):
        y[place] = x[place]
    return y


def pointwise_conv2d(x: Array, weight: Array, bias: Array | None = None) -> Array:
    x, weight, bias = _float64(x, weight, bias)
    (batch, channels, height, width), out_channels = x.shape, weight.shape[0]
    y = np.empty((batch, out_channels, height, width))
    for n, o, i, j in np.ndindex(*y.shape):
        terms = [weight[o, c].item() * x[n, c, i, j] for c in range(channels)]
        y[n, o, i, j] = fsum([*terms, 0.0 if bias is None else bias[o]])
    return y


# --- normalization ---------------------------------------------------------------------------------------------------


def layer_norm(x: Array, weight: Array, bias: Array, *, eps: float, axis: int) -> Array:
    x, weight, bias = _float64(x, weight, bias)
    y = np.empty(x.shape)
    length = x.shape[axis]
    for place in np.ndindex(*np.delete(x.shape, axis)):
        line = [*place]
        line.insert(axis % x.ndim, slice(None))
        values = x[tuple(line)]
        mean = fsum(values) / length
        variance = fsum((value - mean) ** 2 for value in values) / length
        y[tuple(line)] = [
            (value - mean) / math.sqrt(variance + eps) * w + b for value, w, b in zip(values, weight, bias, strict=True)
        ]
    return y


def _divided(x: Array, weight: Array, axis: int, spread: Callable[[list[float]], float]) -> Array:
    """Divide each line along an axis by its spread, and multiply its values by the weights."""
    x, weight = _float64(x, weight)
    y = np.empty(x.shape)
    for place in np.ndindex(*np.delete(x.shape, axis)):
        line = [*place]
        line.insert(axis % x.ndim, slice(None))
        values = list(x[tuple(line)])
        y[tuple(line)] = [value / spread(values) * w for value, w in zip(values, weight, strict=True)]
    return y


def rms_norm(x: Array, weight: Array, *, eps: float, axis: int) -> Array:
    return _divided(x, weight, axis, lambda values: math.sqrt(fsum(v * v for v in values) / len(values) + eps))


def simple_norm(x: Array, weight: Array, *, eps: float, axis: int) -> Array:
    def spread(values: list[float]) -> float:
        mean = fsum(values) / len(values)
        return math.sqrt(fsum((value - mean) ** 2 for value in values) / (len(values) - 1) + eps)

    return _divided(x, weight, axis, spread)


def batch_norm(x: Array, weight: Array, bias: Array, running_mean: Array, running_var: Array, num_batches_tracked: Any = None, *, eps: float) -> Array:  # fmt: skip  # noqa: E501
    x, weight, bias, running_mean, running_var = _float64(x, weight, bias, running_mean, running_var)
    y = np.empty(x.shape)
    for n, c, i, j in np.ndindex(*x.shape):
        y[n, c, i, j] = (x[n, c, i, j] - running_mean[c]) / math.sqrt(running_var[c] + eps) * weight[c] + bias[c]
    return y


def _channels(x: Array) -> list[list[float]]:
    """Return the numbers of each channel of a map, of all samples and positions."""
    (x,) = _float64(x)
    return [[*x[:, c].ravel()] for c in range(x.shape[1])]


def _mean_and_squares(values: list[float]) -> tuple[float, float]:
    """Return the mean of numbers, and the sum of squared deviations from it."""
    mean = fsum(values) / len(values)
    return mean, fsum((value - mean) ** 2 for value in values)


def batch_norm_training(x: Array, weight: Array, bias: Array, *, eps: float) -> Array:
    statistics = []
    for values in _channels(x):
        mean, squares = _mean_and_squares(values)
        statistics.append((mean, squares / len(values)))
    mean, variance = np.array(statistics).reshape(-1, 2).T
    return batch_norm(x, weight, bias, mean, variance, eps=eps)


def running_mean(x: Array, running_mean: Array, *, momentum: float = 0.1) -> Array:
    (running_mean,) = _float64(running_mean)
    means = [_mean_and_squares(values)[0] for values in _channels(x)]
    return np.array([fsum([old, momentum * (new - old)]) for old, new in zip(running_mean, means, strict=True)])


def running_var(x: Array, running_var: Array, *, momentum: float = 0.1) -> Array:
    (running_var,) = _float64(running_var)
    variances = [_mean_and_squares(values)[1] / (len(values) - 1) for values in _channels(x)]
    return np.array([fsum([old, momentum * (new - old)]) for old, new in zip(running_var, variances, strict=True)])


def num_batches_tracked(x: Array, num_batches_tracked: Array) -> Array:
    return np.array(int(num_batches_tracked) + 1)


def global_response_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> Array:
    x, weight, bias = _float64(x, weight.reshape(-1), bias.reshape(-1))
    batch, channels = x.shape[:2]
    y = np.empty(x.shape)
    for n in range(batch):
        strength = [math.sqrt(fsum(value * value for value in x[n, c].ravel())) for c in range(channels)]
        mean_strength = fsum(strength) / channels
        for c in range(channels):
            y[n, c] = weight[c] * (x[n, c] * (strength[c] / (mean_strength + eps))) + bias[c] + x[n, c]
    return y


def grn_strength(x: Array) -> Array:
    (x,) = _float64(x)
    return np.array([[[[math.sqrt(fsum(v * v for v in plane.ravel()))]] for plane in sample] for sample in x])


def grn_relative(strength: Array, *, eps: float) -> Array:
    (strength,) = _float64(strength)
    return np.array([sample / (fsum(sample.ravel()) / sample.size + eps) for sample in strength])


def grn_apply(x: Array, relative: Array, weight: Array, bias: Array) -> Array:
    x, relative, weight, bias = _float64(x, relative, weight.reshape(-1), bias.reshape(-1))
    y = np.empty(x.shape)
    for n, c, i, j in np.ndindex(*x.shape):
        y[n, c, i, j] = weight[c] * (x[n, c, i, j] * relative[n, c, 0, 0]) + bias[c] + x[n, c, i, j]
    return y


def layer_scale(x: Array, layer_scale_parameter: Array) -> Array:
    x, scale = _float64(x, layer_scale_parameter)
    y = np.empty(x.shape)
    for n, c, i, j in np.ndindex(*x.shape):
        y[n, c, i, j] = scale[c] * x[n, c, i, j]
    return y


# --- activations -----------------------------------------------------------------------------------------------------


def elementwise(function: Callable[[float], float]) -> Callable[[Array], Array]:
    """Return the layer that applies `function` to one number at a time."""

    def layer(x: Array) -> Array:
        return np.array([function(float(value)) for value in x.ravel()], np.float64).reshape(x.shape)

    return layer


def _selu(x: float) -> float:
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    return scale * (x if x > 0 else alpha * math.expm1(x))


gelu = elementwise(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2)
gelu_tanh = elementwise(lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2)
quick_gelu = elementwise(lambda x: x / (1 + math.exp(-1.702 * x)))
relu = elementwise(lambda x: max(x, 0.0))
silu = elementwise(lambda x: x / (1 + math.exp(-x)))
selu = elementwise(_selu)
mish = elementwise(lambda x: x * math.tanh(math.log1p(math.exp(x))))
hardswish = elementwise(lambda x: x * min(max(x + 3, 0), 6) / 6)
identity = elementwise(lambda x: x)


# --- pooling ---------------------------------------------------------------------------------------------------------


def global_average_pool(x: Array) -> Array:
    (x,) = _float64(x)
    height, width = x.shape[2:]
    return np.array([[fsum(plane.ravel()) / (height * width) for plane in sample] for sample in x])


def global_max_pool(x: Array) -> Array:
    (x,) = _float64(x)
    return np.array([[max(plane.ravel()) for plane in sample] for sample in x])


def halfway(x: Array, y: Array) -> Array:
    x, y = _float64(x, y)
    return np.array([[(a + b) / 2 for a, b in zip(*rows, strict=True)] for rows in zip(x, y, strict=True)])


def join_features(x: Array, y: Array) -> Array:
    x, y = _float64(x, y)
    return np.array([[*first, *second] for first, second in zip(x, y, strict=True)])


def average_pool2d(x: Array, *, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool) -> Array:
    (x,) = _float64(x)
    axes = list(zip(x.shape[2:], _pair(kernel_size), _pair(stride), _pair(padding), strict=True))
    rows, columns = (list(_pool_windows(*axis, ceil_mode)) for axis in axes)
    y = np.empty((*x.shape[:2], len(rows), len(columns)))
    for n, c, i, j in np.ndindex(*y.shape):
        values, positions = [], 0
        for row, column in product(rows[i], columns[j]):
            positions += 1  # also where a zero of the padding stands
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                values.append(x[n, c, row, column])
        y[n, c, i, j] = fsum(values) / positions
    return y


def _pool_windows(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> Iterator[range]:
    """Yield the positions of each window along one axis, from -padding to size + padding - 1."""
    start = -padding
    while True:
        whole = start + kernel <= size + padding
        begins_before_right_padding = start < size
        previous_reached_the_end = start - stride + kernel >= size + padding
        if not whole and not (ceil_mode and begins_before_right_padding and not previous_reached_the_end):
            return
        yield range(start, min(start + kernel, size + padding))
        start += stride


# --- tokens ----------------------------------------------------------------------------------------------------------


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    x, weight, bias = _float64(x, weight, bias)
    y = np.empty((*x.shape[:-1], weight.shape[0]))
    for place in np.ndindex(*y.shape):
        *token, o = place
        terms = [weight[o, d] * x[(*token, d)] for d in range(weight.shape[1])]
        y[place] = fsum([*terms, 0.0 if bias is None else bias[o]])
    return y


def softmax(x: Array, *, axis: int) -> Array:
    (x,) = _float64(x)
    lines = np.moveaxis(x, axis, -1)
    y = np.empty(lines.shape)
    for place in np.ndindex(*lines.shape[:-1]):
        exponentials = [math.exp(score - max(lines[place])) for score in lines[place]]
        y[place] = [value / fsum(exponentials) for value in exponentials]
    return np.moveaxis(y, -1, axis)


def attention(query: Array, key: Array, value: Array, *, num_heads: int, scale: float, dropout_rate: float = 0.0, rng: Any = None) -> Array:  # fmt: skip  # noqa: E501
    scores = attention_scores(query, key, num_heads=num_heads, scale=scale)
    probabilities = dropout(softmax(scores, axis=-1), rate=dropout_rate, rng=rng)
    return attention_context(probabilities, value)


def _channels_of_heads(num_heads: int, embed_dim: int) -> list[range]:
    """Return the channels that each head owns."""
    return [range(h * (embed_dim // num_heads), (h + 1) * (embed_dim // num_heads)) for h in range(num_heads)]


def attention_scores(query: Array, key: Array, *, num_heads: int, scale: float) -> Array:
    query, key = _float64(query, key)
    (batch, tokens, embed_dim), seen = query.shape, key.shape[1]
    channels = _channels_of_heads(num_heads, embed_dim)
    scores = np.empty((batch, num_heads, tokens, seen))
    for n, h, t, s in np.ndindex(*scores.shape):
        scores[n, h, t, s] = fsum(query[n, t, d] * key[n, s, d] for d in channels[h]) * scale
    return scores


def attention_context(probabilities: Array, value: Array) -> Array:
    probabilities, value = _float64(probabilities, value)
    (batch, num_heads, tokens, seen), embed_dim = probabilities.shape, value.shape[2]
    y = np.empty((batch, tokens, embed_dim))
    for h, channels in enumerate(_channels_of_heads(num_heads, embed_dim)):
        for n, t, d in product(range(batch), range(tokens), channels):
            y[n, t, d] = fsum(probabilities[n, h, t, s] * value[n, s, d] for s in range(seen))
    return y


def map_tokens(x: Array) -> Array:
    (x,) = _float64(x)
    return np.array([[sample[:, i, j] for i, j in np.ndindex(*x.shape[2:])] for sample in x])


def positions_map(x: Array, height: int, width: int) -> Array:
    (x,) = _float64(x)
    y = np.empty((x.shape[0], x.shape[2], height, width))
    for n, d, i, j in np.ndindex(*y.shape):
        y[n, d, i, j] = x[n, x.shape[1] - height * width + i * width + j, d]
    return y


def class_token(x: Array, height: int, width: int) -> Array:
    (x,) = _float64(x)
    return np.array([[token for token in sample[: len(sample) - height * width]] for sample in x])


def join_class_token(cls_token: Array, x: Array) -> Array:
    cls_token, x = _float64(cls_token, x)
    return np.array([[*cls_token[n if len(cls_token) > 1 else 0], *sample] for n, sample in enumerate(x)])


def token_mean(x: Array) -> Array:
    (x,) = _float64(x)
    return np.array([[fsum(channel) / len(channel) for channel in sample.T] for sample in x])


# --- chance ----------------------------------------------------------------------------------------------------------


def dropout(x: Array, *, rate: float, rng: np.random.Generator | None) -> Array:
    return _drop(x, x.shape, rate, rng)


def drop_path(x: Array, *, rate: float, rng: np.random.Generator | None) -> Array:
    return _drop(x, x.shape[:1], rate, rng)


def dropout_mask(x: Array, *, rate: float, rng: np.random.Generator) -> Array:
    return _mask(x.shape, rate, rng)


def drop_path_mask(x: Array, *, rate: float, rng: np.random.Generator) -> Array:
    return _mask(x.shape[:1], rate, rng)


def drop(x: Array, mask: Array) -> Array:
    x, mask = _float64(x, mask)
    y = np.empty(x.shape)
    for place in np.ndindex(*x.shape):
        y[place] = x[place] * mask[place[: mask.ndim]]
    return y


def _drop(x: Array, draws_shape: tuple[int, ...], rate: float, rng: np.random.Generator | None) -> Array:
    """Drop by one draw for each place of `draws_shape`."""
    (x,) = _float64(x)
    return x if rng is None or rate == 0 else drop(x, _mask(draws_shape, rate, rng))


def _mask(shape: tuple[int, ...], rate: float, rng: np.random.Generator) -> Array:
    """Keep what draws at least `rate`, divided by ``1 - rate``."""
    draws, mask = rng.random(shape), np.zeros(shape)
    for place in np.ndindex(*shape):
        if draws[place] >= rate:
            mask[place] = 1 / (1 - rate)
    return mask


# --- losses ----------------------------------------------------------------------------------------------------------


def cross_entropy(logits: Array, labels: Array, *, ignore_index: int) -> Array:
    (logits,) = _float64(logits)
    losses = []
    for scores, label in zip(logits, labels, strict=True):
        if label != ignore_index:
            largest = max(scores)
            losses.append(largest + math.log(fsum(math.exp(score - largest) for score in scores)) - scores[label])
    return np.array(fsum(losses) / len(losses) if losses else math.nan)


def soft_cross_entropy(logits: Array, targets: Array) -> Array:
    logits, targets = _float64(logits, targets)
    losses = []
    for scores, row in zip(logits, targets, strict=True):
        largest = max(scores)
        total = largest + math.log(fsum(math.exp(score - largest) for score in scores))
        losses.append(fsum(t * (total - score) for score, t in zip(scores, row, strict=True)))
    return np.array(fsum(losses) / len(losses))


def mean_squared_error(predictions: Array, targets: Array) -> Array:
    predictions, targets = _float64(predictions, targets)
    return np.array(
        fsum((p - t) ** 2 for p, t in zip(predictions.ravel(), targets.ravel(), strict=True)) / targets.size
    )


def binary_cross_entropy_with_logits(logits: Array, targets: Array) -> Array:
    logits, targets = _float64(logits, targets)
    losses = []
    for z, t in zip(logits.ravel(), targets.ravel(), strict=True):
        log_positive = -math.log1p(math.exp(-z)) if z > 0 else z - math.log1p(math.exp(z))  # log sigmoid(z)
        log_negative = log_positive - z  # log sigmoid(-z)
        losses.append(-t * log_positive - (1 - t) * log_negative)
    return np.array(fsum(losses) / len(losses))
