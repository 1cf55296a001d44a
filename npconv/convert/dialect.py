"""A dialect as one file speaks it: a table, the family, what stands before the names, and the choices it leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from npconv.convert.layouts import LAYOUTS, Layout
from npconv.convert.patterns import Pattern, Values
from npconv.convert.tables import (
    CONVNEXTS,
    CVT_HUGGING_FACE,
    FACEBOOK,
    FCMAE,
    MICROSOFT,
    NPCONV,
    TIMM,
    TIMM_OVERLAP,
    TIMM_OVERLAP_ACT,
    TORCHVISION,
    Implied,
    Refused,
    Table,
    encoder_only,
    open_clip,
)
from npconv.convert.tables_tf import CVT_TENSORFLOW, TENSORFLOW
from npconv.errors import WeightsError
from npconv.messages import quoted

#: Where two fit a file equally well, the first is taken: the more special one.
TABLES = (
    open_clip(TIMM),
    open_clip(TIMM_OVERLAP),
    open_clip(TIMM_OVERLAP_ACT),
    encoder_only(TIMM, "timm-encoder", "{p}head.", "{p}norm_pre."),
    TIMM,
    TIMM_OVERLAP,
    TIMM_OVERLAP_ACT,
    encoder_only(FACEBOOK, "facebook-encoder", "{p}norm.", "{p}head."),
    FACEBOOK,
    FCMAE,
    TORCHVISION,
    NPCONV,
    CVT_HUGGING_FACE,
    MICROSOFT,
    TENSORFLOW,
    CVT_TENSORFLOW,
)

#: The words of the classes' names in transformers for TensorFlow.
_TENSORFLOW_CLASSES = {"convnext": "conv_next", "convnextv2": "conv_next_v2", "cvt": "cvt"}

DIALECT_NAMES = tuple(dict.fromkeys(table.name for table in TABLES))


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
        ``"convnext"``, ``"convnextv2"`` or ``"cvt"``.
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

    def refused(self) -> Iterable[tuple[str, Refused]]:
        """Yield the signs of what the models cannot do, each with the name of the tensor that it lacks."""
        for sign in self.table.refused:
            yield self.fill(sign.lacking), sign


def dialect(name: str, tensors: Mapping[str, Any], *, prefix: str | None = None) -> Dialect:
    """Return the dialect of a name for tensors in our names, as its own library would write them.

    Parameters
    ----------
    name : str
        One of ``DIALECT_NAMES``.
    tensors : mapping of str to array
        In Hugging Face names; only names and shapes are looked at.
    prefix : str, optional
        What to put before every name; for Hugging Face and TensorFlow the family's name when unset, else nothing.

    Raises
    ------
    WeightsError
        If there is no such dialect, or none of this name for the family.
    """
    family = family_of(tensors)
    tables = [table for table in TABLES if table.name == name and family in table.families]
    if not tables:
        known = dict.fromkeys(table.name for table in TABLES if family in table.families)
        raise WeightsError(f"expected one of the dialects that have {family}: {', '.join(known)}; got {quoted(name)}")
    if prefix is None:
        scope = f"tf_{_TENSORFLOW_CLASSES[family]}_for_image_classification/{family}/"
        usual = {"huggingface": f"{family}.", "tensorflow": scope, "fcmae": "encoder."}
        prefix = usual.get(name, "")
    table = next((table for table in tables if _has_stem(Dialect(table, family), tensors)), tables[0])
    layouts = {"@mlp": "1x1"} if "@mlp" in table.layouts and _has_1x1_in_timm(tensors, family) else {}
    is_hidden = "{projection}" in table.spellings and "pre_classifier.weight" in tensors
    spellings = {"{projection}": "mlp.fc2"} if is_hidden else {}
    return Dialect(table, family, prefix, spellings, layouts)


def family_of(tensors: Iterable[str]) -> str:
    """Return the family of tensors in our names: the first word of any."""
    for name in tensors:
        for family in (*CONVNEXTS, "cvt"):
            if name.startswith(f"{family}."):
                return family
    raise WeightsError("expected names that begin with convnext., convnextv2. or cvt.; convert the tensors first")


#: timm writes the pointwise layers of atto, femto, pico and nano as 1x1 convolutions: these begin with 40 to 80
#: channels, the small ones of its tests with fewer. Of the larger ones it does so where the norm is before the pooling.
_1X1_WIDTHS = range(40, 81)


def _has_1x1_in_timm(tensors: Mapping[str, Any], family: str) -> bool:
    """Tell whether the model of timm that a ConvNeXt is like has 1x1 convolutions for pointwise layers."""
    stem_norm = tensors.get(f"{family}.embeddings.layernorm.weight")
    is_small = stem_norm is not None and int(stem_norm.shape[0]) in _1X1_WIDTHS
    return is_small or f"{family}.layernorm_before_pooling.weight" in tensors


def _has_stem(dialect: Dialect, tensors: Iterable[str]) -> bool:
    """Tell whether a dialect has a place for every parameter of the stem."""
    stem = f"{dialect.family}.embeddings."
    return all(dialect.find_ours(name) is not None for name in tensors if name.startswith(stem))
