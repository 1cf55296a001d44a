"""The configuration of a converted model: from the shapes, from the source's ``config.json``, from the caller."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from npconv.convert.dialects import Dialect, infer_config
from npconv.convert.labels import Labels, class_names
from npconv.convert.source import Source, pinned
from npconv.convert.structure import CONFIGS, MODULES, Structure, structure
from npconv.errors import ConfigError
from npconv.messages import quoted
from npconv.models.configuration import PretrainedConfig
from npconv.models.convnext.configuration import ADDED_FIELDS

#: Fields that are not passed on as they are: they follow from others, or from the tensors.
_OWN = ("model_type", "architectures", "id2label", "label2id", "num_labels", "stage_names", "transformers_version")

#: What transformers calls the dtype of the weights, now and before.
_DTYPES = ("dtype", "torch_dtype")


def make_config(
    source: Source, tensors: Mapping[str, Any], dialect: Dialect, labels: Labels | None, given: Mapping[str, Any]
) -> PretrainedConfig:
    """Return the configuration; the sentences about it are added to the decisions of `source`.

    Parameters
    ----------
    source : Source
    tensors : mapping of str to array
        In the names of Hugging Face.
    dialect : Dialect
    labels : optional
        Names of the classes, as for `class_names`.
    given : mapping of str to object
        Fields from the caller; they win over ``config.json``, which wins over the tables.

    Raises
    ------
    WeightsError
        If a field is open.
    ConfigError
        If a field is none, describes no model or contradicts the shapes.
    InputError
        If the labels do not fit.
    """
    found = structure(tensors)
    _refuse_unknown(found, given)
    stated = _stated(source, found)
    _refuse_contradictions(found, stated, "config.json")
    _refuse_contradictions(found, given, "--set")
    usual = {name: value for name, value in stated.items() if name not in found.fields or value != found.fields[name]}
    usual = {name: value for name, value in usual.items() if name not in given}
    config, reasons = infer_config(tensors, dialect=dialect, **usual, **given)
    source.decisions += [_reason(reason, usual, config) for reason in reasons if _matters(reason, usual, config)]
    _add_classes(source, config, labels)
    more = {name: value for name, value in source.fields.items() if name not in (*stated, *_OWN, *_DTYPES)}
    config.other_fields.update(more)
    added = [name for name in ADDED_FIELDS if name in config.to_dict()]
    if added:
        source.decisions.append(
            f"warning: transformers does not know {', '.join(added)}: it would compute other numbers (it may load the "
            "file without an error)"
        )
    if dialect.name == "microsoft" and config.to_dict().get("hidden_act") == "quick_gelu":
        source.decisions.append(
            "warning: transformers computes every CvT with gelu, whatever hidden_act says; its logits differ from these"
        )
    return config


def _stated(source: Source, found: Structure) -> dict[str, Any]:
    """Return the fields of the source's ``config.json`` that the family knows."""
    if not source.fields:
        return {}
    family = source.fields["model_type"]
    if family != found.family:
        raise ConfigError(f"config.json says model_type {pinned(family)}, but the tensors are those of {found.family}")
    config = CONFIGS[found.family].from_dict(source.fields)
    classes = found.fields.get("num_labels", 0)
    if any(name in source.fields for name in ("id2label", "num_labels")) and classes not in (0, config.num_labels):
        raise ConfigError(f"config.json has {config.num_labels} classes, but the classifier has {classes}")
    known = {name: value for name, value in all_fields(config).items() if name not in config.other_fields}
    return {name: known[name] for name in source.fields if name in known and name not in (*_OWN, *_DTYPES)}


def all_fields(config: PretrainedConfig) -> dict[str, Any]:
    """Return the fields of a configuration, also those that its file leaves out at their default."""
    kept = {name: value for name, value in vars(config).items() if name[0] != "_" and name != "other_fields"}
    return {**kept, **config.to_dict()}


def _refuse_unknown(found: Structure, given: Mapping[str, Any]) -> None:
    """Refuse fields that the family does not have, or that only the tensors decide."""
    known = [name for name in all_fields(CONFIGS[found.family]()) if name not in _OWN]
    for name in given:
        if name in _OWN:
            raise ConfigError(f"{name} follows from the tensors and --labels; leave it out")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f": {', '.join(known)}"
            raise ConfigError(f"expected fields of a {found.family}, got {quoted(name)}{hint}")


def _refuse_contradictions(found: Structure, fields: Mapping[str, Any], where: str) -> None:
    """Refuse fields with which the model would have other shapes."""
    shapes = found.shapes()
    wrong = []
    for name, value in fields.items():
        if name not in found.fields or value == found.fields[name]:
            continue
        try:
            fits = dataclasses.replace(found, fields={**found.fields, name: value}).shapes() == shapes
        except ConfigError:
            fits = False
        if not fits:
            wrong.append(f"{name} {pinned(value)} (the tensors: {pinned(found.fields[name])})")
    if wrong:
        raise ConfigError(f"{where} contradicts the shapes of the tensors: {', '.join(wrong)}; leave these fields out")


def _matters(reason: str, stated: Mapping[str, Any], config: PretrainedConfig) -> bool:
    """Say whether a sentence is worth a line: a field of ``config.json`` only if it is not the family's default."""
    name = reason.split(" ", 1)[0]
    return name not in stated or stated[name] != all_fields(type(config)()).get(name)


def _reason(reason: str, stated: Mapping[str, Any], config: PretrainedConfig) -> str:
    """Return a sentence with where a value came from."""
    name = reason.split(" ", 1)[0]
    if name in stated:
        return f"{name} {pinned(all_fields(config)[name])}: config.json says so"
    return reason


def _add_classes(source: Source, config: PretrainedConfig, labels: Labels | None) -> None:
    """Name the classes."""
    count = config.num_labels
    stated = source.fields.get("id2label")
    if labels is not None:
        names = class_names(labels, count)
        config.id2label = dict(enumerate(names))
        config.label2id = {name: number for number, name in config.id2label.items()}
        source.decisions.append(f"labels: {count} names, as given")
    elif count and stated is not None:
        known = type(config).from_dict(source.fields)
        config.id2label, config.label2id = known.id2label, known.label2id
        source.decisions.append(f"labels: {count} names, from config.json")
    elif count:
        source.decisions.append("labels LABEL_0 and so on: the file has no names of classes; --labels takes them")


def set_dtype(config: PretrainedConfig, dtype: str) -> None:
    """Say in the configuration what the weights are stored in, as transformers does."""
    config.other_fields["dtype"] = dtype


def check_fits(config: PretrainedConfig, tensors: Mapping[str, Any]) -> None:
    """Refuse a configuration whose model would have other parameters than the tensors.

    Raises
    ------
    ConfigError
        If it does, because a given field changes the shapes.
    """
    found = structure(tensors)
    module: Any = MODULES[found.family]
    shapes = getattr(module, f"{found.task}_shapes")(config)
    if found.task != "image_classification":
        own = "hidden_states_norms."
        shapes = {name if name.startswith(own) else f"{found.family}.{name}": shape for name, shape in shapes.items()}
    wrong = sorted(set(shapes.items()) ^ {(name, tuple(tensor.shape)) for name, tensor in tensors.items()})
    if wrong:
        name = wrong[0][0]
        there = tuple(tensors[name].shape) if name in tensors else "no such tensor"
        raise ConfigError(
            f"the fields given do not fit the tensors: {name} would be {shapes.get(name, 'absent')}, there is {there}; "
            "leave them out"
        )
