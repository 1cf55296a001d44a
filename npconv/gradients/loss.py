"""The losses backwards: what each logit or prediction has to change by.

Each loss is a mean, so each gradient is divided by the number of its terms. `grad_y` is a single number, 1 where the
loss is the end of the computation.
"""

from __future__ import annotations

from npconv import layers
from npconv.backend import Array, array_module, special_functions
from npconv.gradients.gradient_of import gradient_of
from npconv.layers.loss import counted_samples, in_dtype_of


@gradient_of(layers.cross_entropy, "logits")
def cross_entropy_backward(grad_y: Array, logits: Array, labels: Array, *, ignore_index: int) -> Array:
    """Return the gradient of `logits` of :func:`npconv.layers.cross_entropy`.

    ``grad_logits = grad_y * (softmax(logits) - one_hot(labels)) / number of samples that count``, 0 for those that do
    not: the probabilities that are there less those that should be. Where no sample counts, the loss is NaN and the
    gradient 0, as in PyTorch.
    """
    xp = array_module(logits)
    counted = counted_samples("cross_entropy_backward", logits, labels, ignore_index)
    classes = xp.arange(logits.shape[1])
    should_be = (labels[:, None] == classes).astype(logits.dtype)
    is_counted = counted[:, None].astype(logits.dtype)
    share = is_counted / xp.maximum(is_counted.sum(), 1)
    return grad_y * (layers.softmax(logits, axis=1) - should_be) * share


@gradient_of(layers.soft_cross_entropy, "logits")
def soft_cross_entropy_backward(grad_y: Array, logits: Array, targets: Array) -> Array:
    """Return the gradient of `logits` of :func:`npconv.layers.soft_cross_entropy`.

    ``grad_logits = grad_y * (softmax(logits) * sum(targets) - targets) / number of samples``; a sample's targets sum to
    1 if they are probabilities.
    """
    should_be = in_dtype_of(logits, targets, "soft_cross_entropy_backward")
    total = should_be.sum(axis=1, keepdims=True)
    return grad_y * (layers.softmax(logits, axis=1) * total - should_be) / len(logits)


@gradient_of(layers.mean_squared_error, "predictions")
def mean_squared_error_backward(grad_y: Array, predictions: Array, targets: Array) -> Array:
    """Return the gradient of `predictions` of :func:`npconv.layers.mean_squared_error`.

    ``grad_predictions = grad_y * 2 * (predictions - targets) / number of elements``
    """
    targets = in_dtype_of(predictions, targets, "mean_squared_error_backward")
    return grad_y * 2.0 * (predictions - targets) / predictions.size


@gradient_of(layers.binary_cross_entropy_with_logits, "logits")
def binary_cross_entropy_with_logits_backward(grad_y: Array, logits: Array, targets: Array) -> Array:
    """Return the gradient of `logits` of :func:`npconv.layers.binary_cross_entropy_with_logits`.

    ``grad_logits = grad_y * (sigmoid(logits) - targets) / number of elements``
    """
    targets = in_dtype_of(logits, targets, "binary_cross_entropy_with_logits_backward")
    return grad_y * (special_functions(logits).expit(logits) - targets) / logits.size
