"""A network of PyTorch that learns: a batch is varied, goes through the network, and back, all on its device.

On a GPU the whole step is recorded once, as a CUDA graph, and then replayed: a small network is computed sooner than
Python can ask for it layer by layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from npconv.training.groups import Group
from npconv.training.pictures import Pictures
from weights_tools.training.augment import augment, cover, exchange, normalise
from weights_tools.training.matrix_depthwise import use_matrix_depthwise
from weights_tools.training.recipe import EmbeddedRecipe
from weights_tools.training.weights import DeviceWeights

#: Steps before one is recorded, in which libraries choose their kernels and take memory.
STEPS_BEFORE = 3

#: What computes a loss, (), of the pictures with some places (M,), and leaves the gradients in the weights.
Step = Callable[[Tensor], Tensor]


class DeviceLearner:
    """A network of transformers that learns by PyTorch, for the loop of ``npconv.training``.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    groups : list of Group
        Its parameters, by how they are trained.
    pictures : Pictures
        To train on; they are moved to the device.
    recipe : EmbeddedRecipe
    """

    def __init__(self, model: Any, groups: list[Group], pictures: Pictures, recipe: EmbeddedRecipe) -> None:
        self.model, self.config, self.recipe = model.to(recipe.device).train(), model.config, recipe
        self.weights = DeviceWeights(model, groups)
        self._pixels = torch.from_numpy(np.array(pictures.pixels)).to(recipe.device)
        one_hot = functional.one_hot(torch.from_numpy(pictures.targets), pictures.classes)
        self._targets = one_hot.float().to(recipe.device)
        self._step = self._prepared_step(min(recipe.batch_size, len(pictures)))

    def step(self, places: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the loss, (), of the pictures at some places, and its gradient (P,)."""
        torch.manual_seed(int(rng.integers(2**63)))
        loss = self._step(torch.from_numpy(places).to(self.recipe.device))
        return loss, self.weights.gradient

    @torch.no_grad()
    def logits(self, pixel_values: np.ndarray) -> np.ndarray:
        """Return the logits (M, K) of pictures (M, C, H, W), computed in float32."""
        self.weights.give_statistics()
        self.model.eval()
        logits = self.model(torch.from_numpy(pixel_values).to(self.recipe.device)).logits.cpu().numpy()
        self.model.train()
        return np.asarray(logits)

    def _prepared_step(self, batch_size: int) -> Step:
        """Return the step as the device computes it best; the network is as before."""
        recipe = self.recipe
        if recipe.device == "cuda":
            example = torch.zeros(2, 3, recipe.size, recipe.size, device=recipe.device)
            use_matrix_depthwise(self.model, example, _products(recipe))
        if recipe.compile:
            compile_blocks(self.model)
        if recipe.device != "cuda":
            return self._compute
        before = self.weights.vector.clone()
        step = _recorded(self._compute, batch_size, recipe.device)
        self.weights.vector.copy_(before)  # statistics have moved
        return step

    def _compute(self, places: Tensor) -> Tensor:
        """Vary pictures, and compute the loss and its gradient."""
        recipe = self.recipe
        self.weights.give_statistics()
        x, targets = (
            normalise(augment(self._pixels[places], recipe.size), recipe.mean, recipe.std),
            self._targets[places],
        )
        if recipe.cover:
            x = cover(x, recipe.cover)
        if recipe.exchange:
            x, targets = exchange(x, targets, recipe.exchange)
        with torch.autocast(recipe.device, dtype=_products(recipe), enabled=recipe.bfloat16, cache_enabled=False):
            logits = self.model(x).logits
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=recipe.label_smoothing)
        self.weights.gradient.zero_()
        loss.backward()
        self.weights.take_statistics()
        return loss.detach()


def _products(recipe: EmbeddedRecipe) -> torch.dtype:
    """Return the dtype of matrix products."""
    return torch.bfloat16 if recipe.bfloat16 else torch.float32


def compile_blocks(model: nn.Module) -> None:
    """Let PyTorch compile the blocks of a network and what is between them, each kind and size once."""
    for module in model.modules():
        if type(module).__name__.endswith(
            ("NextLayer", "V2Layer", "CvtLayer", "Embeddings", "NextLayerNorm", "V2LayerNorm")
        ):
            module.compile(dynamic=False)


def _recorded(step: Step, batch_size: int, device: str) -> Step:
    """Return a step that replays what `step` does on the GPU with other pictures."""
    places = torch.arange(batch_size, device=device)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(STEPS_BEFORE):
            step(places)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(places)

    def replay(chosen: Tensor) -> Tensor:
        places.copy_(chosen)
        graph.replay()
        return loss

    return replay
