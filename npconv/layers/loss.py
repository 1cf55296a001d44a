"""The losses of an image classifier, each a mean over the batch."""

from __future__ import annotations

from npconv.backend import Array, array_module, widen
from npconv.errors import InputError
from npconv.layers._checks import check_ndim


def cross_entropy(logits: Array, labels: Array, *, ignore_index: int) -> Array:
    """Mean of ``-log softmax(logits)[label]`` over the samples whose label is not `ignore_index`.

    Parameters
    ----------
    logits : array (N, K)
        Scores before the softmax, floating-point.
    labels : array (N,)
        Integers from 0 to K - 1, or `ignore_index`.
    ignore_index : int
        Samples with this label do not count (-100 in PyTorch and transformers).

    Returns
    -------
    array ()
        In the dtype of `logits`; NaN if no sample counts, as in PyTorch.

    Raises
    ------
    InputError
        If shapes do not fit, or a label is no integer or out of range.
    """
    xp = array_module(logits)
    array_module(labels)
    check_ndim("cross_entropy", logits, "NK")
    batch, classes = logits.shape
    if labels.shape != (batch,) or labels.dtype.kind not in "iu":
        raise InputError(f"cross_entropy: expected {batch} integer labels, got shape {labels.shape} of {labels.dtype}")
    counted = labels != ignore_index
    if bool(((labels < 0) | (labels >= classes))[counted].any()):
        raise InputError(f"cross_entropy: expected labels from 0 to {classes - 1} or {ignore_index}, got one outside")
    if not bool(counted.any()):
        return xp.asarray(float("nan"), logits.dtype)[()]

    wide = widen(logits[counted])
    shifted = wide - wide.max(axis=1, keepdims=True)
    log_probabilities = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
    chosen = xp.take_along_axis(log_probabilities, labels[counted].astype("int64")[:, None], axis=1)
    return (-chosen.mean()).astype(logits.dtype)


def mean_squared_error(predictions: Array, targets: Array) -> Array:
    """Mean of ``(predictions - targets)**2`` over all elements.

    Parameters
    ----------
    predictions : array
        Floating-point, any shape.
    targets : array of the same shape
        Array real dtype.

    Returns
    -------
    array ()
        In the dtype of `predictions`.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    _check_same_shape("mean_squared_error", predictions, targets)
    wide = widen(predictions)
    difference = wide - targets.astype(wide.dtype, copy=False)
    return (difference * difference).mean().astype(predictions.dtype)


def binary_cross_entropy_with_logits(logits: Array, targets: Array) -> Array:
    """Mean of ``-t * log sigmoid(z) - (1 - t) * log(1 - sigmoid(z))`` over all elements.

    Computed as ``max(z, 0) - z * t + log(1 + exp(-abs(z)))``, which is equal and never overflows.

    Parameters
    ----------
    logits : array
        Scores z, floating-point, any shape.
    targets : array of the same shape
        Probabilities t from 0 to 1, any real dtype.

    Returns
    -------
    array ()
        In the dtype of `logits`.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    xp = array_module(logits)
    _check_same_shape("binary_cross_entropy_with_logits", logits, targets)
    z = widen(logits)
    t = targets.astype(z.dtype, copy=False)
    loss = xp.maximum(z, 0) - z * t + xp.log1p(xp.exp(-xp.abs(z)))
    return loss.mean().astype(logits.dtype)


def _check_same_shape(layer: str, predictions: Array, targets: Array) -> None:
    """Refuse targets of another shape: broadcasting them would give a wrong mean without a word."""
    array_module(targets)
    if predictions.shape != targets.shape:
        raise InputError(f"{layer}: expected targets of shape {predictions.shape}, got {targets.shape}")
