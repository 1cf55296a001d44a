"""The configuration of a converted model: from the shapes, from the source's ``config.json``, from the caller."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from npconv.convert.dialects import Dialect, infer_config
from npconv.convert.labels import Labels, class_names
from npconv.convert.reading import read
from npconv.convert.source import Source
from npconv.errors import ConfigError
from npconv.messages import quoted
from npconv.models import find_family
from npconv.models.configuration import PretrainedConfig
from npconv.models.decisions import CONFIG_FILE, GIVEN, NOTE, WARNING, Decision, pinned
from npconv.models.dialects import Reading, shapes_by_our_names

#: Fields that are not passed on as they are: they follow from others, or from the tensors.
_OWN = ("model_type", "architectures", "id2label", "label2id", "num_labels", "stage_names", "transformers_version")

#: What transformers calls the dtype of the weights, now and before.
_DTYPES = ("dtype", "torch_dtype")


def make_config(
    source: Source, tensors: Mapping[str, Any], dialect: Dialect, labels: Labels | None, given: Mapping[str, Any]
) -> PretrainedConfig:
    """Return the configuration; what is decided is added to the decisions of `source`.

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
    found = read(tensors)
    family = find_family(found.family)
    _refuse_unknown(found, given)
    stated = _stated(source, found)
    _refuse_contradictions(found, stated, "config.json")
    _refuse_contradictions(found, given, "--set")
    usual = {name: value for name, value in stated.items() if name not in found.fields or value != found.fields[name]}
    usual = {name: value for name, value in usual.items() if name not in given}
    config, decisions = infer_config(tensors, dialect=dialect, **usual, **given)
    defaults = all_fields(family.config_class())
    for decision in decisions:
        if decision.field not in usual:
            source.decisions.append(decision)
        elif usual[decision.field] != defaults.get(decision.field):  # what is as everywhere is not worth a line
            value = all_fields(config)[decision.field]
            source.decisions.append(Decision(decision.field, value, CONFIG_FILE, NOTE, "config.json says so"))
    _add_classes(source, config, labels)
    more = {name: value for name, value in source.fields.items() if name not in (*stated, *_OWN, *_DTYPES)}
    config.other_fields.update(more)
    source.decisions += [Decision("", None, "transformers", WARNING, why) for why in _unlike_transformers(config)]
    return config


def _unlike_transformers(config: PretrainedConfig) -> Iterator[str]:
    """Yield why transformers would compute other numbers."""
    added = [name for name in config.added_fields if name in config.to_dict()]
    if added:
        yield (
            f"transformers does not know {', '.join(added)}: it would compute other numbers (it may load the file "
            "without an error)"
        )
    unlike = getattr(find_family(config.model_type).part("names"), "unlike_transformers", None)
    if unlike and (reason := unlike(config)):
        yield reason


def _stated(source: Source, found: Reading) -> dict[str, Any]:
    """Return the fields of the source's ``config.json`` that the family knows."""
    if not source.fields:
        return {}
    family = source.fields["model_type"]
    if family != found.family:
        raise ConfigError(f"config.json says model_type {pinned(family)}, but the tensors are those of {found.family}")
    config = find_family(found.family).config_class.from_dict(source.fields)
    classes = found.fields.get("num_labels", 0)
    if any(name in source.fields for name in ("id2label", "num_labels")) and classes not in (0, config.num_labels):
        raise ConfigError(f"config.json has {config.num_labels} classes, but the classifier has {classes}")
    known = {name: value for name, value in all_fields(config).items() if name not in config.other_fields}
    return {name: known[name] for name in source.fields if name in known and name not in (*_OWN, *_DTYPES)}


def all_fields(config: PretrainedConfig) -> dict[str, Any]:
    """Return the fields of a configuration, also those that its file leaves out where they are usual."""
    return {**config.added_fields, **config.to_dict()}


def _refuse_unknown(found: Reading, given: Mapping[str, Any]) -> None:
    """Refuse fields that the family does not have, or that only the tensors decide."""
    known = [name for name in all_fields(find_family(found.family).config_class()) if name not in _OWN]
    for name in given:
        if name in _OWN:
            raise ConfigError(f"{name} follows from the tensors and --labels; leave it out")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f": {', '.join(known)}"
            raise ConfigError(f"expected fields of a {found.family}, got {quoted(name)}{hint}")


def _refuse_contradictions(found: Reading, fields: Mapping[str, Any], where: str) -> None:
    """Refuse fields with which the model would have other shapes."""
    shapes = found.shapes()
    wrong = []
    for name, value in fields.items():
        if name not in found.fields or value == found.fields[name]:
            continue
        try:
            fits = found.shapes(**{name: value}) == shapes
        except ConfigError:
            fits = False
        if not fits:
            wrong.append(f"{name} {pinned(value)} (the tensors: {pinned(found.fields[name])})")
    if wrong:
        raise ConfigError(f"{where} contradicts the shapes of the tensors: {', '.join(wrong)}; leave these fields out")


def _add_classes(source: Source, config: PretrainedConfig, labels: Labels | None) -> None:
    """Name the classes."""
    count = config.num_labels
    stated = source.fields.get("id2label")
    if labels is not None:
        names = class_names(labels, count)
        config.id2label = dict(enumerate(names))
        config.label2id = {name: number for number, name in config.id2label.items()}
        source.decisions.append(Decision("labels", None, GIVEN, NOTE, f"{count} names, as given"))
    elif count and stated is not None:
        known = type(config).from_dict(source.fields)
        config.id2label, config.label2id = known.id2label, known.label2id
        source.decisions.append(Decision("labels", None, CONFIG_FILE, NOTE, f"{count} names, from config.json"))
    elif count:
        why = "the file has no names of classes; --labels takes them"
        source.decisions.append(Decision("labels", "LABEL_0 and so on", "", NOTE, why))


def check_fits(config: PretrainedConfig, tensors: Mapping[str, Any]) -> None:
    """Refuse a configuration whose model would have other parameters than the tensors.

    Raises
    ------
    ConfigError
        If it does, because a given field changes the shapes.
    """
    shapes = shapes_by_our_names(config, read(tensors).task)
    wrong = sorted(set(shapes.items()) ^ {(name, tuple(tensor.shape)) for name, tensor in tensors.items()})
    if wrong:
        name = wrong[0][0]
        there = tuple(tensors[name].shape) if name in tensors else "no such tensor"
        raise ConfigError(
            f"the fields given do not fit the tensors: {name} would be {shapes.get(name, 'absent')}, there is {there}; "
            "leave them out"
        )
