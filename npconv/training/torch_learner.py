"""Training by PyTorch, which is quicker where it is installed (extra ``train``): the same weights, in the same memory.

It draws stochastic depth and dropout by itself, so that it ends with other numbers than npconv.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npconv.backend import Array
from npconv.errors import UnavailableError
from npconv.models.parameters import flatten
from npconv.training.learner import OwnLearner
from npconv.training.pictures import Pictures
from npconv.training.recipe import Recipe


class TorchLearner(OwnLearner):
    """A model of npconv that learns by the gradients of PyTorch, through the model of transformers.

    Raises
    ------
    UnavailableError
        If PyTorch or transformers is not installed.
    """

    def __init__(self, model: Any, pictures: Pictures, recipe: Recipe) -> None:
        super().__init__(model, pictures, recipe)
        self._theirs = in_transformers(self.model)

    def gradient(self, pixel_values: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> tuple[Any, Array]:
        """Return the loss of a batch and its gradient (P,); PyTorch renews the stored statistics where they lie."""
        import torch

        torch.manual_seed(int(rng.integers(2**63)))
        self._theirs.zero_grad()
        logits = self._theirs(torch.from_numpy(pixel_values.astype(self.model.dtype))).logits
        loss = torch_loss(logits, torch.from_numpy(targets).to(logits.dtype), self.model.config.problem_type)
        loss.backward()
        gradients = {
            name: tensor.grad.numpy() for name, tensor in self._theirs.named_parameters() if tensor.requires_grad
        }
        return loss.detach().numpy(), self.weights.gather(gradients)


def check_installed() -> None:
    """Raise an `UnavailableError` if PyTorch or transformers is not installed."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise UnavailableError(f"training by PyTorch needs an extra: pip install 'npconv[train]' ({error})") from error


def in_transformers(model: Any) -> Any:
    """Return the model of transformers with the arrays of one of npconv, in training mode."""
    check_installed()
    import torch
    import transformers

    config = getattr(transformers, model.family.config_name)(**model.config.to_dict())
    theirs = getattr(transformers, type(model).__name__)(config)
    arrays = flatten(model.params)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, parameter in theirs.named_parameters():
        parameter.data = torch.from_numpy(arrays[name])
        parameter.requires_grad_(name in trained)
    for name, buffer in theirs.named_buffers():
        buffer.data = torch.from_numpy(np.asarray(arrays[name]))
    return theirs.train()


def torch_loss(logits: Any, targets: Any, problem_type: str | None) -> Any:
    """Return the loss of tensors, logits (M, K) and what to train them to, as npconv has it."""
    from torch.nn import functional

    if problem_type == "regression":
        return functional.mse_loss(logits.reshape(targets.shape), targets)
    if problem_type == "multi_label_classification":
        return functional.binary_cross_entropy_with_logits(logits, targets)
    return functional.cross_entropy(logits, targets)
