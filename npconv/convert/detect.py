"""Which dialect a set of tensors is in, from their names and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any

from npconv.convert.dialect import DIALECT_NAMES, TABLES, Dialect
from npconv.convert.layouts import LAYOUTS
from npconv.convert.tables import Table
from npconv.errors import WeightsError
from npconv.messages import listed, quoted

#: Names that the choice between dialects looks at. No model has so many; a hostile file must not make it slow.
MOST_NAMES = 5000

#: Files that hold several models (a student and its average) have several prefixes; more than these are not tried.
MOST_PREFIXES = 4

#: timm downsamples no further where the stride before a stage has reached 32, its largest ``output_stride``. After a
#: patch of 8 it has before the fourth stage (8 * 2 * 2), which gets stride 1 and dilated kernels; no shape shows it.
#: After a patch of 7 (28) it has not.
FIRST_DILATED_PATCH = 8

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


def detect(tensors: Mapping[str, Any]) -> Dialect:
    """Return the dialect of the tensors of a file.

    Parameters
    ----------
    tensors : mapping of str to array
        By their names in the file; only names and shapes are looked at.

    Raises
    ------
    WeightsError
        If the names are of no known dialect.
    UnsupportedError
        If they are of an architecture that the models do not have; names the option.
    """
    names = list(islice(tensors, MOST_NAMES))
    best, most = None, 0
    for candidate in _candidates(names):
        count = sum(candidate.find(name) is not None for name in names)
        if count > most:
            best, most = candidate, count
    if best is None:
        raise WeightsError(
            f"expected tensors named as one of {', '.join(DIALECT_NAMES)}; got {listed([quoted(n) for n in names])}; "
            "are these the weights of a ConvNeXt, ConvNeXt V2 or CvT?"
        )
    refuse_unsupported(tensors, best)
    return Dialect(best.table, best.family, best.prefix, best.spellings, _layouts(tensors, best))


def _candidates(names: list[str]) -> Iterator[Dialect]:
    """Yield every dialect whose first tensor is there."""
    for table in TABLES:
        for family in _families(table, names):
            for choice in product(*table.spellings.values()):
                spellings = dict(zip(table.spellings, choice, strict=True))
                first = Dialect(table, family, spellings=spellings).fill(table.first)
                prefixes = (name.removesuffix(first) for name in names if name.endswith(first))
                for prefix in islice(dict.fromkeys(prefixes), MOST_PREFIXES):
                    if _PLAIN_PREFIX.fullmatch(prefix) and (not prefix or prefix[-1] in "./"):
                        yield Dialect(table, family, prefix, spellings)


def _families(table: Table, names: list[str]) -> tuple[str, ...]:
    """Return the families that the names allow: V2 has global response normalization, V1 has not."""
    if len(table.families) == 1 and "convnextv2" not in table.families:
        return table.families
    has_grn = any(".grn." in name or "/grn/" in name for name in names)
    named = next((f for f in ("convnextv2", "convnext") if any(f"{f}{end}" in n for n in names for end in "./")), None)
    family = "convnextv2" if has_grn else named or "convnext"
    return (family,) if family in table.families else ()


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
    """Raise an UnsupportedError if a tensor is lacking that only architectures which the models cannot do lack."""
    for name, sign in dialect.refused():
        if name not in tensors:
            raise UnsupportedError(
                sign.option,
                f"{sign.meaning} ({dialect.name} {sign.option}) is not supported: {quoted(name)} is lacking; "
                "convert a checkpoint without this option",
            )
    if dialect.table.of_timm:
        _refuse_strides(tensors, dialect)


def _refuse_strides(tensors: Mapping[str, Any], dialect: Dialect) -> None:
    """Raise an UnsupportedError for a stem after which timm's stages have other strides than 1, 2, 2, 2."""
    found = dialect.find_ours(f"{dialect.family}.encoder.stages.1.downsampling_layer.1.weight")
    odd = found[0].theirs.fill({"i": 0}) if found else ""
    if odd in tensors:
        raise UnsupportedError(
            "patch_size=2",
            f"a first stage that begins with a downsampling ({dialect.name} patch_size=2) is not supported: there is "
            f"{quoted(odd)}; convert a checkpoint with patch_size=4",
        )
    stem = tensors.get(dialect.fill(dialect.table.first))
    side = max(stem.shape[2:], default=0) if stem is not None else 0
    if side >= FIRST_DILATED_PATCH:
        raise UnsupportedError(
            "output_stride",
            f"stages that are dilated instead of downsampled ({dialect.name} output_stride, 32 unless told otherwise) "
            f"are not supported: with patch_size={side} timm makes such; convert a checkpoint with patch_size=4",
        )
