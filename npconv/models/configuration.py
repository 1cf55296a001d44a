"""What the configurations of all families share: labels, outputs, files, and the checks of their fields."""

from __future__ import annotations

import copy
import inspect
import json
import math
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from npconv.errors import ConfigError, InputError, WeightsError
from npconv.files.disk import locate, read_json, write_file
from npconv.files.strangers import what_is_in
from npconv.layers import activation
from npconv.messages import nearest, quoted, shown

Self = TypeVar("Self", bound="PretrainedConfig")

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

#: A field of our own, true where the head is the projection of a CLIP model.
PROJECTION = "head_is_a_projection"

#: Bounds of integer fields. No published model comes near them; they keep a broken file from asking for terabytes.
LARGEST_INTEGER = 1_000_000
MOST_LAYERS = 10_000
LARGEST_CONFIG_FILE = 16 * 2**20


class PretrainedConfig:
    """Base of the configurations.

    Each has ``stage_names`` as well: names of the maps that a model gives out as hidden states, in that order.

    Parameters
    ----------
    num_labels : int, optional
        Number of classes; 2 unless `id2label` says otherwise. 0 leaves the classifier out, 1 makes it a regression.
    id2label, label2id : dict, optional
        Names of the classes; ``LABEL_0`` and so on when unset.
    problem_type : str, optional
        ``"regression"``, ``"single_label_classification"`` or ``"multi_label_classification"``; chooses the loss.
        Inferred from the labels of each call when unset.
    output_hidden_states, return_dict : bool
        What a model returns when its call does not say.
    **kwargs
        Any other field is kept in ``other_fields``, can be read as an attribute and is written back.

    Raises
    ------
    ConfigError
        If a field has a value that describes no model.
    """

    model_type = ""

    #: Fields that transformers lacks, and the values by which the models are those of transformers. A ``config.json``
    #: has them only where they differ: transformers would keep them and compute without them.
    added_fields: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        /,
        *,
        num_labels: int | None = None,
        id2label: Mapping[Any, str] | None = None,
        label2id: Mapping[str, int] | None = None,
        problem_type: str | None = None,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        architectures: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if problem_type is not None and problem_type not in PROBLEM_TYPES:
            raise ConfigError(
                f"expected problem_type to be one of {', '.join(PROBLEM_TYPES)}; got {shown(problem_type)}"
            )
        self.problem_type = problem_type
        self.output_hidden_states = check_bool("output_hidden_states", output_hidden_states)
        self.return_dict = check_bool("return_dict", return_dict)
        self.architectures = None if architectures is None else check_list("architectures", architectures, _check_text)
        self.id2label = _label_names(num_labels, id2label)
        self.label2id = _label_numbers(label2id, self.id2label)
        kwargs.pop("model_type", None)
        self.other_fields = kwargs

    def __getattr__(self, name: str) -> Any:
        """Return a field that is not the family's own."""
        try:
            return self.__dict__["other_fields"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}") from None

    @property
    def num_labels(self) -> int:
        """Number of classes. Setting another one gives them the names ``LABEL_0`` and so on."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if count != len(self.id2label):
            self.id2label = _label_names(count, None)
            self.label2id = _label_numbers(None, self.id2label)

    @property
    def head_is_projection(self) -> bool:
        """Whether the head gives an embedding, as the projection of a CLIP model does, and no scores of classes.

        It is no field of transformers, where no such model is; another number of classes takes it away.
        """
        return bool(self.other_fields.get(PROJECTION, False))

    @property
    def implied_fields(self) -> set[str]:
        """Names of fields that say nothing of their own: they follow from the others."""
        return set()

    @property
    def first_values(self) -> dict[str, float]:
        """What parameters of some names begin with, by how the names end, where it is not what is usual."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, unknown ones included, as plain values; of `added_fields`, those that are not usual."""
        usual = {name for name, value in self.added_fields.items() if vars(self)[name] == value}
        own = {name: value for name, value in vars(self).items() if name not in usual | {"other_fields"}}
        return copy.deepcopy({**self.other_fields, **own, "model_type": self.model_type})

    def to_json_string(self) -> str:
        """Return the configuration as sorted JSON.

        Raises
        ------
        ConfigError
            If a field cannot be written, such as a callable ``hidden_act``.
        """
        fields = self.to_dict()
        for name, value in fields.items():
            if callable(value):
                raise ConfigError(
                    f"{name} is a callable and cannot be written to a file; use the name of an activation"
                )
        try:
            return json.dumps(fields, indent=2, sort_keys=True) + "\n"
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the configuration cannot be written as JSON: {error}") from error

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``config.json`` into a directory, which is made if it is not there.

        Raises
        ------
        ConfigError
            If it cannot be written.
        """
        text = self.to_json_string()
        try:
            Path(directory).mkdir(parents=True, exist_ok=True)
            write_file(Path(directory) / "config.json", [text.encode()])
        except (OSError, WeightsError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"{directory}: config.json cannot be written: {reason}; give another directory"
            ) from error

    @classmethod
    def from_dict(cls: type[Self], fields: Mapping[str, Any], **overrides: Any) -> Self:
        """Make a configuration from the fields of a ``config.json``; `overrides` replace single fields.

        Raises
        ------
        ConfigError
            If the fields describe no model of this family, or an override is no field.
        """
        unknown = [name for name in overrides if name not in fields and name not in cls.field_names()]
        if unknown:
            near = nearest(unknown[0], sorted(cls.field_names()))
            meant = f"; did you mean {near!r}?" if near else ""
            raise ConfigError(f"expected fields of a {cls.__name__}, got {unknown[0]!r}{meant}")
        model_type = fields.get("model_type", cls.model_type)
        if model_type != cls.model_type:
            raise ConfigError(f"expected model_type {cls.model_type!r}, got {shown(model_type)}; use AutoConfig")
        if "num_labels" in overrides:
            names = fields.get("id2label")
            if not isinstance(names, Mapping) or len(names) != overrides["num_labels"]:
                fields = {name: value for name, value in fields.items() if name not in (*_LABEL_FIELDS, PROJECTION)}
        return cls(**{**fields, **overrides})

    @classmethod
    def field_names(cls) -> set[str]:
        """Return the names of the fields that the class knows."""
        makers = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base) and base is not object]
        return {name for maker in makers for name in inspect.signature(maker).parameters} - {"self", "kwargs"}

    @classmethod
    def from_pretrained(cls: type[Self], model: str | Path, *, revision: str = "main", **overrides: Any) -> Self:
        """Read the ``config.json`` of a model, found by name, directory, file or hub id."""
        return cls.from_dict(read_config_file(model, revision=revision), **overrides)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # fields may change

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.to_dict().items() if name not in ("model_type", *_LABEL_FIELDS)}
        fields = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"{type(self).__name__}({fields}, num_labels={self.num_labels})"


_LABEL_FIELDS = ("id2label", "label2id")


def read_config_file(model: str | Path, *, revision: str = "main") -> dict[str, Any]:
    """Return the fields of the ``config.json`` of a model, found by name, directory, file or hub id.

    Raises
    ------
    ConfigError
        If there is no such file or it holds no JSON object.
    ModelNotFoundError
        If no model has the name.
    """
    found = locate(model, revision=revision)
    return read_config_in(found if found.is_dir() else found.parent)


def read_config_in(folder: Path) -> dict[str, Any]:
    """Return the fields of the ``config.json`` in a folder, as it is; a ConfigError if there is none."""
    path = folder / "config.json"
    if not os.path.lexists(path):
        if what := what_is_in(folder):
            raise ConfigError(f"{quoted(folder)} is {what}")
        raise ConfigError(
            f"{path}: no such file; a model needs its config.json beside its weights. Weights without one: "
            "npconv convert FILE FOLDER"
        )
    try:
        fields = read_json(path, most=LARGEST_CONFIG_FILE, exact=True)
    except WeightsError as error:
        raise ConfigError(f"{path}: expected JSON, but it cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"{path}: expected a JSON object, got {type(fields).__name__}")
    return fields


def _label_names(num_labels: int | None, id2label: Mapping[Any, str] | None) -> dict[int, str]:
    """Return the class names by index, from names if there are any, else from their number."""
    if id2label is None:
        count = check_int("num_labels", 2 if num_labels is None else num_labels, minimum=0)
        return {index: f"LABEL_{index}" for index in range(count)}
    try:
        names = {
            operator.index(int(index) if isinstance(index, str) else index): str(name)
            for index, name in id2label.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError("expected id2label to map class numbers to names, such as {0: 'cat'}") from error
    if len(names) != len(id2label) or sorted(names) != list(range(len(names))):
        raise ConfigError(f"expected id2label to number the classes from 0 to {len(names) - 1} without a gap")
    if num_labels is not None and num_labels != len(names):
        raise ConfigError(f"num_labels is {num_labels} but id2label names {len(names)} classes; give one of the two")
    return dict(sorted(names.items()))


def _label_numbers(label2id: Mapping[str, int] | None, id2label: dict[int, str]) -> dict[str, int]:
    """Return the class numbers by name."""
    if label2id is None or label2id == {}:
        return {name: index for index, name in id2label.items()}
    if not isinstance(label2id, Mapping):
        raise ConfigError("expected label2id to map names to class numbers, such as {'cat': 0}")
    return dict(label2id)


def _check_text(name: str, value: Any) -> str:
    """Return a text, or say what was expected."""
    if not isinstance(value, str):
        raise ConfigError(f"expected {name} to be text, got {shown(value)}")
    return value


def check_activation(hidden_act: str | Callable[[Any], Any]) -> str | Callable[[Any], Any]:
    """Return an activation's name or function, or say what was expected: here and not at the first call."""
    try:
        activation(hidden_act)
    except InputError as error:
        raise ConfigError(str(error)) from None
    return hidden_act


def check_int(name: str, value: Any, *, minimum: int, maximum: int = LARGEST_INTEGER) -> int:
    """Return an integer field, or say what was expected."""
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise ConfigError(f"expected {name} to be an integer from {minimum} to {maximum}, got {shown(value)}")
    return value


def check_float(name: str, value: Any, *, minimum: float, maximum: float = float("inf")) -> float:
    """Return a finite number field, or say what was expected."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or not minimum <= number <= maximum:
        raise ConfigError(f"expected {name} to be a number from {minimum:g} to {maximum:g}, got {shown(value)}")
    return value


def check_bool(name: str, value: Any) -> bool:
    """Return a true-or-false field (0 and 1 stand for them in old files), or say what was expected."""
    if not isinstance(value, bool | int) or value not in (0, 1):
        raise ConfigError(f"expected {name} to be true or false, got {shown(value)}")
    return bool(value)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return a field that has one of a few values, or say what was expected."""
    if isinstance(value, bool) or value not in choices:
        raise ConfigError(f"expected {name} to be one of {', '.join(map(str, choices))}; got {shown(value)}")
    return value


def check_size(name: str, value: Any) -> int | list[int]:
    """Return a size field, one number or (height, width), or say what was expected."""
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ConfigError(f"expected {name} to be an integer or a pair (height, width), got {shown(value)}")
        return [check_int(name, v, minimum=1) for v in value]
    return check_int(name, value, minimum=1)


def check_list(name: str, values: Any, check: Callable[[str, Any], Any]) -> list[Any]:
    """Return a list field with each entry checked, or say what was expected."""
    if not isinstance(values, list | tuple):
        raise ConfigError(f"expected {name} to be a list, got {shown(values)}")
    if len(values) > MOST_LAYERS:
        raise ConfigError(f"expected {name} to have at most {MOST_LAYERS} entries, got {len(values)}")
    return [check(f"{name}[{index}]", value) for index, value in enumerate(values)]


def check_depths(name: str, values: Any) -> list[int]:
    """Return the number of layers of each stage, or say what was expected."""
    depths = check_list(name, values, lambda entry, value: check_int(entry, value, minimum=0))
    if not depths or sum(depths) > MOST_LAYERS:
        raise ConfigError(
            f"expected {name} to name 1 to {MOST_LAYERS} layers in at least one stage, got {shown(values)}"
        )
    return depths
