"""Numbers laid over a photo as colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from npconv.backend import to_host
from npconv.errors import ShapeError
from npconv.images import ConvNextImageProcessor
from npconv.pictures.colours import sequential
from npconv.pictures.maps import coloured, one_picture
from npconv.pictures.picture import Picture

#: How much of the photo shows through.
PHOTO_SHARE = 0.4

#: Steps of the colours that a page lays over a photo itself.
HEAT_LEVELS = 48


def overlay(photo: Picture, values: Any, *, smooth: bool = True) -> Picture:
    """Lay numbers over a photo: dark where they are 0 or below, yellow where they are highest.

    Parameters
    ----------
    photo : Picture
        As :func:`photo_of` gives it.
    values : array (H', W') or (1, H', W')
        Of NumPy or CuPy; those of a smaller map are stretched to the photo's size.
    smooth : bool
        Let them run into each other; else each keeps its square.

    Raises
    ------
    ShapeError
        If the numbers are no map.
    """
    array = to_host(values)
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.ndim != 2 or not array.size:
        raise ShapeError(f"expected numbers (H, W) or (1, H, W) to lay over a photo, got {array.shape}; choose one map")
    colours = sequential(stretched(array, photo.pixels.shape[:2], smooth=smooth))
    mixed = PHOTO_SHARE * photo.pixels + (1 - PHOTO_SHARE) * colours
    return Picture(np.rint(mixed).astype(np.uint8))


def heat(values: np.ndarray, size: tuple[int, ...]) -> Picture:
    """Return the colours alone that :func:`overlay` lays over a photo of a size, in fewer steps."""
    return Picture(coloured(stretched(values, size), 1.0, signed=False, levels=HEAT_LEVELS))


def stretched(values: np.ndarray, size: tuple[int, ...], *, smooth: bool = True) -> np.ndarray:
    """Return numbers (H', W') from 0 to 1 (negative ones as 0), stretched to a size."""
    values = np.maximum(np.asarray(values, np.float64), 0.0)
    shares = values / (values.max() or 1.0)
    height, width = size
    how = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    resized = Image.fromarray(shares.astype(np.float32)).resize((width, height), how)
    return np.clip(np.asarray(resized), 0.0, 1.0)


def photo_of(pixel_values: Any, processor: ConvNextImageProcessor) -> Picture:
    """Return the photo that pixel values were made of, as the model sees it.

    Parameters
    ----------
    pixel_values : array (1, C, H, W)
        Of NumPy or CuPy. Of three channels the colours, else the first as grey.
    processor : ConvNextImageProcessor
        That made them.

    Raises
    ------
    ShapeError
        If they are not of one picture.
    """
    pixel_values = one_picture(pixel_values)
    channels = pixel_values.shape[1]
    mean, std = mean_and_std(processor, channels)
    pixels = pixel_values[0] * std + mean
    pixels = pixels if processor.do_rescale else pixels / 255
    levels = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    shown = levels if channels == 3 else np.repeat(levels[:1], 3, axis=0)
    return Picture(np.ascontiguousarray(np.moveaxis(shown, 0, -1)))


def mean_and_std(processor: ConvNextImageProcessor, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what a processor takes off each channel and divides it by, both (C, 1, 1); 0 and 1 if it does not."""
    found = (processor.image_mean, processor.image_std) if processor.do_normalize else ([0.0], [1.0])
    mean, std = (np.broadcast_to(np.ravel(given).astype(np.float64), channels).reshape(-1, 1, 1) for given in found)
    return mean, std
