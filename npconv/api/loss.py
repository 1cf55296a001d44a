"""The loss of an image classifier, chosen as in transformers."""

from __future__ import annotations

from typing import Any

from npconv.backend import array_module
from npconv.errors import InputError
from npconv.layers import binary_cross_entropy_with_logits, cross_entropy, mean_squared_error
from npconv.models import PretrainedConfig

#: Label of samples that do not count in the cross-entropy.
IGNORE_INDEX = -100


def image_classification_loss(logits: Any, labels: Any, config: PretrainedConfig) -> Any:
    """Return the mean loss over the batch, an array () in the dtype of the logits (N, K).

    ``config.problem_type`` chooses the loss. When unset: one column of logits is a regression, integer labels are a
    single-label and others a multi-label classification. (transformers stores the first choice in the configuration;
    here each call infers its own.)

    The labels of a regression are numbers (N,) or (N, K); of a single-label classification integers (N,), of which -100
    is not counted; of a multi-label one numbers from 0 to 1, (N, K). Labels that do not fit are an `InputError`.
    """
    xp = array_module(logits)
    labels = xp.asarray(labels)
    if labels.dtype.kind not in "iufb":
        raise InputError(f"expected labels to be numbers, got {labels.dtype}")
    if config.num_labels == 0:
        raise InputError("expected a model with classes for a loss, got one with num_labels 0; call it without labels")
    problem_type = config.problem_type or infer_problem_type(labels, config)
    if problem_type == "regression":
        predictions = logits.reshape(-1) if config.num_labels == 1 else logits
        targets = labels.reshape(-1) if config.num_labels == 1 else labels
        return mean_squared_error(predictions, targets)
    if problem_type == "single_label_classification":
        return cross_entropy(logits, labels.reshape(-1), ignore_index=IGNORE_INDEX)
    return binary_cross_entropy_with_logits(logits, labels)


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
