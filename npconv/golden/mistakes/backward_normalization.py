"""Mistakes in the gradients of norms, which have a part through the mean and one through the spread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import Edit, edit, mistake, of_gradient
from npconv.golden.mistakes.normalization import deviation
from npconv.gradients import batch_norm_training_backward, layer_norm_backward

CENTRED = ("layer_norm_backward", "batch_norm_training_backward")

centred, norm, training, stored = (
    partial(mistake, operation)
    for operation in (CENTRED, "layer_norm_backward", "batch_norm_training_backward", "batch_norm_backward")
)

#: The axes of a map that the statistics of a batch are taken over.
BATCH = (0, 2, 3)

#: What makes the input's gradient of g, the upstream one times the weight; of the normalized input; of the spread; and
#: of what takes means.
Formula = Callable[[Any, Any, Any, Callable[[Any], Any]], Any]


def along(weight: Any, ndim: int, axis: int) -> Any:
    """Return a number for each channel in a shape that fits an array."""
    return weight.reshape([-1 if i == axis % ndim else 1 for i in range(ndim)])


def by(formula: Formula, ddof: int = 0, over: Callable[[int], Any] | None = None) -> Edit:
    """Make the input's gradient by a formula, with another divisor of the variance, or all means over other axes."""

    def call(right: Any, grad_y: Any, x: Any, *, weight: Any, eps: float, wrt: str, axis: int | None = None) -> Any:
        axes = BATCH if axis is None else axis % x.ndim
        axes = axes if over is None else over(x.ndim)
        spread = np.sqrt(x.var(axis=axes, keepdims=True, ddof=ddof) + eps)
        g = grad_y * along(weight, x.ndim, 1 if axis is None else axis)
        return formula(g, deviation(x, axes) / spread, spread, lambda value: value.mean(axis=axes, keepdims=True))

    return Edit(call, of_gradient("x"))


def right_formula(g: Any, normalized: Any, spread: Any, mean: Any) -> Any:
    """``(g - mean(g) - normalized * mean(g * normalized)) / spread``."""
    return (g - mean(g) - normalized * mean(g * normalized)) / spread


centred("no-mean", "gradient without its part through the mean", "the mean taken for a constant")(
    by(lambda g, normalized, spread, mean: (g - normalized * mean(g * normalized)) / spread)
)
centred("no-variance", "gradient without its part through the variance", "the variance taken for a constant")(
    by(lambda g, normalized, spread, mean: (g - mean(g)) / spread)
)
centred("constant-statistics", "gradient with mean and variance taken for constants", "statistics under no_grad")(
    by(lambda g, normalized, spread, mean: g / spread)
)
centred("ddof", "gradient with a variance of ddof = 1", "the default of torch.var and torch.std")(
    by(right_formula, ddof=1)
)
centred("over-variance", "gradient divided by the variance", "the root left out")(
    by(lambda g, normalized, spread, mean: right_formula(g, normalized, spread, mean) / spread)
)
centred("not-divided", "gradient not divided by the spread", "a factor that was left out")(
    by(lambda g, normalized, spread, mean: right_formula(g, normalized, spread, mean) * spread)
)
centred("variance-added", "gradient with its part through the variance added", "a sign")(
    by(lambda g, normalized, spread, mean: (g - mean(g) + normalized * mean(g * normalized)) / spread)
)
centred("no-weight", "gradient without the weight", "g taken for the upstream gradient", applies=of_gradient("x"))(
    edit(weight=np.ones_like)
)


def weight_last(right: Any, grad_y: Any, x: Any, *, weight: Any, axis: int, **others: Any) -> Any:
    """Take the weight out of the means, and multiply by it at the end."""
    return right(grad_y, x, weight=np.ones_like(weight), axis=axis, **others) * along(weight, x.ndim, axis)


norm(
    "layer-norm-backward-weight-last",
    "gradient with the weight after the means",
    "grad_y normalized first, and scaled at the end",
)(Edit(weight_last, of_gradient("x")))
norm(
    "layer-norm-backward-all-axes",
    "gradient with means over all axes but the batch",
    "a LayerNorm over a map's shape",
    applies=lambda step: step.layout in ("NCHW", "NTD"),
)(by(right_formula, over=lambda ndim: tuple(range(1, ndim))))
training(
    "batch-norm-training-backward-per-sample",
    "gradient with the statistics of each sample",
    "the batch's gradient taken sample by sample",
)(by(right_formula, over=lambda ndim: (2, 3)))
norm(
    "layer-norm-backward-centred-first",
    "gradient whose mean is subtracted first",
    "fused kernels",
    invisible="normalized sums to 0, so mean((g - mean(g)) * normalized) is mean(g * normalized)",
)(by(lambda g, normalized, spread, mean: (g - mean(g) - normalized * mean((g - mean(g)) * normalized)) / spread))

#: The gradients that depend on eps.
OF_EPS = of_gradient("x", "weight")

for eps, origin in {"1e-5": "PyTorch's default", "1e-6": "the eps of ConvNeXt's blocks"}.items():
    norm(f"layer-norm-backward-eps-{eps}", f"gradient with eps {eps}", f"{origin}, forwards another", applies=OF_EPS)(
        edit(eps=float(eps))
    )
mistake(
    ("batch_norm_backward", "batch_norm_training_backward"),
    "eps-1e-3",
    "gradient with eps 1e-3",
    "the default of Keras",
    applies=OF_EPS,
)(edit(eps=1e-3))


def unnormalized(grad_y: Any, x: Any, weight: Any, axis: int = 1) -> Any:
    """Sum up ``grad_y * x`` for each channel."""
    return (grad_y * x).sum(axis=tuple(i for i in range(x.ndim) if i != axis % x.ndim)).reshape(weight.shape)


mistake(
    (*CENTRED, "batch_norm_backward", "rms_norm_backward", "simple_norm_backward"),
    "weight-of-input",
    "weight's gradient of the input as it is, not normalized",
    "the layer's input kept in place of its normalized input",
    applies=of_gradient("weight"),
)(lambda grad_y, x, weight, axis=1, **others: unnormalized(grad_y, x, weight, axis))

of_input = partial(stored, applies=of_gradient("x"))
of_input(
    "batch-norm-backward-statistics",
    "gradient through the batch's statistics",
    "the gradient of training, where stored statistics are constants",
)(lambda grad_y, x, weight, eps, wrt, **running: batch_norm_training_backward(grad_y, x, weight, eps=eps)[0])
of_input("batch-norm-backward-no-weight", "gradient without the weight", "a factor that was left out")(
    edit(weight=np.ones_like)
)
of_input("batch-norm-backward-over-variance", "gradient divided by the variance", "the root left out")(
    lambda grad_y, x, weight, running_var, eps, **others: grad_y * along(weight / (running_var + eps), 4, 1)
)

SCALED = ("rms_norm_backward", "simple_norm_backward")

scaled, rms, simple = (partial(mistake, operation, applies=of_gradient("x")) for operation in (SCALED, *SCALED))
scaled("no-weight", "gradient without the weight", "a factor that was left out")(edit(weight=np.ones_like))


@rms("rms-norm-backward-constant-spread", "gradient with the spread taken for a constant", "a statistic under no_grad")
def constant_root_mean_square(grad_y: Any, x: Any, *, weight: Any, eps: float, axis: int, wrt: str) -> Any:
    """Divide by the root mean square alone."""
    return grad_y * along(weight, x.ndim, axis) / np.sqrt((x * x).mean(axis=axis, keepdims=True) + eps)


@simple(
    "simple-norm-backward-constant-spread", "gradient with the spread taken for a constant", "a statistic under no_grad"
)
def constant_deviation(grad_y: Any, x: Any, *, weight: Any, eps: float, axis: int, wrt: str) -> Any:
    """Divide by the standard deviation alone."""
    return grad_y * along(weight, x.ndim, axis) / np.sqrt(x.var(axis=axis, keepdims=True, ddof=1) + eps)


@scaled("centred", "gradient of a norm that subtracts the mean", "the LayerNorm of most ConvNeXts")
def of_layer_norm(grad_y: Any, x: Any, *, weight: Any, eps: float, axis: int, wrt: str) -> Any:
    """Take the gradient of a LayerNorm."""
    return layer_norm_backward(grad_y, x, weight, eps=eps, axis=axis)[0]
