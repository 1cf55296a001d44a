"""Mistakes in batch norm as it is in training, and in the statistics that it stores."""

from __future__ import annotations

from functools import partial

from npconv.golden.mistakes.catalogue import Edit, edit, mistake, swap
from npconv.golden.mistakes.normalization import affine, deviation, epsilons, normalized_over

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
mistake(
    ("running_mean", "running_var"),
    "momentum",
    "momentum 0.9 for the newest batch",
    "TensorFlow's momentum is 1 - PyTorch's",
)(edit(momentum=lambda momentum: 1 - momentum))
mistake(("running_mean", "running_var"), "of-batch", "statistics of the batch alone", "momentum 1")(edit(momentum=1.0))
variance(
    "running-var-biased", "stored variance divided by n, not n - 1", "the variance that the batch is normalized by"
)(lambda x, running_var, momentum: (1 - momentum) * running_var + momentum * x.var(axis=(0, 2, 3)))
variance(
    "running-var-deviation", "standard deviation stored, not the variance", "a statistic of another library's name"
)(lambda x, running_var, momentum: (1 - momentum) * running_var + momentum * x.std(axis=(0, 2, 3), ddof=1))
