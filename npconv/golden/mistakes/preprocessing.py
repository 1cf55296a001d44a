"""Mistakes in what is done to a picture before the model sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import mistake
from npconv.images.transforms import center_crop, normalize, rescale, resize
from npconv.plan.step import Plan, Step

NEAREST, BILINEAR, BICUBIC, BOX = 0, 2, 3, 4

#: Of transformers' standard; the class default of the processor.
HALF = (0.5, 0.5, 0.5)


def has_other_filter(resample: int) -> Callable[[Step], bool]:
    """Return what tells of a step whether it resizes with another filter."""
    return lambda step: bool(step.attributes["resample"] != resample)


@mistake(
    "resize-bilinear",
    "bilinear resizing",
    "resize",
    "the class default until December 2025 (transformers#42934)",
    applies=has_other_filter(BILINEAR),
)
def bilinear(image: Any, *, height: int, width: int, resample: int) -> Any:
    """Pillow's filter 2."""
    return resize(image, (height, width), BILINEAR)


@mistake(
    "resize-bicubic",
    "bicubic resizing",
    "resize",
    "the class default since December 2025 (transformers#42934)",
    applies=has_other_filter(BICUBIC),
)
def bicubic(image: Any, *, height: int, width: int, resample: int) -> Any:
    """Pillow's filter 3."""
    return resize(image, (height, width), BICUBIC)


@mistake(
    "resize-nearest", "nearest-neighbour resizing", "resize", "Pillow's filter 0", applies=has_other_filter(NEAREST)
)
def nearest(image: Any, *, height: int, width: int, resample: int) -> Any:
    """Return the nearest pixel."""
    return resize(image, (height, width), NEAREST)


@mistake("resize-box", "resizing by plain averages", "resize", "area interpolation", applies=has_other_filter(BOX))
def box(image: Any, *, height: int, width: int, resample: int) -> Any:
    """Pillow's filter 4: as cv2.INTER_AREA."""
    return resize(image, (height, width), BOX)


def cubic(distance: Any) -> Any:
    """Weigh a pixel by its distance, with a = -0.75 as cv2 and torch do without antialiasing (Pillow has -0.5)."""
    d = np.abs(distance)
    near = (1.25 * d - 2.25) * d * d + 1
    far = ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def triangle(distance: Any) -> Any:
    """Weigh a pixel by its distance, linearly."""
    return np.maximum(1.0 - np.abs(distance), 0.0)


def interpolation(length: int, target: int, weigh: Callable[[Any], Any]) -> np.ndarray:
    """Return the matrix (target, length) that interpolates along an axis between at most four pixels."""
    places = (np.arange(target) + 0.5) * length / target - 0.5
    matrix = np.zeros((target, length))
    for offset in range(-1, 3):
        pixels = np.floor(places).astype(int) + offset
        np.add.at(matrix, (np.arange(target), np.clip(pixels, 0, length - 1)), weigh(places - pixels))
    return matrix


@mistake(
    "resize-no-antialias",
    "resizing without antialiasing",
    "resize",
    "cv2.resize, torch.nn.functional.interpolate, tf.image.resize",
    applies=lambda step: step.attributes["resample"] in (BILINEAR, BICUBIC),
)
def no_antialias(image: Any, *, height: int, width: int, resample: int) -> Any:
    """Between the nearest pixels alone, whatever a new pixel covers."""
    weigh = cubic if resample == BICUBIC else triangle
    rows, columns = (interpolation(*sizes, weigh) for sizes in zip(image.shape[1:], (height, width), strict=True))
    return np.clip(np.round(rows @ image.astype(np.float64) @ columns.T), 0, 255).astype(np.uint8)


@mistake("resize-transposed", "height and width swapped in resizing", "resize", "Pillow takes (width, height)")
def size_swapped(image: Any, *, height: int, width: int, resample: int) -> Any:
    """Return a picture of the other format."""
    return resize(image, (width, height), resample)


@mistake("crop-rounded-up", "crop offset rounded up", "center_crop", "round((h - crop) / 2), as torchvision")
def crop_rounded_up(image: Any, *, height: int, width: int) -> Any:
    """One pixel further where the border is odd."""
    top, left = (-(-(size - target) // 2) for size, target in zip(image.shape[1:], (height, width), strict=True))
    return image[:, top : top + height, left : left + width]


@mistake("crop-corner", "crop from the corner", "center_crop", "a slice")
def crop_corner(image: Any, *, height: int, width: int) -> Any:
    """Return the upper left part."""
    return image[:, :height, :width]


def resized_input(step: Step, plan: Plan) -> Step:
    """Let a crop take the picture from before it was resized, and its filter."""
    source = step.inputs[0]
    if source not in plan or plan[source].operation != "resize":
        return step
    attributes = {**step.attributes, "resample": plan[source].attributes["resample"]}
    return replace(step, inputs=plan[source].inputs, attributes=attributes)


@mistake(
    "crop-before-resize",
    "crop before the resizing",
    "center_crop",
    "a square cropped and resized (transformers#28180, timm#1383)",
    rewire=resized_input,
)
def crop_before_resize(image: Any, *, height: int, width: int, resample: int = BICUBIC) -> Any:
    """Return the largest square of the picture, resized to the crop."""
    edge = min(image.shape[1:])
    return resize(center_crop(image, (edge, edge)), (height, width), resample)


@mistake("rescale-missing", "no division by 255", "rescale", "values from 0 to 255 normalized")
def no_rescale(image: Any, *, factor: float) -> Any:
    """Return the values as they are."""
    return image.astype(np.float32)


@mistake("rescale-twice", "division by 255 taken twice", "rescale", "a library that reads pictures as 0..1 already")
def rescale_twice(image: Any, *, factor: float) -> Any:
    """Nearly black."""
    return rescale(rescale(image, factor), factor)


@mistake("rescale-256", "division by 256", "rescale", "a shift by 8 bits")
def rescale_256(image: Any, *, factor: float) -> Any:
    """Return a little darker."""
    return rescale(image, 1 / 256)


@mistake("rescale-signed", "values scaled to -1..1", "rescale", "image / 127.5 - 1, as Keras in mode 'tf'")
def rescale_signed(image: Any, *, factor: float) -> Any:
    """``image / 127.5 - 1``."""
    return rescale(image, 2 * factor) - np.float32(1)


@mistake("normalize-missing", "no normalization", "normalize", "values from 0 to 1 passed on")
def no_normalization(image: Any, *, mean: Any, std: Any) -> Any:
    """Return the values as they are."""
    return image.copy()


@mistake("normalize-swapped", "mean and std swapped", "normalize", "two lists of three numbers by position")
def mean_and_std_swapped(image: Any, *, mean: Any, std: Any) -> Any:
    """``(image - std) / mean``."""
    return normalize(image, std, mean)


def is_not_half(step: Step) -> bool:
    """Tell whether mean or standard deviation is something else than 0.5."""
    values = np.concatenate([np.ravel(step.attributes["mean"]), np.ravel(step.attributes["std"])])
    return bool((values != HALF[0]).any())


@mistake(
    "normalize-half", "mean and std 0.5", "normalize", "the processor's class default (timm#1383)", applies=is_not_half
)
def half(image: Any, *, mean: Any, std: Any) -> Any:
    """``(image - 0.5) / 0.5``."""
    return normalize(image, 0.5, 0.5)


@mistake("normalize-variance", "divided by the squared std", "normalize", "BatchNorm in place of a normalization")
def divided_by_variance(image: Any, *, mean: Any, std: Any) -> Any:
    """``(image - mean) / std**2``."""
    return normalize(image, mean, [float(value) ** 2 for value in std])


@mistake("normalize-mean-only", "mean subtracted, not divided by std", "normalize", "Caffe's preprocessing")
def mean_only(image: Any, *, mean: Any, std: Any) -> Any:
    """``image - mean``."""
    return normalize(image, mean, 1.0)


@mistake("normalize-bgr", "BGR picture", "normalize", "cv2.imread")
def bgr(image: Any, *, mean: Any, std: Any) -> Any:
    """Red and blue exchanged."""
    return normalize(image[::-1], mean, std)


@mistake(
    "normalize-bgr-statistics", "mean and std in BGR order", "normalize", "statistics for cv2.imread on an RGB picture"
)
def bgr_statistics(image: Any, *, mean: Any, std: Any) -> Any:
    """Return the statistics of red and blue exchanged."""
    return normalize(image, list(mean)[::-1], list(std)[::-1])


@mistake(
    "normalize-folded",
    "normalization as one product and one sum",
    "normalize",
    "fewer passes over the picture",
    invisible="(x - mean) / std is x * (1 / std) + (-mean / std)",
)
def normalize_folded(image: Any, *, mean: Any, std: Any) -> Any:
    """``image * scale + shift``."""
    scale = 1.0 / np.asarray(std, image.dtype).reshape(-1, 1, 1)
    return image * scale - np.asarray(mean, image.dtype).reshape(-1, 1, 1) * scale
