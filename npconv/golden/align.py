"""Which tensor of one trace belongs to which of another, and in which order of axes it is read.

First names are paired, then each tensor is read in the order that its numbers speak for, and last those are read again
for which the other tensors speak for another order.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from npconv.errors import GoldenError
from npconv.golden.measures import Measures, measure
from npconv.golden.output_names import output_names, spelled
from npconv.golden.trace_file import PIXELS, layout_of, part
from npconv.messages import nearest, quoted
from npconv.models import FAMILIES

#: What stands before the names of a model inside another one, or of a compiled or distributed one.
PREFIXES = ("module.", "_orig_mod.", "model.", *(f"{family.base_model_prefix}." for family in FAMILIES.values()))

#: Arrays with more axes than this are read as they are: the permutations grow too many.
MOST_AXES = 6

#: Names shown in an error or a note.
SHOWN = 3


class Pairs(NamedTuple):
    """Which names belong together.

    Parameters
    ----------
    names : dict of str to str
        Name in the reference -> name in mine, in the order of the reference.
    missing, extra : list of str
        Names of the reference that mine lacks, and of mine that the reference lacks.
    second : dict of str to list of str
        Name in the reference -> further names in mine that stand for the same tensor.
    unused : list of str
        Names of mine that the map of names speaks of and mine lacks.
    """

    names: dict[str, str]
    missing: list[str]
    extra: list[str]
    second: dict[str, list[str]]
    unused: list[str]


def pair(
    reference: Mapping[str, Any] | Iterable[str],
    mine: Mapping[str, Any] | Iterable[str],
    aliases: Mapping[str, str] | None = None,
    renamed: Mapping[str, str] | None = None,
) -> Pairs:
    """Find the names that belong together.

    Names that are renamed come first, then those that are equal, then those that are equal once aliases are resolved
    and prefixes such as ``convnextv2.`` taken away, then those of a model's outputs (``logits``), in either trace. A
    tensor of mine under a second name of the same module is no extra one, but a second. `aliases` go from a second
    name to the name, `renamed` from mine to the reference's.

    Raises
    ------
    GoldenError
        If no name is common but that of the input, or a new name does not exist, or none of those that are renamed.
    """
    wanted, there = list(reference), list(mine)
    aliases, given = dict(aliases or {}), dict(renamed or {})
    _check_renamed(given, wanted, there)
    renamed = {name: target for name, target in given.items() if name in there}
    known = set(wanted)
    short = {_short(name): name for name in reversed(wanted)}
    second = {_short(alias): name for alias, name in aliases.items() if name in known}
    outputs = output_names(reference)
    own = {name: outputs[output] for output, name in output_names(mine).items() if output in outputs}
    found = {target: name for name, target in renamed.items()}
    extra: list[str] = []
    second_names: dict[str, list[str]] = {}
    free = [name for name in there if name not in renamed]
    for name in sorted(free, key=lambda name: name not in known):  # those that are equal first
        target = name if name in known else aliases.get(name) or short.get(_short(name)) or second.get(_short(name))
        target = target if target in known else outputs.get(spelled(name) or "") or own.get(name)
        if target not in known:
            extra.append(name)
        elif found.setdefault(str(target), name) != name:
            second_names.setdefault(str(target), []).append(name)
    if not found or (set(found) == {PIXELS} and extra and len(wanted) > 1):
        raise GoldenError(nothing_common(wanted, [name for name in there if name != found.get(PIXELS)]))
    names = {name: found[name] for name in wanted if name in found}
    unused = [name for name in given if name not in renamed]
    return Pairs(names, [name for name in wanted if name not in found], extra, second_names, unused)


def _check_renamed(renamed: Mapping[str, str], wanted: Sequence[str], there: Sequence[str]) -> None:
    """Refuse a map of names that speaks of other tensors: of such as MINE lacks only if it lacks all of them."""
    known = set(wanted)
    absent = [name for name in renamed.values() if name not in known]
    if absent:
        turned = "; is it {reference: mine}?" if set(renamed) <= known else ""
        near = _nearest(absent[0], wanted)
        raise GoldenError(
            f"the map of names speaks of {quoted(absent[0])}, which REFERENCE lacks; nearest there: {near}{turned}"
        )
    if renamed and not set(renamed) & set(there):
        name = next(iter(renamed))
        near = _nearest(name, there)
        raise GoldenError(f"the map of names speaks of {quoted(name)}, which MINE lacks; nearest there: {near}")
    if len(set(renamed.values())) < len(renamed):
        twice = Counter(renamed.values()).most_common(1)[0][0]
        raise GoldenError(f"the map of names gives two tensors of MINE the name {quoted(twice)}; give one")


def _short(name: str) -> str:
    """Return a name without the prefixes that a model puts before it."""
    for prefix in PREFIXES * 2:  # one may stand before another
        name = name.removeprefix(prefix)
    return name


def nothing_common(wanted: Sequence[str], there: Sequence[str]) -> str:
    """Say that no name is common, and which are the nearest."""
    if not (wanted and there):
        return f"expected tensors in both traces, got {len(wanted)} in REFERENCE and {len(there)} in MINE"
    near = "; ".join(f"{quoted(name)} (nearest in REFERENCE: {_nearest(name, wanted)})" for name in there[:SHOWN])
    return f"no name of MINE is in REFERENCE: {near}; give --names with a JSON file of {{mine: reference}}"


def _nearest(name: str, names: Sequence[str]) -> str:
    """Return the name that is most like another one, however little."""
    near = nearest(name, names, alike=0)
    return "none" if near is None else quoted(near)


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
    strict: bool = False,
) -> tuple[list[Aligned], list[Aligned]]:
    """Read every tensor of mine as its reference is, up to the `limits` of the reference's names.

    Where mine has several of a name, that under the tensor's own name counts if it is good, unless it is `strict`; else
    the first that diverges. Returned are those that count, and those that differ beside a good one. With a strict
    layout, each is read as it is.
    """
    aliases = {_short(alias) for trace in (reference, mine) for alias in part(trace, "aliases")}

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
        direct = [entry for entry in several if not (_short(entry.mine) in aliases or spelled(entry.mine))]
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
    orders = count_orders(tensors)
    for tensor in tensors:
        # What is wrong in every order is read as the others are, whatever order it is nearest in.
        reading = None if tensor.is_good else as_the_others(tensor, orders)
        if reading is not None:
            found[tensor.name] = again(tensor, reading)
    return list(found.values()), second
