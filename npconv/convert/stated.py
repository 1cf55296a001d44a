"""What timm and open_clip say of a model in the small files beside its weights, in the words of our configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from npconv.convert import side_files
from npconv.convert.side_files import account, fields_of
from npconv.errors import ConfigError, WeightsError
from npconv.files.disk import read_json
from npconv.messages import in_json, quoted
from npconv.models.configuration import LARGEST_CONFIG_FILE
from npconv.models.convnext.configuration import ADDED_FIELDS
from npconv.models.convnext.names import CLIP_PICTURES, TIMM_ARCHITECTURES
from npconv.models.naming import Decision, Reading

#: Where open_clip keeps what timm has in its ``config.json``.
OPEN_CLIP_FILE = "open_clip_config.json"

#: What a ``config.json`` says that transformers wrote for a model of timm.
WRAPPER = "timm_wrapper"

#: The data that weights are of, as older names of timm's models say it at their end.
_OLD_END = re.compile(r"(_384)?_in22(ft1)?k$")


@dataclass
class Stated:
    """What a side file of another library says."""

    #: As messages call it: ``"timm's config.json"``.
    file: str
    #: timm's name of the model, and which of its weights.
    architecture: str = ""
    tag: str = ""
    #: Of our configuration.
    fields: dict[str, Any] = field(default_factory=dict)
    #: Key -> what the tensors must not contradict, where it is no field of ours.
    checks: dict[str, Any] = field(default_factory=dict)
    #: Names of the classes, in their order or by their numbers; None if there are none.
    labels: Any = None
    #: How pictures are prepared, in the words of timm's ``pretrained_cfg``.
    pictures: dict[str, Any] = field(default_factory=dict)
    #: What is not known in it.
    decisions: list[Decision] = field(default_factory=list)

    @property
    def known_architecture(self) -> str | None:
        """The name by which this version knows the model; None if it does not."""
        name = _OLD_END.sub("", self.architecture)
        return name if name in TIMM_ARCHITECTURES else None

    def fields_for(self, found: Reading, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields for a family that has the fields `known`.

        Raises
        ------
        ConfigError
            If the file contradicts the tensors, or says what the family lacks.
        """
        self._refuse_contradictions(found)
        lacking = {name: value for name, value in self.fields.items() if name not in known}
        unusual = [name for name, value in lacking.items() if value != ADDED_FIELDS.get(name)]
        if unusual:
            name = unusual[0]
            raise ConfigError(
                f"{self.file} says {name} {in_json(self.fields[name])}, which a {found.family} does not have; "
                "give the path of the weights to convert without the file"
            )
        return {name: value for name, value in self.fields.items() if name not in lacking}

    def _refuse_contradictions(self, found: Reading) -> None:
        """Refuse what the tensors contradict."""
        there = {
            "classes": found.fields.get("num_labels") or None,
            "num_features": found.fields["hidden_sizes"][-1] if "hidden_sizes" in found.fields else None,
            "use_grn": found.family == "convnextv2",
        }
        for name, value in self.checks.items():
            if there[name] is not None and value != there[name]:
                raise ConfigError(
                    f"{self.file} says {name} {in_json(value)}, but the tensors say {in_json(there[name])}; "
                    "give the path of the weights to convert without the file"
                )


def is_of_timm(fields: Mapping[str, Any]) -> bool:
    """Say whether a ``config.json`` is timm's, or that of transformers around timm."""
    return fields.get("model_type", WRAPPER) == WRAPPER and isinstance(fields.get("architecture"), str)


def read_timm(content: Mapping[str, Any]) -> Stated:
    """Return what timm's ``config.json`` says.

    Raises
    ------
    ConfigError
        If it asks for what the models do not have, or is of no such form.
    """
    file = side_files.TIMM.file
    if "pretrained_cfg" in content:
        top, pretrained = content, _object(content, "pretrained_cfg", file)
    else:  # as timm wrote it at first, all in one
        top = {name: value for name, value in content.items() if name in side_files.TIMM.keys}
        pretrained = {name: value for name, value in content.items() if name not in top}
    arguments = _object(content, "model_args", file)
    objects = ((side_files.TIMM, top), (side_files.TIMM_PRETRAINED, pretrained), (side_files.TIMM_ARGUMENTS, arguments))
    stated = Stated(file, top["architecture"], pictures=dict(pretrained), labels=_labels(top, pretrained))
    for part, said in objects:
        stated.decisions += account(part, said)
    tag = pretrained.get("tag")
    stated.tag = tag if isinstance(tag, str) else ""
    stated.fields = {**_from_pictures(stated.pictures), **fields_of(side_files.TIMM_ARGUMENTS, arguments)}
    if "norm_eps" in arguments and arguments["norm_eps"] is None:  # not that of the name, but of timm's norms
        stated.fields["norm_eps"] = side_files.TIMM_EPS
    _add_pooling(stated, top)
    classes = next((said["num_classes"] for said in (arguments, top, pretrained) if "num_classes" in said), None)
    checks = {"classes": classes or None, "num_features": top.get("num_features"), "use_grn": arguments.get("use_grn")}
    stated.checks = {name: value for name, value in checks.items() if value is not None}
    return stated


def _add_pooling(stated: Stated, top: Mapping[str, Any]) -> None:
    """Add the pooling that the saved model had, which timm itself takes from ``model_args`` alone."""
    said = fields_of(side_files.TIMM, {"global_pool": top.get("global_pool")})
    if said and said["pooling"] != stated.fields.get("pooling", said["pooling"]):
        raise ConfigError(
            f"{stated.file} says global_pool {in_json(top['global_pool'])}, and in model_args another one; give the "
            "path of the weights to convert without the file, with --set pooling=..."
        )
    stated.fields |= said


def _from_pictures(pictures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the size of the pictures says, channels first."""
    size = pictures.get("input_size")
    if not isinstance(size, list) or len(size) != 3 or not all(type(side) is int and side > 0 for side in size):
        return {}
    return {"num_channels": size[0], "image_size": size[1] if size[1] == size[2] else size[1:]}


def _labels(*objects: Mapping[str, Any]) -> Any:
    """Return the names of the classes, from the first object that has any."""
    found = (said.get(key) for said in objects for key in ("label_names", "labels", "id2label"))
    return next((names for names in found if names), None)


def read_open_clip(content: Any) -> Stated:
    """Return what an ``open_clip_config.json`` says.

    Raises
    ------
    ConfigError
        If it asks for what the models do not have, or is of no such form.
    """
    file = side_files.OPEN_CLIP.file
    if not isinstance(content, Mapping):
        raise ConfigError(f"expected {file} to hold a JSON object, got {in_json(content)}")
    model, pictures = _object(content, "model_cfg", file), _object(content, "preprocess_cfg", file)
    vision = _object(model, "vision_cfg", f"{file}, model_cfg")
    name = vision.get("timm_model_name")
    stated = Stated(file, name if isinstance(name, str) else "")
    stated.decisions += account(side_files.OPEN_CLIP, content)
    stated.decisions += account(side_files.OPEN_CLIP_MODEL, model)
    for part, said in ((side_files.OPEN_CLIP_VISION, vision), (side_files.OPEN_CLIP_PICTURES, pictures)):
        stated.decisions += account(part, said)
    used = {key: value for key, value in vision.items() if (key, value) != ("timm_pool", "")}  # as the model has it
    stated.fields = fields_of(side_files.OPEN_CLIP_VISION, used)
    stated.pictures = dict(_open_clip_pictures(vision, pictures))
    stated.fields |= _from_pictures(stated.pictures)
    if model.get("embed_dim") is not None:
        stated.checks["classes"] = model["embed_dim"]
    return stated


def _open_clip_pictures(vision: Mapping[str, Any], pictures: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield how pictures are prepared, in timm's words."""
    part = side_files.OPEN_CLIP_PICTURES
    side_files.ours(part, "mode", pictures.get("mode", "RGB"))
    size = pictures.get("size") or vision.get("image_size") or 224
    yield "input_size", [3, *(size if isinstance(size, list) else [size, size])]
    yield "crop_pct", 1.0
    yield "crop_mode", side_files.ours(part, "resize_mode", pictures.get("resize_mode") or "shortest")
    yield "interpolation", pictures.get("interpolation") or "bicubic"
    yield "mean", pictures.get("mean") or CLIP_PICTURES["image_mean"]
    yield "std", pictures.get("std") or CLIP_PICTURES["image_std"]


def read_open_clip_file(folder: Path) -> Stated:
    """Return what the ``open_clip_config.json`` of a folder says.

    Raises
    ------
    ConfigError
        If it cannot be read, or as :func:`read_open_clip`.
    """
    path = folder / OPEN_CLIP_FILE
    try:
        content = read_json(path, most=LARGEST_CONFIG_FILE, exact=True)
    except WeightsError as error:
        raise ConfigError(f"{quoted(path)}: expected JSON, but it cannot be read: {error}") from error
    return read_open_clip(content)


def _object(content: Mapping[str, Any], name: str, file: str) -> Mapping[str, Any]:
    """Return an object in a JSON object; an empty one if it is not there or null."""
    value = content.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"expected {name} in {file} to be a JSON object, got {in_json(value)}")
    return value


def label_names(labels: Any, count: int) -> list[str] | None:
    """Return the names of the classes in their order; those that lack are called by their number.

    None if these are not names, or not for so many classes.
    """
    if isinstance(labels, list):
        fits = len(labels) == count and all(isinstance(name, str) for name in labels)
        return list(labels) if fits else None
    if not isinstance(labels, Mapping) or not all(isinstance(name, str) for name in labels.values()):
        return None
    numbers = {str(number) for number in range(count)}
    if not numbers >= labels.keys():
        return None
    return [labels.get(str(number), f"LABEL_{number}") for number in range(count)]
