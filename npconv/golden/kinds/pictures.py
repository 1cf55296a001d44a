"""Pictures made ready otherwise: another filter, another crop, another order of channels, other levels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from npconv.golden.kinds.change import Change, Place
from npconv.golden.kinds.numbers import in_words, rounded
from npconv.images.passes import ORDERS
from npconv.images.transforms import resize, resize_float

KIND = "preprocessing"

#: Filters of Pillow by their numbers.
FILTERS = {0: "nearest", 1: "Lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "Hamming"}

#: Means and standard deviations that published models have, and what they are called.
STATISTICS = {
    "ImageNet's": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "one half": ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
    "CLIP's": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    "CIFAR-10's": ([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]),
    "none": ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
}

#: Pixels by which a crop may be off.
REACH = range(-2, 3)


def pictures(place: Place) -> Iterator[Change]:
    """Give out a step that makes a picture ready, done otherwise."""
    operation = place.step.operation
    if operation in ("resize", "resize_float"):
        yield from _resized(place)
    if operation == "center_crop":
        yield from _cropped(place)
    if operation == "rescale":
        for says, factor in (("1/256", 1 / 256), ("1/255", 1 / 255), ("1/127.5", 1 / 127.5), ("1", 1.0)):
            if factor != place.step.attributes["factor"]:
                yield place.with_attribute(KIND, f"its factor is {says}", "factor", factor)
    if operation == "normalize":
        yield from _normalized(place)
    if place.step.layout == "CHW":
        yield from _coloured(place)
        yield from _levelled(place)


def _resized(place: Place) -> Iterator[Change]:
    """Give out other filters, other orders of the passes, other places of the samples."""
    attributes = place.step.attributes
    for number, name in FILTERS.items():
        for order in (None, *ORDERS):
            if (number, order) != (attributes["resample"], attributes.get("order")):
                says = f"resized by {name}" + (f", {order} pass first" if order in ("horizontal", "vertical") else "")
                step = replace(place.step, attributes={**attributes, "resample": number, "order": order})
                yield Change(KIND, says, step, place.function, {"resample": number, "order": order})
    size = attributes["height"], attributes["width"]
    for degree, name in ((0, "nearest"), (1, "bilinear"), (3, "cubic spline")):
        for aligned, how in ((True, "corners aligned"), (False, "half pixels")):
            function = partial(_sampled, size, degree, aligned)
            yield Change(KIND, f"resized without antialiasing: {name}, {how}", place.step, _alone(function), {})
    known = {"resample": attributes["resample"], "order": attributes.get("order")}
    for says, stored in STORED.items():
        function = partial(_stored, stored, size=size, **known)
        yield Change(KIND, f"resized in floating point, {says}", place.step, _alone(function), {"stored": says})
    for other in _sizes(place, size):
        function = partial(resize, size=other, **known)
        yield Change(KIND, f"resized to {other[0]} x {other[1]}", place.step, _alone(function), {"size": list(other)})


def _stored(stored: Callable[[np.ndarray], np.ndarray], image: np.ndarray, **how: Any) -> np.ndarray:
    """Return a picture resized in floating point, and stored in some way."""
    return stored(resize_float(image, **how))


#: What is made of a picture that was resized in floating point, whose values may lie beyond 0 and 255.
STORED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "not rounded": lambda y: y,
    "cut off at 0 and 255, not rounded": lambda y: np.clip(y, 0, 255),
    "cut to whole numbers": lambda y: np.trunc(np.clip(y, 0, 255)).astype(np.uint8),
    "rounded, and wrapped beyond 0 and 255": lambda y: np.mod(np.rint(y), 256).astype(np.uint8),
    "cut to whole numbers, and wrapped beyond 0 and 255": lambda y: np.mod(np.trunc(y), 256).astype(np.uint8),
}


def _sizes(place: Place, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return other sizes to resize to: a pixel off, square, by another edge, without a margin for the crop."""
    height, width = place.inputs[0].shape[1:]
    crops = [step.attributes for step in place.plan if step.operation == "center_crop"]
    edges = {*size, *(crop[name] for crop in crops for name in ("height", "width"))}
    found = [(size[0] + down, size[1] + right) for down, right in itertools.product((-1, 0, 1), repeat=2)]
    for edge in edges:
        found.append((edge, edge))
        for side in (min(height, width), max(height, width)):
            for whole in (int, round, math.ceil):
                found.append((whole(height * edge / side), whole(width * edge / side)))
    return [other for other in dict.fromkeys(found) if other != size and min(other) > 0]


def _alone(function: Any) -> Any:
    """Return a function of the picture that takes no notice of the step's arguments."""
    return lambda image, **arguments: function(image)


def _sampled(size: tuple[int, int], degree: int, aligned: bool, image: np.ndarray) -> np.ndarray:
    """Return a picture resized by looking up single places, as many libraries do by default."""
    from scipy.ndimage import map_coordinates  # not needed but for pictures

    places = []
    for new, old in zip(size, image.shape[1:], strict=True):
        if aligned:
            places.append(np.linspace(0, old - 1, new))
        else:
            places.append(((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1))
    grid = np.meshgrid(*places, indexing="ij")
    found = np.stack([map_coordinates(c.astype(np.float64), grid, order=degree, mode="nearest") for c in image])
    return np.rint(found).clip(0, 255).astype(image.dtype) if image.dtype == np.uint8 else found.astype(image.dtype)


def _cropped(place: Place) -> Iterator[Change]:
    """Give out crops that are a few pixels off."""
    height, width = place.step.attributes["height"], place.step.attributes["width"]
    image = place.inputs[0]
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    corners = {(top + down, left + right) for down, right in itertools.product(REACH, repeat=2)} - {(top, left)}
    corners |= {(0, 0), (image.shape[1] - height, image.shape[2] - width)}
    for row, column in sorted(corners, key=lambda corner: abs(corner[0] - top) + abs(corner[1] - left)):
        if 0 <= row <= image.shape[1] - height and 0 <= column <= image.shape[2] - width:
            says = f"the crop begins at row {row}, column {column} in place of {top}, {left}"

            def function(image: Any, row: int = row, column: int = column, **arguments: Any) -> Any:
                return image[:, row : row + height, column : column + width]

            yield Change(KIND, says, place.step, function, {"row": row, "column": column})


def _normalized(place: Place) -> Iterator[Change]:
    """Give out other means and standard deviations."""
    mean, std = place.step.attributes["mean"], place.step.attributes["std"]
    others = {name: (m, s) for name, (m, s) in STATISTICS.items() if (m, s) != (mean, std)}
    yield _with_statistics(place, "mean and standard deviation exchanged", std, mean)
    yield _with_statistics(place, "the mean not subtracted", 0.0, std)
    yield _with_statistics(place, "not divided by the standard deviation", mean, 1.0)
    if isinstance(mean, list):
        yield _with_statistics(place, "statistics of the channels in reverse", mean[::-1], std[::-1])
        yield _with_statistics(place, "the mean of all channels", float(np.mean(mean)), std)
        yield _with_statistics(place, "the standard deviation of all channels", mean, float(np.mean(std)))
        yield _with_statistics(place, "the variance in place of the standard deviation", mean, [s * s for s in std])
    for name, (m, s) in others.items():
        yield _with_statistics(place, f"mean and standard deviation are {name}", m, s)
        yield _with_statistics(place, f"the mean is {name}", m, std)
        yield _with_statistics(place, f"the standard deviation is {name}", mean, s)
    image = place.inputs[0]
    own = image.mean(axis=(1, 2)).tolist(), image.std(axis=(1, 2)).tolist()
    yield _with_statistics(place, "mean and standard deviation of the picture itself", *own)


def statistics(place: Place) -> Iterator[Change]:
    """Give out the mean and the standard deviation of each channel that mine's numbers speak for."""
    mine, image = place.mine, place.inputs[0]
    if (
        place.step.operation != "normalize"
        or mine is None
        or mine.shape != image.shape
        or not np.isfinite(mine).all()
        or not np.ptp(image, axis=(1, 2)).all()
    ):
        return
    slopes, shifts = np.transpose([np.polyfit(x.ravel(), y.ravel(), 1) for x, y in zip(image, mine, strict=True)])
    if slopes.all():
        mean, std = (-shifts / slopes).tolist(), (1 / slopes).tolist()
        mean, std = [rounded(number) for number in mean], [rounded(number) for number in std]
        numbers = [", ".join(map(in_words, values)) for values in (mean, std)]
        yield _with_statistics(place, f"the mean is {numbers[0]} and the standard deviation {numbers[1]}", mean, std)


def _with_statistics(place: Place, says: str, mean: Any, std: Any) -> Change:
    """Return the step with other statistics."""
    step = replace(place.step, attributes={**place.step.attributes, "mean": mean, "std": std})
    return Change(KIND, says, step, place.function, {"mean": mean, "std": std})


def _coloured(place: Place) -> Iterator[Change]:
    """Give out channels in another order, before the step and after it, and other colours."""
    if place.right.shape[0] == 3:
        for order in itertools.permutations(range(3)):
            if order != (0, 1, 2):
                name = "".join("RGB"[channel] for channel in order)
                taken = partial(np.take, indices=order, axis=0)
                yield place.of_inputs(KIND, f"{name} in place of RGB before it", lambda x, t=taken: (t(x),), order=name)
                yield place.of_result(KIND, f"{name} in place of RGB after it", taken, order=name)
        for says, make in COLOURS.items():
            yield place.of_inputs(KIND, f"{says} before it", lambda x, make=make: (make(x),), colours=says)


def _grey(image: np.ndarray) -> np.ndarray:
    """Return the brightness in all three channels, as Pillow weighs it."""
    grey = (image[0] * 19595.0 + image[1] * 38470.0 + image[2] * 7471.0 + 0x8000) / 65536
    whole = np.floor(grey) if image.dtype == np.uint8 else grey
    return np.broadcast_to(whole, image.shape).astype(image.dtype)


def _mixed(weights: tuple[float, float, float], whole: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> Any:
    """Return a brightness in all three channels."""
    grey = np.tensordot(weights, image.astype(np.float64), 1)
    return np.broadcast_to(whole(grey) if image.dtype == np.uint8 else grey, image.shape).astype(image.dtype)


def _linear(image: np.ndarray) -> np.ndarray:
    """Return light in place of sRGB."""
    top = 255.0 if image.dtype == np.uint8 or image.max(initial=0) > 1 else 1.0
    x = image / top
    light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) * top
    return np.rint(light).astype(image.dtype) if image.dtype == np.uint8 else light.astype(image.dtype)


def _luma(image: np.ndarray) -> np.ndarray:
    """Return YCbCr in place of RGB, as JPEG has it."""
    r, g, b = image.astype(np.float64)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    found = np.stack([y, 128 + (b - y) / 1.772, 128 + (r - y) / 1.402])
    return np.rint(found).clip(0, 255).astype(image.dtype) if image.dtype == np.uint8 else found.astype(image.dtype)


#: How much the colours count in a brightness.
BRIGHTNESS = {
    "BT.601": (0.299, 0.587, 0.114),
    "BT.709": (0.2126, 0.7152, 0.0722),
    "the mean of the channels": (1 / 3, 1 / 3, 1 / 3),
}
COLOURS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "grey": _grey,
    "linear light in place of sRGB": _linear,
    "YCbCr in place of RGB": _luma,
    **{
        f"grey by {name}{how}": partial(_mixed, weights, whole)
        for name, weights in BRIGHTNESS.items()
        for how, whole in (("", np.rint), (", cut to whole numbers", np.floor))
    },
}


def _levelled(place: Place) -> Iterator[Change]:
    """Give out levels that are rounded, cut off or wrapped."""
    if place.inputs[0].dtype == np.uint8:
        yield place.of_input(KIND, "its input taken as signed bytes", 0, lambda x: x.view(np.int8), signed=True)
    yield place.of_result(KIND, "its levels inverted", lambda y: y.max() - y if y.dtype.kind == "f" else 255 - y)
    if place.right.dtype.kind == "f":
        yield place.of_result(KIND, "cut to whole numbers", np.trunc)
        yield place.of_result(KIND, "rounded to whole numbers", np.rint)
        yield place.of_result(KIND, "cut off at 0 and 1", partial(np.clip, a_min=0, a_max=1))
        yield place.of_result(KIND, "as 8 bits, wrapped", _wrapped)


def _wrapped(y: np.ndarray) -> np.ndarray:
    """Return numbers as 8 bits hold them."""
    return np.mod(np.trunc(y), 256).astype(y.dtype)
