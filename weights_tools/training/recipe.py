"""How to train: everything that is chosen before."""

from __future__ import annotations

import math
from dataclasses import dataclass

from npconv.errors import InputError

#: The learning rate starts and ends at this share of its highest value.
LOWEST_RATE = 0.01


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Pictures have edges of `size` pixels, in the first epochs of `early_size`, which saves time. With `minutes` above 0,
    as many epochs are trained as fit into them, in place of `epochs`. The learning rate rises over the warm-up epochs;
    biases, norms and other vectors are not decayed. Of the pictures, the share `cover` has a part covered, and the
    share `exchange` a part of another picture and of its class. `average_decay` is the decay a step of the running
    average of the weights, which is what is kept. `mean` and `std` are those of the three colours on the scale 0 to 1.
    With `bfloat16` products are computed in it; weights stay in float32. `seed` is that of the order and of the
    variations of the pictures. `device` is ``"cpu"`` or ``"cuda"``; with `compile` PyTorch compiles the blocks of the
    network.
    """

    size: int
    early_size: int
    early_epochs: int
    epochs: int
    minutes: float
    batch_size: int
    warmup_epochs: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    cover: float
    exchange: float
    average_decay: float
    mean: list[float]
    std: list[float]
    bfloat16: bool
    seed: int
    device: str
    compile: bool


def learning_rate(step: int, steps_per_epoch: int, done: float, recipe: Recipe) -> float:
    """Return the learning rate of a step: half a cosine over the share of the training that is done, after a rise."""
    rise = min(1.0, step / max(1, recipe.warmup_epochs * steps_per_epoch))
    share = rise * (1 + math.cos(math.pi * done)) / 2
    return recipe.learning_rate * (LOWEST_RATE + (1 - LOWEST_RATE) * share)


def check_recipe(recipe: Recipe, count: int) -> None:
    """Raise an :class:`InputError` if a recipe cannot be run on `count` pictures."""
    for name in ("size", "early_size", "epochs", "batch_size"):
        if getattr(recipe, name) < 1:
            raise InputError(f"expected {name} of at least 1, got {getattr(recipe, name)}")
    for name in ("cover", "exchange"):
        if not 0 <= getattr(recipe, name) <= 1:
            raise InputError(f"expected a share from 0 to 1 for {name}, got {getattr(recipe, name)}")
    if not 0 <= recipe.minutes < math.inf:
        raise InputError(f"expected minutes of at least 0, got {recipe.minutes}")
    if count < recipe.batch_size:
        raise InputError(f"expected at least one batch of {recipe.batch_size} pictures to train on, got {count}")
