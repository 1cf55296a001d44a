"""A small model of each family and small pictures, for the tests of training.

As a program, ``python small_training.py FOLDER`` trains one and writes its weights there: what is killed and resumed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import npconv
from npconv.files.safetensors import save_file
from npconv.training.loop import train
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


def small_model(family: str = "convnextv2", dtype: str = "float32", **fields: Any) -> Any:
    """Return a classifier with random weights."""
    given = {"num_labels": CLASSES, "problem_type": "single_label_classification", **FIELDS[family], **fields}
    config = getattr(npconv, f"{NAMES[family]}Config")(initializer_range=0.2, **given)
    return getattr(npconv, f"{NAMES[family]}ForImageClassification")(config, dtype=dtype, seed=1)


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


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    model = small_model("cvt")
    train(model, small_pictures(), small_pictures(9, seed=1), RECIPE, folder, resume=True)
    save_file(model.state_dict(), folder / "model.safetensors")
