"""One small call of every layer, or a few: the dimensions of each all distinct, no value special.

For the tests that ask the same of every layer: the arrays it takes, the dtypes it computes in, what it leaves alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npconv import layers
from support import naive_layers as naive


@dataclass(frozen=True)
class Case:
    """A call of a layer; `arrays` are its arguments in float64 (or integers), `seed` that of its random generator.

    `stays_wide`: the layer is a part of another, and leaves in float32 what came in float16. `counts`: it gives an
    integer.
    """

    name: str
    function: Callable[..., Any]
    arrays: dict[str, np.ndarray]
    options: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    stays_wide: bool = False
    counts: bool = False

    def arrays_as(self, dtype: str) -> dict[str, np.ndarray]:
        """Return the arrays in `dtype`; integers stay."""
        return {key: a if a.dtype.kind in "iu" else a.astype(dtype) for key, a in self.arrays.items()}

    def result_dtype(self, dtype: str) -> str:
        """Return the dtype of the result for arrays in `dtype`."""
        if self.counts:
            return "int64"
        return "float32" if self.stays_wide and dtype == "float16" else dtype

    def run(self, arrays: dict[str, Any], function: Callable[..., Any] | None = None) -> Any:
        """Call the layer, or its twin, on `arrays`."""
        options = self.options if self.seed is None else self.options | {"rng": np.random.default_rng(self.seed)}
        return (function or self.function)(**arrays, **options)

    def twin(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Return the float64 result of the naive twin."""
        return self.run(arrays, getattr(naive, self.function.__name__))


def _normal(*shape: int) -> np.ndarray:
    """Return random numbers around 0.1 that depend on the shape alone."""
    return np.random.default_rng(shape).normal(0.1, 1.0, shape)


def _positive(*shape: int) -> np.ndarray:
    """Return random numbers from 0.5 to 2."""
    return np.random.default_rng(shape).uniform(0.5, 2.0, shape)


_MAP = _normal(2, 6, 5, 7)
_TOKENS = {"query": _normal(2, 5, 12), "key": _normal(2, 3, 12), "value": _positive(2, 3, 12)}
_STATISTICS = {"running_mean": _normal(6), "running_var": _positive(6), "num_batches_tracked": np.array(12)}
_AFFINE = {"weight": _positive(6), "bias": _normal(6)}
_LABELS = np.array([2, -100, 0, 4])

CASES = [
    Case("conv2d", layers.conv2d, {"x": _MAP, "weight": _normal(4, 6, 3, 2), "bias": _normal(4)}),
    Case(
        "conv2d, strided, padded, in groups",
        layers.conv2d,
        {"x": _MAP, "weight": _normal(8, 3, 3, 2)},
        {"stride": (2, 3), "padding": (2, 1), "groups": 2},
    ),
    Case(
        "depthwise_conv2d",
        layers.depthwise_conv2d,
        {"x": _MAP, "weight": _normal(6, 1, 3, 4), "bias": _normal(6)},
        {"stride": (1, 2), "padding": (3, 1)},
    ),
    Case(
        "conv2d, dilated",
        layers.conv2d,
        {"x": _MAP, "weight": _normal(4, 6, 3, 2)},
        {"stride": (1, 2), "padding": (2, 1), "dilation": 2},
    ),
    Case(
        "depthwise_conv2d, dilated",
        layers.depthwise_conv2d,
        {"x": _MAP, "weight": _normal(6, 1, 3, 2), "bias": _normal(6)},
        {"stride": (2, 1), "padding": (1, 3), "dilation": 3},
    ),
    Case("pad_end", layers.pad_end, {"x": _MAP}),
    Case("pointwise_conv2d", layers.pointwise_conv2d, {"x": _MAP, "weight": _normal(9, 6), "bias": _normal(9)}),
    Case("layer_norm of a map", layers.layer_norm, {"x": _MAP, **_AFFINE}, {"eps": 1e-6, "axis": 1}),
    Case(
        "layer_norm of tokens",
        layers.layer_norm,
        {"x": _normal(2, 3, 12), "weight": _positive(12), "bias": _normal(12)},
        {"eps": 1e-12, "axis": -1},
    ),
    *[
        Case(f"{function.__name__} of {what}", function, {"x": x, "weight": weight}, {"eps": eps, "axis": axis})
        for function in (layers.rms_norm, layers.simple_norm)
        for what, x, weight, eps, axis in (
            ("a map", _MAP, _positive(6), 1e-6, 1),
            ("features", _normal(3, 12), _positive(12), 1e-5, -1),
        )
    ],
    Case("batch_norm", layers.batch_norm, {"x": _MAP, **_AFFINE, **_STATISTICS}, {"eps": 1e-5}),
    Case("batch_norm_training", layers.batch_norm_training, {"x": _MAP, **_AFFINE}, {"eps": 1e-5}),
    Case("running_mean", layers.running_mean, {"x": _MAP, "running_mean": _normal(6)}),
    Case("running_var", layers.running_var, {"x": _MAP, "running_var": _positive(6)}, {"momentum": 0.3}),
    Case(
        "num_batches_tracked",
        layers.num_batches_tracked,
        {"x": _MAP, "num_batches_tracked": np.array(12)},
        counts=True,
    ),
    Case(
        "global_response_norm",
        layers.global_response_norm,
        {"x": _MAP, "weight": _positive(1, 1, 1, 6), "bias": _normal(1, 1, 1, 6)},
        {"eps": 1e-6},
    ),
    Case("grn_strength", layers.grn_strength, {"x": _MAP}, stays_wide=True),
    Case("grn_relative", layers.grn_relative, {"strength": _positive(2, 6, 1, 1)}, {"eps": 1e-6}),
    Case(
        "grn_apply",
        layers.grn_apply,
        {"x": _MAP, "relative": _positive(2, 6, 1, 1), "weight": _positive(1, 1, 1, 6), "bias": _normal(1, 1, 1, 6)},
    ),
    Case("layer_scale", layers.layer_scale, {"x": _MAP, "layer_scale_parameter": _normal(6)}),
    *[
        Case(name, getattr(layers, name), {"x": 3 * _normal(3, 4, 11)})
        for name in dict.fromkeys(function.__name__ for function in layers.ACTIVATIONS.values())
    ],
    Case("softmax", layers.softmax, {"x": 5 * _normal(3, 4, 11)}, {"axis": 1}),
    Case("linear", layers.linear, {"x": _normal(2, 3, 12), "weight": _normal(5, 12), "bias": _normal(5)}),
    Case("attention", layers.attention, _TOKENS, {"num_heads": 4, "scale": 12**-0.5}),
    Case(
        "attention with dropout",
        layers.attention,
        _TOKENS,
        {"num_heads": 3, "scale": 0.5, "dropout_rate": 0.3},
        seed=5,
    ),
    Case(
        "attention_scores",
        layers.attention_scores,
        {"query": _normal(2, 5, 12), "key": _normal(2, 3, 12)},
        {"num_heads": 4, "scale": 12**-0.5},
        stays_wide=True,
    ),
    Case(
        "attention_context",
        layers.attention_context,
        {"probabilities": _positive(2, 4, 5, 3), "value": _normal(2, 3, 12)},
    ),
    Case("map_tokens", layers.map_tokens, {"x": _MAP}),
    Case("positions_map", layers.positions_map, {"x": _normal(2, 7, 12)}, {"height": 2, "width": 3}),
    Case("class_token", layers.class_token, {"x": _normal(2, 7, 12)}, {"height": 2, "width": 3}),
    Case("join_class_token", layers.join_class_token, {"cls_token": _normal(2, 1, 12), "x": _normal(2, 5, 12)}),
    Case(
        "join_class_token, one for all samples",
        layers.join_class_token,
        {"cls_token": _normal(1, 1, 12), "x": _normal(2, 5, 12)},
    ),
    Case("token_mean", layers.token_mean, {"x": _normal(2, 5, 12)}),
    Case("global_average_pool", layers.global_average_pool, {"x": _MAP}),
    Case("global_max_pool", layers.global_max_pool, {"x": _MAP}),
    Case("halfway", layers.halfway, {"x": _normal(3, 12), "y": _positive(3, 12)}),
    Case("join_features", layers.join_features, {"x": _normal(3, 12), "y": _positive(3, 5)}),
    Case(
        "average_pool2d, rounded up",
        layers.average_pool2d,
        {"x": _MAP},
        {"kernel_size": (2, 3), "stride": (2, 3), "padding": (1, 0), "ceil_mode": True},
    ),
    Case(
        "average_pool2d, rounded down",
        layers.average_pool2d,
        {"x": _MAP},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": False},
    ),
    Case("drop_path", layers.drop_path, {"x": _normal(7, 2, 3)}, {"rate": 0.4}, seed=3),
    Case("dropout", layers.dropout, {"x": _normal(7, 2, 3)}, {"rate": 0.4}, seed=4),
    Case("drop of samples", layers.drop, {"x": _normal(7, 2, 3), "mask": _positive(7)}),
    Case("drop of elements", layers.drop, {"x": _normal(7, 2, 3), "mask": _positive(7, 2, 3)}),
    Case("drop_path_mask", layers.drop_path_mask, {"x": _normal(7, 2, 3)}, {"rate": 0.4}, seed=3, stays_wide=True),
    Case("dropout_mask", layers.dropout_mask, {"x": _normal(7, 2, 3)}, {"rate": 0.4}, seed=4, stays_wide=True),
    Case(
        "cross_entropy", layers.cross_entropy, {"logits": 3 * _normal(4, 5), "labels": _LABELS}, {"ignore_index": -100}
    ),
    Case(
        "cross_entropy, no label counts",
        layers.cross_entropy,
        {"logits": _normal(2, 5), "labels": np.array([-1, -1])},
        {"ignore_index": -1},
    ),
    Case(
        "soft_cross_entropy", layers.soft_cross_entropy, {"logits": 3 * _normal(4, 5), "targets": _positive(4, 5) / 5}
    ),
    Case(
        "mean_squared_error", layers.mean_squared_error, {"predictions": _normal(4, 5), "targets": _normal(4, 5) ** 2}
    ),
    Case(
        "binary_cross_entropy_with_logits",
        layers.binary_cross_entropy_with_logits,
        {"logits": 3 * _normal(4, 5), "targets": _positive(4, 5) / 2},
    ),
]
