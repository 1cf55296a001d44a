"""Why a tensor diverges: was the error born in its step or brought in, and which known mistake makes the same numbers.

The part of the model between the nearest good tensors that mine has and the divergent one is run again with the
reference's weights, from mine's own good tensors: what then differs is born in that part. It is run again with each
known mistake in place of the right operation; a mistake that gives mine's numbers up to rounding is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.errors import NpconvError
from npconv.golden.align import read
from npconv.golden.compare import Comparison, Difference
from npconv.golden.measures import distance, finite_distance, largest_of
from npconv.golden.roundings import flipped_distance, stored_distance, stored_in
from npconv.golden.segment import FAILURES, Segment, make_segment, run_changed
from npconv.golden.trace_file import layout_of
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Step

if TYPE_CHECKING:
    from npconv.golden.mistakes import Mistake

#: A mistake fits if what it leaves is at most so many tolerances (of mine's values, where they are larger than those of
#: the reference), and so many times less than what is wrong.
FIT, GAIN = 4.0, 10.0

#: The shares of their tolerance by which tensors may differ that the part starts from: where nothing fits, an error
#: may hide in one that is good, but only just.
SHARES = (1.0, 0.25)

#: Runs with a mistake in one of several steps; a trace of few tensors has many steps between two of them.
MOST_RUNS = 400

#: Numbers that may be computed in looking for a mistake, counted by the results of the steps that are run. So it does
#: not depend on the machine what is found, and takes half a minute at most on a usual one.
BUDGET = 1_000_000_000

#: Orders of axes by which layouts are mistaken for each other.
SWAPS = {
    4: ((0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2)),
    3: ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1)),
    2: ((1, 0),),
}


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
    """

    says: str
    step: Step
    residual: float
    fits: bool
    mistake: Mistake | None = None
    steps: int = 1


class Suspects(list[Suspect]):
    """Suspects, best first, and how many mistakes were tried of those that could be: fewer if it took too long.

    `refused` says why none was, where the file's own steps would make more than the file explains.
    """

    def __init__(self) -> None:
        self.tried = self.known = 0
        self.refused = ""
        self._left = BUDGET

    def allow(self, cost: int) -> bool:
        """Count a mistake; return whether a run of so many numbers may be made for it."""
        self.known += 1
        if self._left <= 0:
            return False
        self._left -= cost
        self.tried += 1
        return True


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
    """

    born: float
    inherited: float
    steps: tuple[str, ...]
    start: tuple[str, ...]
    of_mine: bool
    tolerance: float

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
        _distance(segment.made, mine),
        _distance(segment.made, truth),
        tuple(step.name for step in segment.steps),
        tuple(segment.start),
        len(segment.of_mine) == len(segment.start),
        first.tolerance,
    )


def diagnose(comparison: Comparison, mistakes: Sequence[Mistake] | None = None) -> Suspects:
    """Look for the mistake that makes the first divergent tensor.

    Parameters
    ----------
    comparison : Comparison
    mistakes : sequence of Mistake, optional
        The catalogue by default.

    Returns
    -------
    Suspects
        Best first. Each mistake is made in all steps at once to which it applies; where that does not fit, in one of
        them at a time, up to :data:`BUDGET`. Empty if nothing diverges, or the reference itself is not finite.
    """
    first = comparison.first
    if first is None or first.broken:
        return Suspects()
    if mistakes is None:
        from npconv.golden.mistakes import MISTAKES

        mistakes = MISTAKES
    suspects = Suspects()
    before = None
    for share in SHARES:
        segment = make_segment(comparison, first, share)
        if before is not None and segment is before:
            break  # nothing new to start from
        before = segment
        suspects += _layouts(comparison, first, segment)
        if segment is None:
            suspects.refused = comparison.refused.get(first.name, "")
            break
        search = _Search(comparison, first, segment, suspects)
        suspects += search.inputs()
        suspects += search.mistakes(mistakes)
        if any(suspect.fits for suspect in suspects):
            break
    suspects[:] = _best_first(suspects)
    return suspects


def _best_first(suspects: list[Suspect]) -> list[Suspect]:
    """Return suspects by residual, each explanation once; of two with the same numbers, a known mistake comes first."""
    found: dict[tuple[str, str], Suspect] = {}
    for suspect in sorted(suspects, key=lambda suspect: (suspect.residual, suspect.mistake is None)):
        found.setdefault((suspect.says, suspect.step.name), suspect)
    return list(found.values())


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest absolute difference; infinite if shapes differ beyond axes of 1, or not finite."""
    return distance(one.squeeze(), other.squeeze())


class _Judge:
    """Tells how well an array explains a divergent tensor."""

    def __init__(self, comparison: Comparison, first: Difference, right: np.ndarray) -> None:
        self.first = first
        self.raw = np.asarray(comparison.mine[first.mine])
        self.mine = comparison.array(first)
        truth = np.asarray(comparison.reference[first.name])
        self.letters = layout_of(comparison.reference, first.name, truth.ndim)
        self.scale = largest_of(truth) or 1.0
        grown = largest_of(self.mine) / self.scale  # rounding grows with the values that a mistake makes
        self.limit = FIT * first.tolerance * (grown if 1 < grown < np.inf else 1.0)
        self.wrong = _distance(right, self.mine)
        self.stored = stored_in(self.mine)
        #: The right numbers, stored in fewer bits, are those of mine: then no mistake is looked for that does it too.
        self.is_right = bool(self.stored) and self.as_stored(right, Step(first.name, "", ())).fits

    def __call__(self, made: np.ndarray, says: str, step: Step, mistake: Mistake | None, steps: int) -> Suspect | None:
        """Return a suspect, or None if the shapes do not fit."""
        if made.shape == self.mine.shape:
            left = finite_distance(made, self.mine)
            if self.stored and not self.is_right and left > self.limit:
                stored = self.as_stored(made, step, says, mistake, steps)
                if stored.fits:
                    return stored
                if stored_in(made) == self.stored:
                    left = flipped_distance(made, self.mine, self.stored)
        else:
            found = read(made, self.raw, self.first.tolerance, letters=self.letters)
            if found is None:
                return None
            left = found[1].max_abs
        return self._suspect(says, step, left, mistake, steps)

    def as_stored(
        self, made: np.ndarray, step: Step, says: str = "", mistake: Mistake | None = None, steps: int = 1
    ) -> Suspect:
        """Return a suspect that makes these numbers and stores them in the format of mine.

        A value in the middle between two of that format may go either way, so what rounding explains is left out.
        """
        left = stored_distance(made, self.mine, self.stored)
        how = f"result stored in {self.stored}"
        return self._suspect(f"{says}, {how}" if says else how, step, left, mistake, steps)

    def _suspect(self, says: str, step: Step, left: float, mistake: Mistake | None, steps: int) -> Suspect:
        """Return a suspect by what it leaves unexplained."""
        fits = left <= self.limit and GAIN * left <= self.wrong
        return Suspect(says, step, left / self.scale, bool(fits), mistake, steps)


def _layouts(comparison: Comparison, first: Difference, segment: Segment | None) -> list[Suspect]:
    """Return the layouts that the tensor itself may have been mistaken in when it was written down."""
    right = segment.made if segment else np.asarray(comparison.reference[first.name])
    step = segment.target if segment else Step(first.name, "", ())
    letters = layout_of(comparison.reference, first.name, right.ndim)
    judge = _Judge(comparison, first, right)
    found = [judge(array, says, step, None, 1) for array, says in _swapped(right, letters)]
    if judge.is_right:
        found.append(judge.as_stored(right, step))
    return [suspect for suspect in found if suspect]


def _swapped(array: np.ndarray, letters: str) -> Iterator[tuple[np.ndarray, str]]:
    """Give out an array as it looks to who takes its axes to be in another order, and what to call that."""
    for axes in SWAPS.get(array.ndim, ()):
        names = letters if len(letters) == array.ndim else "".join(map(str, range(array.ndim)))
        other = "".join(names[axis] for axis in axes)
        yield array.transpose(axes).reshape(array.shape), f"{other} read as {names}"


class _Search:
    """Runs one segment with mistakes in it."""

    def __init__(self, comparison: Comparison, first: Difference, segment: Segment, suspects: Suspects) -> None:
        self.suspects = suspects
        self.reference = comparison.reference
        self.plan = segment.plan
        self.segment = segment
        self.judge = _Judge(comparison, first, segment.made)

    def inputs(self) -> Iterator[Suspect]:
        """Give out the suspects that the last step took one of its inputs in another layout."""
        step = self.segment.target
        for place, name in enumerate(step.inputs):
            array = self.segment.results[name]
            letters = self.plan[name].layout if name in self.plan else layout_of(self.reference, name, array.ndim)
            for swapped, says in _swapped(array, letters):
                suspect = self._try(step, [(step, _with_input(place, swapped, step))], f"{says} in its input {name}")
                if suspect:
                    yield suspect

    def mistakes(self, mistakes: Sequence[Mistake]) -> list[Suspect]:
        """Return the suspects of a catalogue."""
        places = []
        for mistake in mistakes:
            wrong = [self._at(mistake, step) for step in self.segment.steps if not mistake.invisible]
            places.append((mistake, [step for step in wrong if step is not None]))
        found = [self._mistake(mistake, steps) for mistake, steps in places if steps]
        if not any(suspect and suspect.fits for suspect in found):
            single = [(mistake, step) for mistake, steps in places if len(steps) > 1 for step in steps]
            found += [self._mistake(mistake, [step]) for mistake, step in single[:MOST_RUNS]]
        return [suspect for suspect in found if suspect]

    def _at(self, mistake: Mistake, step: Step) -> Step | None:
        """Return a step as a mistake has it; None where it cannot be made, or the steps before are not npconv's."""
        try:
            return mistake.at(step, self.plan)
        except FAILURES:
            return None

    def _mistake(self, mistake: Mistake, steps: Sequence[Step]) -> Suspect | None:
        """Make a mistake in some steps, if there is time for it."""
        if not self.suspects.allow(self._cost(steps[0])):
            return None
        return self._try(steps[0], [(step, mistake.function) for step in steps], mistake.says, mistake)

    def _cost(self, step: Step) -> int:
        """Return how many numbers are computed when all is run again from a step on."""
        names = [step.name for step in self.segment.steps]
        return sum(self.segment.results[name].size for name in names[names.index(step.name) :])

    def _try(
        self, step: Step, changed: Sequence[tuple[Step, Callable[..., Any]]], says: str, mistake: Mistake | None = None
    ) -> Suspect | None:
        """Run the segment with other steps; None if they cannot be run on these arrays."""
        try:
            made = run_changed(self.segment, {other.name: (other, f) for other, f in changed}, self.reference)
            return self.judge(np.asarray(made), says, step, mistake, len(changed))
        except (*FAILURES, NpconvError):  # a mistake that these shapes do not allow
            return None


def _with_input(place: int, array: np.ndarray, step: Step) -> Callable[..., Any]:
    """Return the operation of a step with one of its inputs replaced."""

    def function(*inputs: np.ndarray, **settings: Any) -> np.ndarray:
        replaced = [array if index == place else value for index, value in enumerate(inputs)]
        result: np.ndarray = OPERATIONS[step.operation](*replaced, **settings)
        return result

    return function
