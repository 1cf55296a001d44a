"""Mistakes in losses and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npconv.backend import special_functions
from npconv.golden.mistakes.catalogue import Edit, mistake, of_input
from npconv.layers import softmax

ENTROPY = ("cross_entropy", "cross_entropy_backward")
SQUARED = ("mean_squared_error", "mean_squared_error_backward")
BINARY = ("binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits_backward")

#: The share of all classes but the right one, where labels are smoothed.
SMOOTHING = 0.1

entropy, backward = (partial(mistake, operation) for operation in (ENTROPY, "cross_entropy_backward"))


def number_of(labels: Any, ignore_index: int) -> int:
    """Return how many samples count."""
    return int((labels != ignore_index).sum())


def times(factor: Callable[[Any, int], float]) -> Edit:
    """Multiply a cross-entropy or its gradient by what is made of the labels and the one that is ignored."""

    def call(right: Any, *arrays: Any, ignore_index: int, **others: Any) -> Any:
        return right(*arrays, ignore_index=ignore_index, **others) * factor(arrays[-1], ignore_index)

    return Edit(call)


entropy("summed", "summed over samples, not averaged", "reduction='sum'")(times(number_of))
entropy(
    "ignored-counted", "divided by all samples, those that are ignored included", "labels of -100 counted as samples"
)(times(lambda labels, ignored: number_of(labels, ignored) / len(labels)))
mistake("cross_entropy", "cross-entropy-base-2", "logarithms of base 2", "bits, not nats")(
    times(lambda labels, ignored: 1 / np.log(2.0))
)
mistake("cross_entropy", "cross-entropy-softmax-twice", "softmax taken twice", "a loss of logits, given probabilities")(
    of_input(lambda logits: softmax(logits, axis=1))
)


@mistake("cross_entropy", "cross-entropy-smoothed", "labels smoothed by 0.1", "timm's recipe for training")
def smoothed_loss(logits: Any, labels: Any, *, ignore_index: int) -> Any:
    """Take a tenth of the loss of every class in place of a tenth of the right one's."""
    counted = labels != ignore_index
    logarithms = np.log(softmax(logits[counted], axis=1))
    right = logarithms[np.arange(len(logarithms)), labels[counted]]
    return -((1 - SMOOTHING) * right + SMOOTHING * logarithms.mean(axis=1)).mean()


def difference(function: Callable[[Any, Any], Any], ignored_as_others: bool = False) -> Edit:
    """Make the gradient of each sample of its logits and of what its probabilities should be."""

    def call(right: Any, grad_y: Any, logits: Any, labels: Any, *, ignore_index: int, wrt: str) -> Any:
        counted = (labels != ignore_index)[:, None]
        should_be = (labels[:, None] == np.arange(logits.shape[1])).astype(logits.dtype)
        gradient = function(logits, should_be) * (counted | ignored_as_others)
        return grad_y * gradient / counted.sum()

    return Edit(call)


backward("cross-entropy-backward-no-labels", "gradient without the labels (softmax alone)", "the one-hot left out")(
    difference(lambda logits, should_be: softmax(logits, axis=1))
)
backward("cross-entropy-backward-no-softmax", "gradient of the labels alone", "the loss of log-probabilities")(
    difference(lambda logits, should_be: -should_be)
)
backward(
    "cross-entropy-backward-sign", "gradient with the other sign", "labels less probabilities: a step, not a gradient"
)(difference(lambda logits, should_be: should_be - softmax(logits, axis=1)))
backward(
    "cross-entropy-backward-logits", "gradient of logits less labels, without softmax", "a line that was left out"
)(difference(lambda logits, should_be: logits - should_be))
backward(
    "cross-entropy-backward-softmax-twice", "gradient with softmax taken twice", "a loss of logits, given probabilities"
)(difference(lambda logits, should_be: softmax(softmax(logits, axis=1), axis=1) - should_be))
backward("cross-entropy-backward-over-samples", "gradient with a softmax over samples", "axis 0 in place of 1")(
    difference(lambda logits, should_be: softmax(logits, axis=0) - should_be)
)
backward("cross-entropy-backward-smoothed", "gradient with labels smoothed by 0.1", "timm's recipe for training")(
    difference(
        lambda logits, should_be: softmax(logits, axis=1) - (1 - SMOOTHING) * should_be - SMOOTHING / logits.shape[1]
    )
)
backward("cross-entropy-backward-over-classes", "gradient averaged over classes as well", "the mean of all elements")(
    difference(lambda logits, should_be: (softmax(logits, axis=1) - should_be) / logits.shape[1])
)
backward("cross-entropy-backward-ignored", "gradient of samples that are ignored", "a mask for the loss alone")(
    difference(lambda logits, should_be: softmax(logits, axis=1) - should_be, ignored_as_others=True)
)

elements = partial(mistake, (*SQUARED, *BINARY))


def of_elements(factor: Callable[[Any], float]) -> Edit:
    """Multiply the loss or its gradient by what is made of the targets."""
    return Edit(lambda right, *arrays, **others: right(*arrays, **others) * factor(arrays[-1]))


elements("summed", "summed over elements, not averaged", "reduction='sum'")(of_elements(lambda targets: targets.size))
elements("over-samples", "averaged over samples alone, summed over outputs", "reduction='batchmean'")(
    of_elements(lambda targets: targets.size / len(targets))
)
mistake(SQUARED, "halved", "half of the squared error", "the loss of textbooks, whose gradient has no 2")(
    of_elements(lambda targets: 0.5)
)
mistake(BINARY, "sigmoid-twice", "sigmoid taken twice", "a loss of logits, given probabilities")(
    Edit(lambda right, *arrays, **others: right(*arrays[:-2], sigmoid(arrays[-2]), arrays[-1], **others))
)


def sigmoid(x: Any) -> Any:
    """Return ``1 / (1 + exp(-x))``."""
    return special_functions(x).expit(x)


binary = partial(mistake, "binary_cross_entropy_with_logits_backward")
binary(
    "binary-cross-entropy-with-logits-backward-through-sigmoid",
    "gradient times the derivative of the sigmoid",
    "a squared error",
)(
    lambda grad_y, logits, targets, wrt: (
        grad_y * (sigmoid(logits) - targets) * sigmoid(logits) * (1 - sigmoid(logits)) / logits.size
    )
)
binary("binary-cross-entropy-with-logits-backward-no-sigmoid", "gradient without sigmoid", "a line that was left out")(
    lambda grad_y, logits, targets, wrt: grad_y * (logits - targets) / logits.size
)
