"""A dialect as one file speaks it: a table, the family, what stands before the names, and the choices it leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from npconv.convert.layouts import LAYOUTS, Layout
from npconv.convert.patterns import Pattern, Values
from npconv.errors import WeightsError
from npconv.messages import quoted
from npconv.models import FAMILIES
from npconv.models.dialects import Implied, Refused, Table


@dataclass(frozen=True)
class BoundRule:
    """One rule of a dialect, ready to be matched in both directions."""

    theirs: Pattern
    ours: Pattern
    layout: Layout


@dataclass(frozen=True)
class Dialect:
    """One way to name and lay out the parameters of one family.

    Parameters
    ----------
    table : Table
        The names and layouts.
    family : str
        The ``model_type``.
    prefix : str
        What stands before every name in the file.
    spellings : mapping of str to str
        Which of the spellings that the table lists the file has; the first of each where nothing is said.
    layouts : mapping of str to str
        The same of layouts.
    """

    table: Table
    family: str
    prefix: str = ""
    spellings: Mapping[str, str] = field(default_factory=dict)
    layouts: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the table."""
        return self.table.name

    @property
    def has_own_prefix(self) -> bool:
        """Whether the prefix ends in the model's own name."""
        return self.prefix.endswith((f"{self.family}.", f"{self.family}/"))

    @property
    def wrapper(self) -> str:
        """What stands before the part of the prefix that is the model's own name."""
        own = (f"{self.family}.", f"{self.family}/", "encoder.")
        return next((self.prefix.removesuffix(end) for end in own if self.prefix.endswith(end)), self.prefix)

    @cached_property
    def rules(self) -> tuple[BoundRule, ...]:
        """The rules, with everything but the numbers filled in."""
        return tuple(
            BoundRule(Pattern(self.fill(rule.theirs)), Pattern(self.fill(rule.ours)), self._layout(rule.layout))
            for rule in self.table.rules
        )

    @cached_property
    def implied(self) -> tuple[tuple[Pattern, Implied], ...]:
        """The parameters that the dialect does not store."""
        return tuple((Pattern(self.fill(implied.ours)), implied) for implied in self.table.implied)

    def fill(self, text: str) -> str:
        """Return a pattern of the table with this file's prefix and spellings."""
        for word, choices in self.table.spellings.items():
            text = text.replace(word, self.spellings.get(word, choices[0]))
        return text.replace("{m}", self.family).replace("{w}", self.wrapper).replace("{p}", self.prefix)

    def _layout(self, name: str) -> Layout:
        """Return a layout by its name, or the chosen one of several."""
        return LAYOUTS[self.layouts.get(name, self.table.layouts.get(name, (name,))[0])]

    def find(self, name: str) -> tuple[BoundRule, Values] | None:
        """Return the rule for one of their names."""
        return next(((rule, v) for rule in self.rules if (v := rule.theirs.match(name)) is not None), None)

    def find_ours(self, name: str) -> tuple[BoundRule, Values] | None:
        """Return the rule for one of our names."""
        return next(((rule, v) for rule in self.rules if (v := rule.ours.match(name)) is not None), None)

    def is_skipped(self, name: str) -> bool:
        """Tell whether a tensor belongs to something else than the model: a decoder, a text tower."""
        return any(fnmatchcase(name, self.fill(pattern)) for pattern in self.table.skipped)

    def refused(self) -> Iterator[tuple[Refused, str]]:
        """Yield the signs of what the models cannot do, each with the name of its tensor."""
        for sign in self.table.refused:
            yield sign, self.fill(sign.lacking or sign.present)


def tables(family: str) -> tuple[Table, ...]:
    """Return the dialects of a family, those to prefer first."""
    return FAMILIES[family].part("names").TABLES


def dialect_names() -> tuple[str, ...]:
    """Return the names of all dialects."""
    return tuple(dict.fromkeys(table.name for family in FAMILIES for table in tables(family)))


def dialect(name: str, tensors: Mapping[str, Any], *, prefix: str | None = None) -> Dialect:
    """Return the dialect of a name for tensors in our names, as its own library would write them.

    Parameters
    ----------
    name : str
        One of `dialect_names`.
    tensors : mapping of str to array
        In Hugging Face names; only names and shapes are looked at.
    prefix : str, optional
        What to put before every name; what the library puts there when unset.

    Raises
    ------
    WeightsError
        If there is no such dialect, or none of this name for the family.
    """
    family = family_of_names(tensors)
    named = [table for table in tables(family) if table.name == name]
    if not named:
        known = dict.fromkeys(table.name for table in tables(family))
        raise WeightsError(f"expected one of the dialects that have {family}: {', '.join(known)}; got {quoted(name)}")
    table = max(named, key=lambda table: _count_placed(Dialect(table, family), tensors))
    written = table.written(tensors, family)
    return Dialect(
        table,
        family,
        table.prefix.replace("{m}", family) if prefix is None else prefix,
        {word: spelling for word, spelling in written.items() if word in table.spellings},
        {word: layout for word, layout in written.items() if word in table.layouts},
    )


def family_of_names(tensors: Iterable[str]) -> str:
    """Return the family of tensors in our names: the one whose sign one of them has."""
    signs = {name: family.part("names").SIGN for name, family in FAMILIES.items()}
    for name in tensors:
        for family, sign in signs.items():
            if name.startswith(sign):
                return family
    raise WeightsError(f"expected names that begin with one of {', '.join(signs.values())}; convert the tensors first")


def _count_placed(dialect: Dialect, tensors: Iterable[str]) -> int:
    """Return for how many of our names a dialect has a place."""
    return sum(dialect.find_ours(name) is not None for name in tensors)
