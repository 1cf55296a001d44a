"""The training itself: AdamW, one cycle of the learning rate, an average of the weights, a checkpoint each epoch.

What it ends in is written as a directory in Hugging Face layout.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save
from torch import nn
from transformers import PreTrainedModel

from npconv.errors import WeightsError
from npconv.images import ConvNextImageProcessor
from weights_tools.training.augment import normalise
from weights_tools.training.pictures import Pictures
from weights_tools.training.recipe import Recipe, learning_rate
from weights_tools.training.step import Batches, Step, make_step

#: Epochs that are expected of a training by the clock before one was timed.
FIRST_GUESS = 38


class Progress(NamedTuple):
    """What changes as the training goes on: a network, the running average of its weights, the optimizer's state."""

    model: PreTrainedModel
    average: PreTrainedModel
    optimizer: torch.optim.Optimizer


def train(
    model: PreTrainedModel, train: Pictures, watch: Pictures, recipe: Recipe, folder: Path, resume: bool
) -> tuple[PreTrainedModel, int]:
    """Train `model` in place; return the network with averaged weights and how many epochs it was trained.

    After every epoch ``checkpoint.pt`` is written in `folder`, from which `resume` goes on if it exists, and the
    accuracy on `watch`, which may be empty, is printed; nothing is chosen by it.
    """
    stop = time.monotonic() + 60 * recipe.minutes
    model.to(recipe.device)
    progress = Progress(model, copy.deepcopy(model), make_optimizer(model, recipe))
    path = folder / "checkpoint.pt"
    epoch, done = read_checkpoint(path, progress) if resume and path.exists() else (0, 0.0)
    batches = Batches.of(train, model.config.num_labels, recipe.device)
    size, left = 0, epochs_left(recipe, epoch, done)
    while done < 1:
        start = time.monotonic()
        wanted = recipe.early_size if epoch < recipe.early_epochs else recipe.size
        is_new = wanted != size
        if is_new:
            size, step = wanted, make_step(model.train(), batches, recipe, wanted)
        after = done + (1 - done) / left if left > 1 else 1.0
        loss = train_epoch(progress, step, len(train), recipe, epoch, (done, after))
        epoch, done = epoch + 1, after
        write_checkpoint(path, progress, epoch, done)
        seen = f"accuracy on the watched part {accuracy(progress.average, watch, recipe):.4f}, " if len(watch) else ""
        now = time.monotonic()
        print(f"epoch {epoch}/{epoch + left - 1}: loss {loss:.4f}, {seen}{now - start:.2f} s", flush=True)
        left = max(1, left - 1)
        if recipe.minutes and not is_new:  # to make a step takes time of its own
            left = max(1, round((stop - now) / (now - start)))
    return progress.average, epoch


def epochs_left(recipe: Recipe, epoch: int, done: float) -> int:
    """Return how many epochs are left after `epoch` of them, which are the share `done` of the training."""
    if not recipe.minutes:
        return recipe.epochs - epoch
    return round(epoch * (1 - done) / done) if epoch else FIRST_GUESS


def make_optimizer(model: PreTrainedModel, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW that decays matrices and kernels, but no biases, norms, scales or class tokens."""
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for parameter in model.parameters():
        extent = max(parameter.shape) if parameter.ndim else 1
        (vectors if parameter.numel() == extent else matrices).append(parameter)
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.99), fused=True)


def train_epoch(
    progress: Progress, step: Step, count: int, recipe: Recipe, epoch: int, span: tuple[float, float]
) -> float:
    """Train one epoch, in an order and with variations that depend on the seed and the epoch only; return the loss.

    `span` are the shares of the whole training that are done before and after it.
    """
    model, average, optimizer = progress
    model.train()
    torch.manual_seed(recipe.seed * 10_000 + epoch)
    steps = count // recipe.batch_size
    order = torch.randperm(count)[: steps * recipe.batch_size].to(recipe.device).reshape(steps, recipe.batch_size)
    losses = torch.zeros((), device=recipe.device)
    kept, new = _tensors(average), _tensors(model)
    for number, indices in enumerate(order):
        done = span[0] + (span[1] - span[0]) * number / steps
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(epoch * steps + number, steps, done, recipe)
        losses += step(indices)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        update_average(kept, new, epoch * steps + number, recipe.average_decay)
    return losses.item() / steps


def _tensors(model: PreTrainedModel) -> list[torch.Tensor]:
    """Return parameters and statistics; of the counters of batches nothing depends."""
    return [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()]


@torch.no_grad()
def update_average(kept: list[torch.Tensor], new: list[torch.Tensor], step: int, decay: float) -> None:
    """Move averaged weights towards the new ones; early steps count more, so that it forgets the start."""
    torch._foreach_lerp_(kept, new, 1 - min(decay, (1 + step) / (10 + step)))


@torch.no_grad()
def accuracy(model: PreTrainedModel, pictures: Pictures, recipe: Recipe, batch_size: int = 500) -> float:
    """Return the share of pictures whose class has the highest output, computed in float32."""
    model.eval()
    right = 0
    for start in range(0, len(pictures), batch_size):
        pixels, labels = (torch.from_numpy(part[start : start + batch_size]) for part in vars(pictures).values())
        x = normalise(pixels.to(recipe.device).permute(0, 3, 1, 2) / 255, recipe.mean, recipe.std)
        right += int((model(x).logits.argmax(-1).cpu() == labels).sum())
    return right / len(pictures)


def write_checkpoint(path: Path, progress: Progress, epochs_done: int, share_done: float) -> None:
    """Write what a stopped run needs to go on; the old file is replaced only by a complete new one."""
    partial = path.with_suffix(".partial")
    states = {name: part.state_dict() for name, part in progress._asdict().items()}
    torch.save({"epochs_done": epochs_done, "share_done": share_done, **states}, partial)
    partial.replace(path)


def read_checkpoint(path: Path, progress: Progress) -> tuple[int, float]:
    """Take up what a checkpoint of the same network holds; return how many epochs, and which share, are done."""
    try:
        state = torch.load(path, weights_only=True)
        for name, part in progress._asdict().items():
            part.load_state_dict(state[name])
        return int(state["epochs_done"]), float(state["share_done"])
    except Exception as error:  # torch.load raises errors of many unrelated types on a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path}: expected a checkpoint of this network ({reason}); delete it to start anew"
        ) from error


def rounded_to_float16(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the state dict on the CPU with floating-point tensors in float16; counters keep their type."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous().clone()
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
