"""What is done to a picture before a model sees it, one function a step.

A picture is an array of shape (C, H, W) here: uint8 from 0 to 255, or floating-point; sizes are in pixels. The steps
of ConvNeXt, ConvNeXt V2 and CvT, in order: :func:`resize_and_crop`, :func:`rescale` to 0..1, :func:`normalize`. Every
function gives the values of the one of the same purpose in ``transformers.image_transforms``, bit for bit, and leaves
its input as it was. Arguments of another shape or value are an `InputError`; a picture of more than ``MAX_PIXELS``
pixels, come in or to be made, is an `ImageError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from npconv.errors import ImageError, InputError
from npconv.images.decode import MAX_PIXELS, check_pixel_count
from npconv.images.passes import ORDERS, first_pass, resize_in_order
from npconv.messages import shown

#: From this shortest edge on, the ConvNeXt recipe warps the picture to a square instead of cropping it.
WARP_FROM = 384

#: Channel counts that Pillow resizes as one picture (modes LA, RGB and RGBA); others are resized one by one.
PILLOW_CHANNELS = (2, 3, 4)

#: Where the middle of a picture begins if an odd number of pixels is to be cut off: number -> pixels before it.
#: transformers rounds half a pixel down, timm and torchvision to the even number.
ROUNDINGS = {"floor": lambda pixels: pixels // 2, "half_even": lambda pixels: round(pixels / 2)}


def resize_and_crop(image: np.ndarray, shortest_edge: int, crop_pct: float, resample: int | str) -> np.ndarray:
    """Bring a picture to a square, the way the ConvNeXt models were evaluated.

    Below 384 pixels, the shorter edge becomes ``int(shortest_edge / crop_pct)``, then the middle is cropped: for 224
    and 0.875, resize to 256 and crop 224. From 384 on, the picture is warped to the square; `crop_pct` has no effect.
    With a `crop_pct` above 1, the crop is larger than the picture and gets black borders.

    Notes
    -----
    Source: ``ConvNextImageProcessorPil.resize`` of transformers.
    """
    if not (_is_number(crop_pct) and crop_pct > 0):
        raise InputError(f"expected a crop_pct above 0, such as 0.875, got {shown(crop_pct)}")
    if not (_is_number(shortest_edge) and shortest_edge >= 1):
        raise InputError(f"expected a shortest edge of at least 1 pixel, got {shown(shortest_edge)}")
    if shortest_edge >= WARP_FROM:
        return resize(image, (shortest_edge, shortest_edge), resample)
    size = scale_shortest_edge(image, shortest_edge / crop_pct)
    return center_crop(resize(image, size, resample), (shortest_edge, shortest_edge))


def scale_shortest_edge(image: np.ndarray, edge: float) -> tuple[int, int]:
    """Return the (height, width) at which the shorter edge is ``int(edge)``; the longer one is rounded down."""
    height, width = _check_image(image).shape[1:]
    if not (_is_number(edge) and edge >= 1):
        came = f"{edge:.3g}" if isinstance(edge, float) else shown(edge)
        raise InputError(f"expected a shortest edge of at least 1 pixel, got {came}; lower crop_pct or raise size")
    short = int(min(edge, MAX_PIXELS + 1))
    size = _shortest_edge((height, width), short)
    check_pixel_count(*size, f"a {height} x {width} picture resized to a shortest edge of {short}")
    return size


def size_for_crop(mode: str, shape: tuple[int, int], target: tuple[int, int], crop_pct: float) -> tuple[int, int]:
    """Return the (height, width) to which timm resizes a picture of some `shape` before it cuts out the `target`.

    Both edges of the target are first divided by `crop_pct` and rounded down. Then, by `mode`:

    - ``"squash"``: that is the size, whatever the aspect
    - ``"center"``: the aspect is kept, and the size just covers that one
    - ``"border"``: the aspect is kept, and the size just fits into that one

    Notes
    -----
    Source: ``transforms_imagenet_eval`` and ``ResizeKeepRatio`` of timm, ``Resize`` of torchvision. A square is covered
    by the rule of torchvision, which rounds the longer edge down; otherwise both edges are rounded to the nearest.
    """
    wide = [edge / crop_pct for edge in target]
    if not min(wide) >= 1:
        raise InputError(f"expected a size of at least 1 pixel, got {min(wide):.3g}; lower crop_pct or raise size")
    scaled = [int(min(edge, MAX_PIXELS + 1)) for edge in wide]
    size = (scaled[0], scaled[1])
    if mode == "center" and size[0] == size[1]:
        size = _shortest_edge(shape, size[0])
    elif mode != "squash":
        ratios = [edge / scale for edge, scale in zip(shape, scaled, strict=True)]
        ratio = max(ratios) if mode == "border" else min(ratios)
        size = (round(shape[0] / ratio), round(shape[1] / ratio))
    if not min(size):
        raise ImageError(
            f"a {shape[0]} x {shape[1]} picture within {scaled[0]} x {scaled[1]}: its shorter edge would vanish; "
            "use a picture that is less long"
        )
    check_pixel_count(*size, f"a {shape[0]} x {shape[1]} picture resized to {size[0]} x {size[1]}")
    return size


def resize(image: np.ndarray, size: tuple[int, int], resample: int | str, order: str | None = None) -> np.ndarray:
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
    order : str, optional
        Which axis is resized first, of ``npconv.images.passes.ORDERS``: ``"horizontal"`` (Pillow up to 12.1, ports),
        ``"vertical"``, or what ``"pillow12.2"`` or ``"pillow13"`` chooses. By default as the installed Pillow does.

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
    height, width = check_size(size)
    pixels, was_scaled = _as_uint8(_check_image(image))
    order = _check_passes(image.shape[1:], (height, width), order)
    if len(pixels) in PILLOW_CHANNELS:
        resized = _resize_with_pillow(pixels, (height, width), filter_, order)
    else:
        each = [_resize_with_pillow(channel[None], (height, width), filter_, order) for channel in pixels]
        resized = np.concatenate(each)
    return rescale(resized, 1 / 255) if was_scaled else resized


def resize_picture(
    picture: Image.Image, size: tuple[int, int], resample: int | str, order: str | None = None
) -> np.ndarray:
    """Resize a picture of Pillow's, of mode ``L`` or ``RGB``: :func:`resize` of its array, by fewer copies."""
    filter_ = resample_filter(resample)
    size = check_size(size)
    order = _check_passes((picture.height, picture.width), size, order)
    return _channels_first(resize_in_order(picture, size, filter_, order))


def resize_float(image: np.ndarray, size: tuple[int, int], resample: int | str, order: str | None = None) -> np.ndarray:
    """Resize a picture with Pillow, on float32 values of any range: :func:`resize` without rounding to 8 bits.

    The result is (C, height, width), float32.
    """
    filter_ = resample_filter(resample)
    size = check_size(size)
    order = _check_passes(_check_image(image).shape[1:], size, order)
    return np.concatenate([_resize_with_pillow(c[None], size, filter_, order) for c in image.astype(np.float32)])


def center_crop(
    image: np.ndarray, size: tuple[int, int], rounding: str = "floor", fill: float | Sequence[float] = 0
) -> np.ndarray:
    """Cut the middle, (height, width), out of a picture; a smaller picture sits in the middle of a border.

    Where there is no border, the result is a view of `image`.

    Parameters
    ----------
    image : ndarray (C, H, W)
    size : (int, int)
    rounding : str
        Where an odd pixel of difference goes. ``"floor"``, as in transformers: to the bottom or right of the crop, and
        to the top or left of the border. ``"half_even"``, as in timm and torchvision: half the difference is rounded to
        an even number of pixels before the crop, and the pixel goes to the bottom or right of the border.
    fill : float or sequence of float
        Value of the border, one for all channels or one for each.
    """
    height, width = check_size(size)
    check_pixel_count(height, width, "the crop")
    if not (isinstance(rounding, str) and rounding in ROUNDINGS):
        raise InputError(f"expected a rounding from {', '.join(ROUNDINGS)}, got {shown(rounding)}")
    rows, above = _middle(_check_image(image).shape[1], height, rounding)
    columns, left = _middle(image.shape[2], width, rounding)
    middle = image[:, rows, columns]
    if middle.shape[1:] == (height, width):
        return middle
    bordered = np.empty((len(image), height, width), image.dtype)
    bordered[...] = _per_channel(fill, image, "crop_fill")
    bordered[:, above : above + middle.shape[1], left : left + middle.shape[2]] = middle
    return bordered


def rescale(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the values of a picture by a factor: ``factor = 1 / 255`` brings uint8 to 0..1.

    The result is float32: the product is taken in float64 and rounded once.
    """
    if not isinstance(image, np.ndarray) or image.dtype.kind not in "buif":
        raise InputError(f"expected a picture as an array of numbers, got {_came(image)}")
    if not _is_number(factor):
        raise InputError(f"expected a number to multiply by, such as 1 / 255, got {shown(factor)}")
    rescaled = np.empty(image.shape, dtype=np.float32)
    return np.multiply(image, factor, out=rescaled, dtype=np.float64, casting="same_kind")


def normalize(image: np.ndarray, mean: float | Sequence[float], std: float | Sequence[float]) -> np.ndarray:
    """Return ``(image - mean) / std``, by one number for all channels or one for each.

    The result has the dtype of a floating-point `image`, else float32. No entry of `std` may be zero in it.
    """
    if _check_image(image).dtype.kind != "f":
        image = image.astype(np.float32)
    shift, scale = _per_channel(mean, image, "image_mean"), _per_channel(std, image, "image_std")
    if not scale.all():
        raise InputError(f"expected a std without zeros in {image.dtype}, got {scale.ravel().tolist()}")
    normalized = image - shift
    normalized /= scale  # in place: a large picture takes hundreds of megabytes each time
    return normalized


def resample_filter(resample: int | str) -> Image.Resampling:
    """Return the filter of Pillow for its number (3) or name ("bicubic")."""
    for filter_ in Image.Resampling:
        is_one = isinstance(resample, str | int | float | np.number) and not isinstance(resample, bool)
        if is_one and resample in (filter_.value, filter_.name, filter_.name.lower()):
            return filter_
    names = ", ".join(f"{filter_.value} {filter_.name.lower()}" for filter_ in sorted(Image.Resampling))
    raise InputError(f"expected a resampling filter, one of {names}, got {shown(resample)}")


def _shortest_edge(shape: tuple[int, int], short: int) -> tuple[int, int]:
    """Return the (height, width) with a shorter edge at which the aspect is kept; the longer one is rounded down."""
    long = int(short * max(shape) / min(shape))
    return (short, long) if shape[0] < shape[1] else (long, short)


def holds_fractions(image: np.ndarray) -> bool:
    """Tell whether a picture holds floats from 0 to 1 that are not all whole numbers."""
    return image.dtype.kind == "f" and bool(image.min() >= 0 and image.max() <= 1) and not _is_whole(image)


def _came(image: Any) -> str:
    """Return what a message says of something that came in place of an array."""
    return f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__


def _is_number(value: Any) -> bool:
    """Tell whether a value is one real number."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _as_uint8(image: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the picture as uint8, and whether it was multiplied by 255 for that."""
    lowest, highest = image.min(), image.max()
    if not (lowest >= 0 and highest <= 255):  # NaN fails this too
        raise InputError(
            f"expected values from 0 to 255, or floats from 0 to 1, got {lowest} to {highest}; "
            "scale the picture first, or set do_resize=False"
        )
    if _is_whole(image):
        return image.astype(np.uint8, copy=False), False
    if highest > 1:
        raise InputError(
            f"expected whole numbers from 0 to 255 or floats from 0 to 1, got fractions up to {highest}; "
            "round the picture, or divide it by 255"
        )
    return rescale(image, 255).astype(np.uint8), True


def _is_whole(image: np.ndarray) -> bool:
    """Tell whether the values are whole numbers, within the tolerance of `numpy.allclose`."""
    return image.dtype.kind != "f" or np.allclose(image, image.astype(np.int64))


def _resize_with_pillow(
    pixels: np.ndarray, size: tuple[int, int], filter_: Image.Resampling, order: str | None
) -> np.ndarray:
    """Resize a uint8 picture of 1 to 4 channels, or a float32 one of 1 channel."""
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))
    return _channels_first(resize_in_order(picture, size, filter_, order))


def _channels_first(picture: Image.Image) -> np.ndarray:
    """Return a picture of Pillow's as (C, H, W)."""
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def _check_passes(shape: tuple[int, ...], size: tuple[int, int], order: str | None) -> str | None:
    """Return `order` if it is one, and neither pass of resizing makes too large a picture."""
    if order is not None and not (isinstance(order, str) and order in ORDERS):
        raise InputError(f"expected an order of the passes from {', '.join(ORDERS)}, got {shown(order)}")
    (height, width), (old_height, old_width) = size, shape
    check_pixel_count(height, width, "the resized picture")
    check_pixel_count(old_height, width, "the picture at its new width")
    if first_pass(order, (old_height, old_width), size) == "vertical":
        check_pixel_count(height, old_width, "the picture at its new height")
    return order


def _middle(length: int, target: int, rounding: str) -> tuple[slice, int]:
    """Return the part of an axis that a central crop keeps, and how many pixels of border come before it."""
    if target <= length:
        offset = ROUNDINGS[rounding](length - target)
        return slice(offset, offset + target), 0
    border = target - length
    return slice(0, length), border // 2 if rounding == "half_even" else border - border // 2


def _per_channel(values: float | Sequence[float], image: np.ndarray, name: str) -> np.ndarray:
    """Return `values` in a shape that broadcasts against (C, H, W), in the dtype of `image`."""
    try:
        column = np.asarray(values, dtype=image.dtype).reshape(-1, 1, 1)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"expected a {name} of one number, or one for each channel, got {shown(values)}") from error
    if np.ndim(values) and len(column) != len(image):
        raise InputError(
            f"expected a {name.partition('_')[2]} of {len(image)} entries for a picture of {len(image)} channels, "
            f"got {len(column)}; pass {name} with one entry a channel, or convert the picture"
        )
    return column


def _check_image(image: np.ndarray) -> np.ndarray:
    """Return `image` if it is a (C, H, W) array of numbers with at least one pixel."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.size == 0 or image.dtype.kind not in "buif":
        raise InputError(f"expected a picture as an array of numbers of shape (C, H, W), none zero, got {_came(image)}")
    return image


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return `size` if it is a pair of positive whole numbers."""
    edges = list(size) if isinstance(size, list | tuple) or (isinstance(size, np.ndarray) and size.ndim) else []
    if len(edges) != 2 or not all(isinstance(edge, int | np.integer) and edge >= 1 for edge in edges):
        raise InputError(f"expected (height, width) in pixels, both at least 1, got {shown(size)}")
    return int(edges[0]), int(edges[1])
