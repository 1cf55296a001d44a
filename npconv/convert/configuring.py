"""The configuration of a converted model, its classes: from the shapes, from a ``config.json``, from the caller."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from npconv.convert.dialects import Dialect, tables
from npconv.convert.side_files import account, hugging_face_part
from npconv.convert.source import Source
from npconv.convert.stated import Stated, label_names
from npconv.convert.translate import check_complete, read
from npconv.errors import ConfigError, InputError, WeightsError
from npconv.files.disk import map_file, parse_json
from npconv.messages import in_json, nearest, quoted
from npconv.models import find_family
from npconv.models.configuration import PretrainedConfig
from npconv.models.naming import (
    CONFIG_FILE,
    GIVEN,
    NOTE,
    SHAPES,
    WARNING,
    Decision,
    Reading,
    Unusual,
    shapes_by_our_names,
)
from npconv.models.publishing import find_architecture, size_fields


class OpenFieldsError(WeightsError):
    """Fields that the numbers of a model depend on and that nothing decides.

    Parameters
    ----------
    fields : mapping of str to tuple
        Their names -> values that may be given, as examples.
    why : str
        Why nothing else decides them.
    """

    def __init__(self, fields: Mapping[str, tuple[Any, ...]], why: str) -> None:
        self.fields, self.why = dict(fields), why
        super().__init__(self.text(lambda name, value: f"{name}={value}"))

    def text(self, give: Callable[[str, Any], str]) -> str:
        """Return the message, with the words by which a value is given as `give` returns them."""
        examples = (" or ".join(give(name, value) for value in values) for name, values in self.fields.items())
        return f"{', '.join(self.fields)}: not in the shapes, and {self.why}; give {' and '.join(examples)}"


def infer_config(
    tensors: Mapping[str, Any], *, dialect: Dialect | None = None, stated: Stated | None = None, **given: Any
) -> tuple[PretrainedConfig, list[Decision]]:
    """Return the configuration of a model and what was decided.

    Parameters
    ----------
    tensors : mapping of str to array
        In the names of Hugging Face; only names and shapes are looked at.
    dialect : Dialect, optional
        Where they came from, which decides the activation and the epsilon; Hugging Face when unset.
    stated : Stated, optional
        What a file of that library says of the model: its name decides these, too.
    **given
        Fields of the configuration, instead of what is found. Shapes do not show ``hidden_act`` nor ``norm_eps``, which
        are those of the published models; ``layer_norm_eps`` follows ``norm_eps`` where the dialect has one for both.

    Raises
    ------
    WeightsError
        If the tensors make no model, or leave a field open (OpenFieldsError).
    ConfigError
        If a given field is none, or its value describes no model.
    """
    found = read(tensors)
    check_complete(tensors, found)
    family = find_family(found.family)
    if dialect is None:
        dialect = Dialect(next(table for table in tables(found.family) if table.name == "huggingface"), found.family)
    unseen = [*_numbers(dialect, found, given, stated), *_published(found)]
    unseen.append(_decided("architectures", [family.class_names[found.task]], SHAPES, "the parameters that are there"))
    fields = found.fields | {decision.field: decision.value for decision in unseen}
    decisions = [*found.decisions, *unseen, *_implied(dialect)]
    decisions = [decision for decision in decisions if decision.field not in given]
    decisions += [_decided(name, value, GIVEN, "given") for name, value in given.items()]
    lacking = {name: values for name, values in found.open_fields.items() if name not in {**fields, **given}}
    if lacking:
        size = " with ".join(f"{name} {value}" for name, value in size_fields(found.family, found.fields).items())
        raise OpenFieldsError(lacking, f"{size} are not those of a published model")
    return family.config_class.from_dict(fields, **given), decisions


def _decided(field: str, value: Any, source: str, reason: str) -> Decision:
    return Decision(field, value, source, NOTE, reason)


def _numbers(dialect: Dialect, found: Reading, given: Mapping[str, Any], stated: Stated | None) -> Iterator[Decision]:
    """Yield the activation and the epsilons, which belong to the code that trained."""
    table, usual = dialect.table, f"what {dialect.name} computes with"
    unusual = next((e for e in table.exceptions if e.fits(found)), None)
    named = None if stated is None else table.architectures.get(stated.known_architecture or "")
    if stated is not None and named is not None:
        unusual = Unusual(f"{stated.architecture}, as {stated.file} calls it", {}, named)
    numbers = {**table.numbers, **(unusual.numbers if unusual else {})}
    numbers |= {name: value for name, value in given.items() if name in numbers}
    numbers = {name: value for name, value in numbers.items() if name not in found.fields}
    if table.output_stride and dilates(found, table.output_stride):
        why = f"{usual} unless told otherwise: stages after so large a patch keep the size of the map"
        yield _decided("output_stride", table.output_stride, dialect.name, why)
    for name, value in numbers.items():
        if name in table.follows:
            leader = table.follows[name]
            yield _decided(
                name, numbers[leader], dialect.name, f"{leader}, which {dialect.name} has for all LayerNorms"
            )
        elif unusual:
            yield _decided(name, value, unusual.name, f"not in the shapes; that of {unusual.name}")
        elif table.are_options:
            why = f"{usual} unless told otherwise; if it was, --set {name}=... says so"
            yield _decided(name, value, dialect.name, why)
        else:
            yield _decided(name, value, dialect.name, usual)


def dilates(found: Reading, output_stride: int) -> bool:
    """Say whether some stage would not halve the map."""
    config = find_family(found.family).config_class(
        **{**found.stand_ins, **found.fields, "output_stride": output_stride}
    )
    return any(apart > 1 for apart in config.stage_dilations)


def _published(found: Reading) -> Iterator[Decision]:
    """Yield the size of the pictures, on which no number of the model depends, and what else shapes do not show."""
    published = find_architecture(found.family, found.fields)
    if published is None:
        yield _decided("image_size", 224, "", "not in the shapes; no published model has these depths and widths")
        return
    for name, value in published.fields.items():
        yield _decided(name, value, published.name, f"not in the shapes; that of {published.name}")


def _implied(dialect: Dialect) -> Iterator[Decision]:
    """Yield the parameters that the dialect does not store."""
    for pattern, implied in dialect.implied:
        if not implied.droppable:
            why = f"{implied.value} where the file has none, as {dialect.name} does not store it"
            yield _decided(pattern.text, None, dialect.name, why)


#: Fields that are not passed on as they are: they follow from others, or from the tensors.
_OWN = ("model_type", "architectures", "id2label", "label2id", "num_labels", "stage_names", "transformers_version")

#: What transformers calls the dtype of the weights, now and before.
_DTYPES = ("dtype", "torch_dtype")


def make_config(
    source: Source, tensors: Mapping[str, Any], dialect: Dialect, labels: Labels | None, given: Mapping[str, Any]
) -> PretrainedConfig:
    """Return the configuration of tensors in our names; adds what is decided to the decisions of `source`.

    Fields that are `given` win over ``config.json``, which wins over the tables.

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
    where = CONFIG_FILE if source.stated is None else source.stated.file
    _refuse_contradictions(found, stated, where)
    _refuse_contradictions(found, given, "--set")
    usual = {name: value for name, value in stated.items() if name not in found.fields or value != found.fields[name]}
    usual = {name: value for name, value in usual.items() if name not in given}
    config, decisions = infer_config(tensors, dialect=dialect, stated=source.stated, **usual, **given)
    defaults = all_fields(family.config_class())
    for decision in decisions:
        if decision.field not in usual:
            source.decisions.append(decision)
        elif usual[decision.field] != defaults.get(decision.field):  # what is as everywhere is not worth a line
            value = all_fields(config)[decision.field]
            source.decisions.append(Decision(decision.field, value, CONFIG_FILE, NOTE, f"{where} says so"))
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
    if source.stated is not None:
        _note_the_architecture(source)
        return source.stated.fields_for(found, all_fields(find_family(found.family).config_class()))
    if not source.fields:
        return {}
    family = source.fields["model_type"]
    if family != found.family:
        raise ConfigError(f"config.json says model_type {in_json(family)}, but the tensors are those of {found.family}")
    source.decisions += account(hugging_face_part(found.family), source.fields)
    config = find_family(found.family).config_class.from_dict(source.fields)
    classes = found.fields.get("num_labels", 0)
    if any(name in source.fields for name in ("id2label", "num_labels")) and classes not in (0, config.num_labels):
        raise ConfigError(f"config.json has {config.num_labels} classes, but the classifier has {classes}")
    known = {name: value for name, value in all_fields(config).items() if name not in config.other_fields}
    return {name: known[name] for name in source.fields if name in known and name not in (*_OWN, *_DTYPES)}


def _note_the_architecture(source: Source) -> None:
    """Say so where the name of the model is not known, with which other numbers might go."""
    stated = source.stated
    if stated is not None and stated.architecture and stated.known_architecture is None:
        why = (
            f"{stated.file} names an architecture that is not known, {quoted(stated.architecture)}: epsilons and "
            "activation are those that its shapes suggest; --set norm_eps=... and hidden_act=... say otherwise"
        )
        source.note("", None, stated.file, why, WARNING)


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
            near = nearest(name, known)
            meant = f"; did you mean {near}?" if near else f": {', '.join(known)}"
            raise ConfigError(f"expected fields of a {found.family}, got {quoted(name)}{meant}")


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
            wrong.append(f"{name} {in_json(value)} (the tensors: {in_json(found.fields[name])})")
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
    elif count and source.stated is not None and source.stated.labels is not None:
        _add_stated_classes(source.stated, config)
        source.note("labels", None, CONFIG_FILE, f"{count} names, from {source.stated.file}")
    elif count and stated is not None:
        known = type(config).from_dict(source.fields)
        config.id2label, config.label2id = known.id2label, known.label2id
        source.decisions.append(Decision("labels", None, CONFIG_FILE, NOTE, f"{count} names, from config.json"))
    elif count and "image_classification" in find_family(config.model_type).tasks:
        why = "the file has no names of classes; --labels takes them"
        source.decisions.append(Decision("labels", "LABEL_0 and so on", "", NOTE, why))


def _add_stated_classes(stated: Stated, config: PretrainedConfig) -> None:
    """Name the classes as a file of another library does."""
    names = label_names(stated.labels, config.num_labels)
    if names is None:
        raise ConfigError(
            f"expected names of {config.num_labels} classes in {stated.file}, as many as the classifier has, got "
            f"{in_json(stated.labels)}; --labels takes others"
        )
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in config.id2label.items()}


def check_fits(config: PretrainedConfig, tensors: Mapping[str, Any]) -> None:
    """Raise a ConfigError if the model would have other parameters than the tensors, because of a given field."""
    shapes = shapes_by_our_names(config, read(tensors).task)
    wrong = sorted(set(shapes.items()) ^ {(name, tuple(tensor.shape)) for name, tensor in tensors.items()})
    if wrong:
        name = wrong[0][0]
        there = tuple(tensors[name].shape) if name in tensors else "no such tensor"
        raise ConfigError(
            f"the fields given do not fit the tensors: {name} would be {shapes.get(name, 'absent')}, there is {there}; "
            "leave them out"
        )


#: The names of ImageNet-22k take a twentieth.
LARGEST_LABELS = 10_000_000

Labels = str | os.PathLike[str] | Sequence[str] | Mapping[Any, str]


def class_names(labels: Labels, count: int) -> list[str]:
    """Return the names of the classes, in their order.

    `labels` are names in the order of the classes, class number -> name, or name -> class number; or a file with one of
    these as JSON, or with one name a line.

    Raises
    ------
    InputError
        If these are not names, or not as many as there are classes.
    """
    named = isinstance(labels, str | os.PathLike)
    where = quoted(labels) if named else "the labels"
    names = _as_list(_read(Path(labels)) if named else labels, where)  # type: ignore[arg-type]
    if not count:
        raise InputError(f"{where}: the model has no classifier, so that it has no use for names; leave --labels out")
    if len(names) != count:
        raise InputError(f"expected {count} names of classes, as many as the classifier has; {where} has {len(names)}")
    return names


def _as_list(content: Any, where: str) -> list[str]:
    """Return names in order, whichever way they are numbered."""
    if isinstance(content, Mapping):
        pairs = list(content.items())
        if all(type(value) is int for value in content.values()):  # turned round, as label2id of transformers is
            pairs = [(number, name) for name, number in pairs]
        try:
            numbered = {int(number): name for number, name in pairs}
        except (TypeError, ValueError):
            numbered = {}
        if len(numbered) != len(pairs) or sorted(numbered) != list(range(len(numbered))):
            raise InputError(f'expected {where} to number the classes from 0 without a gap, as in {{"0": "cat"}}')
        content = [numbered[number] for number in range(len(numbered))]
    names = list(content) if isinstance(content, list | tuple) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"expected {where} to be a list of names, or a dict of numbers and names")
    return names


def _read(path: Path) -> Any:
    """Return what a file holds: JSON, or a list of its lines."""
    try:
        data = map_file(path)
        if len(data) > LARGEST_LABELS:
            raise InputError(
                f"expected at most {LARGEST_LABELS:,} bytes of names of classes, {quoted(path)} has {len(data):,}"
            )
        text = str(data, "utf-8-sig")
    except WeightsError as error:
        raise InputError(f"--labels: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"expected {quoted(path)} to be text in UTF-8: {error}") from error
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return parse_json(text, "the text", most=LARGEST_LABELS)
        except WeightsError as error:
            raise InputError(f"{quoted(path)} begins as JSON, but cannot be read: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        del lines[-1]
    if "" in lines:
        raise InputError(f"expected one name a line in {quoted(path)}, but line {lines.index('') + 1} is empty")
    return lines
