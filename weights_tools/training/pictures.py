"""Labelled pictures of a training from nothing: their parts, their size and their colours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from npconv.errors import ImageError
from npconv.images import ConvNextImageProcessor
from npconv.training.photos import LabelledPhotos, read_photos, split
from npconv.training.pictures import Pictures, finisher, read_pictures
from npconv.training.problems import describe

#: The share of the pictures that becomes the part ``test`` where there is none.
HELD_OUT = 0.15


class Dataset(NamedTuple):
    """The classes, and the pictures to train on, to choose the best epoch by (or none) and to test on."""

    classes: tuple[str, ...]
    train: Pictures
    watch: Pictures | None
    test: Pictures
    processor: ConvNextImageProcessor


def read_dataset(source: str | Path, size: int, folder: Path, *, watch: float, seed: int) -> Dataset:
    """Read labelled pictures as `size` x `size` pixels; decoded, they lie in files without names in a folder.

    What is not divided into the parts train and test is divided by `seed`. A share of the part to train on, `watch`, is
    kept apart. The processor normalises by the colours of the pictures to train on.

    Raises
    ------
    InputError
        If there are no such pictures.
    ImageError
        If one cannot be read.
    """
    parts = read_photos(source)
    train, test = (parts["train"], parts["test"]) if "test" in parts else split(parts["all"], HELD_OUT, seed)
    train, watched = split(train, watch, seed) if watch else (train, None)
    plain = ConvNextImageProcessor(size={"shortest_edge": size}, crop_pct=1.0)
    mean, std = colour_statistics((found := _read(train, plain, folder)).pixels)
    processor = ConvNextImageProcessor(
        size={"shortest_edge": size}, crop_pct=1.0, image_mean=mean, image_std=[max(value, 1e-3) for value in std]
    )
    others = [None if part is None else _read(part, processor, folder) for part in (watched, test)]
    assert others[1] is not None
    return Dataset(train.classes, replace(found, finish=finisher(processor)), others[0], others[1], processor)


def _read(photos: LabelledPhotos, processor: ConvNextImageProcessor, folder: Path) -> Pictures:
    """Decode pictures; all of them, or it is an error."""
    pictures, problems = read_pictures(photos, processor, folder)
    for problem in problems:
        raise ImageError(f"{describe(problem)}; leave it out")
    return pictures


def colour_statistics(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and deviation of each colour over uint8 pictures (N, 3, H, W), on the scale 0 to 1, to 4 decimals."""
    count = np.stack([np.bincount(pixels[:, colour].ravel(), minlength=256) for colour in range(3)])
    values = np.arange(256) / 255
    share = count / count.sum(axis=1, keepdims=True)
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    return np.round(mean, 4).tolist(), np.round(std, 4).tolist()
