"""Tensors from one dialect into another: which it is, and every tensor used once, every parameter filled once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np

from npconv.convert.dialects import LAYOUTS, Dialect, dialect_names, family_of_names, tables
from npconv.convert.leftovers import DUPLICATE, digest, numbers_in, sort_out
from npconv.convert.strangers import MOST_NAMES
from npconv.errors import ConfigError, WeightsError
from npconv.files.dtypes import mapped
from npconv.messages import hint, listed, quoted
from npconv.models import FAMILIES, find_family
from npconv.models.naming import LackingError, Reading
from npconv.models.parameters import Shapes, misfits

#: Files that hold several models (a student and its average) have several prefixes; more than these are not tried.
MOST_PREFIXES = 4

_PLAIN_PREFIX = re.compile(r"[\w./-]{0,200}")


class UnsupportedError(WeightsError):
    """Weights of an architecture that the models do not have; `option` of the other library asks for it."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def detect(tensors: Mapping[str, Any], model_type: str | None = None) -> Dialect:
    """Return the dialect of the tensors of a file; only names and shapes are looked at.

    With `model_type` that family is taken where the names are those of several.

    Raises
    ------
    WeightsError
        If the names are of no known dialect.
    UnsupportedError
        If they are of an architecture that the models do not have; names the option.
    """
    return detect_all(tensors, model_type)[0]


def detect_all(tensors: Mapping[str, Any], model_type: str | None = None) -> list[Dialect]:
    """Do what :func:`detect` does; return the dialects of other families, too, that fit the names as well."""
    names = list(islice(tensors, MOST_NAMES))
    best: dict[str, tuple[tuple[int, bool, bool], Dialect]] = {}
    for candidate in _candidates(names):
        count = sum(candidate.find(name) is not None or candidate.is_skipped(name) for name in names)
        rank = (count, candidate.family == model_type, candidate.has_own_prefix)
        if count and (candidate.family not in best or rank > best[candidate.family][0]):
            best[candidate.family] = (rank, candidate)
    ranked = sorted(best.values(), key=lambda pair: pair[0], reverse=True)
    if not ranked:
        *titles, last = (family.title for family in FAMILIES.values())
        raise WeightsError(
            f"expected tensors named as one of {', '.join(dialect_names())}; got {listed([quoted(n) for n in names])}; "
            f"are these the weights of a {', '.join(titles)} or {last}?"
        )
    most = ranked[0][0][0]
    found = [replace(one, layouts=_layouts(tensors, one)) for (count, *_), one in ranked if count == most]
    refuse_unsupported(tensors, found[0])
    return found


def _candidates(names: list[str]) -> Iterator[Dialect]:
    """Yield every dialect whose first tensor is there."""
    for family, table in ((name, table) for name in FAMILIES for table in tables(name)):
        for choice in product(*table.spellings.values()):
            spellings = dict(zip(table.spellings, choice, strict=True))
            first = Dialect(table, family, spellings=spellings).fill(table.first)
            prefixes = (name.removesuffix(first) for name in names if name.endswith(first))
            for prefix in islice(dict.fromkeys(prefixes), MOST_PREFIXES):
                if _PLAIN_PREFIX.fullmatch(prefix) and (not prefix or prefix[-1] in "./"):
                    yield _with_open_spellings(names, Dialect(table, family, prefix, spellings))


def _with_open_spellings(names: list[str], dialect: Dialect) -> Dialect:
    """Return a dialect with the spellings that no table can list: a number at the end, the largest of the file."""
    chosen = {}
    for word, pattern in dialect.table.open_spellings.items():
        regex = re.compile(dialect.fill(pattern, re.escape))
        found = {match[1] for name in names if (match := regex.fullmatch(name))}
        if found and dialect.table.spellings[word][0] not in found:
            chosen[word] = max(found, key=lambda spelling: (len(spelling), spelling))
    return replace(dialect, spellings={**dialect.spellings, **chosen}) if chosen else dialect


def _layouts(tensors: Mapping[str, Any], dialect: Dialect) -> dict[str, str]:
    """Choose each layout that the table leaves open: the first that fits the first tensor in question."""
    chosen = {}
    for option, choices in dialect.table.layouts.items():
        pairs = zip(dialect.table.rules, dialect.rules, strict=True)
        patterns = [bound.theirs for rule, bound in pairs if rule.layout == option]
        shape = next(
            (tuple(t.shape) for name, t in tensors.items() if any(p.match(name) is not None for p in patterns)), None
        )
        if shape is not None:
            fitting = [layout for layout in choices if LAYOUTS[layout].fits(shape)]
            chosen[option] = (fitting or list(choices))[0]
    return chosen


def refuse_unsupported(tensors: Mapping[str, Any], dialect: Dialect) -> None:
    """Raise an UnsupportedError for a sign of an architecture that the models cannot do."""
    for sign, name in dialect.refused():
        if (name in tensors) == bool(sign.present):
            there = f"there is {quoted(name)}" if sign.present else f"{quoted(name)} is lacking"
            raise UnsupportedError(
                sign.option,
                f"{sign.meaning} ({dialect.name} {sign.option}) is not supported: {there}; "
                f"convert a checkpoint {sign.instead}",
            )


def read(tensors: Mapping[str, Any]) -> Reading:
    """Return what names and shapes, in the names of Hugging Face, determine.

    Raises
    ------
    WeightsError
        If they are those of no model: a stage or block is lacking, a tensor has another number of dimensions.
    """
    if not tensors:
        raise WeightsError("expected the parameters of a model, got no tensor")
    family = find_family(family_of_names(tensors))
    try:
        return family.part("names").read({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    except ConfigError as error:
        raise WeightsError(f"the shapes describe no model: {error}") from error


def expected_shapes(found: Reading) -> Shapes:
    """Return the shape of every parameter that the model must have."""
    try:
        return found.shapes()
    except ConfigError as error:
        raise WeightsError(f"the shapes describe no model: {error}") from error


def check_complete(tensors: Mapping[str, Any], found: Reading) -> Shapes:
    """Return the expected shapes if every parameter is there once, in its shape, and nothing else.

    Raises
    ------
    WeightsError
        Otherwise; names the tensors and the most similar ones.
    """
    expected = expected_shapes(found)
    missing = [name for name in expected if name not in tensors]
    left_over = [name for name in tensors if name not in expected]
    wrong = [
        f"{name} has shape {tuple(tensors[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    if missing or left_over or wrong:
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        problems = [misfits(shapes, expected, missing, left_over), listed(wrong)]
        message = f"the tensors do not make a {found.family} model: {'; '.join(filter(None, problems))}"
        raise LackingError(missing[0], message) if missing else WeightsError(message)
    return expected


class Taken(NamedTuple):
    """The tensors of a model in the names of Hugging Face, and what was left behind: name -> what it is."""

    ours: dict[str, Any]
    left: dict[str, str]


def to_hugging_face(tensors: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return tensors in the names of a dialect by those of Hugging Face, laid out as there; arrays come out as views.

    Raises
    ------
    WeightsError
        If a tensor is left over and nothing says what it is, lacks, comes twice or has another layout than the
        dialect's.
    """
    return take(tensors, dialect).ours


def take(tensors: Mapping[str, Any], dialect: Dialect) -> Taken:
    """Do what :func:`to_hugging_face` does; return what was left behind as well."""
    rules = ((name, dialect.find(name)) for name in tensors)
    found = {name: rule for name, rule in rules if rule is not None}
    left = sort_out(tensors, dialect, found)
    ours: dict[str, Any] = {}
    source: dict[str, str] = {}
    for name, (rule, values) in found.items():
        target = rule.ours.fill(values)
        if target in source:
            if digest(tensors[name]) != digest(tensors[source[target]]):
                raise WeightsError(f"tensors {quoted(source[target])} and {quoted(name)} are both for {target}")
            left[name] = DUPLICATE
            continue
        if not rule.layout.fits(tuple(tensors[name].shape)):
            raise WeightsError(
                f"expected {quoted(name)} to be laid out {rule.layout.words}, got shape {tuple(tensors[name].shape)}; "
                f"is the file in the names of {dialect.name}?"
            )
        ours[target], source[target] = mapped(tensors[name], rule.layout.ours), name
    try:
        _add_implied(ours, expected_shapes(read(ours)), dialect)
        expected = check_complete(ours, read(ours))
    except LackingError as error:
        known = dialect.find_ours(error.name)
        theirs = known[0].theirs.fill(known[1]) if known is not None else error.name
        where = "" if theirs == error.name else f"; {dialect.name} calls {error.name} {quoted(theirs)}"
        raise WeightsError(f"{error}{where}") from None
    return Taken({name: ours[name] for name in expected}, left)


def copies(tensors: Mapping[str, Any], dialect: Dialect) -> dict[str, list[str]]:
    """Return other models of the same names in a file: what stands before their names -> these names."""
    first = dialect.fill(dialect.table.first).removeprefix(dialect.prefix)
    names = list(islice(tensors, MOST_NAMES))
    count = sum(dialect.find(name) is not None for name in names)
    found: dict[str, list[str]] = {}
    for prefix in dict.fromkeys(name.removesuffix(first) for name in names if name.endswith(first)):
        if prefix == dialect.prefix or len(found) == MOST_PREFIXES or not _PLAIN_PREFIX.fullmatch(prefix):
            continue
        other = replace(dialect, prefix=prefix)
        known = [name for name in names if other.find(name) is not None]
        if 2 * len(known) > count:
            found[prefix] = known
    return found


def are_equal(tensors: Mapping[str, Any], dialect: Dialect, prefix: str, names: Iterable[str]) -> bool:
    """Say whether the tensors of another model in a file, with another prefix, are those of the dialect's."""
    return all(
        (twin := dialect.prefix + name.removeprefix(prefix)) in tensors
        and digest(tensors[twin]) == digest(tensors[name])
        for name in names
        if name.startswith(prefix)
    )


def from_hugging_face(tensors: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Return tensors by the names of a dialect, laid out as there: the inverse of :func:`to_hugging_face`.

    Raises
    ------
    WeightsError
        If a tensor is left over or lacks, or the dialect has no place for it.
    """
    check_complete(tensors, read(tensors))
    theirs: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if _is_left_out(name, tensor, dialect):
            continue
        found = dialect.find_ours(name)
        if found is None:
            names = [rule.ours.fill(numbers_in(name)) for rule in dialect.rules]
            near = hint(name, (other for other in names if other != name))
            raise WeightsError(
                f"{dialect.name} has no place for tensor {quoted(name)} of shape {tuple(tensor.shape)}{near}; "
                "choose another dialect"
            )
        rule, values = found
        target = rule.theirs.fill(values)
        if target in theirs:
            raise WeightsError(f"two tensors are for {quoted(target)} in the names of {dialect.name}; one is {name}")
        theirs[target] = mapped(tensor, rule.layout.theirs)
    return theirs


def _add_implied(ours: dict[str, Any], expected: Mapping[str, tuple[int, ...]], dialect: Dialect) -> None:
    """Add the parameters that the dialect does not store."""
    dtype = next(iter(ours.values())).dtype
    for name, shape in expected.items():
        if name in ours:
            continue
        for pattern, implied in dialect.implied:
            if pattern.match(name) is not None:
                kind = np.int64 if name.endswith("num_batches_tracked") else dtype
                ours[name] = np.full(shape, implied.value, kind)


def _is_left_out(name: str, tensor: Any, dialect: Dialect) -> bool:
    """Tell whether a parameter is one that the dialect does not store, and not needed to have it back."""
    for pattern, implied in dialect.implied:
        if pattern.match(name) is None:
            continue
        is_implied = bool(np.all(np.asarray(tensor) == implied.value))
        if dialect.find_ours(name) is not None and not is_implied:
            continue
        if implied.droppable or is_implied:
            return True
        raise WeightsError(
            f"{dialect.name} has no place for {name}, and its values are not all {implied.value}: it would be lost; "
            "choose another dialect"
        )
    return False
