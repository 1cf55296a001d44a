"""Attention with convolutional projections (CvT), channels first.

Tokens are columns: a map is (D, N, T), and the class token, where a stage has one, is the last column of each picture
rather than the first, so that the positions before it stay a map. Attention does not care about the order of tokens.

What is folded when the model is loaded, in float64:

- batch norm's scale into the depthwise kernels, and its shift through the linear projection into a bias. The class
  token skips the convolution, so it keeps the plain bias and is projected by itself.
- the attention scale and log2(e) into the query's projection: ``exp(s) = 2**(s * log2(e))``, and ``exp2`` is the
  faster.

The softmax's division is moved behind the product with the values, where there are D / heads numbers a query instead
of one for each key; the sum of a query's exponentials comes out of the same product, over a row of ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from npconv.fast.depthwise import DepthwiseProduct
from npconv.fast.engine import Scratch, Task, run, shares, spans
from npconv.fast.products import as_column, multiply
from npconv.layers import average_pool2d
from npconv.layers.conv import check_window
from npconv.models import cvt
from npconv.models.cvt.configuration import CvtConfig

#: Scores that are worked on at a time: 800 kB, for a second-level cache of 1 MB.
SCORES = 200_000


def fold_projection(
    linear: Mapping[str, Any], convolution_projection: Mapping[str, Any] | None, *, method: str, factor: float
) -> dict[str, np.ndarray]:
    """Return the arrays of a :class:`Projection` whose result is multiplied by a factor."""
    weight = np.asarray(linear["weight"], np.float64) * factor
    bias = np.asarray(linear["bias"], np.float64) * factor if "bias" in linear else np.zeros(len(weight))
    folded = {"weight": weight.astype(np.float32, order="C"), "cls_bias": as_column(bias)}
    if method == "dw_bn":
        assert convolution_projection is not None
        inner = convolution_projection["convolution_projection"]
        norm = {name: np.asarray(value, np.float64) for name, value in inner["normalization"].items()}
        scale = norm["weight"] / np.sqrt(norm["running_var"] + cvt.BATCH_NORM_EPS)
        shift = norm["bias"] - norm["running_mean"] * scale
        kernel = np.asarray(inner["convolution"]["weight"], np.float64) * scale[:, None, None, None]
        folded["depthwise"] = kernel.astype(np.float32, order="C")
        bias = bias + weight @ shift
    return {**folded, "bias": as_column(bias)}


class Projection:
    """One of query, key and value: look around, then a linear layer.

    Parameters
    ----------
    weight : array (D, D)
    bias, cls_bias : array (D, 1)
        Of the positions, and of the class token.
    depthwise : array (D, 1, k, k), optional
        Of the method ``"dw_bn"``.
    method : str
        ``"dw_bn"``, ``"avg"`` or ``"linear"``.
    kernel_size, stride, padding : int
        Of the window with which it looks around.
    """

    def __init__(
        self,
        *,
        weight: np.ndarray,
        bias: np.ndarray,
        cls_bias: np.ndarray,
        depthwise: np.ndarray | None = None,
        method: str,
        kernel_size: int,
        stride: int,
        padding: int,
    ) -> None:
        self.method, self.kernel_size, self.stride, self.padding = method, kernel_size, stride, padding
        self.weight, self.bias, self.cls_bias = weight, bias, cls_bias
        self.window = ((kernel_size, kernel_size), (padding, padding))
        self.depthwise = None if depthwise is None else DepthwiseProduct(depthwise, stride=stride, padding=padding)

    def look_around(self, x: np.ndarray, name: str, scratch: Scratch) -> tuple[np.ndarray, list[Task]]:
        """Return the map that the linear layer sees, as (D, N, T'), and the tasks that fill it in."""
        embed_dim, batch, height, width = x.shape
        tasks: list[Task] = []
        if self.depthwise is not None:
            check_window(f"depthwise convolution of the {name}", (height, width), *self.window)
            out = scratch.array(f"{name} map", embed_dim, batch, *self.depthwise.output_size(height, width))
            tasks = self.depthwise.tasks(x, out, scratch.threads)
            x = out
        elif self.method == "avg":
            window = {"kernel_size": self.kernel_size, "stride": self.stride, "padding": self.padding}
            x = average_pool2d(x.transpose(1, 0, 2, 3), **window, ceil_mode=True).transpose(1, 0, 2, 3)
        return x.reshape(embed_dim, batch, -1), tasks

    def project(
        self, seen: np.ndarray, cls_token: np.ndarray | None, name: str, scratch: Scratch
    ) -> tuple[np.ndarray, list[Task]]:
        """Return the projected tokens (N, D, T) of what is seen (D, N, T') and the class tokens (D, N), and tasks."""
        embed_dim, batch, positions = seen.shape
        tokens = positions + (cls_token is not None)
        projected = scratch.array(name, batch, embed_dim, tokens)

        def some_rows(rows: tuple[int, int], scratch: Scratch) -> None:
            part = slice(*rows)
            out = projected[:, part, :positions]
            np.matmul(self.weight[part], seen.transpose(1, 0, 2), out=out)
            out += self.bias[part]
            if cls_token is not None:
                projected[:, part, positions] = (self.weight[part] @ cls_token + self.cls_bias[part]).T

        return projected, [partial(some_rows, rows) for rows in shares(embed_dim, scratch)]


def fold_attention(attention: Mapping[str, Any], config: CvtConfig, stage_index: int) -> dict[str, Any]:
    """Return the arrays of :class:`ConvolutionalAttention` for the parameters of a block's attention."""
    inner, dense = attention["attention"], attention["output"]["dense"]
    factors = {"query": config.embed_dim[stage_index] ** -0.5 * math.log2(math.e), "key": 1.0, "value": 1.0}
    projections = {
        which: fold_projection(
            inner[f"projection_{which}"],
            inner.get(f"convolution_projection_{which}"),
            method=_method(which, config, stage_index),
            factor=factor,
        )
        for which, factor in factors.items()
    }
    return {**projections, "weight": np.array(dense["weight"], np.float32, order="C"), "bias": as_column(dense["bias"])}


def _method(which: str, config: CvtConfig, stage_index: int) -> str:
    """Return how a projection looks around: queries never average."""
    method = config.qkv_projection_method[stage_index]
    return "linear" if (which, method) == ("query", "avg") else method


class ConvolutionalAttention:
    """The attention branch of a block, from the normalized tokens on.

    Parameters
    ----------
    query, key, value : mapping
        The arrays of the projections.
    weight : array (D, D)
    bias : array (D, 1)
        Of the output.
    config : CvtConfig
    stage_index : int
    """

    def __init__(
        self,
        query: Mapping[str, Any],
        key: Mapping[str, Any],
        value: Mapping[str, Any],
        weight: np.ndarray,
        bias: np.ndarray,
        *,
        config: CvtConfig,
        stage_index: int,
    ) -> None:
        i = stage_index
        self.num_heads = config.num_heads[i]
        self.weight, self.bias = weight, bias

        def projection(which: str, folded: Mapping[str, Any], stride: int, padding: int) -> Projection:
            window: Any = {"kernel_size": config.kernel_qkv[i], "stride": stride, "padding": padding}
            return Projection(**folded, method=_method(which, config, i), **window)

        self.query = projection("query", query, config.stride_q[i], config.padding_q[i])
        self.key = projection("key", key, config.stride_kv[i], config.padding_kv[i])
        self.value = projection("value", value, config.stride_kv[i], config.padding_kv[i])

    def __call__(self, normed: np.ndarray, size: tuple[int, int], x: np.ndarray, scratch: Scratch) -> None:
        """Add the branch for the normalized tokens (D, N, T) to the residual x of the same shape."""
        embed_dim, batch, tokens = normed.shape
        positions = size[0] * size[1]
        feature_map = normed[:, :, :positions].reshape(embed_dim, batch, *size)
        cls_token = normed[:, :, positions] if tokens > positions else None
        query, key, value = self._project(feature_map, cls_token, scratch)
        context = scratch.array("context", embed_dim, tokens)
        for n in range(batch):
            self._attend(query[n], key[n], value[n], context, scratch)
            self._add(x[:, n], context, scratch)

    def _add(self, x: np.ndarray, context: np.ndarray, scratch: Scratch) -> None:
        """Add the last linear layer of the attention (D, T) to the residual x (D, T)."""

        def some_rows(rows: tuple[int, int], scratch: Scratch) -> None:
            part = x[slice(*rows)]
            branch = multiply(self.weight[slice(*rows)], context, scratch.array("branch", *part.shape))
            branch += self.bias[slice(*rows)]
            part += branch

        scratch.map(some_rows, shares(len(x), scratch))

    def _project(self, x: np.ndarray, cls_token: np.ndarray | None, scratch: Scratch) -> list[np.ndarray]:
        """Return query, key and value (N, D, T) of a map x (D, N, H, W) and its class tokens (D, N).

        Threads share the work of all three at once: it takes them 70 us or more to come together again.
        """
        named = {"query": self.query, "key": self.key, "value": self.value}
        seen = {name: projection.look_around(x, name, scratch) for name, projection in named.items()}
        scratch.map(run, [task for _, tasks in seen.values() for task in tasks])
        projected = [projection.project(seen[name][0], cls_token, name, scratch) for name, projection in named.items()]
        scratch.map(run, [task for _, tasks in projected for task in tasks])
        return [tokens for tokens, _ in projected]

    def _attend(
        self, query: np.ndarray, key: np.ndarray, value: np.ndarray, context: np.ndarray, scratch: Scratch
    ) -> None:
        """Store the attention of one picture, all (D, tokens), in `context`, some queries of a head at a time."""
        embed_dim, tokens = query.shape
        keys, width = key.shape[1], embed_dim // self.num_heads

        def attend(part: tuple[slice, tuple[int, int]], scratch: Scratch) -> None:
            head, queries = part[0], slice(*part[1])
            count = queries.stop - queries.start
            values = scratch.array("values and ones", width + 1, keys)
            values[:width] = value[head]
            values[width] = 1
            scores = np.matmul(key[head].T, query[head, queries], out=scratch.array("scores", keys, count))
            scores -= scores.max(axis=0)
            np.exp2(scores, out=scores)
            weighted = np.matmul(values, scores, out=scratch.array("weighted", width + 1, count))
            np.divide(weighted[:width], weighted[width], out=context[head, queries])

        heads = [slice(first, first + width) for first in range(0, embed_dim, width)]
        longest = max(16, SCORES // keys)
        if len(heads) % scratch.threads:  # as much for each
            longest = min(longest, -(-tokens // scratch.threads))
        scratch.map(attend, product(heads, spans(tokens, longest, scratch.threads)))
