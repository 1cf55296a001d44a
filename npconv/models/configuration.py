"""What the configurations of all families share: labels, outputs, files, and the checks of their fields."""

from __future__ import annotations

import copy
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from npconv.backend import dtype_name
from npconv.errors import (
    ConfigError,
    ConfigNotFoundError,
    ConfigUnreadableError,
    WeightsError,
    WeightsNotFoundError,
)
from npconv.files.disk import as_path, locate, read_json, write_file
from npconv.files.loading_arguments import USUAL_ORIGIN, Origin, refuse_unknown, sort_out
from npconv.files.saving_arguments import directory_to_write, refuse_upload
from npconv.files.strangers import what_is_in
from npconv.messages import meant, quoted, shown
from npconv.models.checks import (
    check_bool,
    check_list,
    check_names,
    check_text,
    label_names,
    label_numbers,
    value_like,
)

Self = TypeVar("Self", bound="PretrainedConfig")

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

#: Fields that configurations of transformers have and no model here asks for, with the values that are usual.
USUAL_FIELDS: dict[str, Any] = {
    "chunk_size_feed_forward": 0,
    "dtype": None,
    "is_encoder_decoder": False,
    "output_attentions": False,
    "transformers_version": None,
}

#: The two names of one field: files have the one or the other.
OTHER_NAMES = {"dtype": "torch_dtype", "torch_dtype": "dtype"}

#: Attributes that are no fields of a ``config.json``.
_NO_FIELDS = frozenset({"other_fields", "_loaded_from"})

#: A field of our own, true where the head is the projection of a CLIP model.
PROJECTION = "head_is_a_projection"

#: In bytes. No published one comes near it; it keeps a broken file from asking for terabytes.
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
        self.architectures = None if architectures is None else check_list("architectures", architectures, check_text)
        self.id2label = label_names(num_labels, id2label)
        self.label2id = label_numbers(label2id, self.id2label)
        kwargs.pop("model_type", None)
        self.other_fields = kwargs

    def __getattr__(self, name: str) -> Any:
        """Return a field that is not the family's own."""
        fields = self.__dict__.get("other_fields", {})
        other = OTHER_NAMES.get(name, name)
        if name in fields or other in fields:
            return fields[name if name in fields else other]
        if name in USUAL_FIELDS or other in USUAL_FIELDS:
            return USUAL_FIELDS.get(name, USUAL_FIELDS.get(other))
        if name == "_name_or_path":
            return self.name_or_path
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    @property
    def name_or_path(self) -> str:
        """What the model was loaded by; empty if it was not. It is written to no file."""
        return str(self.__dict__.get("_loaded_from") or self.other_fields.get("_name_or_path", ""))

    @name_or_path.setter
    def name_or_path(self, name: str | Path) -> None:
        self._loaded_from = str(name)

    @property
    def use_return_dict(self) -> bool:
        """The older name of ``return_dict``."""
        return self.return_dict

    @property
    def num_labels(self) -> int:
        """Number of classes. Setting another one gives them the names ``LABEL_0`` and so on."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if count != len(self.id2label):
            self.id2label = label_names(count, None)
            self.label2id = label_numbers(None, self.id2label)

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

    def first_stages(self: Self, count: int) -> Self | None:
        """Return the configuration of the model that ends after so many stages; None if transformers would not run it.

        So it is with CvT: its classifier there asks for a class token, which only the last stage has.
        """
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, unknown ones included, as plain values; of `added_fields`, those that are not usual."""
        usual = {name for name, value in self.added_fields.items() if vars(self)[name] == value}
        own = {name: value for name, value in vars(self).items() if name not in usual | _NO_FIELDS}
        others = dict(self.other_fields)
        for name in others.keys() & OTHER_NAMES.keys():  # a dtype of torch or NumPy by its name
            value = others[name]
            others[name] = value if value is None or isinstance(value, str) else dtype_name(value)
        return copy.deepcopy({**others, **own, "model_type": self.model_type})

    def to_diff_dict(self) -> dict[str, Any]:
        """Return the fields as :meth:`to_dict` does, without those that every configuration has at the same value."""
        usual = PretrainedConfig().to_dict()
        return {name: value for name, value in self.to_dict().items() if name not in usual or value != usual[name]}

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the configuration as sorted JSON, with the fields of :meth:`to_diff_dict` or of :meth:`to_dict`.

        Raises
        ------
        ConfigError
            If a field cannot be written, such as a callable ``hidden_act``.
        """
        fields = self.to_diff_dict() if use_diff else self.to_dict()
        for name, value in fields.items():
            if callable(value):
                raise ConfigError(
                    f"{name} is a callable and cannot be written to a file; use the name of an activation"
                )
        try:
            return json.dumps(fields, indent=2, sort_keys=True) + "\n"
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the configuration cannot be written as JSON: {error}") from error

    def save_pretrained(self, directory: str | Path | None = None, **arguments: Any) -> None:
        """Write ``config.json`` into a directory, which is made if it is not there.

        The arguments are those of :meth:`npconv.api.base.PreTrainedModel.save_pretrained`.

        Raises
        ------
        ConfigError
            If it cannot be written.
        """
        directory = directory_to_write(f"{type(self).__name__}.save_pretrained", directory, arguments)
        if directory is None:
            return
        self._write(Path(directory) / "config.json", f"{directory}: config.json", "directory", use_diff=False)

    def to_json_file(self, json_file_path: str | Path, use_diff: bool = True) -> None:
        """Write :meth:`to_json_string` to a file.

        Raises
        ------
        ConfigError
            If it cannot be written.
        """
        self._write(as_path(json_file_path), str(json_file_path), "path", use_diff=use_diff)

    def _write(self, path: Path, what: str, elsewhere: str, *, use_diff: bool) -> None:
        """Write a file, whose folder is made if it is not there; `what` and `elsewhere` are for the error."""
        text = self.to_json_string(use_diff)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, [text.encode()])
        except (OSError, WeightsError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{what} cannot be written: {reason}; give another {elsewhere}") from error

    push_to_hub = refuse_upload

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set several fields, all of them or none; they are checked as when the configuration was made.

        Raises
        ------
        ConfigError
            If the fields describe no model.
        """
        check_names(config_dict)
        followed = self.implied_fields | ({"label2id"} if "id2label" in config_dict else set())
        fields = {name: value for name, value in self.to_dict().items() if name not in followed}
        known = self.field_names()
        own = {name: value for name, value in config_dict.items() if name in known}
        others = {name: value for name, value in config_dict.items() if name not in known}
        changed = self.from_dict({**fields, **others}, **own)
        changed.name_or_path = self.name_or_path
        self.__dict__ = vars(changed)

    def update_from_string(self, update_str: str) -> None:
        """Set several fields, written as ``"drop_path_rate=0.1,image_size=384"``; text, numbers, true and false only.

        Raises
        ------
        ConfigError
            If a name is no field, or the fields describe no model.
        """
        changes: dict[str, Any] = {}
        check_text("update_str", update_str)
        for part in update_str.split(","):
            name, _, text = part.partition("=")
            if not hasattr(self, name):
                raise ConfigError(f"expected fields of a {type(self).__name__}, got {name!r}")
            changes[name] = value_like(name, text, getattr(self, name))
        self.update(changes)

    @classmethod
    def from_dict(cls: type[Self], fields: Mapping[str, Any], **overrides: Any) -> Self:
        """Make a configuration from the fields of a ``config.json``; `overrides` replace single fields.

        With ``return_unused_kwargs=True`` it returns a tuple: the configuration, and a dict of the overrides that are
        no fields, which are an error otherwise.

        Raises
        ------
        ConfigError
            If the fields describe no model of this family, or an override is no field.
        """
        check_names(fields)
        known = cls.known_fields(fields)
        if overrides.pop("return_unused_kwargs", False):
            unused = {name: overrides.pop(name) for name in [*overrides] if name not in known}
            return cls.from_dict(fields, **overrides), unused  # type: ignore[return-value]  # only if asked for
        unknown = [name for name in overrides if name not in known]
        if unknown:
            near = meant(unknown[0], sorted(cls.field_names()))
            raise ConfigError(f"expected fields of a {cls.__name__}, got {unknown[0]!r}{near}")
        model_type = fields.get("model_type", cls.model_type)
        if model_type != cls.model_type:
            raise ConfigError(f"expected model_type {cls.model_type!r}, got {shown(model_type)}; use AutoConfig")
        if _has_other_classes(fields, overrides):
            of_classes = ("num_labels", *_LABEL_FIELDS, PROJECTION)
            fields = {name: value for name, value in fields.items() if name not in of_classes}
        return cls(**{**fields, **overrides})

    @classmethod
    def from_json_file(cls: type[Self], json_file: str | Path) -> Self:
        """Read a configuration from a file of any name.

        Raises
        ------
        ConfigError
            If there is no such file, or it describes no model of this family.
        """
        return cls.from_dict(_read_fields(as_path(json_file)))

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the fields in the ``config.json`` of a model as they are, and the arguments that were left over."""
        origin, rest = sort_out(kwargs)
        return read_config_file(pretrained_model_name_or_path, origin), rest

    @classmethod
    @cache
    def field_names(cls) -> frozenset[str]:
        """Return the names of the fields that the class knows."""
        makers = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base) and base is not object]
        names = {name for maker in makers for name in inspect.signature(maker).parameters}
        return frozenset(names - {"self", "kwargs"})

    @classmethod
    def known_fields(cls, fields: Mapping[str, Any]) -> set[str]:
        """Return the names of fields that may be replaced: the class's, those of a file, those of every model."""
        return {*fields, *cls.field_names(), *USUAL_FIELDS}

    @classmethod
    def from_pretrained(cls: type[Self], model: str | Path | None = None, **arguments: Any) -> Self:
        """Read the ``config.json`` of a model, found by name, directory, file or hub id.

        Parameters
        ----------
        model : str or Path
        **arguments
            Fields to replace; where the file comes from, as in
            :meth:`npconv.api.base.PreTrainedModel.from_pretrained`; and ``return_unused_kwargs=True``, to be given a
            tuple of the configuration and a dict of the arguments that are neither.

        Raises
        ------
        NpconvError
            If there is no such model, it is of another family, or an argument is unknown.
        """
        model = arguments.pop("pretrained_model_name_or_path", model)
        origin, overrides = sort_out(arguments)
        fields = read_config_file(model, origin)
        return cls.from_file_fields(fields, overrides, f"{cls.__name__}.from_pretrained", model)

    @classmethod
    def from_file_fields(
        cls: type[Self], fields: Mapping[str, Any], overrides: Mapping[str, Any], maker: str, name: Any
    ) -> Self:
        """Make a configuration from the fields of a file of the model `name` and the arguments of the function `maker`.

        It returns a tuple where they say ``return_unused_kwargs=True``, as :meth:`from_dict` does.
        """
        overrides = dict(overrides)
        return_unused = overrides.pop("return_unused_kwargs", False)
        known = cls.known_fields(fields)
        unused = {other: overrides.pop(other) for other in [*overrides] if return_unused and other not in known}
        refuse_unknown(overrides, known, maker, f"a field of {cls.__name__}")
        if "dtype" in overrides:
            fields = {other: value for other, value in fields.items() if other != "torch_dtype"}
        config = cls.from_dict(fields, **overrides)
        config.name_or_path = name
        return (config, unused) if return_unused else config  # type: ignore[return-value]  # only if asked for

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        return {**vars(self), "_loaded_from": None} == {**vars(other), "_loaded_from": None}

    __hash__ = None  # type: ignore[assignment]  # fields may change

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from npconv.models.fields import config_note

        return config_note(self)

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.to_dict().items() if name not in ("model_type", *_LABEL_FIELDS)}
        fields = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"{type(self).__name__}({fields}, num_labels={self.num_labels})"


_LABEL_FIELDS = ("id2label", "label2id")


def _has_other_classes(fields: Mapping[str, Any], overrides: Mapping[str, Any]) -> bool:
    """Say whether what replaces some fields makes a model of other classes than theirs."""
    if overrides.get("id2label") is not None:
        return True
    count, names = overrides.get("num_labels"), fields.get("id2label")
    return count is not None and not (isinstance(names, Mapping) and len(names) == count)


def read_config_file(model: str | Path | None, origin: Origin = USUAL_ORIGIN) -> dict[str, Any]:
    """Return the fields of the ``config.json`` of a model, found by name, directory, file or hub id.

    Raises
    ------
    ConfigError
        If there is no such file or it holds no JSON object.
    ModelNotFoundError
        If no model has the name.
    """
    if isinstance(model, str | os.PathLike) and os.fspath(model).endswith(".json") and os.path.isfile(model):
        return _read_fields(Path(model))
    found = locate(model, origin)
    return read_config_in(found if found.is_dir() else found.parent)


def read_config_in(folder: Path) -> dict[str, Any]:
    """Return the fields of the ``config.json`` in a folder, as it is; a ConfigError if there is none."""
    path = folder / "config.json"
    if not os.path.lexists(path):
        if what := what_is_in(folder):
            raise ConfigError(f"{quoted(folder)} is {what}")
        raise ConfigNotFoundError(
            f"{path}: no such file; a model needs its config.json beside its weights. Weights without one: "
            "npconv convert FILE FOLDER"
        )
    return _read_fields(path)


def _read_fields(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; a ConfigError if it holds none."""
    try:
        fields = read_json(path, most=LARGEST_CONFIG_FILE, exact=True)
    except WeightsError as error:
        kind = ConfigNotFoundError if isinstance(error, WeightsNotFoundError) else ConfigUnreadableError
        raise kind(f"{path}: expected JSON, but it cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"{path}: expected a JSON object, got {type(fields).__name__}")
    return fields
