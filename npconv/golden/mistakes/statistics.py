"""Mistakes in batch norm as it is in training, and in the statistics that it stores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from npconv.golden.mistakes.catalogue import Edit, mistake, swap
from npconv.golden.mistakes.normalization import affine, deviation, epsilons, normalized_over
from npconv.layers.normalization import MOMENTUM

training, variance = (partial(mistake, operation) for operation in ("batch_norm_training", "running_var"))

epsilons("batch_norm_training", "batch-norm-training", "batch norm", {"1e-3": "the default of Keras"})
training("batch-norm-training-ddof", "batch norm by a variance with ddof = 1", "the variance that is stored")(
    Edit(
        lambda right, x, *, weight, bias, eps: affine(
            deviation(x, (0, 2, 3)) / (x.var(axis=(0, 2, 3), keepdims=True, ddof=1) + eps) ** 0.5, weight, bias, 1
        )
    )
)
training("batch-norm-training-per-sample", "batch norm with the statistics of each sample", "an instance norm")(
    lambda x, weight, bias, eps: affine(normalized_over(x, (2, 3), eps), weight, bias, 1)
)
training("batch-norm-training-swapped", "batch norm weight and bias swapped", "gamma and beta by position")(
    swap("weight", "bias")
)


def stored(batch: Callable[[Any], Any], share: Callable[[float], float] = lambda momentum: momentum) -> Edit:
    """Store another statistic of the batch, or another share of it."""

    def call(right: Any, x: Any, *, momentum: float = MOMENTUM, **old: Any) -> Any:
        (before,) = old.values()
        return (1 - share(momentum)) * before + share(momentum) * batch(x)

    return Edit(call)


def mean_of(x: Any) -> Any:
    """Return the mean of each channel."""
    return x.mean(axis=(0, 2, 3))


def variance_of(x: Any, ddof: int = 1) -> Any:
    """Return the variance of each channel, as it is stored."""
    return x.var(axis=(0, 2, 3), ddof=ddof)


for operation, statistic, of_batch in (("running_mean", "mean", mean_of), ("running_var", "variance", variance_of)):
    store = partial(mistake, operation)
    name = operation.replace("_", "-")
    store(f"{name}-momentum", f"stored {statistic} with a momentum of 0.9", "TensorFlow's momentum is 1 - PyTorch's")(
        stored(of_batch, lambda momentum: 1 - momentum)
    )
    store(f"{name}-of-batch", f"{statistic} of the batch alone stored", "no momentum")(stored(of_batch, lambda _: 1.0))
variance("running-var-biased", "stored variance divided by n, not n - 1", "the variance that normalizes the batch")(
    stored(partial(variance_of, ddof=0))
)
variance("running-var-deviation", "standard deviation stored", "a statistic of another library's name")(
    stored(lambda x: variance_of(x) ** 0.5)
)
