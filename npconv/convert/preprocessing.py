"""How pictures are prepared for a converted model: as its folder says, or by the rules of where it was published."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from npconv.convert.architectures import depths_and_widths, find_published
from npconv.convert.dialects import Dialect
from npconv.convert.source import Source, pinned
from npconv.errors import ConfigError, InputError
from npconv.images import ConvNextImageProcessor
from npconv.images.settings import COMBINED_FILE_NAME, FILE_NAME
from npconv.messages import quoted
from npconv.models.configuration import PretrainedConfig

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

#: What CLIP was trained with.
CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}

#: torchvision resizes the shorter edge to this before it crops 224 pixels, with the bilinear filter.
TORCHVISION_EDGES = {"ConvNeXt-T": 236, "ConvNeXt-S": 230, "ConvNeXt-B": 232, "ConvNeXt-L": 232}

#: What a caller may say.
NAMES = ("size", "crop_pct", "image_mean", "image_std", "resample")

BICUBIC, BILINEAR = 3, 2
USUAL_CROP = 224 / 256

#: From this size on a picture is warped and `crop_pct` has no effect.
_WARPED_FROM = 384

_FILTERS = {"bicubic": BICUBIC, "bilinear": BILINEAR}


def make_processor(
    source: Source, config: PretrainedConfig, dialect: Dialect, given: Mapping[str, Any]
) -> ConvNextImageProcessor:
    """Return the image processor; the sentences about it are added to the decisions of `source`.

    Parameters
    ----------
    source : Source
    config : PretrainedConfig
    dialect : Dialect
    given : mapping of str to object
        Settings from the caller (`NAMES`); they win over all others.

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
    settings, why = _found(source) or _by_rule(source, config, dialect)
    settings |= given
    processor = ConvNextImageProcessor.from_dict(settings)
    if "crop_pct" in given and not 0 < processor.crop_pct <= 1:
        raise InputError(
            f"expected crop_pct above 0 and at most 1, a share of the shorter edge, got {processor.crop_pct:g}"
        )
    if processor.do_resize and "shortest_edge" not in processor.size:
        raise ConfigError(f"expected {FILE_NAME} to have a shortest_edge as size, got {pinned(processor.size)}")
    _refuse_channels(processor, config)
    shown = {name: processor.to_dict()[name] for name in NAMES}
    rest = {name: value for name, value in shown.items() if name not in given}
    source.decisions.append(f"preprocessing {_words(rest)}: {why}")
    if given:
        source.decisions.append(
            f"preprocessing {_words({name: shown[name] for name in NAMES if name in given})}: given"
        )
    return processor


def _words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {pinned(value)}" for name, value in settings.items())


def _refuse_channels(processor: ConvNextImageProcessor, config: PretrainedConfig) -> None:
    """Refuse a mean for another number of channels than the model has."""
    for name in ("image_mean", "image_std"):
        value = getattr(processor, name)
        if isinstance(value, tuple) and len(value) != config.num_channels:
            raise InputError(
                f"expected {name} to have {config.num_channels} numbers, one a channel of the model, got {len(value)}"
            )


def _found(source: Source) -> tuple[dict[str, Any], str] | None:
    """Return the settings in the source's folder."""
    if source.folder is not None:
        for name in (FILE_NAME, COMBINED_FILE_NAME):
            if os.path.lexists(source.folder / name):
                return ConvNextImageProcessor.from_pretrained(source.folder).to_dict(), f"{name} of the source"
    if source.timm:
        return _of_timm(source.timm), "timm's config.json"
    return None


def _of_timm(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that timm's ``pretrained_cfg`` means."""
    size = stated.get("input_size")
    if not isinstance(size, list) or len(size) != 3 or not isinstance(size[1], int) or size[1] != size[2]:
        raise ConfigError(f"expected timm's config.json to have a square input_size, got {pinned(size)}")
    name = stated.get("interpolation", "bicubic")
    if name not in _FILTERS:
        raise ConfigError(f"expected timm's interpolation to be one of {', '.join(_FILTERS)}, got {pinned(name)}")
    return {
        "size": {"shortest_edge": size[1]},
        "crop_pct": stated.get("crop_pct", USUAL_CROP),
        "resample": _FILTERS[name],
        "image_mean": stated.get("mean", IMAGENET["image_mean"]),
        "image_std": stated.get("std", IMAGENET["image_std"]),
    }


def _by_rule(source: Source, config: PretrainedConfig, dialect: Dialect) -> tuple[dict[str, Any], str]:
    """Return the settings that models of a dialect usually have."""
    given = config.image_size
    edge = given[0] if isinstance(given, list) else given
    settings: dict[str, Any] = {
        "size": {"shortest_edge": edge},
        "crop_pct": USUAL_CROP,
        "resample": BICUBIC,
        **IMAGENET,
    }
    if config.num_channels != 3:
        settings |= {"image_mean": [0.5] * config.num_channels, "image_std": [0.5] * config.num_channels}
        return settings, "a guess, as no published model has so many channels; --mean and --std say otherwise"
    if dialect.name == "open_clip":
        return settings | CLIP | {"crop_pct": 1.0}, "a guess: as open_clip does by default; --mean, --std and the like"
    published = find_published(config.model_type, *depths_and_widths(config.to_dict()))
    if dialect.name == "torchvision" and published is not None and published.name in TORCHVISION_EDGES:
        resized = TORCHVISION_EDGES[published.name]
        settings |= {"crop_pct": _crop(edge, resized), "resample": BILINEAR}
        return settings, f"a guess: as torchvision prepares pictures for its {published.name}"
    how = "warped to the square" if edge >= _WARPED_FROM else f"resized to {int(edge / USUAL_CROP)}, then cropped"
    return settings, (
        f"a guess, as no weights say it: the colours of ImageNet, {how}; "
        "--image-size, --crop-pct, --mean, --std and --resample say otherwise"
    )


def _crop(edge: int, resized: int) -> float:
    """Return the share for which ``int(edge / share)`` is `resized`: the quotient may be rounded down once too far."""
    share = edge / resized
    return share if int(edge / share) == resized else edge / (resized + 0.5)
