"""The loss of an image classifier, chosen as in transformers, and its gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from npconv import layers
from npconv.backend import array_module
from npconv.errors import InputError
from npconv.models import PretrainedConfig

#: Label of samples that do not count in the cross-entropy.
IGNORE_INDEX = -100


class Loss(NamedTuple):
    """A loss by its name in ``npconv.layers``, and its other arguments, which the way back through it takes as well."""

    name: str
    options: Mapping[str, Any]

    @property
    def forward(self) -> Callable[..., Any]:
        """The layer."""
        return getattr(layers, self.name)

    @property
    def backward(self) -> Callable[..., Any]:
        """The layer's backward function."""
        from npconv import gradients  # only here: who classifies does without

        return getattr(gradients, f"{self.name}_backward")


#: What a single-label classification becomes with a probability for each class in place of a label.
SOFT = "soft_classification"

#: By ``config.problem_type``, or :data:`SOFT`.
LOSSES = {
    SOFT: Loss("soft_cross_entropy", {}),
    "regression": Loss("mean_squared_error", {}),
    "single_label_classification": Loss("cross_entropy", {"ignore_index": IGNORE_INDEX}),
    "multi_label_classification": Loss("binary_cross_entropy_with_logits", {}),
}


def image_classification_loss(logits: Any, labels: Any, config: PretrainedConfig) -> Any:
    """Return the mean loss over the batch, an array () in the dtype of the logits (N, K).

    ``config.problem_type`` chooses the loss. When unset: one column of logits is a regression, integer labels are a
    single-label and others a multi-label classification. (transformers stores the first choice in the configuration;
    here each call infers its own.)

    The labels of a regression are numbers (N,) or (N, K); of a single-label classification integers (N,), of which -100
    is not counted, or the probabilities that the classes should have, (N, K); of a multi-label one numbers from 0 to 1,
    (N, K). Labels that do not fit are an `InputError`.
    """
    loss, logits, targets = _choose(logits, labels, config)
    return loss.forward(logits, targets, **loss.options)


def image_classification_loss_backward(logits: Any, labels: Any, config: PretrainedConfig) -> Any:
    """Return the gradient of :func:`image_classification_loss` with respect to the logits (N, K)."""
    loss, shaped, targets = _choose(logits, labels, config)
    one = array_module(logits).ones((), logits.dtype)
    return loss.backward(one, shaped, targets, **loss.options).reshape(logits.shape)


def _choose(logits: Any, labels: Any, config: PretrainedConfig) -> tuple[Loss, Any, Any]:
    """Return the loss that labels mean, and logits and labels in the shapes that it takes."""
    labels = array_module(logits).asarray(labels)
    if labels.dtype.kind not in "iufb":
        raise InputError(f"expected labels to be numbers, got {labels.dtype}")
    if config.num_labels == 0:
        raise InputError("expected a model with classes for a loss, got one with num_labels 0; call it without labels")
    problem_type = config.problem_type or infer_problem_type(labels, config)
    if problem_type == "regression" and config.num_labels == 1:
        logits, labels = logits.reshape(-1), labels.reshape(-1)
    elif problem_type == "single_label_classification" and labels.ndim == 2 and labels.dtype.kind == "f":
        problem_type = SOFT
    elif problem_type == "single_label_classification":
        labels = labels.reshape(-1)
    return LOSSES[problem_type], logits, labels


def sample_losses(logits: Any, labels: Any, config: PretrainedConfig) -> Any:
    """Return the loss of each sample, an array (N,); their mean is :func:`image_classification_loss`.

    That of a label -100 is NaN: no sample is left whose mean it could be. Labels that do not fit are an `InputError`.
    """
    xp = array_module(logits)
    labels = xp.asarray(labels)
    if labels.ndim == 0 or len(labels) != len(logits):
        raise InputError(f"expected labels for {len(logits)} samples, got labels {labels.shape}")
    rows = [slice(index, index + 1) for index in range(len(logits))]
    return xp.stack([image_classification_loss(logits[row], labels[row], config) for row in rows])


def infer_problem_type(labels: Any, config: PretrainedConfig) -> str:
    """Return the problem type that labels of this dtype mean."""
    if config.num_labels == 1:
        return "regression"
    if config.num_labels > 1 and labels.dtype.kind in "iu":
        return "single_label_classification"
    return "multi_label_classification"
