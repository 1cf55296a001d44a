"""A step of the training: a batch goes through the model, and the gradient of the loss comes back.

``own_step`` is npconv's. ``torch_step`` has PyTorch do it (extra ``train``), on the same numbers: where it is
installed, that is quicker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npconv.api.gradients import value_and_grad
from npconv.backend import Array
from npconv.errors import UnavailableError
from npconv.models.parameters import flatten
from npconv.training.weights import Weights

#: Called with pixel values (M, C, H, W), their targets, and the generator of drop path and dropout. Returns the loss,
#: (), and its gradient (P,) with respect to the trained parameters, and renews the stored statistics in the weights.
Step = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[Array, Array]]


def own_step(model: Any, weights: Weights) -> Step:
    """Return the step by npconv's own gradients."""
    function = value_and_grad(model)

    def step(pixel_values: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> tuple[Array, Array]:
        found = function(pixel_values, targets, training=True, rng=rng)
        weights.renew(found.statistics)
        return found.loss, weights.gather(flatten(found.gradients))

    return step


def torch_step(model: Any, weights: Weights) -> Step:
    """Return the step by PyTorch: the model of transformers, with the same memory for its weights.

    Raises
    ------
    UnavailableError
        If PyTorch or transformers is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UnavailableError(f"training by PyTorch needs an extra: pip install 'npconv[train]' ({error})") from error

    config = getattr(transformers, model.family.config_name)(**model.config.to_dict())
    theirs = getattr(transformers, type(model).__name__)(config).to(getattr(torch, str(model.dtype))).train()
    arrays = flatten(model.params)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    for name, tensor in (*theirs.named_parameters(), *theirs.named_buffers()):
        tensor.data = torch.from_numpy(arrays[name])
        tensor.requires_grad_(tensor.requires_grad and name not in frozen)

    def step(pixel_values: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> tuple[Array, Array]:
        torch.manual_seed(int(rng.integers(2**63)))
        theirs.zero_grad()
        logits = theirs(torch.from_numpy(pixel_values.astype(model.dtype))).logits
        loss = torch_loss(logits, torch.from_numpy(targets), model.config.problem_type)
        loss.backward()
        gradients = {name: tensor.grad.numpy() for name, tensor in theirs.named_parameters() if tensor.requires_grad}
        return loss.detach().numpy(), weights.gather(gradients)

    return step


def torch_loss(logits: Any, targets: Any, problem_type: str | None) -> Any:
    """Return the loss of a tensor of logits (M, K), as :func:`npconv.api.loss.image_classification_loss` has it."""
    from torch.nn import functional

    if problem_type == "regression":
        return functional.mse_loss(logits.reshape(targets.shape), targets.to(logits.dtype))
    if problem_type == "multi_label_classification":
        return functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))
    return functional.cross_entropy(logits, targets.to(logits.dtype) if targets.ndim == 2 else targets)


#: By the name of what computes them.
STEPS: dict[str, Callable[[Any, Weights], Step]] = {"npconv": own_step, "torch": torch_step}
