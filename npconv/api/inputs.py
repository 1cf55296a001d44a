"""What a pipeline may be given: one picture of many kinds, or what yields pictures; and how many at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from npconv.backend import is_array
from npconv.errors import InputError
from npconv.images import open_image
from npconv.messages import shown
from npconv.tensors import library_of


def each(pictures: Any) -> Iterable[Any]:
    """Return what yields each picture of a data set: one that iterates, or that only counts and gives them."""
    if isinstance(pictures, Iterable) and not isinstance(pictures, Mapping):
        return pictures
    if isinstance(pictures, Mapping) or not hasattr(pictures, "__getitem__"):
        raise InputError(f"expected a picture or an iterable of pictures, got {type(pictures).__name__}")
    if hasattr(pictures, "__len__"):
        return (pictures[place] for place in range(len(pictures)))
    return iter(pictures)


def sendable(image: Any, max_memory: int | None = None) -> Any:
    """Return a picture as it can be sent to a worker: of an open file its content, of a Pillow image its pixels."""
    is_path_or_array = isinstance(image, str | bytes | os.PathLike | np.ndarray)
    if not is_path_or_array and (hasattr(image, "convert") or hasattr(image, "read")):
        return open_image(image, max_memory=max_memory)
    return image


def is_single(images: Any) -> bool:
    """Tell whether this is one picture and not an iterable of pictures."""
    one = (str, bytes, bytearray, memoryview, os.PathLike)
    return isinstance(images, one) or is_tensor(images) or hasattr(images, "convert") or hasattr(images, "read")


def is_tensor(image: Any) -> bool:
    """Tell whether this is an array, or a tensor of another library."""
    return is_array(image) or library_of(image) is not None


def check_batch_size(batch_size: int) -> int:
    """Return a number of pictures, or say what was expected."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise InputError(f"expected a batch_size of at least 1, got {shown(batch_size)}")
    return int(batch_size)
