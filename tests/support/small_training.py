"""A small model of each family and small pictures, for the tests of training.

As a program, ``python small_training.py FOLDER [STEPS SECONDS]`` trains one and writes its weights there. After so many
steps, and some seconds more, it kills itself, wherever it is.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import npconv
from npconv.files.safetensors import save_file
from npconv.training import loop
from npconv.training.learner import OwnLearner
from npconv.training.pictures import Pictures
from npconv.training.recipe import Recipe

STAGED = {"hidden_sizes": [6, 8], "depths": [1, 2], "num_stages": 2, "patch_size": 2}
FIELDS: dict[str, dict[str, Any]] = {
    "convnext": {**STAGED, "layer_scale_init_value": 0.5},
    "convnextv2": STAGED,
    "cvt": {
        "embed_dim": [6, 8], "num_heads": [2, 4], "depth": [1, 2], "patch_stride": [2, 2], "cls_token": [False, True],
    },
}  # fmt: skip
NAMES = {"convnext": "ConvNext", "convnextv2": "ConvNextV2", "cvt": "Cvt"}
CLASSES = 3

#: Few epochs, everything switched on.
RECIPE = Recipe(epochs=3, batch_size=5, rate=3e-3, average_epochs=0.5)


def small_model(family: str = "convnextv2", dtype: str = "float32", engine: str = "explicit", **fields: Any) -> Any:
    """Return a classifier with random weights."""
    given = {"num_labels": CLASSES, "problem_type": "single_label_classification", **FIELDS[family], **fields}
    config = getattr(npconv, f"{NAMES[family]}Config")(initializer_range=0.2, **given)
    return getattr(npconv, f"{NAMES[family]}ForImageClassification")(config, dtype=dtype, engine=engine, seed=1)


def finish(pictures: np.ndarray) -> np.ndarray:
    """Return pictures as the models take them."""
    return (pictures.astype(np.float32) - 128) / 64


def small_pictures(count: int = 23, seed: int = 0) -> Pictures:
    """Return pictures of three colours, one a class, which are easily told apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    pixels = rng.integers(0, 120, (count, 3, 12, 12), dtype=np.uint8)
    pixels[np.arange(count), labels] += np.uint8(100)
    return Pictures(pixels, labels, CLASSES, "single_label_classification", finish)


class Killer:
    """Counts steps, and lets the process be killed some time after one of them."""

    def __init__(self, steps: int, seconds: float) -> None:
        self.left, self.seconds = steps, seconds

    def __call__(self, _: int) -> None:
        self.left -= 1
        if self.left == 0:
            threading.Timer(self.seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


if __name__ == "__main__":
    loop.BETWEEN_CHECKPOINTS = 0.0  # one after each step
    folder = Path(sys.argv[1])
    advance = Killer(int(sys.argv[2]), float(sys.argv[3])) if len(sys.argv) > 2 else lambda _: None
    model = small_model("cvt")
    recipe, pictures = replace(RECIPE, epochs=20), small_pictures()
    learner = OwnLearner(model, pictures, recipe)
    loop.train(learner, pictures, small_pictures(9, seed=1), recipe, folder, resume=True, advance=advance)
    save_file(model.state_dict(), folder / "model.safetensors")
