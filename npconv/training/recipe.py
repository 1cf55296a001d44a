"""How to train: everything that is chosen before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from npconv.errors import InputError

#: The least and the most that a field of a recipe may be.
BOUNDS: dict[str, tuple[float, float]] = {
    "epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "rate": (0, math.inf),
    "warmup_epochs": (0, math.inf),
    "weight_decay": (0, math.inf),
    "layer_decay": (0, 1),
    "drop_path": (0, 1),
    "label_smoothing": (0, 1),
    "mixup": (0, math.inf),
    "average_epochs": (0, math.inf),
    "patience": (1, math.inf),
    "seed": (0, math.inf),
}


@dataclass(frozen=True)
class Recipe:
    """How to train, beginning with a model that has been trained on other pictures.

    Attributes
    ----------
    epochs : int
        Passes over the photos, at most.
    batch_size : int
        Photos a step.
    rate : float
        The highest learning rate, at the end of the warm-up.
    warmup_epochs : float
        Epochs in which the learning rate rises.
    weight_decay : float
        Of kernels and matrices: the share of themselves that they lose a step, by the learning rate.
    layer_decay : float
        The learning rate of each block is so many times that of the block after it.
    drop_path : float
        Rate of stochastic depth in the last block.
    label_smoothing : float
        Share of the target that is spread over all classes.
    mixup : float
        Parameter of the beta distribution of the shares in which photos are mixed; 0 mixes none.
    flip : bool
        Whether half of the photos are mirrored. Letters and digits should not be.
    average_epochs : float
        How far back the running average of the weights reaches, which is what is kept.
    patience : int
        Epochs without a better result on the validation part after which training ends.
    seed : int
        Of everything random.
    """

    epochs: int = 30
    batch_size: int = 32
    rate: float = 1e-3
    warmup_epochs: float = 1.0
    weight_decay: float = 0.05
    layer_decay: float = 0.9
    drop_path: float = 0.1
    label_smoothing: float = 0.1
    mixup: float = 0.2
    flip: bool = True
    average_epochs: float = 1.0
    patience: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in BOUNDS.items():
            value: Any = getattr(self, name)
            if not (isinstance(value, int | float) and least <= value <= most and math.isfinite(value)):
                until = "" if most == math.inf else f" and at most {most}"
                raise InputError(f"expected {name} to be at least {least}{until}, got {value!r}")
            if name in ("epochs", "batch_size", "patience", "seed") and value != int(value):
                raise InputError(f"expected {name} to be a whole number, got {value!r}")
