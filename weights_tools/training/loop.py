"""The training itself: AdamW, one cycle of the learning rate, an average of the weights, a checkpoint each epoch.

What it ends in is written as a directory in Hugging Face layout.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from npconv.errors import InputError, WeightsError
from npconv.images import ConvNextImageProcessor
from weights_tools.training.augment import augment, normalise
from weights_tools.training.pictures import Pictures

#: The learning rate starts and ends at this share of its highest value.
LOWEST_RATE = 0.01


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Pictures have edges of `size` pixels, in the first epochs of `early_size`, which saves time. The learning rate rises
    over the warm-up epochs; biases, norms and other vectors are not decayed. `average_decay` is the decay a step of the
    running average of the weights, which is what is kept. `mean` and `std` are those of the three colours on the scale
    0 to 1. With `bfloat16` products are computed in it; weights stay in float32. `seed` is that of the order and of the
    variations of the pictures.
    """

    size: int
    early_size: int
    early_epochs: int
    epochs: int
    batch_size: int
    warmup_epochs: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    average_decay: float
    mean: list[float]
    std: list[float]
    bfloat16: bool
    seed: int


class Progress(NamedTuple):
    """What changes as the training goes on: a network, the running average of its weights, the optimizer's state."""

    model: PreTrainedModel
    average: PreTrainedModel
    optimizer: torch.optim.Optimizer


def train(
    model: PreTrainedModel, train: Pictures, watch: Pictures, recipe: Recipe, folder: Path, resume: bool
) -> PreTrainedModel:
    """Train `model` in place and return the network with averaged weights.

    After every epoch ``checkpoint.pt`` is written in `folder`, from which `resume` goes on if it exists, and the
    accuracy on `watch`, which may be empty, is printed; nothing is chosen by it.
    """
    progress = Progress(model, copy.deepcopy(model), make_optimizer(model, recipe))
    path = folder / "checkpoint.pt"
    first = read_checkpoint(path, progress) if resume and path.exists() else 0
    for epoch in range(first, recipe.epochs):
        start = time.monotonic()
        loss = train_epoch(progress, train, recipe, epoch)
        seen = f"accuracy on the watched part {accuracy(progress.average, watch, recipe):.4f}, " if len(watch) else ""
        print(f"epoch {epoch + 1}/{recipe.epochs}: loss {loss:.4f}, {seen}{time.monotonic() - start:.0f} s", flush=True)
        write_checkpoint(path, progress, epoch + 1)
    return progress.average


def make_optimizer(model: PreTrainedModel, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW that decays matrices and kernels, but no biases, norms, scales or class tokens."""
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for parameter in model.parameters():
        extent = max(parameter.shape) if parameter.ndim else 1
        (vectors if parameter.numel() == extent else matrices).append(parameter)
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.99), fused=True)


def learning_rate(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Return the learning rate of a step: a linear rise, then half a cosine down to `LOWEST_RATE` of its peak."""
    rise = recipe.warmup_epochs * steps_per_epoch
    if step < rise:
        share = step / rise
    else:
        done = (step - rise) / max(1, recipe.epochs * steps_per_epoch - rise)
        share = (1 + math.cos(math.pi * done)) / 2
    return recipe.learning_rate * (LOWEST_RATE + (1 - LOWEST_RATE) * share)


def train_epoch(progress: Progress, pictures: Pictures, recipe: Recipe, epoch: int) -> float:
    """Train one epoch, in an order and with variations that depend on the seed and the epoch only; return the loss."""
    model, average, optimizer = progress
    model.train()
    rng = np.random.default_rng((recipe.seed, epoch))
    torch.manual_seed(recipe.seed + epoch)
    size = recipe.early_size if epoch < recipe.early_epochs else recipe.size
    order = rng.permutation(len(pictures))
    steps = len(order) // recipe.batch_size
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(epoch * steps + step, steps, recipe)
        batch = pictures.take(order[step * recipe.batch_size : (step + 1) * recipe.batch_size])
        x = torch.from_numpy(normalise(augment(batch.pixels, size, rng), recipe.mean, recipe.std))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bfloat16):
            logits = model(x).logits
        target = torch.from_numpy(batch.labels)
        loss = functional.cross_entropy(logits.float(), target, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        update_average(average, model, epoch * steps + step, recipe.average_decay)
        losses.append(loss.item())
    return float(np.mean(losses))


@torch.no_grad()
def update_average(average: PreTrainedModel, model: PreTrainedModel, step: int, decay: float) -> None:
    """Move the averaged weights towards those of `model`; early steps count more, so that it forgets the start."""
    decay = min(decay, (1 + step) / (10 + step))
    for kept, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


@torch.no_grad()
def accuracy(model: PreTrainedModel, pictures: Pictures, recipe: Recipe, batch_size: int = 500) -> float:
    """Return the share of pictures whose class has the highest output, computed in float32."""
    model.eval()
    right = 0
    for start in range(0, len(pictures), batch_size):
        batch = pictures.pixels[start : start + batch_size].astype(np.float32) / 255
        logits = model(torch.from_numpy(normalise(batch, recipe.mean, recipe.std))).logits
        right += int((logits.argmax(-1).numpy() == pictures.labels[start : start + batch_size]).sum())
    return right / len(pictures)


def write_checkpoint(path: Path, progress: Progress, epochs_done: int) -> None:
    """Write what a stopped run needs to go on; the old file is replaced only by a complete new one."""
    partial = path.with_suffix(".partial")
    states = {name: part.state_dict() for name, part in progress._asdict().items()}
    torch.save({"epochs_done": epochs_done, **states}, partial)
    partial.replace(path)


def read_checkpoint(path: Path, progress: Progress) -> int:
    """Take up what a checkpoint of the same network holds and return how many epochs are done."""
    try:
        state = torch.load(path, weights_only=True)
        for name, part in progress._asdict().items():
            part.load_state_dict(state[name])
        return int(state["epochs_done"])
    except Exception as error:  # torch.load raises errors of many unrelated types on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path}: expected a checkpoint of this network ({reason}); delete it to start anew"
        ) from error


def check_recipe(recipe: Recipe, count: int) -> None:
    """Raise an :class:`InputError` if a recipe cannot be run on `count` pictures."""
    for name in ("size", "early_size", "epochs", "batch_size"):
        if getattr(recipe, name) < 1:
            raise InputError(f"expected {name} of at least 1, got {getattr(recipe, name)}")
    if count < recipe.batch_size:
        raise InputError(f"expected at least one batch of {recipe.batch_size} pictures to train on, got {count}")


def rounded_to_float16(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the state dict with floating-point tensors in float16; counters keep their type."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous().clone()
        for name, tensor in model.state_dict().items()
    }


def save_model(model: PreTrainedModel, folder: Path, size: int, mean: list[float], std: list[float], card: str) -> None:
    """Write ``config.json``, ``model.safetensors`` (float16), ``preprocessor_config.json`` and ``README.md``.

    The configuration says float32: whoever loads the weights computes in float32, from values rounded to float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    weights = save(rounded_to_float16(model), metadata={"format": "pt"})
    (folder / "model.safetensors").write_bytes(weights)
    processor = ConvNextImageProcessor(size={"shortest_edge": size}, crop_pct=1.0, image_mean=mean, image_std=std)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
