"""What is done to a picture before a model sees it, one function a step.

A picture is an array of shape (C, H, W) here: uint8 from 0 to 255, or floating-point; sizes are in pixels. The steps
of ConvNeXt, ConvNeXt V2 and CvT, in order: :func:`resize_and_crop`, :func:`rescale` to 0..1, :func:`normalize`. Every
function gives the values of the one of the same purpose in ``transformers.image_transforms``, bit for bit, and leaves
its input as it was. Arguments of another shape or value are an `InputError`; a picture of more than ``MAX_PIXELS``
pixels, come in or to be made, is an `ImageError`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from npconv.errors import InputError
from npconv.images.decode import MAX_PIXELS, check_pixel_count

#: From this shortest edge on, the ConvNeXt recipe warps the picture to a square instead of cropping it.
WARP_FROM = 384

#: Channel counts that Pillow resizes as one picture (modes L, LA, RGB and RGBA).
PILLOW_CHANNELS = (1, 2, 3, 4)


def resize_and_crop(image: np.ndarray, shortest_edge: int, crop_pct: float, resample: int | str) -> np.ndarray:
    """Bring a picture to a square, the way the ConvNeXt models were evaluated.

    Below 384 pixels, the shorter edge becomes ``int(shortest_edge / crop_pct)``, then the middle is cropped: for 224
    and 0.875, resize to 256 and crop 224. From 384 on, the picture is warped to the square; `crop_pct` has no effect.
    With a `crop_pct` above 1, the crop is larger than the picture and gets black borders.

    Notes
    -----
    Source: ``ConvNextImageProcessorPil.resize`` of transformers.
    """
    if not crop_pct > 0:
        raise InputError(f"expected a crop_pct above 0, such as 0.875, got {crop_pct!r}")
    if shortest_edge >= WARP_FROM:
        return resize(image, (shortest_edge, shortest_edge), resample)
    size = scale_shortest_edge(image, shortest_edge / crop_pct)
    return center_crop(resize(image, size, resample), (shortest_edge, shortest_edge))


def scale_shortest_edge(image: np.ndarray, edge: float) -> tuple[int, int]:
    """Return the (height, width) at which the shorter edge is ``int(edge)``; the longer one is rounded down."""
    height, width = _check_image(image).shape[1:]
    if not edge >= 1:
        raise InputError(f"expected a shortest edge of at least 1 pixel, got {edge:.3g}; lower crop_pct or raise size")
    short = int(min(edge, MAX_PIXELS + 1))
    long = int(short * max(height, width) / min(height, width))
    check_pixel_count(short, long, f"a {height} x {width} picture resized to a shortest edge of {short}")
    return (short, long) if height < width else (long, short)


def resize(image: np.ndarray, size: tuple[int, int], resample: int | str) -> np.ndarray:
    """Resize a picture with Pillow, on 8-bit values.

    Parameters
    ----------
    image : ndarray (C, H, W)
        uint8, or any dtype with whole numbers from 0 to 255, or floats from 0 to 1. Floats from 0 to 1 are multiplied
        by 255 and cut to uint8 for the resizing, and divided by 255 after it. Trap: a float picture whose values are
        all exactly 0 or 1 counts as whole numbers, and stays 0 or 1 out of 255.
    size : (int, int)
        New height and width.
    resample : int or str
        Filter, by its number in Pillow or its name: 0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box, 5 hamming,
        and more in newer versions. When shrinking, all but the first average over the pixels that a new pixel covers
        (antialiasing).

    Returns
    -------
    ndarray (C, height, width)
        uint8, or float32 if floats from 0 to 1 came in.

    Notes
    -----
    Pillow takes 2 and 4 channels as grey and colour with alpha and weights each pixel with its last channel, and so
    does transformers. 5 and more channels, which neither takes, are resized one by one.
    """
    filter_ = resample_filter(resample)
    height, width = _check_size(size)
    pixels, was_scaled = _as_uint8(_check_image(image))
    check_pixel_count(height, width, "the resized picture")
    check_pixel_count(image.shape[1], width, "the picture at its new width")
    if len(pixels) in PILLOW_CHANNELS:
        resized = _resize_with_pillow(pixels, height, width, filter_)
    else:
        resized = np.concatenate([_resize_with_pillow(channel[None], height, width, filter_) for channel in pixels])
    return rescale(resized, 1 / 255) if was_scaled else resized


def resize_float(image: np.ndarray, size: tuple[int, int], resample: int | str) -> np.ndarray:
    """Resize a picture with Pillow, on float32 values of any range: :func:`resize` without rounding to 8 bits.

    The result is (C, height, width), float32.
    """
    filter_ = resample_filter(resample)
    height, width = _check_size(size)
    check_pixel_count(height, width, "the resized picture")
    check_pixel_count(_check_image(image).shape[1], width, "the picture at its new width")
    return np.concatenate([_resize_with_pillow(c[None], height, width, filter_) for c in image.astype(np.float32)])


def center_crop(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut the middle, (height, width), out of a picture; a smaller picture sits in the middle of a zero border.

    An odd pixel of difference goes to the bottom or right of the crop, and to the top or left of the border. Where
    there is no border, the result is a view of `image`.
    """
    height, width = _check_size(size)
    check_pixel_count(height, width, "the crop")
    rows, row_border = _middle(_check_image(image).shape[1], height)
    columns, column_border = _middle(image.shape[2], width)
    middle = image[:, rows, columns]
    if row_border == column_border == (0, 0):
        return middle
    return np.pad(middle, ((0, 0), row_border, column_border))


def rescale(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the values of a picture by a factor: ``factor = 1 / 255`` brings uint8 to 0..1.

    The result is float32: the product is taken in float64 and rounded once.
    """
    rescaled = np.empty(image.shape, dtype=np.float32)
    return np.multiply(image, factor, out=rescaled, dtype=np.float64, casting="same_kind")


def normalize(image: np.ndarray, mean: float | Sequence[float], std: float | Sequence[float]) -> np.ndarray:
    """Return ``(image - mean) / std``, by one number for all channels or one for each.

    The result has the dtype of a floating-point `image`, else float32. No entry of `std` may be zero in it.
    """
    if _check_image(image).dtype.kind != "f":
        image = image.astype(np.float32)
    shift, scale = _per_channel(mean, image, "mean"), _per_channel(std, image, "std")
    if not scale.all():
        raise InputError(f"expected a std without zeros in {image.dtype}, got {scale.ravel().tolist()}")
    return (image - shift) / scale


def resample_filter(resample: int | str) -> Image.Resampling:
    """Return the filter of Pillow for its number (3) or name ("bicubic")."""
    for filter_ in Image.Resampling:
        if not isinstance(resample, bool) and resample in (filter_.value, filter_.name, filter_.name.lower()):
            return filter_
    names = ", ".join(f"{filter_.value} {filter_.name.lower()}" for filter_ in sorted(Image.Resampling))
    raise InputError(f"expected a resampling filter, one of {names}, got {resample!r}")


def holds_fractions(image: np.ndarray) -> bool:
    """Tell whether a picture holds floats from 0 to 1 that are not all whole numbers."""
    return image.dtype.kind == "f" and bool(image.min() >= 0 and image.max() <= 1) and not _is_whole(image)


def _as_uint8(image: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the picture as uint8, and whether it was multiplied by 255 for that."""
    lowest, highest = image.min(), image.max()
    if not (lowest >= 0 and highest <= 255):  # NaN fails this too
        raise InputError(
            f"expected values from 0 to 255, or floats from 0 to 1, got {lowest} to {highest}; "
            "scale the picture first, or set do_resize=False"
        )
    if _is_whole(image):
        return image.astype(np.uint8), False
    if highest > 1:
        raise InputError(
            f"expected whole numbers from 0 to 255 or floats from 0 to 1, got fractions up to {highest}; "
            "round the picture, or divide it by 255"
        )
    return rescale(image, 255).astype(np.uint8), True


def _is_whole(image: np.ndarray) -> bool:
    """Tell whether the values are whole numbers, within the tolerance of `numpy.allclose`."""
    return image.dtype.kind != "f" or np.allclose(image, image.astype(np.int64))


def _resize_with_pillow(pixels: np.ndarray, height: int, width: int, filter_: Image.Resampling) -> np.ndarray:
    """Resize a uint8 picture of 1 to 4 channels."""
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))
    resized = np.asarray(picture.resize((width, height), filter_))
    return resized[None] if len(pixels) == 1 else np.moveaxis(resized, -1, 0)


def _middle(length: int, target: int) -> tuple[slice, tuple[int, int]]:
    """Return the part of an axis that a central crop keeps, and the zeros before and after it."""
    offset = (length - target) // 2
    if target <= length:
        return slice(offset, offset + target), (0, 0)
    return slice(0, length), (-offset, target - length + offset)


def _per_channel(values: float | Sequence[float], image: np.ndarray, name: str) -> np.ndarray:
    """Return `values` in a shape that broadcasts against (C, H, W), in the dtype of `image`."""
    column = np.asarray(values, dtype=image.dtype).reshape(-1, 1, 1)
    if np.ndim(values) and len(column) != len(image):
        raise InputError(
            f"expected a {name} of {len(image)} entries for a picture of {len(image)} channels, got {len(column)}; "
            f"pass image_{name} with one entry a channel, or convert the picture"
        )
    return column


def _check_image(image: np.ndarray) -> np.ndarray:
    """Return `image` if it is a (C, H, W) array of numbers with at least one pixel."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.size == 0 or image.dtype.kind not in "buif":
        came = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"expected a picture as an array of numbers of shape (C, H, W), none zero, got {came}")
    return image


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return `size` if it is a pair of positive whole numbers."""
    if len(size) != 2 or not all(isinstance(edge, int | np.integer) and edge >= 1 for edge in size):
        raise InputError(f"expected (height, width) in pixels, both at least 1, got {size!r}")
    return int(size[0]), int(size[1])
