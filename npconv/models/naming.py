"""What the ``names.py`` of a family is made of: names and layouts of its parameters in other libraries, what they say.

A ``names.py`` holds

- ``TABLES``: a :class:`Table` for each dialect, a way of another library to name the parameters. Of two that fit a file
  equally well the first is taken, so that the more special one comes first; between families, the one listed first in
  ``npconv.models.FAMILIES``, unless the files or the caller say which.
- ``SIGN``: what at least one of *our* names begins with, in every model of the family and in no other: ``"convnext."``.
- ``PREFIX``: what our names have before those of the bare model's parameters (``model_shapes``). Our names are those of
  a checkpoint of Hugging Face.
- ``WORDS``: words in the name of a model (``"timm/convnext_tiny.dinov3_lvd1689m"``) that say that it is of this family
  where names of tensors do not.
- ``read(shapes)``: the :class:`Reading` of a model's parameters, given as our name -> shape.
- if need be ``unlike_transformers(config)``: why transformers would compute other numbers, beside fields that it lacks
  (``added_fields``); an empty text if it computes the same.

In a name of a table ``{i}`` is a stage, ``{n}`` a stage that is not the first, ``{j}`` a block, ``{i+1}``, ``{2i+1}``,
``{2n}`` and ``{n-1}`` such numbers; ``{word}`` any word. ``{p}`` is what stands before every name of a file
(``convnext.``, ``module.``, ``visual.trunk.``), ``{w}`` the same without the model's own name, ``{m}`` the
``model_type``. Other words in braces are spellings that the table lists. A layout is a name of
``npconv.convert.dialects.LAYOUTS``; one that begins with ``@`` is one of several, which the shapes in the file decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from npconv.errors import WeightsError
from npconv.messages import hint, in_json, quoted
from npconv.models import find_family
from npconv.models.parameters import Shapes

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Rule:
    """One kind of tensor: their name, our name, the layout."""

    theirs: str
    ours: str
    layout: str = "same"


@dataclass(frozen=True)
class Implied:
    """A parameter of ours that a dialect does not store, and its constant value."""

    ours: str
    value: int
    #: Whether it may be left out whatever its value, because no output depends on it.
    droppable: bool = False


@dataclass(frozen=True)
class Refused:
    """A sign that a file is of an architecture which the models do not have."""

    #: The option of the other library that asks for it, and what that is.
    option: str
    meaning: str
    #: A tensor that our files have and this one lacks, or one that ours lack.
    lacking: str = ""
    present: str = ""
    #: What to convert in its place.
    instead: str = "without this option"


@dataclass(frozen=True)
class Unusual:
    """A model of another library that computes with other numbers than its others, which no shape shows."""

    name: str
    #: The fields by which it is known; None for one that has its default.
    shape: Mapping[str, Any]
    numbers: Mapping[str, Any]
    #: Fields that its shapes leave open.
    open_fields: tuple[str, ...] = ()

    def fits(self, found: Reading) -> bool:
        """Say whether a model of these names and shapes is of this kind."""
        is_open = all(name in found.open_fields for name in self.open_fields)
        return is_open and all(found.fields.get(name) == value for name, value in self.shape.items())


@dataclass(frozen=True)
class Table:
    """One dialect of a family."""

    name: str
    #: The tensor that every file of the dialect has.
    first: str
    rules: tuple[Rule, ...]
    spellings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    layouts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Spellings that end in a number which the file decides -> the names of the file that show one, as a regular
    #: expression with the spelling as its group.
    open_spellings: dict[str, str] = field(default_factory=dict)
    implied: tuple[Implied, ...] = ()
    #: Tensors of the file that belong to something else: a text tower, a decoder.
    skipped: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()
    #: The ``output_stride`` that the library builds models for unless told otherwise; None if it knows none.
    output_stride: int | None = None
    #: Fields that no shape shows and the library's code decides.
    numbers: Mapping[str, Any] = field(default_factory=lambda: {"hidden_act": "gelu", "layer_norm_eps": 1e-6})
    #: Whether they are options of that code, so that a model may have others.
    are_options: bool = False
    exceptions: tuple[Unusual, ...] = ()
    #: Names of the library for its models -> the numbers of each that are not the usual ones.
    architectures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Fields that have the value of another one in that code.
    follows: Mapping[str, str] = field(default_factory=dict)
    #: What the library itself writes before its names.
    prefix: str = ""
    #: Tensors by our names, model type -> the spellings and layouts that the library would write, if not the first.
    written: Callable[[Mapping[str, Any], str], dict[str, str]] = lambda tensors, model_type: {}
    #: What is guessed where a file has no classifier.
    without_classifier: str = ""
    #: Whether the head is a projection, which gives an embedding and no scores of classes.
    projects: bool = False
    #: Settings of the image processor that models of this dialect usually have, if not those of ImageNet.
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    #: Under which the library publishes weights, if not under the family's.
    licence: str = ""


def both(theirs: str, ours: str, weight: str = "same", bias: str = "same") -> tuple[Rule, Rule]:
    """Return the rules of a weight and a bias."""
    return Rule(f"{theirs}.weight", f"{ours}.weight", weight), Rule(f"{theirs}.bias", f"{ours}.bias", bias)


def batch_norm(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Return the rules of a batch norm."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return *both(theirs, ours), *(Rule(f"{theirs}.{name}", f"{ours}.{name}") for name in statistics)


def head_at(name: str, where: str = "{p}", inside: str = "") -> dict[str, Any]:
    """Return the spellings of a classifier's name: it may be the last one of several modules.

    Such as ``nn.Sequential(nn.Dropout(), nn.Linear(...))``, whose modules are numbered `inside` something.
    """
    pattern = rf"{where}({re.escape(inside or name)}\.\d{{1,2}})\.weight"
    return {"spellings": {"{head}": (name,)}, "open_spellings": {"{head}": pattern}}


#: A decision that the files settle; one that nothing settles; one that may surprise.
NOTE, GUESS, WARNING = "note", "guess", "warning"

#: Sources: names and shapes, the folder's configuration, the caller. Others are the name of a library or of a file.
SHAPES, CONFIG_FILE, GIVEN = "shapes", "config.json", "given"


@dataclass(frozen=True)
class Decision:
    """One decision."""

    #: What is decided: a field of the configuration (``"depths"``), or ``"dialect"``, ``"dtype"`` and the like. Empty
    #: for an observation, which `reason` tells completely.
    field: str
    #: None where `reason` says more than a value could.
    value: Any
    #: What decided: ``"shapes"``, ``"config.json"``, ``"given"``, the name of a dialect, of a library.
    source: str
    #: ``"note"``, ``"guess"`` or ``"warning"``.
    level: str
    #: Why, for people.
    reason: str

    def __str__(self) -> str:
        return _sentence([self])


def lines(decisions: Iterable[Decision]) -> list[str]:
    """Return a line of text for each decision; one for all fields that the same shapes decide."""
    groups = [[decision for _, decision in group] for _, group in groupby(enumerate(decisions), _place)]
    return [f"warning: {_sentence(group)}" if group[0].level == WARNING else _sentence(group) for group in groups]


def _sentence(together: list[Decision]) -> str:
    """Return the text of decisions that have one reason."""
    first = together[0]
    reason = f"a guess, {first.reason}" if first.level == GUESS else first.reason
    named = ", ".join(map(_named, together))
    return f"{named}: {reason}" if named else reason


def _place(numbered: tuple[int, Decision]) -> tuple[Any, ...]:
    """Return what neighbours on one line have in common."""
    number, decision = numbered
    return ("", decision.reason) if decision.source == SHAPES else (number,)


def _named(decision: Decision) -> str:
    """Return a field and its value; a file's as it stands there."""
    if decision.value is None:
        return decision.field
    if isinstance(decision.value, Mapping):
        settings = ", ".join(f"{name} {in_json(value)}" for name, value in decision.value.items())
        return f"{decision.field} {settings}"
    value = in_json(decision.value) if decision.source == CONFIG_FILE else decision.value
    return f"{decision.field} {value}"


@dataclass
class Reading:
    """What the names and shapes of a model's parameters say about it."""

    #: The ``model_type``.
    family: str
    #: One of the family's tasks.
    task: str = "model"
    #: Of the configuration.
    fields: dict[str, Any] = field(default_factory=dict)
    #: Why they are what they are.
    decisions: list[Decision] = field(default_factory=list)
    #: Fields that the numbers depend on, that shapes do not show and that have no default -> values that may be given,
    #: as examples.
    open_fields: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    #: Values of open fields with which the parameters have the shapes that they have.
    stand_ins: dict[str, Any] = field(default_factory=dict)

    def add(self, reason: str, **fields: Any) -> None:
        """Add fields that have one reason; ``model_type`` is said and is no field."""
        self.decisions += [Decision(name, value, SHAPES, NOTE, reason) for name, value in fields.items()]
        self.fields |= {name: value for name, value in fields.items() if name != "model_type"}

    def shapes(self, **fields: Any) -> Shapes:
        """Return the shape of every parameter by our names, as `fields` would have it.

        Raises
        ------
        ConfigError
            If the fields describe no model.
        """
        config_class = find_family(self.family).config_class
        return shapes_by_our_names(config_class(**{**self.stand_ins, **self.fields, **fields}), self.task)


def shapes_by_our_names(config: Any, task: str) -> Shapes:
    """Return the shapes of a model's parameters by the names in a file."""
    family = find_family(config.model_type)
    module = family.part("model")
    prefix, bare = family.part("names").PREFIX, module.model_shapes(config)
    shapes = getattr(module, f"{task}_shapes")(config)
    return {f"{prefix}{name}" if name in bare else name: shape for name, shape in shapes.items()}


class LackingError(WeightsError):
    """Tensors that do not make a model because one is not there; `name` is the first that lacks, by our name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def shape_of(shapes: Mapping[str, Shape], name: str, rank: int) -> Shape:
    """Return the shape of a tensor that must be there, with so many dimensions.

    Raises
    ------
    LackingError
        If it is not there.
    WeightsError
        If it has another number of dimensions.
    """
    if name not in shapes:
        raise LackingError(name, f"the file lacks {quoted(name)}{hint(name, shapes)}; is it complete?")
    if len(shapes[name]) != rank or 0 in shapes[name]:
        raise WeightsError(f"expected {quoted(name)} to have {rank} dimensions, none of them 0; got {shapes[name]}")
    return shapes[name]


def count_blocks(shapes: Mapping[str, Shape], stages: str, blocks: str = "layers") -> list[int]:
    """Return the number of blocks of each stage, from names such as ``stages.0.layers.1.dwconv.weight``.

    A block that is lacking among others is found by the check of all names.

    Raises
    ------
    WeightsError
        If names hold larger numbers than there are tensors.
    """
    number = "(0|[1-9][0-9]{0,4})"  # no model has more stages or blocks
    pattern = re.compile(rf"{re.escape(stages)}\.{number}\.(?:{blocks}\.{number}\.)?")
    counts: dict[int, int] = {}
    for found in filter(None, map(pattern.match, shapes)):
        stage, depth = int(found[1]), int(found[2]) + 1 if found[2] else 0
        counts[stage] = max(counts.get(stage, 0), depth)
    depths = [counts.get(stage, 0) for stage in range(max(counts, default=-1) + 1)]
    if max(sum(depths), len(depths)) > len(shapes):
        raise WeightsError(f"the names number blocks up to {max(depths)}, but there are only {len(shapes)} tensors")
    return depths


def read_classes(found: Reading, shapes: Mapping[str, Shape]) -> None:
    """Add the number of classes."""
    if "classifier.weight" in shapes:
        shape = shape_of(shapes, "classifier.weight", 2)
        found.add(f"classifier {by(shape)}", num_labels=shape[0])
    else:
        found.add("there is no classifier", num_labels=0)


def by(shape: Shape) -> str:
    """Return a shape as in 96x3x4x4."""
    return "x".join(map(str, shape))


def sides(kernel: Shape) -> int | list[int]:
    """Return height and width of a kernel, one number if they are equal."""
    height, width = kernel[-2:]
    return height if height == width else [height, width]
