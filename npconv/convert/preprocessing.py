"""How pictures are prepared for a converted model: as its folder says, or by the rules of where it was published."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from npconv.convert.dialects import Dialect
from npconv.convert.side_files import PREPROCESSOR, account
from npconv.convert.source import Source
from npconv.errors import ConfigError, ImageError, InputError, WeightsError
from npconv.files.disk import read_json
from npconv.images import ConvNextImageProcessor, resample_filter
from npconv.images.processor import type_name_of
from npconv.images.settings import COMBINED_FILE_NAME, CROP_MODES, FILE_NAME, MAX_FILE_BYTES
from npconv.messages import in_json, quoted
from npconv.models import find_family
from npconv.models.configuration import PretrainedConfig
from npconv.models.naming import GIVEN, GUESS, NOTE, WARNING
from npconv.models.processors import load_processor, processor_class
from npconv.models.publishing import USUAL_CROP, WARPED_FROM, find_architecture

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

#: What a caller may say.
NAMES = (
    *("size", "crop_pct", "image_mean", "image_std", "resample"),
    *("crop_mode", "crop_rounding", "crop_fill", "resize_order"),
)

BICUBIC, BILINEAR = 3, 2

#: timm's names of Pillow's filters.
FILTERS = {name: int(resample_filter(name)) for name in ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")}

#: What transformers calls the preparation of pictures by timm.
TIMM_PROCESSOR = "TimmWrapperImageProcessor"

#: What timm does where its configuration does not say it.
TIMM_SIZE, TIMM_FILTER = [3, 224, 224], "bicubic"

#: How libraries crop, by the names of their dialects; transformers crops one pixel elsewhere, and not from 384 on.
CROPS = {
    "timm": {"crop_rounding": "half_even"},
    "torchvision": {"crop_rounding": "half_even", "crop_mode": "center"},
    "open_clip": {"crop_rounding": "half_even", "crop_mode": "center"},
}


def make_processor(
    source: Source, config: PretrainedConfig, dialect: Dialect, given: Mapping[str, Any]
) -> ConvNextImageProcessor:
    """Return the image processor; adds what is decided to the decisions of `source`.

    Settings that are `given`, of `NAMES`, win over all others.

    Raises
    ------
    ConfigError
        If the folder has settings that cannot be used.
    InputError
        If a given setting is none or is invalid.
    """
    unknown = [name for name in given if name not in NAMES]
    if unknown:
        raise InputError(f"expected settings of the preprocessing from {', '.join(NAMES)}; got {quoted(unknown[0])}")
    found = _found(source)
    settings, why = found or _by_rule(config, dialect)
    usual = find_family(config.model_type).processor_class
    processor = _make(processor_class(type_name_of(settings), usual), settings, given, why if found else FILE_NAME)
    if "crop_pct" in given and not 0 < processor.crop_pct <= 1:
        raise InputError(
            f"expected crop_pct above 0 and at most 1, a share of the shorter edge, got {processor.crop_pct:g}"
        )
    _refuse_channels(processor, config)
    shown = {name: value for name, value in processor.to_dict().items() if name in NAMES}
    rest = {name: shown[name] for name in NAMES if name in shown and name not in given}
    source.note("preprocessing", rest, why if found else "", why, NOTE if found else GUESS)
    if given:
        source.note("preprocessing", {name: shown[name] for name in NAMES if name in given}, GIVEN, "given")
    for level, reason in _unlike_transformers(processor):
        source.note("", None, "transformers", reason, level)
    return processor


def _make(
    kind: type[ConvNextImageProcessor], settings: Mapping[str, Any], given: Mapping[str, Any], file: str
) -> ConvNextImageProcessor:
    """Return an image processor; what cannot be used is an InputError if something was given, else a ConfigError."""
    try:
        processor = kind.from_dict({**settings, **given})
        processor.check_complete(processor.settings())
    except (InputError, ImageError) as error:
        raise InputError(str(error)) if given else ConfigError(f"{file}: {error}") from None
    return processor


def _unlike_transformers(processor: ConvNextImageProcessor) -> Iterator[tuple[str, str]]:
    """Yield what transformers does otherwise with these settings, which it reads in part, and how grave that is."""
    settings = processor.settings()
    target = settings.target or (0, 0)
    if settings.crop_mode is not None:
        there = "squash" if target[0] >= WARPED_FROM else "center"
        does = "warps pictures to the square" if there == "squash" else "crops the middle of pictures"
        if target[0] != target[1]:
            yield WARNING, f"transformers does not know sizes such as {target[0]} x {target[1]} and refuses them"
        elif settings.crop_mode != there or (there == "squash" and settings.crops):
            yield WARNING, f"transformers does not know crop_mode {settings.crop_mode}: it {does}"
    if settings.crops and settings.crop_rounding == "half_even":
        yield NOTE, "transformers does not know crop_rounding half_even: its crops may be one pixel elsewhere"


def _refuse_channels(processor: ConvNextImageProcessor, config: PretrainedConfig) -> None:
    """Refuse a mean for another number of channels than the model has."""
    for name in ("image_mean", "image_std", "crop_fill"):
        value = getattr(processor, name)
        if isinstance(value, tuple) and len(value) != config.num_channels:
            raise InputError(
                f"expected {name} to have {config.num_channels} numbers, one a channel of the model, got {len(value)}"
            )


def _found(source: Source) -> tuple[dict[str, Any], str] | None:
    """Return the settings in the source's folder."""
    if source.folder is not None:
        for name in (FILE_NAME, COMBINED_FILE_NAME):
            if os.path.lexists(source.folder / name) and not _is_of_another_kind(source, name):
                settings = load_processor(source.folder).to_dict()
                source.decisions += account(PREPROCESSOR, settings)
                return settings, f"{name} of the source"
    if source.stated is not None:
        return _of_timm(source.stated.pictures, source.stated.file), source.stated.file
    return None


def _is_of_another_kind(source: Source, name: str) -> bool:
    """Say whether settings are of a processor that is not ours, where a file of timm or open_clip says the same.

    transformers writes that of its wrapper for timm beside ``config.json``, and reads ``config.json`` itself.
    """
    if source.stated is None or source.folder is None:
        return False
    try:
        said = read_json(source.folder / name, most=MAX_FILE_BYTES)
    except WeightsError:  # told by who reads the settings
        return False
    kind = type_name_of(said) if isinstance(said, dict) else None
    if not isinstance(kind, str) or kind in processor_class(kind, ConvNextImageProcessor).type_names:
        return False
    why = f"{name} is of a {quoted(kind)}, which npconv lacks: {source.stated.file} is taken"
    source.note("preprocessing", None, source.stated.file, why, NOTE if kind == TIMM_PROCESSOR else WARNING)
    return True


def _of_timm(stated: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return the settings that timm's ``pretrained_cfg`` means; what is not there, or empty, is as in timm."""
    size = TIMM_SIZE if stated.get("input_size") is None else stated["input_size"]
    if not isinstance(size, list) or len(size) != 3 or not all(type(edge) is int and edge > 0 for edge in size):
        raise ConfigError(f"expected input_size in {file} to be such as {in_json(TIMM_SIZE)}, got {in_json(size)}")
    name, mode = stated.get("interpolation") or TIMM_FILTER, stated.get("crop_mode") or "center"
    for key, value, known in (("interpolation", name, FILTERS), ("crop_mode", mode, CROP_MODES)):
        if not isinstance(value, str) or value not in known:
            raise ConfigError(f"expected {key} in {file} to be one of {', '.join(known)}, got {in_json(value)}")
    mean, std = (stated.get(key) or IMAGENET[f"image_{key}"] for key in ("mean", "std"))
    settings = {
        "image_processor_type": ConvNextImageProcessor.type_names[0],
        "size": {"shortest_edge": size[1]} if size[1] == size[2] else {"height": size[1], "width": size[2]},
        "crop_pct": stated.get("crop_pct") or USUAL_CROP,
        "resample": FILTERS[name],
        "image_mean": mean,
        "image_std": std,
        "crop_mode": mode,
        "crop_rounding": "half_even",
    }
    if mode == "border":
        settings["crop_fill"] = _levels(mean, file)
    return settings


def _levels(mean: Any, file: str) -> list[int]:
    """Return the colour of the mean, with which timm fills borders."""
    try:
        return [round(255 * value) for value in mean]
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"expected mean in {file} to be numbers from 0 to 1, got {in_json(mean)}") from None


def _by_rule(config: PretrainedConfig, dialect: Dialect) -> tuple[dict[str, Any], str]:
    """Return the settings that models of a dialect usually have."""
    given = config.image_size
    edge = given[0] if isinstance(given, list) else given
    family = find_family(config.model_type)
    if family.pictures:
        kept = family.processor_class(size=edge).to_dict()
        return kept, "as the models of this family are prepared; --image-size, --mean and the like say otherwise"
    settings = {"size": {"shortest_edge": edge}, "crop_pct": USUAL_CROP, "resample": BICUBIC, **IMAGENET}
    settings |= CROPS.get(dialect.name, {})
    if config.num_channels != 3:
        settings |= {"image_mean": [0.5] * config.num_channels, "image_std": [0.5] * config.num_channels}
        return settings, "as no published model has so many channels; --mean and --std say otherwise"
    if dialect.table.preprocessing:
        settings |= dialect.table.preprocessing
        return settings, f"as {dialect.name} does by default; --mean, --std and the like"
    published = find_architecture(config.model_type, config.to_dict())
    if published is not None and dialect.name in published.resized:
        resized = published.resized[dialect.name]
        settings |= {"crop_pct": crop_share(edge if edge < resized else 224, resized), "resample": BILINEAR}
        return settings, f"as {dialect.name} prepares pictures for its {published.name}"
    how = "warped to the square" if edge >= WARPED_FROM else f"resized to {int(edge / USUAL_CROP)}, then cropped"
    return settings, (
        f"as no weights say it: the colours of ImageNet, {how}; "
        "--image-size, --crop-pct, --mean, --std and --resample say otherwise"
    )


def crop_share(edge: int, resized: int) -> float:
    """Return the share for which ``int(edge / share)`` is `resized`: the quotient may be rounded down once too far."""
    share = edge / resized
    return share if int(edge / share) == resized else edge / (resized + 0.5)
