"""Which dialect a set of tensors is in, from their names and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice, product
from typing import Any

from npconv.convert.dialect import Dialect, dialect_names, tables
from npconv.convert.layouts import LAYOUTS
from npconv.errors import WeightsError
from npconv.messages import listed, quoted
from npconv.models import FAMILIES

#: Names that the choice between dialects looks at. No model has so many; a hostile file must not make it slow.
MOST_NAMES = 5000

#: Files that hold several models (a student and its average) have several prefixes; more than these are not tried.
MOST_PREFIXES = 4

_PLAIN_PREFIX = re.compile(r"[\w./-]{0,200}")


class UnsupportedError(WeightsError):
    """Weights of an architecture that the models do not have.

    Parameters
    ----------
    option : str
        The option of the other library that asks for it, such as ``"conv_bias=False"``.
    message : str
        What it is.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def detect(tensors: Mapping[str, Any], model_type: str | None = None) -> Dialect:
    """Return the dialect of the tensors of a file.

    Parameters
    ----------
    tensors : mapping of str to array
        By their names in the file; only names and shapes are looked at.
    model_type : str, optional
        Of the family to take where the names are those of several.

    Raises
    ------
    WeightsError
        If the names are of no known dialect.
    UnsupportedError
        If they are of an architecture that the models do not have; names the option.
    """
    return detect_all(tensors, model_type)[0]


def detect_all(tensors: Mapping[str, Any], model_type: str | None = None) -> list[Dialect]:
    """Return what :func:`detect` does, and the dialects of other families that fit the names as well.

    Raises
    ------
    WeightsError, UnsupportedError
        As :func:`detect`.
    """
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
                    yield Dialect(table, family, prefix, spellings)


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
    stem = tensors.get(dialect.fill(dialect.table.first))
    side = max(stem.shape[2:], default=0) if stem is not None else 0
    if dialect.table.largest_patch is not None and side > dialect.table.largest_patch:
        raise UnsupportedError(
            "output_stride",
            f"stages that are dilated instead of downsampled ({dialect.name} output_stride, 32 unless told otherwise) "
            f"are not supported: with patch_size={side} timm makes such; convert a checkpoint with patch_size=4",
        )
