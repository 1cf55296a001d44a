"""Photos to train on, decoded once, and batches of them as a model takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from npconv.cores import available_cores
from npconv.errors import ImageError, InputError
from npconv.images import ConvNextImageProcessor
from npconv.images.settings import Settings
from npconv.images.transforms import rescale
from npconv.messages import escape
from npconv.training.augment import augment, mixup, smooth_targets
from npconv.training.photo_tables import SINGLE
from npconv.training.photos import LabelledPhotos, read_photo
from npconv.training.problems import Problem
from npconv.training.recipe import Recipe
from npconv.training.tables import array_on_disk

#: A picture that shows in what size a processor gives pictures out.
_SAMPLE = np.zeros((64, 64, 3), np.uint8)


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size, and what each shows.

    Attributes
    ----------
    pixels : np.ndarray (N, C, H, W)
        uint8, resized and cropped as the model wants them.
    targets : np.ndarray
        As in :class:`npconv.training.photos.LabelledPhotos`.
    classes : int
        How many there are.
    problem_type : str
        As in a configuration.
    finish : callable
        What is left to do before a model takes pictures (N, C, H, W), uint8 or floats from 0 to 255.
    """

    pixels: np.ndarray
    targets: np.ndarray
    classes: int
    problem_type: str
    finish: Callable[[np.ndarray], np.ndarray]

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield pictures as they are, ready for the model, and their targets, in order."""
        for start in range(0, len(self), size):
            yield self.finish(self.pixels[start : start + size]), self.targets[start : start + size]

    def varied(self, places: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the pictures at some places (M,), varied at random, and the targets to train with."""
        x = self.finish(augment(self.pixels[places], rng, flip=recipe.flip))
        targets = self.targets[places]
        if self.problem_type == SINGLE:
            targets = smooth_targets(targets, self.classes, recipe.label_smoothing)
        return mixup(x, targets, recipe.mixup, rng) if recipe.mixup else (x, targets)


def read_pictures(
    photos: LabelledPhotos, processor: ConvNextImageProcessor, folder: Path
) -> tuple[Pictures, tuple[Problem, ...]]:
    """Decode photos and make them as large as a model wants them.

    They go to a file in a folder, which has no name and goes with the array, so that they need not fit into memory.

    Returns
    -------
    Pictures, tuple of Problem
        Those that could be read, and those that could not.

    Raises
    ------
    InputError
        If none could, or the processor does not bring them to one size.
    UnavailableError
        If the disk is full.
    """
    prepare = partial(processor, do_rescale=False, do_normalize=False, data_format="channels_first")
    shape = prepare(_SAMPLE)["pixel_values"][0].shape
    pixels = array_on_disk((len(photos), *shape), np.uint8, folder)

    def read(place: int) -> Problem | None:
        name = photos.files[place]
        try:
            picture = prepare(read_photo(name))["pixel_values"][0]
        except ImageError as error:
            return Problem("unreadable", name, _reason(error, name))
        if picture.shape != shape:
            raise InputError(
                f"expected a preprocessing that brings all photos to one size, got {shape} and {picture.shape}; "
                "set do_resize in preprocessor_config.json"
            )
        pixels[place] = picture
        return None

    with ThreadPoolExecutor(available_cores()) as pool:
        found = list(pool.map(read, range(len(photos))))
    kept = [place for place, problem in enumerate(found) if problem is None]
    if not kept:
        raise InputError(f"expected photos that can be read, got none of {len(photos)}")
    for new, old in enumerate(kept):
        if new != old:
            pixels[new] = pixels[old]
    pictures = Pictures(
        pixels[: len(kept)], photos.targets[kept], len(photos.classes), photos.problem_type, finisher(processor)
    )
    return pictures, tuple(problem for problem in found if problem is not None)


def finisher(processor: ConvNextImageProcessor) -> Callable[[np.ndarray], np.ndarray]:
    """Return what a processor does after it has resized and cropped, to a whole batch at once."""
    settings: Settings = processor.settings()

    def finish(pictures: np.ndarray) -> np.ndarray:
        factor = settings.rescale_factor if settings.do_rescale else 1.0
        x = rescale(pictures, factor)
        if settings.do_normalize:
            x -= _per_channel(settings.image_mean)
            x /= _per_channel(settings.image_std)
        return x

    return finish


def _per_channel(numbers: Any) -> np.ndarray:
    """Return a number for each channel as an array (C, 1, 1), or one number for all as (1, 1, 1)."""
    return np.array(numbers, np.float32).reshape(-1, 1, 1)


def _reason(error: ImageError, name: str) -> str:
    """Return what is wrong with a photo, without its name."""
    return str(error).removeprefix(f"{escape(name)}: ")
