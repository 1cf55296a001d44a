"""Mistakes in what is done to a picture before the model sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.mistakes.catalogue import Edit, edit, input_of, leave_out, mistake, of_input, replaced, swap, twice
from npconv.images.transforms import center_crop, rescale, resize

#: Pillow's filters; its box averages as cv2.INTER_AREA does.
NEAREST, BILINEAR, BICUBIC, BOX = 0, 2, 3, 4

resized, cropped, rescaled, normalized = (
    partial(mistake, operation) for operation in ("resize", "center_crop", "rescale", "normalize")
)

resized("resize-bilinear", "bilinear resizing", "the class default until December 2025 (transformers#42934)")(
    edit(resample=BILINEAR)
)
resized("resize-bicubic", "bicubic resizing", "the class default since December 2025 (transformers#42934)")(
    edit(resample=BICUBIC)
)
resized("resize-nearest", "nearest-neighbour resizing", "Pillow's filter 0")(edit(resample=NEAREST))
resized("resize-box", "resizing by plain averages", "area interpolation")(edit(resample=BOX))


def passes(first: str) -> Edit:
    """Resize another axis first; a step that does not say its order is Pillow's as it is installed here."""
    return replace(edit(order=first), applies=lambda step: step.attributes.get("order") != first)


resized(
    "resize-horizontal-first",
    "another version of Pillow or a port: the horizontal pass of resizing comes first, as in Pillow up to 12",
    "Pillow up to 12, torchvision on tensors",
)(passes("horizontal"))
resized(
    "resize-vertical-first",
    "another version of Pillow: the vertical pass of resizing comes first, as in Pillow 13 for many tall pictures",
    "Pillow from 13 on",
)(passes("vertical"))


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


@resized(
    "resize-no-antialias",
    "resizing without antialiasing",
    "cv2.resize, torch.nn.functional.interpolate, tf.image.resize",
    applies=lambda step: step.attributes["resample"] in (BILINEAR, BICUBIC),
)
def no_antialias(image: Any, *, height: int, width: int, resample: int, order: Any = None) -> Any:
    """Interpolate between the nearest pixels alone, whatever a new pixel covers."""
    weigh = cubic if resample == BICUBIC else triangle
    rows, columns = (interpolation(*sizes, weigh) for sizes in zip(image.shape[1:], (height, width), strict=True))
    return np.clip(np.round(rows @ image.astype(np.float64) @ columns.T), 0, 255).astype(np.uint8)


resized("resize-transposed", "height and width swapped in resizing", "Pillow takes (width, height)")(
    swap("height", "width")
)


@cropped("crop-rounded-up", "crop offset rounded up", "-(-(h - crop) // 2)")
def crop_rounded_up(image: Any, *, height: int, width: int, rounding: Any = None, fill: Any = None) -> Any:
    """Begin one pixel further where the border is odd."""
    top, left = (-(-(size - target) // 2) for size, target in zip(image.shape[1:], (height, width), strict=True))
    return image[:, top : top + height, left : left + width]


@cropped(
    "crop-half-even",
    "half a pixel before the crop rounded to even",
    "round((h - crop) / 2), as torchvision and timm",
    applies=lambda step: step.attributes.get("rounding", "floor") == "floor",
)
def crop_half_even(image: Any, *, height: int, width: int, fill: Any = 0, rounding: Any = None) -> Any:
    """Begin where torchvision does."""
    return center_crop(image, (height, width), "half_even", fill)


cropped("crop-floor", "half a pixel before the crop rounded down", "(h - crop) // 2, as transformers")(
    edit(rounding="floor")
)
cropped("crop-corner", "crop from the corner", "a slice")(
    lambda image, height, width, **others: image[:, :height, :width]
)


@cropped(
    "crop-before-resize",
    "crop before the resizing",
    "a square cropped and resized (transformers#28180, timm#1383)",
    rewire=input_of("resize", attributes=("resample",)),
)
def crop_before_resize(image: Any, *, height: int, width: int, resample: int = BICUBIC, **others: Any) -> Any:
    """Cut out the largest square of the picture and resize it to the crop."""
    edge = min(image.shape[1:])
    return resize(center_crop(image, (edge, edge)), (height, width), resample)


rescaled("rescale-missing", "no division by 255", "values from 0 to 255 normalized")(
    replaced(lambda image: image.astype(np.float32))
)
rescaled("rescale-twice", "division by 255 taken twice", "a library that reads pictures as 0..1 already")(twice())
rescaled("rescale-256", "division by 256", "a shift by 8 bits")(edit(factor=1 / 256))


rescaled("rescale-signed", "values scaled to -1..1", "image / 127.5 - 1, as Keras in mode 'tf'")(
    lambda image, factor: rescale(image, 2 * factor) - np.float32(1)
)

normalized("normalize-missing", "no normalization", "values from 0 to 1 passed on")(leave_out())
normalized("normalize-swapped", "mean and std swapped", "two lists of three numbers by position")(swap("mean", "std"))
normalized("normalize-half", "mean and std 0.5", "the processor's class default (timm#1383)")(edit(mean=0.5, std=0.5))
normalized("normalize-variance", "divided by the squared std", "BatchNorm in place of a normalization")(
    edit(std=lambda std: [float(value) ** 2 for value in std])
)
normalized("normalize-mean-only", "mean subtracted, not divided by std", "Caffe's preprocessing")(edit(std=1.0))
normalized("normalize-bgr", "BGR picture", "cv2.imread")(of_input(lambda image: image[::-1]))
normalized("normalize-bgr-statistics", "mean and std in BGR order", "statistics for cv2.imread on an RGB picture")(
    edit(mean=lambda mean: mean[::-1], std=lambda std: std[::-1])
)


@normalized(
    "normalize-folded",
    "normalization as one product and one sum",
    "fewer passes over the picture",
    invisible="(x - mean) / std is x * (1 / std) + (-mean / std)",
)
def normalize_folded(image: Any, *, mean: Any, std: Any) -> Any:
    """``image * scale + shift``."""
    scale = 1.0 / np.asarray(std, image.dtype).reshape(-1, 1, 1)
    return image * scale - np.asarray(mean, image.dtype).reshape(-1, 1, 1) * scale
