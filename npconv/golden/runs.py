"""A part of a model run again with some of its steps changed, as long as the budget lasts, and what it explains.

Where many changes of single steps are tried, those of one step are run on together: the results that they make are
stacked along the axis of the batch, as no right step mixes samples. Of small arrays that takes a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from npconv.errors import NpconvError
from npconv.golden.compare import Comparison
from npconv.golden.judge import Judge, Suspect, Suspects
from npconv.golden.kinds.change import Change
from npconv.golden.kinds.search import is_refuted
from npconv.golden.likely import Costs
from npconv.golden.segment import FAILURES, Segment, run_changed, run_on

if TYPE_CHECKING:
    from npconv.golden.mistakes import Mistake

#: Numbers in the largest array of a part, at most, when results are stacked; and results at most.
STACKED, MOST_STACKED = 100_000, 32


class Runs:
    """Runs one segment with changes in it.

    Parameters
    ----------
    comparison : Comparison
    segment : Segment
    judge : Judge
    suspects : Suspects
        Which count what is run.
    """

    def __init__(self, comparison: Comparison, segment: Segment, judge: Judge, suspects: Suspects) -> None:
        self.comparison, self.segment, self.judge, self.suspects = comparison, segment, judge, suspects
        results = [segment.results[step.name] for step in segment.steps]
        of_batch = all(step.layout[:1] == "N" for step in segment.steps) and len({len(array) for array in results}) == 1
        fit = min(STACKED // max(array.size for array in results), MOST_STACKED)
        #: How many results of a step are run on together.
        self.together = max(fit, 1) if of_batch and len(results) > 1 else 1
        self.costs = Costs(segment)

    def made(self, several: Sequence[Change]) -> np.ndarray | None:
        """Return what the part makes with some steps changed; None if these arrays do not allow it."""
        return self._run(self.segment, several)

    def end(self, several: Sequence[Change]) -> np.ndarray:
        """Return what the part makes with some steps changed; ArithmeticError if it cannot, or there is no time."""
        made = self.made(several) if self.suspects.spend(self.costs.of(several)) else None
        if made is None:
            raise ArithmeticError
        return made

    def allowed(self, several: Sequence[Change]) -> np.ndarray | None:
        """Count some changes; return what the part makes with them, None where it cannot, or there is no time."""
        return self.made(several) if self.suspects.allow(self.costs.of(several)) else None

    def ends(self, singles: Sequence[Change]) -> list[np.ndarray | None]:
        """Count changes that are made one at a time; return what the part makes with each."""
        if self.together == 1:
            return [self.allowed([change]) for change in singles]
        found: list[np.ndarray | None] = [None] * len(singles)
        of_step: dict[str, list[int]] = {}
        for index, change in enumerate(singles):
            if self.suspects.allow(self.costs.of([change], together=self.together)):
                of_step.setdefault(change.step.name, []).append(index)
        for name, indices in of_step.items():
            for start in range(0, len(indices), self.together):
                some = indices[start : start + self.together]
                for index, made in zip(some, self._stacked(name, [singles[i] for i in some]), strict=True):
                    found[index] = made
        return found

    def effect(self, made: np.ndarray | None) -> np.ndarray:
        """Return how an end differs from the right one; infinity if it cannot be told."""
        right = self.segment.made
        return (made - right).ravel() if made is not None and made.shape == right.shape else np.full(right.size, np.inf)

    def suspect(
        self, several: Sequence[Change], made: np.ndarray | None, mistake: Mistake | None = None
    ) -> Suspect | None:
        """Return the suspect of some changes by what they make, held against the tensors that are right."""
        suspect = self.judged(several, made, mistake)
        return None if suspect is None else self.held(suspect)

    def judged(
        self, several: Sequence[Change], made: np.ndarray | None, mistake: Mistake | None = None
    ) -> Suspect | None:
        """Return the suspect of some changes by what they make; None if that is nothing, or of another shape.

        Where mine has the shape of the reference, a change of no catalogue must make that shape.
        """
        right = self.segment.made
        if made is None or (several[0].kind and self.judge.first.reading is not None and made.shape != right.shape):
            return None
        return self.judge(made, several[0].says, several[0].step, mistake, several)

    def held(self, suspect: Suspect) -> Suspect:
        """Return a suspect, as one that does not fit if another tensor is right that would be wrong.

        Of a mistake of the catalogue none that lies behind the divergent tensor: it may be made in other steps as well.
        """
        if not suspect.fits:
            return suspect
        refuted = is_refuted(self.comparison, suspect.changes, "" if suspect.kind else self.segment.target.name)
        return replace(suspect, fits=not refuted, refuted=refuted)

    def _run(self, segment: Segment, several: Sequence[Change]) -> np.ndarray | None:
        """Return what a part makes with some steps changed."""
        try:
            changed = {change.step.name: (change.step, change.function) for change in several}
            return np.asarray(run_changed(segment, changed, self.comparison.reference))
        except (*FAILURES, NpconvError):
            return None

    def _stacked(self, name: str, singles: Sequence[Change]) -> list[np.ndarray | None]:
        """Return what the part makes with each of several changes of one step."""
        right = self.segment.results[name]
        head = replace(self.segment, steps=self.segment.steps[: self.costs.order[name] + 1])
        made = [self._run(head, [change]) for change in singles]
        alike = [i for i, a in enumerate(made) if a is not None and (a.shape, a.dtype) == (right.shape, right.dtype)]
        if len(alike) > 1:
            rest = run_on(self.segment, name, [array for i in alike if (array := made[i]) is not None])
            ends: dict[int, np.ndarray | None] = dict(zip(alike, rest, strict=True))
        else:
            ends = {}
        return [
            ends[i] if i in ends else None if made[i] is None else self.made([change])
            for i, change in enumerate(singles)
        ]
