"""Steps of preprocessing, from a picture (C, H, W) to another one, all else by name; and lists of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from npconv.images import transforms
from npconv.images.settings import Settings
from npconv.images.transforms import WARP_FROM, normalize, rescale, scale_shortest_edge

#: A step in a list: what its result is called, a name of `STEPS`, and what that takes.
Listed = tuple[str, str, dict[str, Any]]


def resize(image: np.ndarray, *, height: int, width: int, resample: int | str) -> np.ndarray:
    """Resize a uint8 picture with Pillow: :func:`npconv.images.transforms.resize`."""
    return transforms.resize(image, (height, width), resample)


def resize_float(image: np.ndarray, *, height: int, width: int, resample: int | str) -> np.ndarray:
    """Resize a float32 picture with Pillow: :func:`npconv.images.transforms.resize_float`."""
    return transforms.resize_float(image, (height, width), resample)


def center_crop(image: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Cut the middle out of a picture: :func:`npconv.images.transforms.center_crop`."""
    return transforms.center_crop(image, (height, width))


#: By the names that an image processor lists and plans use.
STEPS: dict[str, Callable[..., np.ndarray]] = {
    step.__name__: step for step in (resize, resize_float, center_crop, rescale, normalize)
}


def resize_crop_normalize(settings: Settings, height: int, width: int) -> Iterator[Listed]:
    """Yield what is done to a picture of some size before a ConvNeXt, V2 or CvT sees it.

    The steps of resizing are those of :func:`npconv.images.transforms.resize_and_crop`.
    """
    if settings.do_resize:
        edge = settings.size["shortest_edge"]
        size = (edge, edge)
        if edge < WARP_FROM:
            # Only the shape counts: an array that takes no memory stands for the picture.
            picture = np.broadcast_to(np.uint8(0), (3, height, width))
            size = scale_shortest_edge(picture, edge / settings.crop_pct)
        yield "resized", "resize", {"height": size[0], "width": size[1], "resample": int(settings.resample)}
        if edge < WARP_FROM:
            yield "cropped", "center_crop", {"height": edge, "width": edge}
    if settings.do_center_crop:
        yield "center_cropped", "center_crop", dict(settings.crop_size)
    if settings.do_rescale:
        yield "rescaled", "rescale", {"factor": float(settings.rescale_factor)}
    if settings.do_normalize:
        yield "normalized", "normalize", {"mean": plain(settings.image_mean), "std": plain(settings.image_std)}


def plain(value: Any) -> Any:
    """Return one number or a list of numbers."""
    return float(value) if np.ndim(value) == 0 else [float(entry) for entry in value]
