"""In which order of axes each tensor of a trace is read.

First each is read in the order that its numbers speak for, then those again for which the other tensors speak for
another order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from npconv.golden.measures import Measures, measure
from npconv.golden.output_names import spelled
from npconv.golden.pairing import Pairs
from npconv.golden.readings import AS_IT_IS, Reading, readings
from npconv.golden.spelling import parts_of, without_prefixes
from npconv.golden.trace_file import layout_of, part


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

    def all_ways(self) -> dict[Any, Reading]:
        """Return the ways to read it that the shapes allow, the one that they suggest first."""
        return {reading.way: reading for reading in readings(self.shape, self.mine, self.letters)}


def doubtful(tensors: Sequence[Tensor], fits: Callable[[Tensor, Reading], bool]) -> list[Tensor]:
    """Return the tensors that were read in an order for which nothing speaks but their own numbers.

    The map of a square picture has the same shape with rows and columns exchanged: to read it so would hide that one
    step exchanges them. A program that keeps its axes in another order does so everywhere, or in all modules of one
    kind. So where the shapes allow several orders, one that is not the first of these is believed only if the shapes
    leave no doubt of it in a module of the same name in another place, or all others that could be read so agree.

    `fits` tells of a tensor and a reading whether it is inside its tolerance.
    """
    kinds = _kinds(tensor for tensor in tensors if tensor.is_good)

    @cache
    def agreed(kind: tuple[str, int], way: Any) -> tuple[int, bool, set[str]]:
        """Count the good tensors of a kind that may be read so; tell if all agree, and which modules can only be so."""
        able = [(other, ways) for other in kinds[kind] if way in (ways := other.all_ways())]
        fit = all(_way(other) == way or fits(other, ways[way]) for other, ways in able)
        return len(able), fit, {_role(other.name) for other, ways in able if next(iter(ways)) == way}

    found = []
    for tensor in tensors:
        reading = tensor.reading
        if reading is None or not tensor.is_good or reading.way == next(iter(tensor.all_ways())):
            continue
        able, do_fit, certain = agreed(_kind(tensor), reading.way)
        if _role(tensor.name) not in certain and (able == 1 or not do_fit):  # the one is this tensor itself
            found.append(tensor)
    return found


def as_the_others(tensor: Tensor, *orders: Mapping[tuple[str, int], Counter[Any]]) -> Reading | None:
    """Return the order in which to read a tensor that is wrong in every order: that of most others of its kind.

    `orders` count them by kind; the first that has one that fits the shape decides. Where none has, it is the order
    that the shapes suggest: the numbers of a wrong array speak for none. None: the shapes do not fit.
    """
    possible = tensor.all_ways()
    for counted in (one.get(_kind(tensor), Counter()) for one in orders):
        if common := [way for way in counted if way in possible]:
            return possible[max(common, key=lambda way: counted[way])]
    return next(iter(possible.values()), None)


def count_orders(tensors: Iterable[Tensor]) -> dict[tuple[str, int], Counter[Any]]:
    """Count the orders of axes in which the tensors of each kind were read."""
    return {kind: Counter(map(_way, found)) for kind, found in _kinds(tensors).items()}


def _kinds(tensors: Iterable[Tensor]) -> dict[tuple[str, int], list[Tensor]]:
    """Return tensors by kind."""
    kinds: dict[tuple[str, int], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault(_kind(tensor), []).append(tensor)
    return kinds


def _kind(tensor: Tensor) -> tuple[str, int]:
    """Return what tensors have in common whose axes are likely to be in one order."""
    return tensor.letters, len(tensor.shape)


def _way(tensor: Tensor) -> Any:
    """Return the way in which a tensor was read."""
    return AS_IT_IS.way if tensor.reading is None else tensor.reading.way


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
    strict: bool = False,
) -> tuple[list[Aligned], list[Aligned]]:
    """Read every tensor of mine as its reference is, up to the `limits` of the reference's names.

    Where mine has several of a name, that under the tensor's own name counts if it is good, unless it is `strict`; else
    the first that diverges. Returned are those that count, and those that differ beside a good one. With a strict
    layout, each is read as it is.
    """
    short = {without_prefixes(parts_of(alias)) for trace in (reference, mine) for alias in part(trace, "aliases")}

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
    second: list[Aligned] = []
    for name, own in pairs.names.items():
        several = [one(name, other) for other in (own, *pairs.second.get(name, ()))]
        wrong = [entry for entry in several if not entry.tensor.is_good]
        direct = [e for e in several if not (without_prefixes(parts_of(e.mine)) in short or spelled(e.mine))]
        if wrong and direct and direct[0].tensor.is_good and not strict:
            found[name] = direct[0]
            second += wrong
        else:
            found[name] = wrong[0] if wrong else several[0]
    if layout == "strict":
        return list(found.values()), second
    tensors = [entry.tensor for entry in found.values()]
    for tensor in doubtful(tensors, lambda tensor, reading: again(tensor, reading).tensor.is_good):
        found[tensor.name] = again(tensor, next(readings(tensor.shape, tensor.mine, tensor.letters)))
    tensors = [entry.tensor for entry in found.values()]
    good = count_orders(tensor for tensor in tensors if tensor.is_good)
    certain = count_orders(tensor for tensor in tensors if len(tensor.all_ways()) == 1)
    for tensor in tensors:
        # What is wrong in every order is read as the others are, whatever order it is nearest in.
        reading = None if tensor.is_good else as_the_others(tensor, good, certain)
        if reading is not None:
            found[tensor.name] = again(tensor, reading)
    return list(found.values()), second
