"""The losses of an image classifier, each a mean over the batch: an array (), in the dtype of its first argument."""

from __future__ import annotations

from npconv.backend import Array, array_module
from npconv.errors import InputError, ShapeError
from npconv.layers.shapes import shapes


@shapes(logits="N K", result="")
def cross_entropy(logits: Array, labels: Array, *, ignore_index: int) -> Array:
    """Mean of ``-log softmax(logits)[label]`` over the samples whose label is not `ignore_index`.

    Labels (N,) are integers from 0 to K - 1, or `ignore_index`: -100 in PyTorch and transformers. Others are an
    `InputError`. The mean is NaN if no sample counts, as in PyTorch.
    """
    xp = array_module(logits)
    counted = counted_samples("cross_entropy", logits, labels, ignore_index)
    if not bool(counted.any()):
        return xp.asarray(float("nan"), logits.dtype)[()]

    chosen = xp.take_along_axis(_log_softmax(logits[counted]), labels[counted].astype("int64")[:, None], axis=1)
    return -chosen.mean()


@shapes(logits="N K", result="")
def soft_cross_entropy(logits: Array, targets: Array) -> Array:
    """Mean of ``-sum(targets * log softmax(logits))`` over the samples: cross-entropy with more than one right class.

    Targets (N, K) are the probabilities that the K classes should have, of any real dtype. Label smoothing and mixup
    make such targets; those with a single 1 in each row give :func:`cross_entropy`.
    """
    t = in_dtype_of(logits, targets, "soft_cross_entropy")
    return -(t * _log_softmax(logits)).sum(axis=1).mean()


@shapes(predictions="...", result="")
def mean_squared_error(predictions: Array, targets: Array) -> Array:
    """Mean of ``(predictions - targets)**2`` over all elements. Targets are of any real dtype."""
    difference = predictions - in_dtype_of(predictions, targets, "mean_squared_error")
    return (difference * difference).mean()


@shapes(logits="...", result="")
def binary_cross_entropy_with_logits(logits: Array, targets: Array) -> Array:
    """Mean of ``-t * log sigmoid(z) - (1 - t) * log(1 - sigmoid(z))`` over all elements, of logits z and targets t.

    Computed as ``max(z, 0) - z * t + log(1 + exp(-abs(z)))``, which is equal and never overflows. Targets are
    probabilities from 0 to 1, of any real dtype.
    """
    xp = array_module(logits)
    t = in_dtype_of(logits, targets, "binary_cross_entropy_with_logits")
    return (xp.maximum(logits, 0) - logits * t + xp.log1p(xp.exp(-xp.abs(logits)))).mean()


def counted_samples(layer: str, logits: Array, labels: Array, ignore_index: int) -> Array:
    """Return which samples count in the mean, after a look at the labels."""
    array_module(labels)
    batch, classes = logits.shape
    if labels.shape != (batch,) or labels.dtype.kind not in "iu":
        raise ShapeError(f"{layer}: expected {batch} integer labels, got shape {labels.shape} of {labels.dtype}")
    counted: Array = labels != ignore_index
    if bool(((labels < 0) | (labels >= classes))[counted].any()):
        raise InputError(f"{layer}: expected labels from 0 to {classes - 1} or {ignore_index}, got one outside")
    return counted


def _log_softmax(logits: Array) -> Array:
    """Return the logarithms of the probabilities that logits (N, K) mean; no exponential overflows."""
    xp = array_module(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))


def in_dtype_of(predictions: Array, targets: Array, layer: str) -> Array:
    """Return targets in the dtype of the predictions. Of another shape, broadcast, they would give a wrong mean."""
    array_module(targets)
    if predictions.shape != targets.shape:
        raise ShapeError(f"{layer}: expected targets of shape {predictions.shape}, got {targets.shape}")
    return targets.astype(predictions.dtype, copy=False)
