"""The weights that a port says it has, held against those of the reference: what is wrong on loading is seen here.

The records of what was done to a wrong one, kind and values:

- ``"shape"``: ``{}``, it has another size
- ``"another"``: ``{"taken": NAME}``, it is another parameter of the checkpoint
- ``"value"``: ``{"value": NUMBER}``, it holds one number throughout, as before anything is loaded
- ``"turned"``: ``{"turned": HOW}``, reversed, rolled, or with two axes exchanged
- ``"rounded"``: ``{"rounded": FORMAT}``, to fewer bits
- ``"order"``: ``{"axis": AXIS, "order": [...]}``, its entries along an axis are in another order
- ``"factor"``, ``"offset"``: ``{"factor": NUMBER}``, ``{"offset": NUMBER}``
- nothing: none of these
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.errors import GoldenError
from npconv.golden.align import Aligned, align
from npconv.golden.kinds.parameters import ROUNDINGS, explain, turns
from npconv.golden.measures import FLOOR, largest_of, last_place, same
from npconv.golden.pairing import pair
from npconv.golden.segment import plans_of
from npconv.golden.trace_file import PARAMETERS, Tensors, weights_of

if TYPE_CHECKING:
    from npconv.golden.compare import Difference

#: Wrong weights whose entries are looked for in another order; of a whole checkpoint that would take minutes.
SEARCHED = 8

#: Of the largest value: what a weight may be off that is explained; it was computed in float32.
NEAR = 1e-6

#: Values that are compared before all are.
FEW = 64


@dataclass(frozen=True)
class Weight:
    """A weight of mine, and how it differs.

    Parameters
    ----------
    difference : Difference
        Its name is ``"parameters."`` and that in the reference.
    kind : str
        What was done to it if it is wrong, as the top of this module lists them; empty if that is not known.
    values : mapping
        What it is, as JSON values.
    """

    difference: Difference
    kind: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def split_names(
    names: Mapping[str, str] | str | None, reference: Mapping[str, np.ndarray]
) -> tuple[Mapping[str, str] | str | None, dict[str, str]]:
    """Return a map of names as that of tensors and that of weights, which may begin with ``parameters.``.

    That of tensors is as it came where no weight is in it, and None if nothing else is.
    """
    weights = weights_of(reference)
    given = {} if names is None or isinstance(names, str) else names
    short = {name: target.removeprefix(PARAMETERS) for name, target in given.items()}
    own = {name for name, target in given.items() if target not in reference and short[name] in weights}
    if not own:
        return names, {}
    of_weights = {name.removeprefix(PARAMETERS): short[name] for name in given if name in own}
    return {name: target for name, target in given.items() if name not in own} or None, of_weights


def align_weights(
    reference: Mapping[str, np.ndarray],
    mine: Mapping[str, np.ndarray],
    renamed: Mapping[str, str],
    unit: str,
    rtol: float | None,
    layout: str,
) -> tuple[list[Aligned], list[str]]:
    """Return the weights that both traces have, and what the reader should know of those that they have not.

    Numbers are compared as float32 has them, or as the `unit` has them that mine computes in, or up to a share `rtol`
    of the largest if that is more.
    """
    used = {name for plan in plans_of(reference) for step in plan for name in step.params.values()}
    truths, own = _numbers(reference), _numbers(mine)
    for name in set(truths) - used if used else ():
        del truths[name]
    if not truths or not own:
        return [], []
    try:
        pairs = pair(truths, own, {}, renamed)
    except GoldenError as error:
        return [], [f"parameters: none compared; {error}"]
    sizes = {name: largest_of(truths[name]) for name in pairs.names}
    limits = {name: max(FLOOR * last_place(size, unit), (rtol or 0.0) * size) for name, size in sizes.items()}
    notes = [f"parameters: {len(pairs.names)} of {len(truths)} compared, {len(pairs.extra)} of MINE are not known"]
    return align(truths, own, pairs, limits, layout)[0], notes if pairs.missing or pairs.extra else []


def _numbers(trace: Mapping[str, np.ndarray]) -> Tensors:
    """Return the weights in a trace that are no counters; none is decoded for it."""
    weights = weights_of(trace)
    stored = weights.data if isinstance(weights, Tensors) else weights
    return Tensors({name: array for name, array in stored.items() if array.dtype.kind == "f"})


@np.errstate(all="ignore")
def explain_weight(
    weights: Mapping[str, np.ndarray], name: str, used: np.ndarray, limit: float, thorough: bool
) -> tuple[str, dict[str, Any]]:
    """Return what was done to one of some weights: a kind, and values, both empty if that is not known.

    Orders are looked for if the search is `thorough`.
    """
    right = np.asarray(weights[name])
    if used.shape != right.shape:
        return "shape", {}
    if used.size and (used == used.flat[0]).all():
        return "value", {"value": float(used.flat[0])}
    for other, array in weights.items():
        if other != name and array.shape == right.shape and _is_near(array, used, limit):
            return "another", {"taken": other}
    for bits, fewer in ROUNDINGS.items():
        made = fewer(right)
        if _is_near(made, used, NEAR * largest_of(right)) and not _is_near(made, right, limit):
            return "rounded", {"rounded": bits}
    for says, turn in turns(right):
        if _is_near(turn(right), used, limit):
            return "turned", {"turned": says}
    found = explain(right, used) if thorough else None
    if found is None or not _is_near(found[1], used, max(limit, NEAR * largest_of(used))):
        return "", {}
    values = dict(found[2])
    return next(kind for kind in ("order", "turned", "factor", "offset") if kind in values), values


def _is_near(one: np.ndarray, other: np.ndarray, limit: float) -> bool:
    """Tell whether arrays of one shape are equal up to a limit; a few values are compared first."""
    flat, own = np.asarray(one).reshape(-1), np.asarray(other).reshape(-1)
    if not (np.abs(flat[:FEW].astype(np.float64) - own[:FEW]) <= limit).all():
        return False
    return same(flat, own) or bool((np.abs(flat.astype(np.float64) - own) <= limit).all())
