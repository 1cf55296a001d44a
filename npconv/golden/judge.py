"""How well an array explains a divergent tensor, and what is kept of an explanation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.golden.align import read
from npconv.golden.measures import FLOOR, distance, finite_distance, largest_of, last_place
from npconv.golden.roundings import flipped_distance, stored_distance, stored_in
from npconv.golden.trace_file import layout_of
from npconv.plan.step import Step

if TYPE_CHECKING:
    from npconv.golden.compare import Comparison, Difference
    from npconv.golden.kinds.change import Change
    from npconv.golden.mistakes import Mistake

#: A mistake fits if what it leaves is at most so many tolerances (of mine's values, where they are larger than those of
#: the reference), and so many times less than what is wrong.
FIT, GAIN = 4.0, 10.0

#: Numbers that may be computed in looking for a mistake, as :class:`npconv.golden.likely.Costs` counts them for steps
#: that are run. So it does not depend on the machine what is found, and takes half a minute at most on a usual one.
BUDGET = 2_000_000_000


@dataclass(frozen=True)
class Suspect:
    """One explanation of a divergent tensor.

    Parameters
    ----------
    says : str
        In words: ``"tanh GELU"``, ``"NHWC read as NCHW"``.
    step : Step
        Where the mistake is made.
    residual : float
        What it does not explain: the largest absolute difference from mine, as a share of the largest value of the
        reference.
    fits : bool
        It explains what is wrong up to rounding.
    mistake : Mistake, optional
        None for a mistaken layout, and for a right result stored in fewer bits.
    steps : int
        In how many steps it is made.
    kind : str
        Of :mod:`npconv.golden.kinds`; empty for a mistake of the catalogue.
    values : mapping
        What it is, as JSON values.
    changes : tuple of Change
        How it is made, in each of its steps; empty for a tensor that was written down otherwise than it is.
    refuted : bool
        It would fit, but another tensor that is right would be wrong.
    """

    says: str
    step: Step
    residual: float
    fits: bool
    mistake: Mistake | None = None
    steps: int = 1
    kind: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = field(default=(), repr=False, compare=False)
    refuted: bool = False

    @property
    def places(self) -> list[str]:
        """The names of the steps in which it is made, in execution order where several are changed."""
        return [change.step.name for change in self.changes] or [self.step.name]


class Suspects(list[Suspect]):
    """Suspects, best first, and how many mistakes were tried of those that could be: fewer if it took too long.

    `refused` says why none was, where the file's own steps would make more than the file explains. `budget` numbers may
    be computed, and `left` of them still.
    """

    def __init__(self, budget: int | None = None) -> None:
        self.tried = self.known = 0
        self.refused = ""
        self.budget = self.left = BUDGET if budget is None else budget

    @property
    def fitting(self) -> list[Suspect]:
        """Those that fit."""
        return [suspect for suspect in self if suspect.fits]

    @property
    def runner_up(self) -> Suspect | None:
        """The one that leaves least of those that do not fit."""
        return runner_up(self)

    @property
    def ruled_out(self) -> int:
        """How many mistakes were tried that do not fit."""
        return max(self.tried - len(self.fitting), 0)

    def allow(self, cost: int, share: float = 1.0) -> bool:
        """Count a mistake; return whether a run of so many numbers may be made for it, within a share of them all."""
        self.known += 1
        may = not self.used(share) and self.spend(cost)
        self.tried += may
        return may

    @property
    def is_cut(self) -> bool:
        """Whether one was not tried, as it took too long."""
        return self.tried < self.known

    def used(self, share: float) -> bool:
        """Whether a share of what may be computed is."""
        return self.left <= (1 - share) * self.budget

    def affords(self, cost: int) -> bool:
        """Whether so many numbers are left."""
        return cost <= self.left

    def spend(self, cost: int) -> bool:
        """Return whether so many numbers may be computed."""
        if self.left <= 0:
            return False
        self.left -= cost
        return True


def runner_up(suspects: Iterable[Suspect]) -> Suspect | None:
    """Return the suspect that leaves least of those that do not fit; what another tensor refutes does not count."""
    others = [suspect for suspect in suspects if not (suspect.fits or suspect.refuted)]
    return min(others, key=lambda suspect: suspect.residual, default=None)


def squeezed_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest absolute difference; infinite if shapes differ beyond axes of 1, or not finite."""
    return distance(one.squeeze(), other.squeeze())


def shaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array in a shape that is the same but for axes of length 1; else as it is."""
    sizes = [[size for size in one if size != 1] for one in (array.shape, shape)]
    return array.reshape(shape) if sizes[0] == sizes[1] else array


class Judge:
    """Tells how well an array explains a divergent tensor."""

    def __init__(self, comparison: Comparison, first: Difference, right: np.ndarray) -> None:
        self.first = first
        self.raw = np.asarray(comparison.mine[first.mine])
        self.mine = comparison.array(first)
        truth = np.asarray(comparison.reference[first.name])
        self.letters = layout_of(comparison.reference, first.name, truth.ndim)
        self.scale = largest_of(truth) or 1.0
        grown = largest_of(self.mine) / self.scale  # rounding grows with the values that a mistake makes
        # What is told from rounding by single values leaves no more than float32 does, once it is stored in fewer bits.
        tolerance = first.tolerance if first.own <= 1 else FLOOR * last_place(self.scale)
        self.limit = FIT * tolerance * (grown if 1 < grown < np.inf else 1.0)
        self.wrong = squeezed_distance(right, self.mine)
        self.stored = stored_in(self.mine)
        #: The right numbers, stored in fewer bits, are those of mine: then no mistake is looked for that does it too.
        self.is_right = bool(self.stored) and self.as_stored(right, Step(first.name, "", ())).fits

    def __call__(
        self, made: np.ndarray, says: str, step: Step, mistake: Mistake | None = None, changes: Sequence[Change] = ()
    ) -> Suspect | None:
        """Return a suspect, or None if the shapes do not fit."""
        made = shaped(made, self.mine.shape)
        if made.shape == self.mine.shape:
            left = finite_distance(made, self.mine)
            if self.stored and not self.is_right and left > self.limit:
                stored = self.as_stored(made, step, says, mistake, changes)
                if stored.fits:
                    return stored
                if stored_in(made) == self.stored:
                    left = flipped_distance(made, self.mine, self.stored)
        else:
            found = read(made, self.raw, self.first.tolerance, letters=self.letters)
            if found is None:
                return None
            left = found[1].max_abs
        return self._suspect(says, step, left, mistake, changes)

    def as_stored(
        self,
        made: np.ndarray,
        step: Step,
        says: str = "",
        mistake: Mistake | None = None,
        changes: Sequence[Change] = (),
    ) -> Suspect:
        """Return a suspect that makes these numbers and stores them in the format of mine.

        A value in the middle between two of that format may go either way, so what rounding explains is left out.
        """
        left = stored_distance(made, self.mine, self.stored)
        how = f"result stored in {self.stored}"
        return self._suspect(f"{says}, {how}" if says else how, step, left, mistake, changes)

    def _suspect(
        self, says: str, step: Step, left: float, mistake: Mistake | None, changes: Sequence[Change]
    ) -> Suspect:
        """Return a suspect by what it leaves unexplained."""
        fits = bool(left <= self.limit and GAIN * left <= self.wrong)
        kind, values = (changes[0].kind, changes[0].values) if changes else ("", {})
        count = max(len(changes), 1)
        return Suspect(says, step, left / self.scale, fits, mistake, count, kind, values, tuple(changes))
