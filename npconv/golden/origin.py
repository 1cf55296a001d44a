"""Whether the error of a tensor was born in its step or brought in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npconv.golden.compare import Comparison
from npconv.golden.judge import squeezed_distance
from npconv.golden.segment import make_segment


@dataclass(frozen=True)
class Origin:
    """Where the error of a tensor comes from.

    Parameters
    ----------
    born : float
        The largest absolute difference of mine from what the right steps make of mine's own good tensors.
    inherited : float
        The largest absolute difference of that from the reference.
    steps : tuple of str
        The steps that were run.
    start : tuple of str
        The good tensors that they started from.
    of_mine : bool
        Whether all of these are mine; those that it lacks are the reference's.
    tolerance : float
        Of the divergent tensor.
    operation : str
        That of the last step.
    """

    born: float
    inherited: float
    steps: tuple[str, ...]
    start: tuple[str, ...]
    of_mine: bool
    tolerance: float
    operation: str

    @property
    def is_born_here(self) -> bool:
        """Whether these steps by themselves are wrong."""
        return not self.born <= self.tolerance


def origin(comparison: Comparison) -> Origin | None:
    """Tell whether the first divergent tensor's error is born in its step or inherited.

    None if nothing diverges, the steps cannot be run again, or the reference itself is not finite.
    """
    first = comparison.first
    segment = make_segment(comparison, first) if first and not first.broken else None
    if first is None or segment is None:
        return None
    truth = np.asarray(comparison.reference[first.name])
    mine = comparison.array(first)
    return Origin(
        squeezed_distance(segment.made, mine),
        squeezed_distance(segment.made, truth),
        tuple(step.name for step in segment.steps),
        tuple(segment.start),
        len(segment.of_mine) == len(segment.start),
        first.tolerance if first.own <= 1 else 0.0,
        segment.target.operation,
    )
