"""The weights of a network of PyTorch as one vector on its device, as ``npconv.training`` trains them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from npconv.training.groups import Group
from npconv.training.weights import places_of


class DeviceWeights:
    """What :class:`npconv.training.weights.Weights` is, of PyTorch: the network computes with views of the vector.

    Its stored statistics alone have memory of their own, since a compiled network cannot write to what shares it;
    `give_statistics` and `take_statistics` copy them from the vector and into it.

    Attributes
    ----------
    vector : tensor (P + S,)
        P numbers of parameters, group by group, then S numbers of stored statistics.
    gradient : tensor (P,)
        Where the network leaves the gradients of its parameters, once they are set to 0.
    trained : int
        P.
    parts : list of Part
        The groups as parts of the vector.
    """

    def __init__(self, model: nn.Module, groups: Sequence[Group]) -> None:
        parameters = dict(model.named_parameters())
        buffers = {name: buffer for name, buffer in model.named_buffers() if buffer.is_floating_point()}
        self._counters = [buffer for buffer in model.buffers() if not buffer.is_floating_point()]
        tensors = {**parameters, **buffers}
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        places, self.parts, self.trained = places_of(groups, tuple(buffers), shapes)
        first = next(iter(tensors.values()))
        self.vector = torch.empty(sum(tensor.numel() for tensor in tensors.values()), device=first.device)
        self.gradient = torch.zeros(self.trained, device=first.device)
        views = {name: self.vector[place].view(shapes[name]) for name, place in places.items()}
        for name, view in views.items():
            view.copy_(tensors[name].data)
        for name, parameter in parameters.items():
            parameter.data = views[name]
            parameter.grad = self.gradient[places[name]].view(shapes[name])
        self._buffers, self._statistics = list(buffers.values()), [views[name] for name in buffers]

    @torch.no_grad()
    def give_statistics(self) -> None:
        """Let the network have the stored statistics of the vector."""
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._statistics)

    @torch.no_grad()
    def take_statistics(self) -> None:
        """Take the stored statistics of the network into the vector."""
        if self._buffers:
            torch._foreach_copy_(self._statistics, self._buffers)

    def count_batches(self, steps: int) -> None:
        """Let the counters of batches be of so many steps."""
        for counter in self._counters:
            counter.fill_(steps)

    def to_host(self, vector: torch.Tensor) -> np.ndarray:
        """Return a vector of such weights as an array of NumPy."""
        return vector.cpu().numpy()

    def from_host(self, array: np.ndarray) -> torch.Tensor:
        """Return an array of NumPy as such a vector."""
        return torch.tensor(array, device=self.vector.device)
