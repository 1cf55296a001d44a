"""What is said of gradients in a comparison: that one trace has none, or that all are off by a factor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.golden.kinds.numbers import rounded
from npconv.golden.measures import distance
from npconv.golden.pairing import Pairs
from npconv.golden.trace_file import PIXELS
from npconv.plan.gradient_steps import GRAD, LABELS, LOSS, is_gradient

if TYPE_CHECKING:
    from npconv.golden.compare import Comparison, Difference


def with_their_gradients(
    names: Mapping[str, str] | str | None,
    of_weights: Mapping[str, str],
    reference: Mapping[str, Any],
    mine: Mapping[str, Any],
) -> Mapping[str, str] | str | None:
    """Return a map of names that goes for the gradients of its tensors, and of weights, as well."""
    given = {} if names is None or isinstance(names, str) else dict(names)
    more = {f"{own}{GRAD}": f"{name}{GRAD}" for own, name in {**given, **of_weights}.items()}
    known = {own: name for own, name in more.items() if own in mine and name in reference}
    return {**known, **given} if known and not isinstance(names, str) else names


def without_gradients_of_one(
    reference: Mapping[str, Any], mine: Mapping[str, Any], pairs: Pairs
) -> tuple[Pairs, list[str]]:
    """Return pairs without the gradients that only one of the traces has, if the other has none, and say so."""
    if any(is_gradient(name) for name in pairs.names):
        return pairs, []
    missing, extra = map(_without, (pairs.missing, pairs.extra))
    notes = []
    if any(map(is_gradient, pairs.missing)):
        notes.append("gradients: MINE has none; compared is what is computed forwards")
    if any(map(is_gradient, pairs.extra)):
        notes.append(
            "gradients: REFERENCE has none; compared is what is computed forwards; npconv trace --gradients --label K "
            "records them"
        )
    return (pairs._replace(missing=missing, extra=extra), notes) if notes else (pairs, [])


def _without(names: Iterable[str]) -> list[str]:
    """Return names without those of gradients and of what they start from."""
    return [name for name in names if not (is_gradient(name) or name == LABELS or name.partition(".")[0] == LOSS)]


def note_factor(comparison: Comparison) -> list[str]:
    """Say if gradients are those of the reference by a factor, as where the loss is another multiple."""
    wrong = [found for found in comparison.differences if is_gradient(found.name) and found.diverges]
    if not wrong or wrong[0].reading is None or not wrong[0].finite:
        return []
    factor = _factor(comparison, wrong[0])
    alike = 0
    for found in wrong:
        if not _is_by(comparison, found, factor):
            break
        alike += 1
    if alike < 2:
        return []
    which = f"all {len(wrong)} that diverge" if alike == len(wrong) else f"the first {alike} that diverge"
    return [f"gradients: {which} are {factor:.6g} times those of REFERENCE, {_reason(comparison, factor)}"]


def _reason(comparison: Comparison, factor: float) -> str:
    """Say what such a factor may come of."""
    pictures = len(comparison.reference[PIXELS]) if PIXELS in comparison.reference else 1
    if pictures > 1 and factor == pictures:
        return f"as of a loss that is summed over {pictures} pictures, not averaged"
    if pictures > 1 and rounded(factor * pictures) == 1:
        return f"as of a loss that is divided by the {pictures} pictures twice"
    return "as of another multiple of the loss"


def _factor(comparison: Comparison, found: Difference) -> float:
    """Return by which factor a tensor of mine is nearest to that of the reference."""
    truth, mine = _arrays(comparison, found)
    power = float(np.vdot(truth, truth))
    return rounded(float(np.vdot(truth, mine)) / power) if power else 1.0


def _is_by(comparison: Comparison, found: Difference, factor: float) -> bool:
    """Tell whether a tensor of mine is that of the reference by a factor."""
    if found.reading is None or not found.finite:
        return False
    truth, mine = _arrays(comparison, found)
    return distance(truth * factor, mine) <= found.tolerance * max(1.0, abs(factor))


def _arrays(comparison: Comparison, found: Difference) -> tuple[np.ndarray, np.ndarray]:
    """Return a tensor of the reference and of mine in float64."""
    truth = np.asarray(comparison.reference[found.name])
    return truth.astype(np.float64, copy=False), comparison.array(found).astype(np.float64, copy=False)
