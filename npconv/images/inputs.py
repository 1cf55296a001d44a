"""From whatever a caller hands over to one array of shape (C, H, W) for each picture.

Accepted are PIL pictures, paths and file contents (decoded, and turned upright by their EXIF block), NumPy arrays of
shape (H, W), (H, W, C) or (C, H, W), batches of them with one axis more, tensors of other libraries in the place of
arrays, and lists or tuples of all these.

How many channels the array gets: PIL pictures become RGB where ``image_mean`` has three entries and grey where it has
one, whatever their mode. Arrays are taken as they are, except that grey and RGBA become RGB where ``image_mean`` has
three entries and is to be subtracted, which could not work otherwise. ``do_convert_rgb=True`` makes RGB of both in any
case, ``False`` of neither. All this is where transformers fails or would give a palette's numbers; where it gives
values that mean something, they are the same here.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from npconv.backend import is_array, to_host
from npconv.errors import InputError, NpconvWarning
from npconv.images.decode import STRIP, check_readable, convert_to_rgb, open_image, picture_name, strips
from npconv.images.header import check_price
from npconv.images.pillow import strict_pillow
from npconv.images.settings import Settings, enum_value, word_among
from npconv.messages import shown
from npconv.tensors import as_array

FIRST, LAST, NONE = "channels_first", "channels_last", "none"

#: Channel counts by which the channel axis of an array is recognised.
USUAL_CHANNELS = (1, 3, 4)

#: Modes whose values are 8-bit intensities, so that they can be used as they are.
INTENSITY_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr")


def each_picture(images: Any) -> Iterator[Any]:
    """Yield the single pictures of a picture, a batch, a list of these or a list of such lists; tensors as arrays."""
    for item in images if isinstance(images, list | tuple) else (images,):
        for given in item if isinstance(item, list | tuple) else (item,):
            picture = as_array(given) if hasattr(given, "shape") else given
            picture = to_host(picture) if is_array(picture) else picture
            if isinstance(picture, np.ndarray) and picture.ndim == 4:
                yield from picture
            else:
                yield picture


def check_data_format(data_format: Any) -> None:
    """Raise `InputError` unless a value says how results are laid out, or is None."""
    if not word_among(enum_value(data_format), FIRST, LAST):
        came = shown(enum_value(data_format))
        raise InputError(f"expected data_format 'channels_first' or 'channels_last', got {came}")


def picture_to_array(
    picture: Any, settings: Settings, input_data_format: Any = None, max_memory: int | None = None
) -> tuple[np.ndarray, str]:
    """Return a picture as (C, H, W), of the dtype that it had or uint8, and the layout in which it came.

    A picture of :func:`take_picture` as an array; the arguments and errors are those.
    """
    taken, layout = take_picture(picture, settings, input_data_format, max_memory)
    return (pixels_of(taken) if isinstance(taken, Image.Image) else taken), layout


def take_picture(
    picture: Any, settings: Settings, input_data_format: Any = None, max_memory: int | None = None
) -> tuple[np.ndarray | Image.Image, str]:
    """Return a picture of Pillow's, loaded, or an array (C, H, W), and the layout in which it came.

    ``image_mean``, ``do_normalize`` and ``do_convert_rgb`` of the settings decide on the channels, see the top of this
    module. The layout is ``"channels_first"`` or ``"channels_last"``; `input_data_format` says that of an array, or
    ``"none"`` where it has no channel axis. If unset, the axis of length 1, 3 or 4 holds the channels: the first one
    before the last one. If there is none, or only one of the two has the length of ``image_mean``, that length decides.
    `max_memory` is that of ``open_image``.

    Raises
    ------
    ImageError
        If the picture cannot be decoded.
    InputError
        If it is no picture, or its channel axis cannot be told.
    """
    if isinstance(picture, str | os.PathLike | bytes):
        picture = open_image(picture, max_memory=max_memory)
    if isinstance(picture, Image.Image):
        return _with_channels(picture, settings, max_memory), LAST
    if not isinstance(picture, np.ndarray):
        raise InputError(
            f"expected a PIL picture, a path or a NumPy array, got {type(picture).__name__}; convert with numpy.asarray"
        )
    _check_values(picture)
    must_fit_mean = settings.do_normalize and not settings.do_convert_rgb
    channels = settings.channels if must_fit_mean else None
    layout = _layout(picture, channels, input_data_format)
    if picture.ndim == 2:
        picture = picture[None]
    elif layout == LAST:
        picture = np.moveaxis(picture, -1, 0)
    to_rgb = channels == 3 if settings.do_convert_rgb is None else settings.do_convert_rgb
    return (_array_to_rgb(picture) if to_rgb else picture), layout


def _with_channels(picture: Image.Image, settings: Settings, max_memory: int | None) -> Image.Image:
    """Return a PIL picture, loaded, with the channels that the settings ask for."""
    to_rgb, to_grey = bool(settings.do_convert_rgb), False
    if settings.do_convert_rgb is None:
        to_grey = settings.channels == 1 and picture.mode != "L"
        to_rgb = picture.mode not in INTENSITY_MODES or (settings.channels == 3 and picture.mode != "RGB")
    name = picture_name(picture)
    with strict_pillow(name):
        check_price(picture, name, max_memory)
        if to_rgb or to_grey:
            picture = convert_to_rgb(picture, name)
        else:
            check_readable(picture, name)
            picture.load()
        return picture.convert("L") if to_grey else picture


def pixels_of(picture: Image.Image) -> np.ndarray:
    """Return a PIL picture, which is loaded, as (C, H, W), uint8 or the numbers of its mode."""
    with strict_pillow(picture_name(picture)):
        pixels = _in_rows(picture)
    _check_values(pixels)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def _in_rows(picture: Image.Image) -> np.ndarray:
    """Return a picture as (H, W) or (H, W, C); NumPy would ask Pillow for three copies at a time."""
    if picture.width * picture.height <= STRIP:
        return np.asarray(picture)
    bands = len(picture.getbands())
    pixels = np.empty((picture.height, picture.width) + ((bands,) if bands > 1 else ()), np.uint8)
    for box in strips(*picture.size):
        pixels[box[1] : box[3]] = np.asarray(picture.crop(box))
    return pixels


def _check_values(pixels: np.ndarray) -> None:
    """Raise `InputError` unless an array is a picture of finite numbers."""
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise InputError(f"expected an array of (H, W), (H, W, C) or (C, H, W), none of them 0, got {pixels.shape}")
    if pixels.dtype.kind not in "buif":
        raise InputError(f"expected an array of whole or floating-point numbers, got {pixels.dtype}")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise InputError("expected finite values, got NaN or infinity; replace them, as with numpy.nan_to_num")


def _layout(image: np.ndarray, channels: int | None, input_data_format: Any) -> str:
    """Return which axis of an array holds the channels; without such an axis, the answer is the first."""
    given = enum_value(input_data_format)
    if not word_among(given, FIRST, LAST, NONE) or (given == NONE and image.ndim == 3):
        raise InputError(
            f"expected input_data_format 'channels_first', 'channels_last' or, for (H, W), 'none', got {shown(given)} "
            f"for an array of shape {image.shape}"
        )
    if image.ndim == 2:
        return FIRST
    if given is not None:
        return given
    ends = (image.shape[0], image.shape[-1])
    if ends.count(channels) == 1:
        return FIRST if ends[0] == channels else LAST
    usual = [end in USUAL_CHANNELS for end in ends]
    if ends[0] == channels or all(usual):
        warnings.warn(
            f"both ends of the shape {image.shape} could be the channels: taking the first; set input_data_format",
            NpconvWarning,
            stacklevel=2,
        )
        return FIRST
    if not any(usual):
        raise InputError(
            f"expected 1, 3 or 4 channels on the first or last axis, got the shape {image.shape}; "
            "set input_data_format, or image_mean with one entry a channel"
        )
    return FIRST if usual[0] else LAST


def _array_to_rgb(image: np.ndarray) -> np.ndarray:
    """Return a grey (C = 1) or RGBA (C = 4, laid over white) picture as RGB; other channel counts pass unchanged."""
    if len(image) == 1:
        return np.repeat(image, 3, axis=0)
    if len(image) != 4:
        return image
    if image.dtype.kind == "f" and not (image.min() >= 0 and image.max() <= 1):
        raise InputError(
            f"expected RGBA floats from 0 to 1, got {image.min()} to {image.max()}; divide by 255, or drop the alpha"
        )
    is_whole = image.dtype.kind in "iu"
    white = 255 if is_whole else 1.0
    alpha = image[3:] / white
    opaque = alpha * image[:3] + (1 - alpha) * white
    return (np.round(opaque) if is_whole else opaque).astype(image.dtype)
