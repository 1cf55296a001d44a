"""The ways to read an array as one of another shape: axes in another order, joined, or split.

What a program calls a map may be tokens in another (N, H*W, C), and heads may stand side by side in the channels or on
an axis of their own. Which of the ways is right is asked in :mod:`npconv.golden.align`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

#: Arrays with more axes than this are read as they are: the permutations grow too many.
MOST_AXES = 6


class Reading(NamedTuple):
    """How an array is read.

    Parameters
    ----------
    axes : tuple of int, optional
        Its longer axes in the order of the reference; None: as they are.
    says : str
        The same in words: ``"read as NHWC"``.
    split : tuple of int, optional
        The sizes of its longer axes once some are split or joined, before they are put in order; None: as they are.
    """

    axes: tuple[int, ...] | None
    says: str = ""
    split: tuple[int, ...] | None = None

    def of(self, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Return the array in the shape of the reference."""
        if self.axes is None:
            return array.reshape(shape)
        parted = array.squeeze() if self.split is None else array.reshape(self.split)
        return np.ascontiguousarray(parted.transpose(self.axes)).reshape(shape)

    @property
    def way(self) -> tuple[tuple[int, ...] | None, bool]:
        """What arrays of different sizes have in common that are read alike."""
        return self.axes, self.split is not None


AS_IT_IS = Reading(None)


def readings(shape: Sequence[int], mine: Sequence[int], letters: str = "") -> Iterator[Reading]:
    """Give out the ways to read an array as one of another shape: as it is, then with its axes in another order.

    Axes of size 1 may come and go. `letters`, one for each axis of the reference, put a reading into words; where they
    are known and the sizes are not those of the reference, some axes are joined or split as well.
    """
    sizes = [size for size in shape if size != 1]
    own = [size for size in mine if size != 1]
    if sizes == own:
        yield AS_IT_IS
    if max(len(own), len(sizes)) > MOST_AXES:
        return
    for axes in _orders(own, sizes):
        if axes != tuple(range(len(own))):
            yield Reading(axes, _words(axes, shape, mine, letters))
    if sizes != own and len(letters) == len(shape):
        long = [letter for letter, size in zip(letters, shape, strict=True) if size != 1]
        yield from _parted(sizes, long, own)


def _orders(own: Sequence[int], sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the orders of axes in which sizes are others."""
    for axes in itertools.permutations(range(len(own))) if sorted(own) == sorted(sizes) else ():
        if [own[axis] for axis in axes] == list(sizes):
            yield axes


def _parted(sizes: Sequence[int], letters: Sequence[str], own: Sequence[int]) -> Iterator[Reading]:
    """Yield the ways to read an array that has other axes: axes of the reference or its own are joined or split.

    What is joined stays in the order in which it stands: rows before columns, heads before what is in one.
    """
    for joined in ("HW", "Nh"):
        place = "".join(letters).find(joined)
        if place >= 0 and len(own) < len(sizes):
            yield from _ordered(_join(sizes, place), _join_letters(letters, place), own)
    if "T" in letters and "D" in letters:
        tokens, size = sizes[letters.index("T")], sizes[letters.index("D")]
        if len(own) > len(sizes):
            for place in range(len(own) - 1):
                if own[place] * own[place + 1] == tokens:
                    yield from _ordered(sizes, letters, _join(own, place), "a map, rows first")
        yield from _heads(sizes, letters, size, own)


def _heads(sizes: Sequence[int], letters: Sequence[str], size: int, own: Sequence[int]) -> Iterator[Reading]:
    """Yield the ways to read tokens whose channels are split into heads, on an axis of their own or that of samples."""
    place = letters.index("D")
    parted = list(own)
    if len(own) == len(sizes) and letters[0] == "N" and sizes[0] and own[0] % sizes[0] == 0:
        parted = [sizes[0], own[0] // sizes[0], *own[1:]]
    named = [*letters[:place], "h", "d", *letters[place + 1 :]]
    for heads, inner in itertools.combinations(range(len(parted)), 2):
        if parted[heads] * parted[inner] == size and len(parted) == len(sizes) + 1:
            apart = [*sizes[:place], parted[heads], parted[inner], *sizes[place + 1 :]]
            for reading in _ordered(apart, named, parted):
                axes = reading.axes or ()
                if (axes[place], axes[place + 1]) == (heads, inner):
                    yield reading


def _ordered(sizes: Sequence[int], letters: Sequence[str], own: Sequence[int], what: str = "") -> Iterator[Reading]:
    """Yield the orders of axes in which sizes are others, in words."""
    for axes in _orders(own, sizes):
        order: list[Any] = sorted(range(len(axes)), key=lambda k: axes[k])
        named = ", ".join(letters[k] for k in order)
        yield Reading(axes, f"read as {what or f'({named})'}", tuple(own))


def _join(sizes: Sequence[int], place: int) -> list[int]:
    """Return sizes with two neighbours as one axis."""
    return [*sizes[:place], sizes[place] * sizes[place + 1], *sizes[place + 2 :]]


def _join_letters(letters: Sequence[str], place: int) -> list[str]:
    """Return letters with two neighbours as one axis."""
    return [*letters[:place], f"{letters[place]}*{letters[place + 1]}", *letters[place + 2 :]]


def _words(axes: Sequence[int], shape: Sequence[int], mine: Sequence[int], letters: str) -> str:
    """Return a reading in words: ``read as NHWC``."""
    if len(letters) != len(shape):
        return f"axes read in the order {' '.join(map(str, axes))}"
    long = [letter for letter, size in zip(letters, shape, strict=True) if size != 1]
    order: list[Any] = sorted(range(len(axes)), key=lambda k: axes[k])
    named = iter([long[k] for k in order])
    if len(mine) != len(shape):
        return f"read as {''.join(named)}"
    single = iter([letter for letter, size in zip(letters, shape, strict=True) if size == 1])
    return "read as " + "".join(next(single) if size == 1 else next(named) for size in mine)
