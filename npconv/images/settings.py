"""The settings of an image processor: their defaults, what makes them invalid, the files that hold them, and the steps.

A step of preprocessing is a function from a picture (C, H, W) to another one that takes all else by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from npconv.errors import ConfigError, ConfigUnreadableError, InputError, ModelNotFoundError, WeightsError
from npconv.files.disk import read_json
from npconv.images import transforms
from npconv.images.decode import MAX_PIXELS, check_pixel_count
from npconv.images.passes import ORDERS, first_pass
from npconv.images.transforms import (
    ROUNDINGS,
    WARP_FROM,
    normalize,
    resample_filter,
    rescale,
    scale_shortest_edge,
    size_for_crop,
)
from npconv.messages import shown

FILE_NAME = "preprocessor_config.json"

#: The file in which newer versions of transformers may keep the same settings, under the key ``image_processor``.
COMBINED_FILE_NAME = "processor_config.json"

#: A settings file is a few hundred bytes.
MAX_FILE_BYTES = 1_000_000

#: The largest picture that settings may ask for as input of a model, in pixels: 4096 x 4096. The largest published one
#: is 512 x 512. Making a picture ready takes 30 bytes a pixel.
MAX_INPUT_PIXELS = 4096 * 4096

#: Ways of timm to keep or lose the aspect: :func:`npconv.images.transforms.size_for_crop`.
CROP_MODES = ("center", "border", "squash")


@dataclass(frozen=True)
class Settings:
    """Every setting of a call, in one form; None stands for the default, and an invalid value is an `InputError`."""

    do_resize: bool | None = True
    size: Any = 384
    crop_pct: Any = 224 / 256
    resample: Any = "bicubic"
    do_rescale: bool | None = True
    rescale_factor: Any = 1 / 255
    do_normalize: bool | None = True
    image_mean: Any = (0.5, 0.5, 0.5)
    image_std: Any = (0.5, 0.5, 0.5)
    do_center_crop: bool | None = None
    crop_size: Any = None
    do_convert_rgb: bool | None = None
    crop_mode: str | None = None
    crop_rounding: str | None = None
    crop_fill: Any = None
    resize_order: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            value = field.default if given is None else given
            if value is not None:
                object.__setattr__(self, field.name, PARSERS[field.name](field.name, value))

    @property
    def channels(self) -> int | None:
        """How many channels `image_mean` is meant for; None if one number stands for all."""
        return None if isinstance(self.image_mean, float) else len(self.image_mean)

    @property
    def target(self) -> tuple[int, int] | None:
        """The height and width that `size` stands for; None if it does not say both."""
        if self.crop_mode is None and "shortest_edge" in self.size:
            return (self.size["shortest_edge"],) * 2
        height, width = (self.size.get(side, self.size.get("shortest_edge")) for side in ("height", "width"))
        return None if height is None or width is None else (height, width)

    def check_complete(self) -> None:
        """Raise `InputError` if a value is missing that one of the steps needs, or :meth:`check_amount` refuses it."""
        if self.do_resize and (self.target is None if self.crop_mode else "shortest_edge" not in self.size):
            raise InputError(f"expected a size such as 224 or {{'shortest_edge': 224}}, got {shown(self.size)}")
        if self.do_center_crop and not {"height", "width"} <= set(self.crop_size or ()):
            raise InputError(f"expected a crop_size such as 224 for do_center_crop, got {shown(self.crop_size)}")
        self.check_amount()
        if self.do_resize and self.crops:
            height, width = (min(edge / self.crop_pct, MAX_PIXELS) for edge in self.target or ())
            check_pixel_count(int(height), int(width), "size / crop_pct")

    def check_amount(self) -> None:
        """Raise an error if settings alone make each picture too large, so that none is read in vain.

        What no picture may have is an `ImageError`, what is too much for a model an `InputError`.
        """
        asked = {"size": self.target if self.do_resize else None, "crop_size": None}
        if self.do_center_crop and {"height", "width"} <= set(self.crop_size or ()):
            asked["crop_size"] = (self.crop_size["height"], self.crop_size["width"])
        for name, size in asked.items():
            if size is not None:
                check_pixel_count(*size, name)
                if size[0] * size[1] > MAX_INPUT_PIXELS:
                    raise InputError(
                        f"expected a {name} of at most {MAX_INPUT_PIXELS} pixels, got {size[0]} x {size[1]}; "
                        "use a smaller one"
                    )

    @property
    def crops(self) -> bool:
        """Whether something is cut off a picture after it is resized."""
        if self.crop_mode is None:
            return self.target is not None and self.target[0] < WARP_FROM
        return self.crop_mode != "squash" or self.crop_pct != 1


#: The names of all settings.
SETTING_NAMES = tuple(field.name for field in fields(Settings))

#: Arguments of a call that transformers takes and that have no effect on this processor, there or here.
WITHOUT_EFFECT = ("default_to_square", "disable_grouping", "do_pad", "image_seq_length", "pad_size")


def read_settings(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file with the settings, which is `path` itself or lies in that directory, and its content.

    No such file is a `ModelNotFoundError`, one that is no JSON object of at most ``MAX_FILE_BYTES`` a `ConfigError`.
    """
    combined = path / COMBINED_FILE_NAME
    if combined.is_file():
        content = _read_json(combined).get("image_processor")
        if isinstance(content, dict):
            return combined, content
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise ModelNotFoundError(
            f"expected a directory with {FILE_NAME}, or such a file, found no {file}; copy it from the model's source, "
            "or let npconv convert write one"
        )
    return file, _read_json(file)


def enum_value(value: Any) -> Any:
    """Return the value of a member of an enumeration (those of transformers), anything else as it is."""
    return getattr(value, "value", value)


def word_among(value: Any, *words: str) -> bool:
    """Tell whether a value is None or one of some words; what cannot be compared is none of them."""
    return value is None or (isinstance(value, str) and value in words)


def _read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object from a small file."""
    try:
        config = read_json(file, most=MAX_FILE_BYTES, exact=True)
    except WeightsError as error:
        raise ConfigUnreadableError(
            f"{file}: expected a JSON file of settings of at most {MAX_FILE_BYTES} bytes, cannot read it ({error})"
        ) from error
    if not isinstance(config, dict):
        raise ConfigError(f"{file}: expected a JSON object, got {type(config).__name__}")
    return config


def _parse_flag(name: str, value: Any) -> bool:
    """Return a switch: true or false, nothing that merely counts as such."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"expected {name} to be true or false, got {shown(value)}")
    return bool(value)


def _parse_number(name: str, value: Any) -> float:
    """Return a finite number as a float."""
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:  # a whole number of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"expected {name} to be a finite number, got {shown(value)}")
    return number


def _parse_positive(name: str, value: Any) -> float:
    """Return a finite number above zero as a float."""
    number = _parse_number(name, value)
    if number <= 0:
        raise InputError(f"expected {name} to be above 0, got {number:g}")
    return number


def _parse_level(name: str, value: Any) -> float | tuple[float, ...]:
    """Return one value of a pixel, a whole number from 0 to 255, for all channels, or a tuple with one for each."""
    levels = _parse_channels(name, value)
    for level in levels if isinstance(levels, tuple) else (levels,):
        if not (0 <= level <= 255 and level.is_integer()):
            raise InputError(f"expected {name} to be whole numbers from 0 to 255, got {shown(value)}")
    return levels


def _one_of(*names: str) -> Callable[[str, Any], str]:
    """Return what takes one of some words and nothing else."""

    def parse(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise InputError(f"expected {name} to be one of {', '.join(names)}, got {shown(value)}")
        return value

    return parse


def _parse_channels(name: str, value: Any) -> float | tuple[float, ...]:
    """Return one number for all channels, or a tuple with one for each."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return _parse_number(name, value)
    if not value:
        raise InputError(f"expected {name} to have one entry a channel, got none")
    return tuple(_parse_number(f"every entry of {name}", entry) for entry in value)


def _parse_std(name: str, value: Any) -> float | tuple[float, ...]:
    """Return one divisor for all channels, or a tuple with one for each; none is zero in float32."""
    std = _parse_channels(name, value)
    if np.min(np.abs(std)) < np.finfo(np.float32).smallest_subnormal:  # what pictures are divided by, in float32
        raise InputError(f"expected {name} without zeros, got {shown(value)}")
    return std


def _parse_edges(name: str, value: Mapping[str, Any]) -> dict[str, int]:
    """Return a mapping of names to lengths in pixels as a dictionary without the unset ones."""
    edges = {key: edge for key, edge in value.items() if edge is not None}
    for key, edge in edges.items():
        if isinstance(edge, bool) or not isinstance(edge, int | np.integer) or not 1 <= edge <= MAX_PIXELS:
            raise InputError(f"expected {name}[{key!r}] to be a number of pixels from 1, got {shown(edge)}")
    return {key: int(edge) for key, edge in edges.items()}


def _parse_size(name: str, value: Any) -> dict[str, int]:
    """Return a size as a dictionary; a whole number is the shortest edge, a pair is height and width."""
    if isinstance(value, Mapping):
        return _parse_edges(name, value)
    if isinstance(value, list | tuple) and len(value) == 2:
        return _parse_edges(name, {"height": value[0], "width": value[1]})
    return _parse_edges(name, {"shortest_edge": value})


def _parse_crop_size(name: str, value: Any) -> dict[str, int]:
    """Return a crop size as a dictionary; a whole number is height and width."""
    return _parse_size(name, (value, value) if isinstance(value, int | np.integer) else value)


PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "do_resize": _parse_flag,
    "size": _parse_size,
    "crop_pct": _parse_positive,
    "resample": lambda _, value: int(resample_filter(value)),
    "do_rescale": _parse_flag,
    "rescale_factor": _parse_number,
    "do_normalize": _parse_flag,
    "image_mean": _parse_channels,
    "image_std": _parse_std,
    "do_center_crop": _parse_flag,
    "crop_size": _parse_crop_size,
    "do_convert_rgb": _parse_flag,
    "crop_mode": _one_of(*CROP_MODES),
    "crop_rounding": _one_of(*ROUNDINGS),
    "crop_fill": _parse_level,
    "resize_order": _one_of(*ORDERS),
}

#: A step in a list: what its result is called, a name of `STEPS`, and what that takes.
Listed = tuple[str, str, dict[str, Any]]


def resize(image: np.ndarray, *, height: int, width: int, resample: int | str, order: str | None = None) -> np.ndarray:
    """Resize a uint8 picture with Pillow: :func:`npconv.images.transforms.resize`."""
    return transforms.resize(image, (height, width), resample, order)


def resize_picture(
    picture: Image.Image, *, height: int, width: int, resample: int | str, order: str | None = None
) -> np.ndarray:
    """Do :func:`resize` to a picture of Pillow's: :func:`npconv.images.transforms.resize_picture`."""
    return transforms.resize_picture(picture, (height, width), resample, order)


def resize_float(
    image: np.ndarray, *, height: int, width: int, resample: int | str, order: str | None = None
) -> np.ndarray:
    """Resize a float32 picture with Pillow: :func:`npconv.images.transforms.resize_float`."""
    return transforms.resize_float(image, (height, width), resample, order)


def center_crop(
    image: np.ndarray, *, height: int, width: int, rounding: str = "floor", fill: float | list[float] = 0
) -> np.ndarray:
    """Cut the middle out of a picture: :func:`npconv.images.transforms.center_crop`."""
    return transforms.center_crop(image, (height, width), rounding, fill)


#: By the names that an image processor lists and plans use.
STEPS: dict[str, Callable[..., np.ndarray]] = {
    step.__name__: step for step in (resize, resize_float, center_crop, rescale, normalize)
}


def resize_crop_normalize(settings: Settings, height: int, width: int) -> Iterator[Listed]:
    """Yield what is done to a picture of some size before a ConvNeXt, V2 or CvT sees it.

    Without a `crop_mode`, the steps of resizing are those of :func:`npconv.images.transforms.resize_and_crop`.
    """
    if settings.do_resize:
        yield from _resize_and_crop(settings, height, width)
    if settings.do_center_crop:
        yield "center_cropped", "center_crop", crop_arguments(settings, **settings.crop_size)
    if settings.do_rescale:
        yield "rescaled", "rescale", {"factor": float(settings.rescale_factor)}
    if settings.do_normalize:
        yield "normalized", "normalize", {"mean": plain(settings.image_mean), "std": plain(settings.image_std)}


def _resize_and_crop(settings: Settings, height: int, width: int) -> Iterator[Listed]:
    """Yield the steps from a picture of some size to one of the settings' size."""
    target = settings.target or (0, 0)
    size = target
    if settings.crop_mode is not None:
        size = size_for_crop(settings.crop_mode, (height, width), target, settings.crop_pct)
    elif settings.crops:
        # Only the shape counts: an array that takes no memory stands for the picture.
        picture = np.broadcast_to(np.uint8(0), (3, height, width))
        size = scale_shortest_edge(picture, target[0] / settings.crop_pct)
    yield "resized", "resize", resize_arguments(settings, (height, width), size)
    if settings.crops:
        yield "cropped", "center_crop", crop_arguments(settings, *target)


def resize_arguments(settings: Settings, shape: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """Return what the step takes that brings a picture of some `shape` to a size: the pass that comes first, too."""
    order = first_pass(settings.resize_order, shape, size)
    return {"height": size[0], "width": size[1], "resample": int(settings.resample), "order": order}


def crop_arguments(settings: Settings, height: int, width: int) -> dict[str, Any]:
    """Return what the step takes that cuts out the middle; what is as in transformers goes without saying."""
    found: dict[str, Any] = {"height": height, "width": width}
    if settings.crop_rounding not in (None, "floor"):
        found["rounding"] = settings.crop_rounding
    if settings.crop_fill is not None and np.any(settings.crop_fill):
        found["fill"] = plain(settings.crop_fill)
    return found


def plain(value: Any) -> Any:
    """Return one number or a list of numbers."""
    return float(value) if np.ndim(value) == 0 else [float(entry) for entry in value]
