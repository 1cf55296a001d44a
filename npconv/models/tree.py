"""The tree of parameters as an object that shows itself in a few lines, whatever it holds."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from npconv.backend import to_host
from npconv.messages import escape, shown

#: Rows of a tree that fit on a screen, and characters of a name there.
MOST_ROWS = 20
MOST_CHARACTERS = 90


class Tree(dict[str, Any]):
    """A dict of arrays, of further trees, and of lists of them."""

    def __reduce__(self) -> Any:
        """Be a plain dict in a pickle, which ``torch.load`` reads."""
        return OrderedDict, (), None, None, iter(self.items())

    def __repr__(self) -> str:
        return "\n".join(["{", *rows(self), "}"])


class TreeList(list[Any]):
    """The same parts of a model one after another, such as its stages."""

    def __repr__(self) -> str:
        return "\n".join(["[", *rows(self), "]"])


def rows(tree: Mapping[str, Any] | Sequence[Any], indent: str = "  ", most: int = MOST_ROWS) -> list[str]:
    """Return a line for each part of a tree or sequence, and one for all that are too many."""
    parts = list(tree.items() if isinstance(tree, Mapping) else enumerate(tree))
    lines = [f"{indent}{_short(escape(str(name)))}: {summary(part)}" for name, part in parts[:most]]
    return lines if len(parts) <= most else [*lines, f"{indent}... and {len(parts) - most} more"]


def _short(name: str) -> str:
    """Return a name without its middle, if it is too long."""
    half = MOST_CHARACTERS // 2
    return name if len(name) <= MOST_CHARACTERS else f"{name[: half - 3]}...{name[-half:]}"


def summary(value: Any) -> str:
    """Return what a value is, on one line: of an array the dtype and shape, of one number the number."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {tuple(value.shape)}" if value.shape else f"{value.dtype} {float(value):.6g}"
    if not isinstance(value, Mapping | list):
        return shown(value)
    is_layer = isinstance(value, Mapping) and len(value) <= 2 and all(hasattr(part, "shape") for part in value.values())
    if isinstance(value, Mapping) and is_layer:
        return ", ".join(f"{_short(escape(name))} {summary(part)}" for name, part in value.items()) or "nothing"
    shapes = [tuple(array.shape) for array in _arrays([value])]
    return f"{len(shapes)} arrays, {sum(map(math.prod, shapes)):,} numbers"


def spread(array: Any) -> str:
    """Return from where to where the numbers of an array go, and how many are not finite; nothing of what is none."""
    if getattr(array, "dtype", np.dtype(object)).kind not in "fiub" or not array.size:
        return ""
    numbers = to_host(array)
    finite = numbers[np.isfinite(numbers)]
    strange = f"{numbers.size - finite.size:,} not finite" if finite.size < numbers.size else ""
    words = f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else ""
    return ", ".join(filter(None, (words, strange)))


def _arrays(parts: Iterable[Any]) -> Iterator[Any]:
    """Yield the arrays in some trees."""
    for part in parts:
        if isinstance(part, Mapping):
            yield from _arrays(part.values())
        elif isinstance(part, list):
            yield from _arrays(part)
        elif hasattr(part, "shape"):
            yield part
