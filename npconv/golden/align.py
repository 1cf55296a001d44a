"""In which order of axes each tensor of a trace is read.

First each is read in the order that its numbers speak for, then those again for which the other tensors speak for
another order.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from npconv.golden.measures import Measures, measure
from npconv.golden.pairing import Pairs
from npconv.golden.trace_file import layout_of

#: Arrays with more axes than this are read as they are: the permutations grow too many.
MOST_AXES = 6


class Reading(NamedTuple):
    """How the axes of an array are read: the longer ones in the order of the reference, or None: as they are."""

    axes: tuple[int, ...] | None
    says: str = ""

    def of(self, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Return the array in the shape of the reference."""
        if self.axes is None:
            return array.reshape(shape)
        return np.ascontiguousarray(array.squeeze().transpose(self.axes)).reshape(shape)


AS_IT_IS = Reading(None)


def readings(shape: Sequence[int], mine: Sequence[int], letters: str = "") -> Iterator[Reading]:
    """Give out the ways to read an array as one of another shape: as it is, then with its axes in another order.

    Axes of size 1 may come and go. `letters`, one for each axis of the reference, put a reading into words.
    """
    sizes = [size for size in shape if size != 1]
    own = [size for size in mine if size != 1]
    if sorted(sizes) != sorted(own):
        return
    if sizes == own:
        yield AS_IT_IS
    if len(own) > MOST_AXES:
        return
    for axes in itertools.permutations(range(len(own))):
        if axes != tuple(range(len(own))) and [own[axis] for axis in axes] == sizes:
            yield Reading(axes, _words(axes, shape, mine, letters))


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


def read(
    reference: np.ndarray, mine: np.ndarray, tolerance: float, *, letters: str = "", layout: str = "auto"
) -> tuple[Reading, Measures] | None:
    """Find the reading of an array that is nearest to its reference.

    As it is, if that is possible and no other reading is inside the tolerance; else the nearest one. With a strict
    layout, as it is or not at all. None: the shapes do not fit.
    """
    if layout == "strict":
        same_shape = reference.shape == mine.shape
        return (AS_IT_IS, measure(reference, mine, tolerance)) if same_shape else None
    best: tuple[Reading, Measures] | None = None
    for reading in readings(reference.shape, mine.shape, letters):
        measures = measure(reference, reading.of(mine, reference.shape), tolerance)
        if measures.finite and measures.max_abs <= tolerance:
            return reading, measures
        if reading is AS_IT_IS and not abs(measures.largest_mine - measures.largest) <= tolerance:
            return reading, measures  # other values: in no order are they the same
        if best is None or (best[0] is not AS_IT_IS and measures.max_abs < best[1].max_abs):
            best = reading, measures
    return best


class Tensor(NamedTuple):
    """How one tensor was read: its name, letters and shape in the reference, its own shape, and if it is good so."""

    name: str
    letters: str
    shape: tuple[int, ...]
    mine: tuple[int, ...]
    reading: Reading | None
    is_good: bool

    def all_axes(self) -> list[tuple[int, ...] | None]:
        """Return the orders of axes that the shapes allow, the one that they suggest first."""
        return [reading.axes for reading in readings(self.shape, self.mine, self.letters)]


def doubtful(tensors: Sequence[Tensor], fits: Callable[[Tensor, Reading], bool]) -> list[Tensor]:
    """Return the tensors that were read in an order for which nothing speaks but their own numbers.

    The map of a square picture has the same shape with rows and columns exchanged: to read it so would hide that one
    step exchanges them. A program that keeps its axes in another order does so everywhere, or in all modules of one
    kind. So where the shapes allow several orders, one that is not the first of these is believed only if the shapes
    leave no doubt of it in a module of the same name in another place, or all others that could be read so agree.

    `fits` tells of a tensor and a reading whether it is inside its tolerance.
    """
    kinds = _kinds(tensors)

    @cache
    def agreed(kind: tuple[str, int], axes: tuple[int, ...] | None) -> tuple[int, bool, set[str]]:
        """Count the good tensors of a kind that may be read so; tell if all agree, and which modules can only be so."""
        able = [other for other in kinds[kind] if axes in other.all_axes()]
        fit = all(_axes(other) == axes or fits(other, Reading(axes)) for other in able)
        return len(able), fit, {_role(other.name) for other in able if other.all_axes()[0] == axes}

    found = []
    for tensor in tensors:
        reading = tensor.reading
        if reading is None or not tensor.is_good or reading.axes == tensor.all_axes()[0]:
            continue
        able, do_fit, certain = agreed(_kind(tensor), reading.axes)
        if _role(tensor.name) not in certain and (able == 1 or not do_fit):  # the one is this tensor itself
            found.append(tensor)
    return found


def as_the_others(tensor: Tensor, orders: Mapping[tuple[str, int], Counter[Any]]) -> Reading | None:
    """Return the order in which to read a tensor that is wrong in every order: that of most good ones of its kind.

    None if there are none, or their order does not fit its shape. `orders` counts them by kind.
    """
    counted = orders.get(_kind(tensor), Counter())
    possible = {reading.axes: reading for reading in readings(tensor.shape, tensor.mine, tensor.letters)}
    common = [axes for axes in counted if axes in possible]
    return possible[max(common, key=lambda axes: counted[axes])] if common else None


def count_orders(tensors: Sequence[Tensor]) -> dict[tuple[str, int], Counter[Any]]:
    """Count the orders of axes in which the good tensors of each kind were read."""
    return {kind: Counter(map(_axes, found)) for kind, found in _kinds(tensors).items()}


def _kinds(tensors: Sequence[Tensor]) -> dict[tuple[str, int], list[Tensor]]:
    """Return the good tensors by kind."""
    kinds: dict[tuple[str, int], list[Tensor]] = {}
    for tensor in tensors:
        if tensor.is_good:
            kinds.setdefault(_kind(tensor), []).append(tensor)
    return kinds


def _kind(tensor: Tensor) -> tuple[str, int]:
    """Return what tensors have in common whose axes are likely to be in one order."""
    return tensor.letters, len(tensor.shape)


def _axes(tensor: Tensor) -> tuple[int, ...] | None:
    """Return the order in which a tensor was read."""
    return None if tensor.reading is None else tensor.reading.axes


def _role(name: str) -> str:
    """Return a name without its numbers, which modules of one kind in several places share."""
    return re.sub(r"[0-9]+", "#", name)


class Aligned(NamedTuple):
    """A tensor of both traces, its name in mine, its tolerance, and how far they are apart if the shapes fit."""

    tensor: Tensor
    mine: str
    limit: float
    measures: Measures | None


def align(
    reference: Mapping[str, np.ndarray],
    mine: Mapping[str, np.ndarray],
    pairs: Pairs,
    limits: Mapping[str, float],
    layout: str,
) -> list[Aligned]:
    """Read every tensor of mine as its reference is, up to the `limits` of the reference's names.

    Where mine has several of a name, the first that diverges counts. With a strict layout, each is read as it is.
    """

    def one(name: str, own: str, reading: Reading | None = None) -> Aligned:
        truth, array, limit = np.asarray(reference[name]), np.asarray(mine[own]), limits[name]
        letters = layout_of(reference, name, truth.ndim)
        if reading is None:
            found = read(truth, array, limit, letters=letters, layout=layout)
        else:
            found = reading, measure(truth, reading.of(array, truth.shape), limit)
        chosen, measures = found or (None, None)
        is_good = measures is not None and measures.finite and measures.max_abs <= limit
        return Aligned(Tensor(name, letters, truth.shape, array.shape, chosen, is_good), own, limit, measures)

    def again(tensor: Tensor, reading: Reading) -> Aligned:
        return one(tensor.name, found[tensor.name].mine, reading)

    found: dict[str, Aligned] = {}
    for name, own in pairs.names.items():
        several = [one(name, other) for other in (own, *pairs.second.get(name, ()))]
        found[name] = next((entry for entry in several if not entry.tensor.is_good), several[0])
    if layout == "strict":
        return list(found.values())
    tensors = [entry.tensor for entry in found.values()]
    for tensor in doubtful(tensors, lambda tensor, reading: again(tensor, reading).tensor.is_good):
        found[tensor.name] = again(tensor, next(readings(tensor.shape, tensor.mine, tensor.letters)))
    tensors = [entry.tensor for entry in found.values()]
    orders = count_orders(tensors)
    for tensor in tensors:
        # What is wrong in every order is read as the others are, whatever order it is nearest in.
        reading = None if tensor.is_good else as_the_others(tensor, orders)
        if reading is not None:
            found[tensor.name] = again(tensor, reading)
    return list(found.values())
