"""All tensors of two traces, each read in the order of axes that its numbers and the other tensors speak for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from npconv.golden.about import layout_of
from npconv.golden.align import Pairs, Reading, Tensor, as_the_others, doubtful, read, readings
from npconv.golden.measures import Measures, measure


class Aligned(NamedTuple):
    """A tensor of both traces, and how far they are apart."""

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
    """Read every tensor of mine as its reference is.

    Parameters
    ----------
    reference, mine : mapping of str to ndarray
    pairs : Pairs
        Which names belong together.
    limits : mapping of str to float
        Name in the reference -> largest absolute difference that is none.
    layout : {"auto", "strict"}
        Strict: as it is or not at all.
    """
    found = [
        _align_one(reference, mine, name, [other, *pairs.second.get(name, [])], limits[name], layout)
        for name, other in pairs.names.items()
    ]
    if layout == "strict":
        return found
    return _wrong_as_the_others(reference, mine, _without_doubtful(reference, mine, found))


def _align_one(
    reference: Mapping[str, np.ndarray],
    mine: Mapping[str, np.ndarray],
    name: str,
    others: Sequence[str],
    limit: float,
    layout: str,
) -> Aligned:
    """Measure one tensor; where mine has several of the name, the first that diverges, if any does."""
    truth = np.asarray(reference[name])
    letters = layout_of(reference, name, truth.ndim)
    tried = []
    for other in others:
        array = np.asarray(mine[other])
        found = read(truth, array, limit, letters=letters, layout=layout)
        reading, measures = found or (None, None)
        is_good = measures is not None and measures.finite and measures.max_abs <= limit
        tensor = Tensor(name, letters, truth.shape, array.shape, reading, is_good)
        tried.append(Aligned(tensor, other, limit, measures))
    return next((found for found in tried if not found.tensor.is_good), tried[0])


def _without_doubtful(
    reference: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray], found: list[Aligned]
) -> list[Aligned]:
    """Read those tensors as their shapes suggest that only their own numbers say to read otherwise."""
    by_name = {entry.tensor.name: entry for entry in found}

    def fits(tensor: Tensor, reading: Reading) -> bool:
        return _read_as(reference, mine, by_name[tensor.name], reading).tensor.is_good

    for tensor in doubtful([entry.tensor for entry in found], fits):
        reading = next(readings(tensor.shape, tensor.mine, tensor.letters))
        by_name[tensor.name] = _read_as(reference, mine, by_name[tensor.name], reading)
    return list(by_name.values())


def _wrong_as_the_others(
    reference: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray], found: list[Aligned]
) -> list[Aligned]:
    """Read those tensors that are wrong in every order in that of the others, whatever order they are nearest in."""
    tensors = [entry.tensor for entry in found]
    result = []
    for entry in found:
        reading = None if entry.tensor.is_good else as_the_others(entry.tensor, tensors)
        result.append(entry if reading is None else _read_as(reference, mine, entry, reading))
    return result


def _read_as(
    reference: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray], entry: Aligned, reading: Reading
) -> Aligned:
    """Return a tensor in another reading."""
    truth = np.asarray(reference[entry.tensor.name])
    measures = measure(truth, reading.of(np.asarray(mine[entry.mine]), truth.shape), entry.limit)
    is_good = measures.finite and measures.max_abs <= entry.limit
    return entry._replace(tensor=entry.tensor._replace(reading=reading, is_good=is_good), measures=measures)
