"""Mistakes in what models do in training alone: batch statistics, what is stored of them, and what is dropped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import Edit, leave_out, mistake, replaced, swap
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

DROPPING = ("drop_path", "dropout")

mistake(DROPPING, "not-scaled", "dropped, and what is kept not scaled", "a mask of 0 and 1")(
    Edit(lambda right, x, mask: right(x, (mask > 0).astype(mask.dtype)))
)
mistake(DROPPING, "missing", "nothing dropped", "inference mode in training")(replaced(lambda x, mask: x.copy()))

dropped = partial(mistake, tuple(f"{operation}_backward" for operation in DROPPING))


def by_mask(change: Callable[[Any], Any]) -> Edit:
    """Drop by a mask that is made of the right one."""
    return Edit(lambda right, grad_y, mask, *, wrt: right(grad_y, change(mask), wrt=wrt))


dropped("not-scaled", "gradient of what is kept not scaled", "a mask of 0 and 1")(
    by_mask(lambda mask: (mask > 0).astype(mask.dtype))
)
dropped("not-masked", "gradient passed by what was dropped", "the mask left out backwards")(leave_out())
dropped("other-draw", "gradient dropped by another draw", "the mask drawn again, not kept")(
    by_mask(lambda mask: np.roll(mask, 1, axis=0))
)
dropped("scaled-twice", "gradient scaled twice", "scaled by the mask and by the rate")(
    by_mask(lambda mask: mask * mask)
)
