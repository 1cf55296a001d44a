"""How one tensor is laid out in another dialect: axes in another order, with or without those of length 1.

A layout is written as their axes and ours, ``"H W I O -> O I H W"``; ``(WH)`` stands for a square kernel whose
positions are one axis, column by column. It only reshapes and transposes, so that there and back gives the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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
    """One way to lay out a tensor.

    Parameters
    ----------
    words : str
        Their axes and ours; empty for a tensor that stays as it is, whatever its shape.
    """

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
