"""How pictures are prepared for a converted model: as its folder says, or by the rules of where it was published."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from npconv.convert.dialects import Dialect
from npconv.convert.side_files import PREPROCESSOR, account
from npconv.convert.source import Source
from npconv.errors import ConfigError, InputError
from npconv.images import ConvNextImageProcessor
from npconv.images.settings import COMBINED_FILE_NAME, FILE_NAME
from npconv.messages import in_json, quoted
from npconv.models import find_family
from npconv.models.configuration import PretrainedConfig
from npconv.models.naming import GIVEN, GUESS, NOTE
from npconv.models.processors import load_processor
from npconv.models.publishing import USUAL_CROP, WARPED_FROM, find_architecture

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

#: What a caller may say.
NAMES = ("size", "crop_pct", "image_mean", "image_std", "resample")

BICUBIC, BILINEAR = 3, 2
_FILTERS = {"bicubic": BICUBIC, "bilinear": BILINEAR}


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
    settings |= given
    processor: ConvNextImageProcessor = find_family(config.model_type).processor_class.from_dict(settings)
    if "crop_pct" in given and not 0 < processor.crop_pct <= 1:
        raise InputError(
            f"expected crop_pct above 0 and at most 1, a share of the shorter edge, got {processor.crop_pct:g}"
        )
    try:
        processor.check_complete(processor.settings())
    except InputError as error:
        raise ConfigError(f"{FILE_NAME}: {error}") from None
    _refuse_channels(processor, config)
    shown = {name: processor.to_dict()[name] for name in NAMES}
    rest = {name: value for name, value in shown.items() if name not in given}
    source.note("preprocessing", rest, why if found else "", why, NOTE if found else GUESS)
    if given:
        source.note("preprocessing", {name: shown[name] for name in NAMES if name in given}, GIVEN, "given")
    return processor


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
                settings = load_processor(source.folder).to_dict()
                source.decisions += account(PREPROCESSOR, settings)
                return settings, f"{name} of the source"
    if source.stated is not None:
        return _of_timm(source.stated.pictures), source.stated.file
    return None


def _of_timm(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that timm's ``pretrained_cfg`` means."""
    size = stated.get("input_size")
    if not isinstance(size, list) or len(size) != 3 or not isinstance(size[1], int) or size[1] != size[2]:
        raise ConfigError(f"expected timm's config.json to have a square input_size, got {in_json(size)}")
    name = stated.get("interpolation", "bicubic")
    if name not in _FILTERS:
        raise ConfigError(f"expected timm's interpolation to be one of {', '.join(_FILTERS)}, got {in_json(name)}")
    return {
        "size": {"shortest_edge": size[1]},
        "crop_pct": stated.get("crop_pct", USUAL_CROP),
        "resample": _FILTERS[name],
        "image_mean": stated.get("mean", IMAGENET["image_mean"]),
        "image_std": stated.get("std", IMAGENET["image_std"]),
    }


def _by_rule(config: PretrainedConfig, dialect: Dialect) -> tuple[dict[str, Any], str]:
    """Return the settings that models of a dialect usually have."""
    given = config.image_size
    edge = given[0] if isinstance(given, list) else given
    family = find_family(config.model_type)
    if family.pictures:
        kept = family.processor_class(size=edge).to_dict()
        return kept, "as the models of this family are prepared; --image-size, --mean and the like say otherwise"
    settings = {"size": {"shortest_edge": edge}, "crop_pct": USUAL_CROP, "resample": BICUBIC, **IMAGENET}
    if config.num_channels != 3:
        settings |= {"image_mean": [0.5] * config.num_channels, "image_std": [0.5] * config.num_channels}
        return settings, "as no published model has so many channels; --mean and --std say otherwise"
    if dialect.table.preprocessing:
        settings |= dialect.table.preprocessing
        return settings, f"as {dialect.name} does by default; --mean, --std and the like"
    published = find_architecture(config.model_type, config.to_dict())
    if published is not None and dialect.name in published.resized:
        settings |= {"crop_pct": crop_share(edge, published.resized[dialect.name]), "resample": BILINEAR}
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
