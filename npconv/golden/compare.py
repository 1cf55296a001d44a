"""Comparing two traces: every tensor that both have, in the order of the reference, up to what rounding explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from npconv.errors import GoldenError
from npconv.golden.align import Aligned, align
from npconv.golden.elementwise import check_gelus
from npconv.golden.exchanged import Exchange, find_exchanged, find_held
from npconv.golden.gradients import note_factor, with_their_gradients
from npconv.golden.hidden import Hiding, hidden
from npconv.golden.inputs import check_compared, check_inputs, check_labels, given_to_both
from npconv.golden.islands import Island, find_folded, find_islands
from npconv.golden.measures import (
    check_unit,
    largest_of,
    tolerance,
)
from npconv.golden.naming import Named, pair_names
from npconv.golden.notes import note_layouts, note_noise, note_second, note_sizes, note_weights
from npconv.golden.readings import AS_IT_IS, Reading
from npconv.golden.trace_file import PARAMETERS, PIXELS, layout_of, weights_of
from npconv.golden.units import noise_in
from npconv.golden.weights import SEARCHED, Weight, align_weights, explain_weight, split_names
from npconv.golden.whereabouts import not_finite, whereabouts

#: Divergent tensors of which is said where the differences sit; those after them follow from them.
LOCATED = 3

#: Where a GELU is wrong whose error is less than the rounding of large values.
_WHERE_OWN = "single values, by up to {:.2g} times what rounding makes of your own input to this step"


@dataclass(frozen=True)
class Difference:
    """What there is to say about one tensor.

    Parameters
    ----------
    name, mine : str
        What it is called in the reference, and in the other trace.
    index : int
        Its place among all that are compared, from 1.
    shape_reference, shape_mine : tuple of int
    dtype, dtype_mine : str
    layout : str
        How it had to be read (``"read as NHWC"``); empty as it is.
    max_abs, relative : float
        The largest absolute difference, and as a share of the largest absolute value of the reference. Infinite where
        the shapes do not fit or a value is not finite.
    cosine, nmse, outside : float
        See :class:`npconv.golden.measures.Measures`.
    tolerance : float
        The largest absolute difference that rounding explains.
    finite : bool
        Neither holds NaN or infinity.
    whereabouts : str
        Where the differences sit; of the first divergent tensors only.
    reading : Reading, optional
        How the array is read; None if the shapes do not fit.
    broken : bool
        The reference itself holds NaN or infinity.
    own : float
        Of a GELU in fewer bits than float32: how far mine is from that of mine's own input, value by value, in what
        rounding explains. More than 1 is wrong, whatever the tolerance is.
    is_island : bool
        All that is computed of it is right: the port folded something, or recorded it elsewhere.
    """

    name: str
    mine: str
    index: int
    shape_reference: tuple[int, ...]
    shape_mine: tuple[int, ...]
    dtype: str
    dtype_mine: str
    layout: str
    max_abs: float
    relative: float
    cosine: float
    nmse: float
    outside: float
    tolerance: float
    finite: bool
    whereabouts: str = ""
    reading: Reading | None = AS_IT_IS
    broken: bool = False
    own: float = 0.0
    is_island: bool = False

    @property
    def diverges(self) -> bool:
        """Whether neither rounding nor a folding explains the difference."""
        return not self.is_island and not (self.finite and self.max_abs <= self.tolerance and self.own <= 1)

    def read(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the tensor among mine, read as the reference is; in its own shape if it does not fit."""
        mine = np.asarray(arrays[self.mine])
        return mine if self.reading is None else self.reading.of(mine, self.shape_reference)


@dataclass(frozen=True)
class Comparison:
    """Two traces, and how far each tensor of one is from the other.

    Parameters
    ----------
    reference, mine : Trace, or mapping of str to ndarray
    differences : list of Difference
        Of the tensors that both have, in the order of the reference.
    missing, extra : list of str
        Names that only the reference has, and only mine.
    first : Difference, optional
        The first that diverges; None if none does.
    last_good : Difference, optional
        The one before it, or the last of all; None if there is none.
    notes : list of str
        What the reader should know of how the comparison was made.
    islands : list of Island
        Tensors that differ, and are no divergence: all that is computed of them is right.
    exchanged : list of Exchange
        Tensors that mine has under each other's name.
    held : str, optional
        The name of the tensor that mine has under that of the first divergent one.
    aliases : list of Difference
        Tensors of mine that differ from those for which their names stand, which mine has right under its own.
    weights : list of Weight
        What mine says of its weights, in the order of the reference.
    segments : dict
        Parts of the model that were run again: :func:`npconv.golden.segment.make_segment` keeps them here, because
        several questions are asked about one.
    hidden : list of Hiding
        What of the reference hides mistakes, but for what every photo does.
    refused : dict
        Why the part before a tensor was not run again, by its name: it would take more than the file explains.
    named : Named
        How the names of mine were understood.
    """

    reference: Mapping[str, np.ndarray]
    mine: Mapping[str, np.ndarray]
    differences: list[Difference]
    missing: list[str]
    extra: list[str]
    first: Difference | None
    last_good: Difference | None
    notes: list[str] = field(default_factory=list)
    islands: list[Island] = field(default_factory=list)
    exchanged: list[Exchange] = field(default_factory=list)
    held: str | None = None
    aliases: list[Difference] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    segments: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    refused: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    named: Named = field(default_factory=lambda: Named("", 0, 0))
    hidden: list[Hiding] = field(default_factory=list)

    def __getitem__(self, name: str) -> Difference:
        """Return the difference of a tensor by its name in the reference."""
        return next(difference for difference in self.differences if difference.name == name)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from npconv.golden.notebook import comparison_note

        return comparison_note(self)

    @property
    def wrong_weights(self) -> list[Weight]:
        """The weights that were wrong on loading."""
        return [weight for weight in self.weights if weight.difference.diverges]

    @property
    def diverges(self) -> bool:
        """Whether a tensor or a weight does."""
        return self.first is not None or bool(self.wrong_weights)

    def array(self, difference: Difference) -> np.ndarray:
        """Return the tensor of mine, read as the reference is; in its own shape if it does not fit."""
        return difference.read(self.mine)


def compare(
    reference: Mapping[str, np.ndarray],
    mine: Mapping[str, np.ndarray],
    *,
    unit: str = "float32",
    rtol: float | None = None,
    atol: float | None = None,
    layout: str = "auto",
    names: Mapping[str, str] | str | None = None,
    strict: bool = False,
) -> Comparison:
    """Compare two traces of one model on one input.

    Parameters
    ----------
    reference, mine : Trace, or mapping of str to ndarray
    unit : {"float32", "float16", "bfloat16", "tf32"}
        What mine was computed in. The noise of fewer bits than float32 is measured, by two runs of the reference's
        steps; where it does not hold what they need, the tolerance of float32 grows with the rounding.
    rtol, atol : float, optional
        A tolerance of one's own, for the largest absolute difference: ``atol + rtol * max |reference|``.
    layout : {"auto", "strict"}
        Whether axes may come in another order, and axes of size 1 come and go.
    names : mapping of str to str, or str, optional
        Name in mine -> name or alias in the reference, of tensors and of weights; or the library whose names mine has,
        such as ``"timm"``, one of :func:`npconv.convert.modules.module_dialects`. If unset, a library is recognised
        where that is certain.
    strict : bool
        Whether what differs diverges even if all that is computed of it is right, or if it is a second array of a
        tensor that mine has right.

    Raises
    ------
    GoldenError
        If the inputs differ, no name is common, or fewer than half of those in mine and there is no map, an argument is
        wrong, or nothing that both have could tell a right result from a wrong one.
    """
    check_unit(unit)
    if layout not in ("auto", "strict"):
        raise GoldenError(f"expected layout to be auto or strict, got {layout!r}")
    renamed, renamed_weights = split_names(names, reference)
    renamed = with_their_gradients(renamed, renamed_weights, reference, mine)
    pairs, named, said = pair_names(reference, mine, renamed)
    note, inputs, refused = check_inputs(reference, mine, pairs.names, unit, layout)
    check_labels(reference, mine, pairs.names)
    starts = given_to_both(reference)
    pairs = pairs._replace(missing=[name for name in pairs.missing if name not in starts])
    if refused is not None and strict:
        raise GoldenError(refused)
    notes = [note, *note_weights(reference, mine), *said]
    fewer = unit != "float32" and rtol is None and atol is None
    noise = noise_in(reference, unit, pairs.names) if fewer else {}
    if rtol is None and atol is None:
        notes += note_noise(reference, pairs.names, unit, noise)
    limits = {name: tolerance(reference, name, unit, rtol, atol, noise_in_unit=noise.get(name)) for name in pairs.names}
    aligned, second = align(reference, mine, pairs, limits, layout, strict)
    notes += note_layouts(aligned) + note_second(aligned, pairs, mine) + note_sizes(aligned)
    own = check_gelus(reference, mine, aligned, unit) if fewer else {}
    differences = [
        replace(_difference(reference, mine, entry, index), own=own.get(entry.tensor.name, 0.0))
        for index, entry in enumerate(aligned, 1)
    ]
    index_of = {found.name: found.index for found in differences}
    aliases = [_difference(reference, mine, entry, index_of[entry.tensor.name]) for entry in second]
    of_weights, more = align_weights(reference, mine, renamed_weights, unit, rtol, layout)
    weights = _weights(reference, mine, of_weights)
    comparison = Comparison(reference, mine, differences, pairs.missing, pairs.extra, None, None, notes + more)
    hides = [one for one in hidden(reference) if not one.is_usual]
    comparison = replace(comparison, aliases=aliases, weights=weights, named=named, hidden=hides)
    comparison = _judged(comparison, strict)
    comparison.notes[:0] = note_factor(comparison)
    if refused is not None and not comparison[PIXELS].is_island:
        raise GoldenError(refused)
    if not comparison.diverges:
        comparison.notes.extend(check_compared(aligned, pairs, inputs | starts))
    return comparison


def _judged(comparison: Comparison, strict: bool) -> Comparison:
    """Return a comparison with its first divergence, once it is known which tensors and weights are islands."""
    apart = [found for found in comparison.differences if found.diverges]
    exchanged = find_exchanged(comparison, apart)
    islands = [] if strict else find_islands(comparison, exchanged)
    folded = set() if strict else find_folded(comparison)
    names = {name for island in islands for name in island.names}
    differences = [replace(found, is_island=True) if found.name in names else found for found in comparison.differences]
    for found in [found for found in differences if found.diverges][:LOCATED]:
        differences[found.index - 1] = _located(comparison, found)
    first = next((found for found in differences if found.diverges), None)
    good = [found for found in (differences[: first.index - 1] if first else differences) if not found.is_island]
    held = None if first is None else find_held(comparison, first, comparison.reference)
    return replace(
        comparison,
        differences=differences,
        first=first,
        last_good=good[-1] if good else None,
        islands=islands,
        exchanged=exchanged,
        held=held,
        weights=[
            replace(weight, difference=replace(weight.difference, is_island=weight.difference.name in folded))
            for weight in comparison.weights
        ],
    )


def _weights(
    reference: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray], found: Sequence[Aligned]
) -> list[Weight]:
    """Return what mine says of its weights."""
    truths, own = weights_of(reference), weights_of(mine)
    weights: list[Weight] = []
    wrong = 0
    for index, entry in enumerate(found, 1):
        difference = _difference(truths, own, entry, index)
        kind, values = "", dict[str, Any]()
        if difference.diverges:
            wrong += 1
            used, limit = difference.read(own), entry.limit
            kind, values = explain_weight(truths, entry.tensor.name, used, limit, thorough=wrong <= SEARCHED)
        weights.append(Weight(replace(difference, name=PARAMETERS + difference.name), kind, values))
    return weights


def _difference(
    reference: Mapping[str, np.ndarray], mine: Mapping[str, np.ndarray], found: Aligned, index: int
) -> Difference:
    """Say what there is to say about one tensor, but for where it differs."""
    tensor, measures, limit = found.tensor, found.measures, found.limit
    truth, array = np.asarray(reference[tensor.name]), np.asarray(mine[found.mine])
    facts: dict[str, Any] = {
        "name": tensor.name,
        "mine": found.mine,
        "index": index,
        "shape_reference": truth.shape,
        "shape_mine": array.shape,
        "dtype": str(truth.dtype),
        "dtype_mine": str(array.dtype),
        "tolerance": limit,
    }
    if measures is None or tensor.reading is None:
        return _unfit(facts, truth, array)
    where = "" if measures.finite else not_finite(truth, array)
    numbers = {key: getattr(measures, key) for key in ("max_abs", "relative", "cosine", "nmse", "outside", "finite")}
    facts["broken"] = not np.isfinite(measures.largest)
    return Difference(**facts, **numbers, layout=tensor.reading.says, whereabouts=where, reading=tensor.reading)


def _located(comparison: Comparison, found: Difference) -> Difference:
    """Return the difference of a tensor with where it differs."""
    if found.own > 1:
        return replace(found, whereabouts=_WHERE_OWN.format(found.own))
    if found.whereabouts or found.reading is None:
        return found
    truth = np.asarray(comparison.reference[found.name])
    letters = layout_of(comparison.reference, found.name, truth.ndim)
    return replace(found, whereabouts=whereabouts(truth, comparison.array(found), found.tolerance, letters))


def _unfit(facts: dict[str, Any], truth: np.ndarray, array: np.ndarray) -> Difference:
    """Return the difference of arrays whose shapes do not fit."""
    facts["broken"] = not np.isfinite(largest_of(truth))
    finite = bool(not facts["broken"] and np.isfinite(largest_of(array)))
    where = "the shapes do not fit" + ("" if finite else f"; {not_finite(truth, array)}")
    lost: dict[str, Any] = dict.fromkeys(("max_abs", "relative", "nmse"), np.inf)
    return Difference(
        **facts, **lost, layout="", cosine=0.0, outside=1.0, finite=finite, whereabouts=where, reading=None
    )
