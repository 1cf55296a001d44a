"""Small pictures in folders, each of another colour, and a model that tells which colour is brightest."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

import npconv

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def draw(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (5, 7)) -> Path:
    """Write a picture of one colour; the folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def draw_classes(folder: Path, counts: Mapping[str, int]) -> Path:
    """Write so many pictures into the folder of each class, no two of them alike."""
    number = 0
    for name, count in counts.items():
        for place in range(count):
            number += 1
            draw(folder / name / f"{place}.png", (number % 251, number // 251, 7))
    return folder


def zip_folder(folder: Path, path: Path) -> Path:
    """Write a zip file of what is in a folder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def colour_model(folder: Path, **fields) -> Path:
    """Write a model that answers with the channel that is brightest: mean, LayerNorm and a diagonal classifier.

    A picture of one colour has the values (1, -1, -1) after preprocessing and (2, -1, -1) / sqrt(2) after the norm.
    """
    classes = {"id2label": dict(enumerate(COLOURS))} | fields
    config = npconv.ConvNextConfig(hidden_sizes=[3], depths=[1], num_stages=1, patch_size=1, **classes)
    state = {name: np.zeros(shape, np.float32) for name, shape in npconv.ConvNextModel.parameter_shapes(config).items()}
    state["embeddings.patch_embeddings.weight"] = np.eye(3, dtype=np.float32)[::-1].reshape(3, 3, 1, 1)
    for name in ("embeddings.layernorm.weight", "layernorm.weight"):
        state[name] = np.ones(3, np.float32)
    labels = config.num_labels
    head = {"classifier.weight": np.eye(labels, 3, dtype=np.float32), "classifier.bias": np.zeros(labels, np.float32)}
    named = {f"convnext.{name}": value for name, value in state.items()} | head
    npconv.ConvNextForImageClassification(config, named).save_pretrained(folder)
    npconv.ConvNextImageProcessor(size={"shortest_edge": 4}).save_pretrained(folder)
    return folder


def draw_colours(folder: Path, parts: tuple[str, ...] = ("train", "test")) -> Path:
    """Write four pictures of each colour into each part, no two of them alike; one that is called red is green."""
    for name, colour in COLOURS.items():
        for part in parts:
            for number in range(4):
                is_odd_one = name == "red" and number == 3
                darkness = 100 if is_odd_one else 20 * number
                shown = COLOURS["green"] if is_odd_one else colour
                draw(folder / part / name / f"{number}.png", tuple(value - darkness if value else 0 for value in shown))
    return folder
