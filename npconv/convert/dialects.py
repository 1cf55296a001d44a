"""A dialect as one file speaks it, and what it is made of: patterns of names, and layouts of tensors.

A table of a family's ``names.py`` becomes a :class:`Dialect` with the family, what stands before the names, and the
choices that the table leaves. A layout is written as their axes and ours, ``"H W I O -> O I H W"``; ``(WH)`` stands for
a square kernel whose positions are one axis, column by column. It only reshapes and transposes, so that there and back
gives the same bits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate as fnmatch_regex
from typing import Any

from npconv.errors import WeightsError
from npconv.forks import kept_property
from npconv.messages import quoted
from npconv.models import FAMILIES
from npconv.models.naming import Implied, Refused, Table

#: Token -> the number it stands for, what the name holds instead (number * factor + shift), and the least number.
#: ``{i}`` is a stage, ``{n}`` a stage that is not the first, ``{j}`` a block.
NUMBERS = {
    "{i}": ("i", 1, 0, 0),
    "{i+1}": ("i", 1, 1, 0),
    "{n}": ("i", 1, 0, 1),
    "{2i+1}": ("i", 2, 1, 0),
    "{2n}": ("i", 2, 0, 1),
    "{n-1}": ("i", 1, -1, 1),
    "{j}": ("j", 1, 0, 0),
    "{j+1}": ("j", 1, 1, 0),
}

#: A word such as ``stage1``.
WORD = "{word}"

_TOKENS = re.compile("(" + "|".join(re.escape(token) for token in (*NUMBERS, WORD)) + ")")

Values = dict[str, int | str]


class Pattern:
    """One pattern of names, such as ``stages.{i}.blocks.{j}.norm.weight``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts = _TOKENS.split(text)
        # At most five digits: no model has more stages or blocks, and a name cannot ask for a huge number.
        groups = {token: "(0|[1-9][0-9]{0,4})" for token in NUMBERS} | {WORD: "([A-Za-z0-9_]+)"}
        self._regex = re.compile("".join(groups.get(part, re.escape(part)) for part in self._parts))

    def match(self, name: str) -> Values | None:
        """Return the numbers and words of a name, or None if it is not of this pattern."""
        found = self._regex.fullmatch(name)
        if found is None:
            return None
        values: Values = {}
        for token, text in zip(self._parts[1::2], found.groups(), strict=True):
            if token == WORD:
                values["word"] = text
                continue
            key, factor, shift, least = NUMBERS[token]
            number, rest = divmod(int(text) - shift, factor)
            if rest or number < least:
                return None
            values[key] = number
        return values

    def fill(self, values: Values) -> str:
        """Return the name of this pattern with given numbers and words; what is not given is 0 or empty."""
        parts = list(self._parts)
        for index in range(1, len(parts), 2):
            if parts[index] == WORD:
                parts[index] = str(values.get("word", ""))
            else:
                key, factor, shift, _ = NUMBERS[parts[index]]
                parts[index] = str(int(values.get(key, 0)) * factor + shift)
        return "".join(parts)


#: By the names that the tables use.
NAMED = {
    "vector": "C -> 1 1 1 C",
    "grn row": "1 C -> 1 1 1 C",
    "row": "1 C -> C",
    "column": "C 1 1 -> C",
    "linear": "O I -> O I",
    "1x1": "O I 1 1 -> O I",
    "io": "I O -> O I",
    "hwio": "H W I O -> O I H W",
    "hw1c": "H W 1 C -> C 1 H W",
    "hwc1": "H W C 1 -> C 1 H W",
    "sparse depthwise": "(WH) C -> C 1 H W",
    "sparse": "(WH) I O -> O I H W",
}


@dataclass(frozen=True)
class Layout:
    """One way to lay out a tensor."""

    #: Their axes and ours; empty for a tensor that stays as it is, whatever its shape.
    words: str = ""

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether a tensor of a shape can be theirs."""
        axes = self.words.partition(" -> ")[0].split()
        return not self.words or (len(shape) == len(axes) and all(map(_fits, shape, axes)))

    def ours(self, x: Any) -> Any:
        """Return an array of theirs as ours."""
        theirs, _, ours = self.words.partition(" -> ")
        return _laid_out(x, theirs.split(), ours.split())

    def theirs(self, x: Any) -> Any:
        """Return an array of ours as theirs."""
        theirs, _, ours = self.words.partition(" -> ")
        return _laid_out(x, ours.split(), theirs.split())


def _fits(length: int, axis: str) -> bool:
    """Say whether an axis can have a length."""
    return (axis != "1" or length == 1) and (axis != "(WH)" or math.isqrt(length) ** 2 == length)


def _laid_out(x: Any, before: list[str], after: list[str]) -> Any:
    """Return an array with its axes in another order."""
    lengths: dict[str, int] = {}  # of the axes that are not 1, in the order before
    for axis, length in zip(before, x.shape, strict=bool(before)):
        if axis == "(WH)":
            lengths |= dict.fromkeys("WH", math.isqrt(length))
        elif axis != "1":
            lengths[axis] = length
    if not lengths:
        return x
    order = [letter for axis in after for letter in axis.strip("()") if letter != "1"]
    moved = x.reshape(tuple(lengths.values())).transpose([list(lengths).index(letter) for letter in order])
    return moved.reshape([math.prod(lengths.get(letter, 1) for letter in axis.strip("()")) for axis in after])


LAYOUTS = {"same": Layout(), **{name: Layout(words) for name, words in NAMED.items()}}


@dataclass(frozen=True)
class BoundRule:
    """One rule of a dialect, ready to be matched in both directions."""

    theirs: Pattern
    ours: Pattern
    layout: Layout


@dataclass(frozen=True)
class Dialect:
    """One way to name and lay out the parameters of one family."""

    #: The names and layouts.
    table: Table
    #: The ``model_type``.
    family: str
    #: What stands before every name in the file.
    prefix: str = ""
    #: Which of the spellings that the table lists the file has; the first of each where nothing is said.
    spellings: Mapping[str, str] = field(default_factory=dict)
    #: The same of layouts.
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
        own = (f"{self.family}.", f"{self.family}/", "encoder.", self.table.prefix)
        return next((self.prefix.removesuffix(end) for end in own if end and self.prefix.endswith(end)), self.prefix)

    @kept_property
    def rules(self) -> tuple[BoundRule, ...]:
        """The rules, with everything but the numbers filled in."""
        return tuple(
            BoundRule(Pattern(self.fill(rule.theirs)), Pattern(self.fill(rule.ours)), self._layout(rule.layout))
            for rule in self.table.rules
        )

    @kept_property
    def implied(self) -> tuple[tuple[Pattern, Implied], ...]:
        """The parameters that the dialect does not store."""
        return tuple((Pattern(self.fill(implied.ours)), implied) for implied in self.table.implied)

    def fill(self, text: str, quote: Callable[[str], str] = str) -> str:
        """Return a pattern of the table with this file's prefix and spellings, each as `quote` writes it."""
        for word, choices in self.table.spellings.items():
            text = text.replace(word, quote(self.spellings.get(word, choices[0])))
        return text.replace("{m}", self.family).replace("{w}", quote(self.wrapper)).replace("{p}", quote(self.prefix))

    def _layout(self, name: str) -> Layout:
        """Return a layout by its name, or the chosen one of several."""
        return LAYOUTS[self.layouts.get(name, self.table.layouts.get(name, (name,))[0])]

    def find(self, name: str) -> tuple[BoundRule, Values] | None:
        """Return the rule for one of their names."""
        if not self.is_inside(name):  # which most names of a file with much else are not, and is quickly said
            return None
        return next(((rule, v) for rule in self.rules if (v := rule.theirs.match(name)) is not None), None)

    def find_ours(self, name: str) -> tuple[BoundRule, Values] | None:
        """Return the rule for one of our names."""
        return next(((rule, v) for rule in self.rules if (v := rule.ours.match(name)) is not None), None)

    def is_skipped(self, name: str) -> bool:
        """Tell whether a tensor belongs to something else than the model: a decoder, a text tower."""
        return self._skipped.fullmatch(name) is not None

    @kept_property
    def _skipped(self) -> re.Pattern[str]:
        """Names of what belongs to something else; nothing at all where the table has none."""
        return re.compile("|".join(fnmatch_regex(self.fill(pattern)) for pattern in self.table.skipped) or "(?!)")

    def head_of(self, name: str) -> str:
        """Return the module that a tensor of a head of several is in; empty if it is of none."""
        pattern = self.table.open_spellings.get("{head}")
        found = re.match(self.fill(pattern, re.escape).removesuffix(r"\.weight"), name) if pattern else None
        return name[: found.end(1)].rpartition(".")[0] if found else ""

    def is_inside(self, name: str) -> bool:
        """Tell whether a tensor stands where those of the model do, so that the model may need it."""
        return self._inside.match(name) is not None

    @kept_property
    def _inside(self) -> re.Pattern[str]:
        """Beginnings of names: what stands before the model's, and the first part of each."""
        beginnings = set()
        for rule in self.rules:
            before = next(b for b in (self.prefix, self.wrapper, "") if rule.theirs.text.startswith(b))
            first = re.match(r"[^./{]*", rule.theirs.text.removeprefix(before))
            beginnings.add(re.escape(before + (first.group() if first else "")))
        return re.compile(f"(?:{'|'.join(sorted(beginnings))})(?![A-Za-z_])")

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

    What the library puts before every name is there unless a `prefix` says otherwise. Only names and shapes are looked
    at.

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
