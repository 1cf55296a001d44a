"""The letters of shapes, worked out: which lengths they stand for, and whether arrays fit them, by shapes alone.

See the top of ``npconv/layers/shapes.py``. A term of a shape is a letter, a number, or a sum of products of these, such
as ``t+H*W``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from npconv.errors import ShapeError

Shape = tuple[int, ...]


def evaluate(term: str, lengths: Mapping[str, Any]) -> int:
    """Return a sum of products of letters and numbers; a letter without a length counts nothing."""
    if term in lengths:
        return int(lengths[term])
    factors = (product.split("*") for product in term.split("+"))
    return sum(math.prod(int(f) if f.isdigit() else lengths.get(f, 0) for f in product) for product in factors)


def axes_of(text: str, shape: Shape) -> list[str] | None:
    """Return the term of each axis of an array, or None if there are not so many; ``...`` becomes a letter for each."""
    for axes in _forms(text, len(shape)):
        if all(length == 1 for term, length in zip(axes, shape, strict=True) if term == "1"):
            return axes
    return None


@cache
def _forms(text: str, ndim: int) -> list[list[str]]:
    """Return the terms of each form that has so many axes."""
    forms = []
    for form in text.split("|"):
        form = "..." if form.count("...") > 1 else form
        others = ndim - len(form.split()) + 1
        forms.append(form.replace("...", " ".join(f"...{number}" for number in range(others))).split())
    return [axes for axes in forms if len(axes) == ndim]


@cache
def _letters_in(term: str) -> list[str]:
    """Return the letters of a term, without its numbers."""
    return [part for part in re.split("[+*]", term) if not part.isdigit()]


def bind(layer: str, name: str, text: str, shape: Shape, lengths: dict[str, Any]) -> None:
    """Note the length of each letter of an array; a ShapeError where it has another length already."""
    axes = axes_of(text, shape)
    if axes is None:
        forms = " or ".join(f"({', '.join(form.split())})" for form in text.split("|"))
        raise ShapeError(f"{layer}: expected {name} of shape {forms}, got {shape}")
    if "..." in text and lengths.setdefault("...", len(shape)) != len(shape):
        raise ShapeError(f"{layer}: expected {name} with {lengths['...']} axes like those before it, got {shape}")
    for term, length in zip(axes, shape, strict=True):
        unknown = [letter for letter in _letters_in(term) if letter not in lengths]
        if len(unknown) == 1:
            lengths[unknown[0]] = max(length - evaluate(term, lengths), 0)
    expected = tuple(evaluate(term, lengths) for term in axes)
    if shape != expected:
        raise ShapeError(f"{layer}: expected {name} of shape {expected}, as the arrays before it say, got {shape}")
