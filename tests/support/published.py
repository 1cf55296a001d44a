"""Stand-ins for published models in a made Hugging Face cache: the shapes of their answers, none of their weight.

A stand-in has the input size, the widths of the last stage, the stages and the labels of what it stands for, but one
block a stage and narrow first stages. Its classifier says what the real one says of the picture of a cat: its bias for
that class is large.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import npconv
from npconv.models import FAMILIES

CAT = 281
LABELS = {number: f"class {number}" for number in range(1000)} | {CAT: "tabby, tabby cat"}

WIDTHS = {"hidden_sizes": [16, 24, 32, 768], "depths": [1, 1, 1, 1], "id2label": LABELS}
CONFIGS = {
    "convnext": WIDTHS,
    "convnextv2": WIDTHS,
    "cvt": {"embed_dim": [16, 32, 384], "num_heads": [1, 2, 6], "depth": [1, 1, 1], "id2label": LABELS},
    "dinov3_convnext": {name: value for name, value in WIDTHS.items() if name != "id2label"},
}

#: The hub ids that examples and snippets name, by family.
IDS = {
    "convnext": (
        *("facebook/convnext-tiny-224", "facebook/convnext-small-224", "facebook/convnext-base-224"),
        *("facebook/convnext-large-224-22k-1k", "facebook/convnext-base-384-22k-1k"),
        "ahsanjavid/convnext-tiny-finetuned-cifar10",
    ),
    "convnextv2": (
        *("facebook/convnextv2-tiny-1k-224", "facebook/convnextv2-tiny-22k-224", "facebook/convnextv2-base-1k-224"),
        *("facebook/convnextv2-base-22k-224", "facebook/convnextv2-large-1k-224", "facebook/convnextv2-huge-22k-384"),
        *("facebook/convnextv2-nano-22k-224", "facebook/convnextv2-atto-1k-224"),
    ),
    "cvt": ("microsoft/cvt-13", "microsoft/cvt-21", "microsoft/cvt-13-384"),
    "dinov3_convnext": (
        "facebook/dinov3-convnext-tiny-pretrain-lvd1689m",
        "facebook/dinov3-convnext-base-pretrain-lvd1689m",
    ),
}


def make_cache(folder: Path) -> Path:
    """Write a cache of the hub with every stand-in, and return its folder."""
    for model_type, ids in IDS.items():
        model = folder / "models" / model_type
        write_model(model_type, model)
        for name in ids:
            repository = folder / "hub" / f"models--{name.replace('/', '--')}"
            (repository / "refs").mkdir(parents=True)
            (repository / "refs" / "main").write_text("0")
            (repository / "snapshots").mkdir()
            (repository / "snapshots" / "0").symlink_to(model)
    return folder / "hub"


def write_model(model_type: str, folder: Path) -> None:
    """Write the stand-in of a family, as its models are published."""
    family = FAMILIES[model_type]
    config = family.config_class(**CONFIGS[model_type])
    model = getattr(npconv, family.class_names[family.main_task])(config)
    if family.main_task == "image_classification":
        model.params["classifier"]["bias"] += 10 * (np.arange(1000) == CAT)
    model.save_pretrained(folder)
    size = {} if family.pictures else {"size": {"shortest_edge": 224}}
    family.processor_class(**size).save_pretrained(folder)
