"""What a weight file is: container, dialect, configuration, and what its numbers look like."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npconv.convert.configuring import make_config
from npconv.convert.dialects import tables
from npconv.convert.source import Source, open_source, translate
from npconv.errors import NpconvError, WeightsError
from npconv.files.dtypes import DeferredArray
from npconv.models import find_family
from npconv.models.naming import Decision
from npconv.models.parameters import is_buffer
from npconv.models.publishing import find_architecture

_NUMBER = re.compile(r"(?<![A-Za-z0-9])\d+(?![A-Za-z0-9])")


@dataclass
class Kind:
    """The numbers of all tensors whose names differ in nothing but numbers; without NaN and infinities."""

    name: str
    tensors: int = 0
    values: int = 0
    least: float = math.inf
    most: float = -math.inf
    mean_abs: float = 0.0


@dataclass
class Inspection:
    """What was found.

    Attributes
    ----------
    path : str
    bytes : int
        Of all files.
    container : str
    wrapping : str
        Where the tensors were, empty if not wrapped.
    other_wrappings : dict of str to int
        Other places with tensors, and how many.
    not_tensors : list of (str, str)
        What else is in the file: where, and what.
    dialect, prefix, family : str
        Empty if no dialect is known.
    name : str
        Of the model, if the files say it.
    configuration : dict
        As far as it is known; without the names of the classes.
    decisions : list of Decision
        Why.
    problems : list of NpconvError
        Why there is no dialect, no model or no configuration; what is not finite.
    dtypes : dict of str to int
        Values by the dtype that they are stored in.
    parameters : int
        Without stored statistics.
    kinds : list of Kind
    not_finite : dict of str to int
        Tensors with NaN or infinities, and how many.
    left_behind : list of str
        Tensors that are no part of the model.
    tensors : dict of str to (str, list of int)
        Dtype and shape of every tensor, by its name in the file.
    licence : str
        Under which the weights of this architecture were published; empty if not known.
    """

    path: str
    bytes: int
    container: str
    wrapping: str
    other_wrappings: dict[str, int]
    not_tensors: list[tuple[str, str]]
    dialect: str = ""
    prefix: str = ""
    family: str = ""
    name: str = ""
    configuration: dict[str, Any] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    problems: list[NpconvError] = field(default_factory=list)
    dtypes: dict[str, int] = field(default_factory=dict)
    parameters: int = 0
    kinds: list[Kind] = field(default_factory=list)
    not_finite: dict[str, int] = field(default_factory=dict)
    left_behind: list[str] = field(default_factory=list)
    tensors: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    licence: str = ""


def inspect(
    path: str | os.PathLike[str],
    *,
    wrapping: str | None = None,
    prefix: str | None = None,
    leave: Sequence[str] = (),
    **config_fields: Any,
) -> Inspection:
    """Describe a file of weights, an index or a folder; also one that is of no known dialect.

    Parameters
    ----------
    path : str or path
    wrapping : str, optional
        Which of several state dicts to look at.
    prefix, leave
        As in `convert`.
    **config_fields
        Fields of the configuration that the shapes leave open.

    Raises
    ------
    NpconvError
        If the file cannot be read at all.
    """
    source = open_source(path, wrapping, model_type=config_fields.pop("model_type", ""), prefix=prefix, leave=leave)
    opened = source.opened
    found = Inspection(
        path=str(path),
        bytes=sum(file.stat().st_size for file in source.files),
        container=opened.container,
        wrapping=opened.taken,
        other_wrappings=dict(opened.others),
        not_tensors=list(opened.skipped),
        name=source.name,
        tensors={name: (tensor.stored, list(tensor.shape)) for name, tensor in source.theirs.items()},
    )
    tensors = _understand(found, source, config_fields)
    _count(found, tensors)
    found.decisions = source.decisions
    if found.not_finite:
        found.problems.append(WeightsError(f"{sum(found.not_finite.values())} values are NaN or infinite"))
    return found


def _understand(found: Inspection, source: Source, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fill in dialect and configuration, or why there is none; return the tensors in the names that are known."""
    try:
        dialect, ours = translate(source)
    except NpconvError as error:
        found.problems.append(error)
        return source.theirs
    found.dialect, found.prefix, found.family = dialect.name, dialect.prefix, dialect.family
    found.left_behind = sorted(source.left)
    try:
        config = make_config(source, ours, dialect, None, given)
    except NpconvError as error:
        found.problems.append(error)
        return ours
    fields = config.to_dict()
    found.configuration = {name: value for name, value in fields.items() if name not in ("id2label", "label2id")}
    found.configuration["num_labels"] = config.num_labels
    is_published = find_architecture(dialect.family, fields) is not None
    found.licence = licence_note(dialect.family, dialect.name, is_published) or ""
    return ours


def licence_note(family: str, dialect: str, is_published: bool) -> str | None:
    """Return under which licence the weights of an architecture were published; None if it is not published.

    Weights of the same shape may come from anyone: what a certain file may be used for, only its source says.
    """
    if not is_published:
        return None
    own = next((table.licence for table in tables(family) if table.name == dialect), "")
    return own or find_family(family).part("published").LICENCE


def _count(found: Inspection, tensors: Mapping[str, Any]) -> None:
    """Look at all numbers, one tensor at a time."""
    kinds: dict[str, Kind] = {}
    for name, tensor in tensors.items():
        stored = tensor.stored if isinstance(tensor, DeferredArray) else "implied"
        found.dtypes[stored] = found.dtypes.get(stored, 0) + tensor.size
        found.parameters += 0 if is_buffer(name) else tensor.size
        kind = kinds.setdefault(kind_name := _NUMBER.sub("*", name), Kind(kind_name))
        kind.tensors += 1
        values = np.asarray(tensor)
        if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
            found.not_finite[name] = int(values.size - np.count_nonzero(finite))
            values = values[finite]
        if values.size:
            kind.least = min(kind.least, float(values.min()))
            kind.most = max(kind.most, float(values.max()))
            kind.mean_abs += float(np.abs(values).sum(dtype=np.float64))
            kind.values += values.size
    for kind in kinds.values():
        kind.mean_abs = kind.mean_abs / kind.values if kind.values else 0.0
    found.kinds = list(kinds.values())
