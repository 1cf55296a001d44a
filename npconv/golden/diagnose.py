"""Why a tensor diverges: which known mistake makes the same numbers.

The part of the model between the nearest good tensors that mine has and the divergent one is run again with the
reference's weights, from mine's own good tensors: what then differs is born in that part. It is run again with each
known mistake in place of the right operation; a mistake that gives mine's numbers up to rounding is named.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.cores import at_once
from npconv.golden.compare import Comparison, Difference
from npconv.golden.judge import Judge, Suspect, Suspects, runner_up, shaped
from npconv.golden.kinds.blocks import block_of, blocks
from npconv.golden.kinds.change import Change, Place
from npconv.golden.kinds.continuous import KIND as CONTINUOUS
from npconv.golden.kinds.continuous import continuous
from npconv.golden.kinds.held import held
from npconv.golden.kinds.precision import KIND as PRECISION
from npconv.golden.kinds.precision import precision
from npconv.golden.kinds.search import KINDS, Kind, all_of, changes, pairs, together
from npconv.golden.layouts import swapped_axes
from npconv.golden.likely import Costs, small_segment, unlikeliness
from npconv.golden.runs import Runs
from npconv.golden.segment import FAILURES, Segment, make_segment
from npconv.golden.subsets import LIKELY, Group, Subset, best_of, find_some, make_group
from npconv.golden.trace_file import layout_of
from npconv.plan.operations import OPERATIONS
from npconv.plan.step import Step

if TYPE_CHECKING:
    from npconv.golden.mistakes import Mistake

#: The shares of their tolerance by which tensors may differ that the part starts from: where nothing fits, an error
#: may hide in one that is good, but only just.
SHARES = (1.0, 0.25)

#: Where not all mistakes can be tried: how many are made on a small picture first, how many in one of several steps,
#: and the share of all that may be computed that is left to these.
MOST_SMALL, MOST_SINGLE, SHARE_OF_SINGLE = 150, 400, 0.4

#: What mistakes must cost together to be made at the same time; it takes a while to start threads.
WORTH_THREADS = 20_000_000

#: Steps between two tensors, at most, in which kinds of mistakes are looked for.
MOST_CHANGED = 100

#: What a step may cost in which two changes at once are tried, as each is solved for anew beside each of the others;
#: and the share of all that may be computed after which no more are.
MOST_OF_PAIRS, SHARE_OF_PAIRS = 200_000, 0.5

#: How many times less a reason must leave than the nearest of those that do not fit.
MARGIN = 2.0

#: How many of the changes that do not fit are told of, and of those that do the same in another step.
NEAREST, EQUAL = 8, 3

#: Changes of steps, one of which each or all of which are tried, and the mistake of the catalogue that they are.
Trial = tuple[Sequence[Change], "Mistake | None"]


@np.errstate(all="ignore")  # what makes no numbers fits nothing
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
        them at a time, and then in some of them, up to the budget. None fits that another tensor refutes, or that is
        not told apart from one that does not fit. Empty if nothing diverges, or the reference itself is not finite.
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
        if first.finite and not any(map(_any_fits, found)):  # NaN tells nothing of how it came about
            more = search.held(comparison) or search.kinds(kinds)
            found[place] = _told_apart([*found[place], *more])
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


def _nearest(found: list[Suspect]) -> list[Suspect]:
    """Return the suspects that leave least, of many that do not fit; those that are refuted come last."""
    return sorted(found, key=lambda suspect: (suspect.refuted, suspect.residual))[:NEAREST]


def _plainness(suspect: Suspect) -> tuple[bool, int]:
    """Return what is least of the likeliest of several that are the same: with round numbers, of an earlier kind."""
    numbers = [value for value in suspect.values.values() if isinstance(value, float)]
    is_odd = any(number != float(f"{number:.3e}") for number in numbers)
    kinds = [kind.__name__ for kind in KINDS]
    return is_odd, kinds.index(suspect.kind) if suspect.kind in kinds else 0


def _best_first(suspects: list[Suspect]) -> list[Suspect]:
    """Return suspects by residual, each explanation once; of two with the same numbers, a known mistake comes first.

    Kinds of mistakes that fit stay in their order: they are the same function.
    """

    def order(suspect: Suspect) -> tuple[bool, float, bool]:
        return not suspect.fits, 0.0 if suspect.fits and suspect.kind else suspect.residual, suspect.mistake is None

    found: dict[tuple[str, str], Suspect] = {}
    for suspect in sorted(suspects, key=order):
        found.setdefault((suspect.says, suspect.step.name), suspect)
    return list(found.values())


def _layouts(comparison: Comparison, first: Difference, segment: Segment | None) -> list[Suspect]:
    """Return the layouts that the tensor itself may have been mistaken in when it was written down."""
    right = segment.made if segment else np.asarray(comparison.reference[first.name])
    step = segment.target if segment else Step(first.name, "", ())
    letters = layout_of(comparison.reference, first.name, right.ndim)
    judge = Judge(comparison, first, right)
    found = [judge(array, says, step) for array, says in swapped_axes(right, letters)]
    if judge.is_right:
        found.append(judge.as_stored(right, step))
    return [suspect for suspect in found if suspect]


class _Search:
    """Runs one segment with mistakes in it."""

    def __init__(self, comparison: Comparison, first: Difference, segment: Segment, suspects: Suspects) -> None:
        self.suspects = suspects
        self.reference = comparison.reference
        self.plan = segment.plan
        self.segment = segment
        self.judge = Judge(comparison, first, segment.made)
        self.runs = Runs(comparison, segment, self.judge, suspects)
        #: What mine has, in the shape in which the steps make it: pixel values have an axis of the batch more.
        self.goal = shaped(self.judge.mine, segment.made.shape) if first.reading is not None else None
        self.wrong = self.runs.effect(self.goal)
        self.groups: list[Group] = []

    def inputs(self) -> Iterator[Suspect]:
        """Give out the suspects that the last step took one of its inputs in another layout."""
        step = self.segment.target
        for place, name in enumerate(step.inputs):
            array = self.segment.results[name]
            letters = self.plan[name].layout if name in self.plan else layout_of(self.reference, name, array.ndim)
            for swapped, says in swapped_axes(array, letters):
                change = Change("", f"{says} in its input {name}", step, _with_input(place, swapped, step))
                if suspect := self.runs.suspect([change], self.runs.made([change])):
                    yield suspect

    def mistakes(self, mistakes: Sequence[Mistake]) -> list[Suspect]:
        """Return the suspects of a catalogue."""
        trials: list[Trial] = []
        for mistake in mistakes:
            wrong = [self._at(mistake, step) for step in self.segment.steps if not mistake.invisible]
            changed = [Change("", mistake.says, step, mistake.function) for step in wrong if step is not None]
            trials += [(changed, mistake)] if changed else []
        affordable = self.suspects.affords(sum(itertools.starmap(self.runs.costs.of, trials)))
        small = None if affordable else small_segment(self.segment, self.reference)
        trials = self._likeliest(trials, small)
        found = self._made(trials, 1.0 if small is None else 1.0 - SHARE_OF_SINGLE)
        if any(suspect.fits for suspect in found):
            return found
        several = [trial for trial in trials if len(trial[0]) > 1]
        if small is not None:
            singles: list[Trial] = [([change], mistake) for changed, mistake in several for change in changed]
            return found + self._made(self._likeliest(singles[:MOST_SINGLE], small))
        for suspect in itertools.chain(self._one_by_one(several), self._some()):
            found.append(suspect)
            if suspect.fits and suspect.steps > 1:
                return [*found, *self._alike(suspect, trials)]
        return found

    def _likeliest(self, trials: list[Trial], small: Segment | None) -> list[Trial]:
        """Return trials, the likely ones first, as far as that may be computed; all as they are without `small`."""
        if small is None:
            return trials
        costs, share = Costs(small), self.judge.wrong / self.judge.scale
        quick = [trial for trial in trials if not is_slow(trial)]
        ranked = [trial for trial in quick[:MOST_SMALL] if self.suspects.spend(costs.of(*trial))]
        ranks = at_once(lambda trial: unlikeliness(small, trial[0], share, self.reference), ranked)
        order = sorted(range(len(ranked)), key=ranks.__getitem__)
        return [*(ranked[place] for place in order), *quick[len(ranked) :], *filter(is_slow, trials)]

    def _made(self, trials: Iterable[Trial], share: float = 1.0) -> list[Suspect]:
        """Return the suspects of trials, each made in all of its steps, as far as there is time for them."""
        allowed = [trial for trial in trials if self.suspects.allow(self.runs.costs.of(*trial), share)]
        each: Any = at_once if sum(itertools.starmap(self.runs.costs.of, allowed)) > WORTH_THREADS else map
        found = each(lambda trial: self.runs.judged(trial[0], self.runs.made(trial[0]), trial[1]), allowed)
        return [self.runs.held(suspect) for suspect in found if suspect]

    def _alike(self, one: Suspect, trials: Sequence[Trial]) -> Iterator[Suspect]:
        """Give out the suspects of other mistakes in the blocks in which one is made."""
        made_in = set(map(block_of, one.places))
        for several, mistake in trials:
            part = [change for change in several if block_of(change.step.name) in made_in]
            if part and mistake is not one.mistake:
                yield from filter(None, [self.runs.suspect(part, self.runs.allowed(part), mistake)])

    def held(self, comparison: Comparison) -> list[Suspect]:
        """Return the suspect that the wrong weights of mine, of which nothing else is known, explain it, if they do."""
        several = held(comparison, self.segment.steps)
        suspect = self._tried(several) if several else None
        return [suspect] if suspect and suspect.fits else []

    def kinds(self, kinds: Sequence[Kind]) -> list[Suspect]:
        """Return the suspects of kinds of mistakes.

        Of those that fit, the first alone, which is the simplest, and what is the same in the steps beside it. Two at
        once, and blocks, are looked for among all kinds only.
        """
        if len(self.segment.steps) > MOST_CHANGED:
            return []
        steps = reversed(self.segment.steps)
        places = [Place(step, self.segment, self.reference, self.goal, self.runs.end) for step in steps]
        found: list[Suspect] = []
        for suspect in self._in_turn(places, kinds):
            if suspect.fits:
                beside = list(self._beside(places, suspect)) if suspect.steps == 1 else []
                return [*sorted([suspect, *beside], key=_plainness), *_nearest(found)]
            found.append(suspect)
        if kinds is KINDS and self.runs.costs.after(places[0].step) <= MOST_OF_PAIRS:
            here = [suspect.changes[0] for suspect in found if suspect.step.name == self.segment.target.name]
            for change in pairs(places[0], [change for change in here if change.kind != CONTINUOUS]):
                suspect_of_both = self._tried([change])
                if suspect_of_both and suspect_of_both.fits:
                    return [suspect_of_both, *_nearest(found)]
                if self.suspects.is_cut or self.suspects.used(SHARE_OF_PAIRS):
                    break
                found += [suspect_of_both] if suspect_of_both else []
        return _nearest(found)

    def _in_turn(self, places: Sequence[Place], kinds: Sequence[Kind]) -> Iterator[Suspect]:
        """Give out the suspects of kinds: in all steps that have a change in common, in each, and in some."""
        for several in blocks(places) if kinds is KINDS else ():
            yield from filter(None, [self._tried(several)])
        for groups in changes(places, kinds):
            for several in [group for group in groups if len(group) > 1]:
                yield from filter(None, [self._tried(several)])
            yield from self._one_by_one([(group, None) for group in groups])
            if self.suspects.is_cut:
                return
        for several in together(places) if continuous in kinds else ():
            yield from filter(None, [self._tried(several)])
        yield from self._some()

    def _beside(self, places: Sequence[Place], one: Suspect) -> Iterator[Suspect]:
        """Give out suspects that fit as well as one that does: in the steps before and after it, in other formats."""
        name, before = one.step.name, self.plan[one.step.name].inputs
        near = [place for place in places if place.step.name in before or name in place.step.inputs]
        singles = [change for place in near for kind in KINDS for change in all_of(kind, place)]
        here = [place for place in places if place.step.name == name and one.kind == PRECISION]
        singles += [change for place in here for change in all_of(precision, place) if change.says != one.says]
        found = self._one_by_one([([change], None) for change in singles])
        yield from itertools.islice((suspect for suspect in found if suspect.fits), EQUAL)

    def _one_by_one(self, trials: Sequence[Trial]) -> Iterator[Suspect]:
        """Give out the suspects of changes in one step at a time; keep what they do in each of several steps."""
        most = len(self.segment.steps) * self.runs.together if self.runs.together > 1 else 1
        for window in _windows(trials, most):
            ends = iter(self.runs.ends([change for several, _ in window for change in several]))
            for several, mistake in window:
                made = list(itertools.islice(ends, len(several)))
                found = [self.runs.suspect([c], end, mistake) for c, end in zip(several, made, strict=True)]
                yield from filter(None, found)
                if not any(suspect and suspect.fits for suspect in found):
                    yield from self._keep(several, made, mistake)

    def _keep(
        self, several: Sequence[Change], made: Sequence[np.ndarray | None], mistake: Mistake | None
    ) -> Iterator[Suspect]:
        """Keep what a mistake does in each of several steps; if it is likely, give out in which of them it is made."""
        if len(several) > 2 and np.isfinite(self.wrong).all():
            effects = np.array([self.runs.effect(array) for array in made])
            group = make_group(several, effects, self.wrong, mistake)
            if group and group.left < LIKELY:
                yield from filter(None, [self._in_some(group)])
            elif group:
                self.groups = best_of([*self.groups, group])

    def _some(self) -> Iterator[Suspect]:
        """Give out the suspect of a mistake in some of its steps, of the likeliest of those that were made in each."""
        groups, self.groups = self.groups, []
        yield from itertools.islice(filter(None, map(self._in_some, groups)), 1)

    def _in_some(self, group: Group) -> Suspect | None:
        """Return the suspect of a mistake in some of its steps, if one fits."""

        def run(subset: Subset) -> tuple[float, Suspect | None]:
            several = [group.changes[index] for index in sorted(subset)]
            made = self.runs.allowed(several) if several else None
            rest = self.wrong - self.runs.effect(made)
            suspect = self.runs.suspect(several, made, group.mistake)
            return float(rest @ rest), suspect if suspect and suspect.fits else None

        return find_some(group, self.wrong, run)

    def _tried(self, several: Sequence[Change]) -> Suspect | None:
        """Return the suspect of some changes at once, if there is time for it."""
        return self.runs.suspect(several, self.runs.allowed(several))

    def _at(self, mistake: Mistake, step: Step) -> Step | None:
        """Return a step as a mistake has it; None where it cannot be made, or the steps before are not npconv's."""
        try:
            return mistake.at(step, self.plan)
        except FAILURES:
            return None


def is_slow(trial: Trial) -> bool:
    """Tell whether a trial takes a hundred times as long as its products do."""
    return trial[1] is not None and trial[1].is_slow


def _windows(trials: Sequence[Trial], size: int) -> Iterator[list[Trial]]:
    """Give out trials, so many changes together."""
    window: list[Trial] = []
    for trial in trials:
        window.append(trial)
        if sum(len(several) for several, _ in window) >= size:
            yield window
            window = []
    yield window


def _with_input(place: int, array: np.ndarray, step: Step) -> Callable[..., Any]:
    """Return the operation of a step with one of its inputs replaced."""

    def function(*inputs: np.ndarray, **settings: Any) -> np.ndarray:
        replaced = [array if index == place else value for index, value in enumerate(inputs)]
        result: np.ndarray = OPERATIONS[step.operation](*replaced, **settings)
        return result

    return function
