"""One step of the training, up to the gradients: a batch is varied, goes through the network, and back.

On a GPU the whole step is recorded once, as a CUDA graph, and then replayed: a small network is computed sooner than
Python can ask for it layer by layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from weights_tools.training.augment import augment, cover, exchange, normalise
from weights_tools.training.matrix_depthwise import use_matrix_depthwise
from weights_tools.training.pictures import Pictures
from weights_tools.training.recipe import Recipe

#: Steps before one is recorded, in which libraries choose their kernels and take memory.
STEPS_BEFORE = 3

#: What computes a loss, (), of the pictures with some indices (N,), and leaves the gradients in the parameters.
Step = Callable[[Tensor], Tensor]


class Batches(NamedTuple):
    """The pictures to train on, on the device: (N, H, W, 3) uint8, and their classes as ones and zeros (N, K)."""

    pixels: Tensor
    targets: Tensor

    @classmethod
    def of(cls, pictures: Pictures, classes: int, device: str) -> Batches:
        """Move pictures of so many classes to the device."""
        targets = functional.one_hot(torch.from_numpy(pictures.labels), classes).float()
        return cls(torch.from_numpy(pictures.pixels).to(device), targets.to(device))


def make_step(model: nn.Module, batches: Batches, recipe: Recipe, size: int) -> Step:
    """Return the step for pictures of `size` x `size` pixels."""
    products = torch.bfloat16 if recipe.bfloat16 else torch.float32
    if recipe.device == "cuda":
        use_matrix_depthwise(model, torch.zeros(2, 3, size, size, device=recipe.device), products)
    if recipe.compile:
        compile_blocks(model)

    def step(indices: Tensor) -> Tensor:
        pictures = augment(batches.pixels[indices], size)
        x, targets = normalise(pictures, recipe.mean, recipe.std), batches.targets[indices]
        if recipe.cover:
            x = cover(x, recipe.cover)
        if recipe.exchange:
            x, targets = exchange(x, targets, recipe.exchange)
        with torch.autocast(recipe.device, dtype=products, enabled=recipe.bfloat16, cache_enabled=False):
            logits = model(x).logits
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=recipe.label_smoothing)
        model.zero_grad()
        loss.backward()
        return loss.detach()

    return _recorded(step, recipe) if recipe.device == "cuda" else step


def compile_blocks(model: nn.Module) -> None:
    """Let PyTorch compile the blocks of a network and what is between them, each kind and size once."""
    for module in model.modules():
        if type(module).__name__.endswith(
            ("NextLayer", "V2Layer", "CvtLayer", "Embeddings", "NextLayerNorm", "V2LayerNorm")
        ):
            module.compile(dynamic=False)


def _recorded(step: Step, recipe: Recipe) -> Step:
    """Return a step that replays what `step` does on the GPU with other pictures."""
    indices = torch.arange(recipe.batch_size, device=recipe.device)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(STEPS_BEFORE):
            step(indices)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(indices)  # the gradients of the recording are those that each replay writes to

    def replay(chosen: Tensor) -> Tensor:
        indices.copy_(chosen)
        graph.replay()
        return loss

    return replay
