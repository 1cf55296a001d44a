"""Why a tensor diverges: was the error born in its step or brought in, and which known mistake makes the same numbers.

The part of the model between the nearest good tensors that mine has and the divergent one is run again with the
reference's weights, from mine's own good tensors: what then differs is born in that part. It is run again with each
known mistake in place of the right operation; a mistake that gives mine's numbers up to rounding is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.cores import at_once
from npconv.errors import NpconvError
from npconv.golden.compare import Comparison, Difference
from npconv.golden.judge import Judge, Suspect, Suspects, runner_up, squeezed_distance
from npconv.golden.kinds.change import Change, Place
from npconv.golden.kinds.continuous import KIND as CONTINUOUS
from npconv.golden.kinds.search import KINDS, Kind, changes, is_refuted, pairs
from npconv.golden.layouts import swapped_axes
from npconv.golden.likely import Costs, Try, small_segment, unlikeliness
from npconv.golden.segment import FAILURES, Segment, make_segment, run_changed
from npconv.golden.trace_file import layout_of
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Step

if TYPE_CHECKING:
    from npconv.golden.mistakes import Mistake

#: The shares of their tolerance by which tensors may differ that the part starts from: where nothing fits, an error
#: may hide in one that is good, but only just.
SHARES = (1.0, 0.25)

#: Runs with a mistake in one of several steps; a trace of few tensors has many steps between two of them.
MOST_RUNS = 400

#: What it costs to start a step, in numbers.
STARTED = 100_000

#: Where not all mistakes can be tried: how many are made on a small picture first, and the share of all that may be
#: computed that is left to mistakes in a single step.
MOST_SMALL, SHARE_OF_SINGLE = 150, 0.4

#: Steps between two tensors, at most, in which kinds of mistakes are looked for.
MOST_CHANGED = 100

#: What a step may cost in which two changes at once are tried, as each is solved for anew beside each of the others;
#: and the share of all that may be computed after which no more are.
MOST_OF_PAIRS, SHARE_OF_PAIRS = 250_000, 0.5

#: How many times less a reason must leave than the nearest of those that do not fit.
MARGIN = 2.0

#: How many of the changes that do not fit are told of.
NEAREST = 8


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
        squeezed_distance(segment.made, mine),
        squeezed_distance(segment.made, truth),
        tuple(step.name for step in segment.steps),
        tuple(segment.start),
        len(segment.of_mine) == len(segment.start),
        first.tolerance if first.own <= 1 else 0.0,
    )


def diagnose(
    comparison: Comparison,
    mistakes: Sequence[Mistake] | None = None,
    *,
    kinds: Sequence[Kind] = KINDS,
    budget: int | None = None,
) -> Suspects:
    """Look for the mistake that makes the first divergent tensor.

    Parameters
    ----------
    comparison : Comparison
    mistakes : sequence of Mistake, optional
        The catalogue by default.
    kinds : sequence of callable
        Kinds of mistakes that are looked for where none of these fits; all by default.
    budget : int, optional
        Numbers that may be computed; :data:`npconv.golden.judge.BUDGET` by default.

    Returns
    -------
    Suspects
        Best first. Each mistake is made in all steps at once to which it applies; where that does not fit, in one of
        them at a time, up to the budget. None fits that another tensor refutes, or that is not told apart from one that
        does not fit. Empty if nothing diverges, or the reference itself is not finite.
    """
    first = comparison.first
    if first is None or first.broken:
        return Suspects()
    if mistakes is None:
        from npconv.golden.mistakes import MISTAKES

        mistakes = MISTAKES
    suspects = Suspects(budget)
    searches: list[_Search] = []
    found: list[list[Suspect]] = []  # of each search
    for share in SHARES:
        segment = make_segment(comparison, first, share)
        if any(segment is search.segment for search in searches):
            break  # nothing new to start from
        found.append(_layouts(comparison, first, segment))
        if segment is None:
            suspects.refused = comparison.refused.get(first.name, "")
            break
        searches.append(_Search(comparison, first, segment, suspects))
        found[-1] = _told_apart([*found[-1], *searches[-1].inputs(), *searches[-1].mistakes(mistakes)])
        if _any_fits(found[-1]):
            break
    for place, search in enumerate(searches):  # when no mistake of the catalogue fits in any
        if not any(map(_any_fits, found)):
            with np.errstate(all="ignore"):  # what makes no numbers fits nothing
                found[place] = _told_apart([*found[place], *search.kinds(kinds)])
    told = list(filter(_any_fits, found)) or found  # what starts elsewhere is no alternative
    suspects[:] = _best_first([suspect for several in told for suspect in several])
    return suspects


def _any_fits(suspects: Iterable[Suspect]) -> bool:
    """Tell whether one of some suspects fits."""
    return any(suspect.fits for suspect in suspects)


def _told_apart(suspects: list[Suspect]) -> list[Suspect]:
    """Return suspects, those that fit as such only if what does not fit leaves more by a margin."""
    other = runner_up(suspects)
    limit = np.inf if other is None else other.residual
    return [replace(suspect, fits=suspect.fits and MARGIN * suspect.residual <= limit) for suspect in suspects]


def _nearest(found: list[tuple[Suspect, Change]]) -> list[Suspect]:
    """Return the suspects that leave least, of many that do not fit; those that are refuted come last."""
    return sorted((suspect for suspect, _ in found), key=lambda suspect: (suspect.refuted, suspect.residual))[:NEAREST]


def _best_first(suspects: list[Suspect]) -> list[Suspect]:
    """Return suspects by residual, each explanation once; of two with the same numbers, a known mistake comes first."""
    found: dict[tuple[str, str], Suspect] = {}
    for suspect in sorted(suspects, key=lambda suspect: (suspect.residual, suspect.mistake is None)):
        found.setdefault((suspect.says, suspect.step.name), suspect)
    return list(found.values())


def _layouts(comparison: Comparison, first: Difference, segment: Segment | None) -> list[Suspect]:
    """Return the layouts that the tensor itself may have been mistaken in when it was written down."""
    right = segment.made if segment else np.asarray(comparison.reference[first.name])
    step = segment.target if segment else Step(first.name, "", ())
    letters = layout_of(comparison.reference, first.name, right.ndim)
    judge = Judge(comparison, first, right)
    found = [judge(array, says, step, None, 1) for array, says in swapped_axes(right, letters)]
    if judge.is_right:
        found.append(judge.as_stored(right, step))
    return [suspect for suspect in found if suspect]


class _Search:
    """Runs one segment with mistakes in it."""

    def __init__(self, comparison: Comparison, first: Difference, segment: Segment, suspects: Suspects) -> None:
        self.suspects = suspects
        self.comparison = comparison
        self.reference = comparison.reference
        self.plan = segment.plan
        self.segment = segment
        self.judge = Judge(comparison, first, segment.made)
        self.costs = Costs(segment, STARTED)

    def inputs(self) -> Iterator[Suspect]:
        """Give out the suspects that the last step took one of its inputs in another layout."""
        step = self.segment.target
        for place, name in enumerate(step.inputs):
            array = self.segment.results[name]
            letters = self.plan[name].layout if name in self.plan else layout_of(self.reference, name, array.ndim)
            for swapped, says in swapped_axes(array, letters):
                suspect = self._try(step, [(step, _with_input(place, swapped, step))], f"{says} in its input {name}")
                if suspect:
                    yield suspect

    def mistakes(self, mistakes: Sequence[Mistake]) -> list[Suspect]:
        """Return the suspects of a catalogue."""
        every: list[Try] = []
        for mistake in mistakes:
            wrong = [self._at(mistake, step) for step in self.segment.steps if not mistake.invisible]
            if any(wrong):
                every.append((mistake, [step for step in wrong if step is not None]))
        affordable = self.suspects.affords(sum(map(self.costs.of, every)))
        small = None if affordable else small_segment(self.segment, self.reference)
        every = self._likeliest(every, small)
        found = self._made(every, 1.0 if small is None else 1.0 - SHARE_OF_SINGLE)
        if not any(suspect.fits for suspect in found):
            single: list[Try] = [(mistake, [step]) for mistake, steps in every if len(steps) > 1 for step in steps]
            found += self._made(self._likeliest(single[:MOST_RUNS], small))
        return found

    def _likeliest(self, tries: list[Try], small: Segment | None) -> list[Try]:
        """Return tries, the likely ones first, as far as that may be computed; all as they are without `small`."""
        if small is None:
            return tries
        small_costs, share = Costs(small), self.judge.wrong / self.judge.scale
        quick = [one for one in tries if not one[0].is_slow]
        ranked = [one for one in quick[:MOST_SMALL] if self.suspects.spend(small_costs.of(one))]
        ranks = at_once(lambda one: unlikeliness(small, one, share, self.reference), ranked)
        order = sorted(range(len(ranked)), key=ranks.__getitem__)
        slow = [one for one in tries if one[0].is_slow]
        return [*(ranked[place] for place in order), *quick[len(ranked) :], *slow]

    def _made(self, tries: Iterable[Try], share: float = 1.0) -> list[Suspect]:
        """Make each mistake in its steps, those that there is time for."""
        allowed = [one for one in tries if self.suspects.allow(self.costs.of(one), share)]
        made = zip(allowed, at_once(self._mistake, allowed), strict=True)
        return [self._held(one, suspect) for one, suspect in made if suspect]

    def _held(self, one: Try, suspect: Suspect) -> Suspect:
        """Return the suspect of a mistake, held against the tensors that are right."""
        mistake, steps = one
        changed = [Change("", mistake.says, step, mistake.function) for step in steps]
        return self._unless_refuted(suspect, changed, self.segment.target.name)

    def kinds(self, kinds: Sequence[Kind] = KINDS) -> list[Suspect]:
        """Return the suspects of kinds of mistakes; of those that fit, the first alone, which is the simplest.

        Two at once are looked for among all kinds only.
        """
        if len(self.segment.steps) > MOST_CHANGED:
            return []
        goal = self.judge.mine if self.judge.first.reading is not None else None
        steps = reversed(self.segment.steps)
        places = [Place(step, self.segment, self.reference, goal, self._end) for step in steps]
        found: list[tuple[Suspect, Change]] = []
        for several in changes(places, kinds):
            if fit := self._judged(several, found):
                return [fit, *_nearest(found)]
            if self.suspects.is_cut:
                return _nearest(found)
        if kinds is KINDS and len(places) == 1 and self.costs.after(places[0].step) <= MOST_OF_PAIRS:
            firsts = [change for _, change in found if change.kind != CONTINUOUS]
            for change in pairs(places[0], firsts):
                if fit := self._judged([change], found):
                    return [fit, *_nearest(found)]
                if self.suspects.is_cut or self.suspects.used(SHARE_OF_PAIRS):
                    break
        return _nearest(found)

    def _judged(self, several: Sequence[Change], found: list[tuple[Suspect, Change]]) -> Suspect | None:
        """Return the suspect of some changes if it fits and nothing refutes it; else keep it among those `found`."""
        first = several[0]
        if not self.suspects.allow(self.costs.after(several[-1].step)):
            return None
        suspect = self._try(first.step, [(change.step, change.function) for change in several], first.says)
        if suspect is None:
            return None
        suspect = replace(suspect, kind=first.kind, values=first.values)
        suspect = self._unless_refuted(suspect, several)
        if suspect.fits:
            return suspect
        found.append((suspect, first))
        return None

    def _unless_refuted(self, suspect: Suspect, several: Sequence[Change], besides: str = "") -> Suspect:
        """Return a suspect, as one that does not fit if another tensor is right that would be wrong."""
        refuted = suspect.fits and is_refuted(self.comparison, several, besides)
        return replace(suspect, fits=suspect.fits and not refuted, refuted=refuted)

    def _end(self, several: Sequence[Change]) -> np.ndarray:
        """Return what the part makes with some steps changed; ArithmeticError if it cannot, or there is no time."""
        if not self.suspects.spend(self.costs.after(several[-1].step)):
            raise ArithmeticError
        try:
            return run_changed(self.segment, {c.step.name: (c.step, c.function) for c in several}, self.reference)
        except (*FAILURES, NpconvError) as error:
            raise ArithmeticError from error

    def _at(self, mistake: Mistake, step: Step) -> Step | None:
        """Return a step as a mistake has it; None where it cannot be made, or the steps before are not npconv's."""
        try:
            return mistake.at(step, self.plan)
        except FAILURES:
            return None

    def _mistake(self, one: Try) -> Suspect | None:
        """Make a mistake in some steps."""
        mistake, steps = one
        return self._try(steps[0], [(step, mistake.function) for step in steps], mistake.says, mistake)

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
