"""In which order a picture's rows and columns are resized: Pillow's versions differ in it, and so in their pixels.

Pillow resizes in two passes, one an axis, and rounds to 8 bits after each. Up to 12.1 it begins with the
horizontal one. 12.2 begins with the vertical one where a picture is more than 100 times as high as wide, 13 where the
height shrinks by more than twice what the width does. One pass at a time is the same in all versions, so that any can
give the pixels of any other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

#: Pillow takes the colours times their alpha while it resizes: mode -> that to do it in.
PREMULTIPLIED = {"LA": "La", "RGBA": "RGBa"}

#: Order -> whether the vertical pass comes first for a picture of some height and width that gets a new height and
#: width. ``"horizontal"`` is that of Pillow up to 12.1 as well.
ORDERS: dict[str, Callable[[int, int, int, int], bool]] = {
    "horizontal": lambda *_: False,
    "vertical": lambda *_: True,
    "pillow12.2": lambda height, width, new_height, new_width: height > 100 * width and height > new_height,
    "pillow13": lambda height, width, new_height, new_width: height - new_height > 2 * max(width - new_width, 0),
}

#: Height, width, new height and new width of pictures by which the versions are told apart.
PROBES = ((9, 6, 5, 4), (10, 6, 5, 4), (8, 40, 3, 8), (40, 8, 8, 3), (9, 5, 12, 9), (202, 2, 9, 1), (5, 9, 3, 20))


@cache
def installed_order() -> str | None:
    """Return which of `ORDERS` is that of the installed Pillow; None if it is none of them."""
    return next(
        (name for name in ("pillow13", "pillow12.2", "horizontal") if all(_fits(name, *probe) for probe in PROBES)),
        None,
    )


def first_pass(order: str | None, shape: tuple[int, int], new: tuple[int, int]) -> str | None:
    """Return ``"horizontal"`` or ``"vertical"``: the pass with which an order begins to make (height, width) a new one.

    Without an order it is the installed Pillow's, and None if that is not known.
    """
    order = order or installed_order()
    return order and ("vertical" if ORDERS[order](*shape, *new) else "horizontal")


def resize_in_order(
    picture: Image.Image, size: tuple[int, int], filter_: Image.Resampling, order: str | None
) -> Image.Image:
    """Resize a picture to a height and width, in an order of `ORDERS`; None leaves it to Pillow."""
    height, width = size
    shape = (picture.height, picture.width)
    first = first_pass(order, shape, size)
    if order is None or first == first_pass(None, shape, size):
        return picture.resize((width, height), filter_)
    return _two_passes(picture, size, filter_, first == "vertical")


def _two_passes(
    picture: Image.Image, size: tuple[int, int], filter_: Image.Resampling, is_vertical_first: bool
) -> Image.Image:
    """Resize one axis after the other."""
    height, width = size
    between = (picture.width, height) if is_vertical_first else (width, picture.height)
    inner = picture.mode
    if filter_ != Image.Resampling.NEAREST and (picture.height, picture.width) != size:
        inner = PREMULTIPLIED.get(picture.mode, picture.mode)
    passed = (picture if inner == picture.mode else picture.convert(inner)).resize(between, filter_)
    resized = passed.resize((width, height), filter_)
    return resized if inner == picture.mode else resized.convert(picture.mode)


def _fits(order: str, height: int, width: int, new_height: int, new_width: int) -> bool:
    """Tell whether Pillow resizes a picture of noise in an order."""
    values = np.arange(height * width, dtype=np.uint32) * 2654435761 >> 24
    picture = Image.fromarray(values.astype(np.uint8).reshape(height, width))
    size, filter_ = (new_height, new_width), Image.Resampling.BICUBIC
    is_vertical_first = ORDERS[order](height, width, *size)
    ours = _two_passes(picture, size, filter_, is_vertical_first)
    return picture.resize((new_width, new_height), filter_).tobytes() == ours.tobytes()
