"""A port's own arrays, right or wrong, and what the right steps make of them.

So it is told, of each tensor, whether a mistake was made on the way to it or came in with what it is computed of. The
same arrays in place of the truth make a comparison in which a later mistake is the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from npconv.golden.compare import Comparison, Difference
from npconv.golden.inputs import given_to_both
from npconv.golden.measures import MULTIPLE, allowed, finite_distance, is_before_model, largest_of, tolerance
from npconv.golden.preprocessing import DECODED, IMAGE
from npconv.golden.readings import Reading, readings
from npconv.golden.roundings import stored_in
from npconv.golden.segment import FAILURES, MOST_STEPS, cast, count_numbers, given, plan_of, run_steps, walk
from npconv.golden.trace_file import PIXELS, Trace, about, layout_of, weights_of
from npconv.plan.extent import Allowance, TooMuchError
from npconv.plan.gradient_steps import GRAD, is_gradient
from npconv.plan.step import Plan

#: An order of axes, as in :attr:`npconv.golden.readings.Reading.way`.
Axes = tuple[tuple[int, ...] | None, bool]

#: Ways to read arrays whose axes may be in several orders, that are tried for one step.
MOST_READINGS = 24


class Part(NamedTuple):
    """The steps between some of mine's arrays and one that is made of them: names, the last the target's."""

    plan: Plan
    target: str
    steps: frozenset[str]
    start: tuple[str, ...]

    @property
    def passed(self) -> frozenset[str]:
        """The steps on the way to the target."""
        return self.steps - {self.target}


@dataclass(frozen=True)
class Made:
    """A tensor as the right steps make it of mine's own arrays.

    Parameters
    ----------
    difference : Difference
        Of the two traces.
    part : Part
    off : float
        The largest absolute difference of mine from it.
    tolerance : float
        How much of that rounding explains: as in the reference, in proportion to the size of the values; at least in
        proportion to what float32 makes on these arrays, and to the format that they are recorded in.
    array : ndarray, optional
        In float64; None where float32 was enough to see that nothing is wrong.
    """

    difference: Difference
    part: Part
    off: float
    tolerance: float
    array: np.ndarray | None = None

    @property
    def is_right(self) -> bool:
        """Whether mine has what the right steps make of its own arrays."""
        return self.off <= self.tolerance


class Own:
    """Mine's arrays by the names of the steps that make them."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self._recorded: dict[int, dict[str, Difference]] = {}
        self.found = found = [one for one in comparison.differences if not one.is_island]
        names = dict.fromkeys((found[-1].name, comparison.first.name if comparison.first else PIXELS, PIXELS))
        self._plans = [plan for name in names if (plan := plan_of(comparison.reference, name)) is not None]
        wrong = {one.name for one in found if one.diverges and is_before_model(one.name)}
        self._given = {name for name, is_same in ((IMAGE, DECODED not in wrong), (PIXELS, not wrong)) if is_same}
        self._given |= given_to_both(comparison.reference) - {one.name for one in found if one.diverges}
        self._certain: dict[tuple[str, int], set[Axes]] = {}
        for one in found:
            if not one.diverges and one.reading is not None:
                self._certain.setdefault(self._kind(one), set()).add(one.reading.way)
        gradients = {one.name.removesuffix(GRAD) for one in found if is_gradient(one.name)}
        self._has_gradients = any(name in plan for plan in self._plans for name in gradients)
        self._lost: set[str] = set()  # what is wrong by itself, in no order of axes that is certain
        self._right: dict[int, bool] = {}
        self._followers: dict[str, list[Difference]] | None = None
        self._work: int | None = None  # products that all runs may still take

    def plan(self, name: str) -> Plan | None:
        """Return the plan that makes a tensor of the reference."""
        return next((plan for plan in self._plans if name in plan), None)

    def is_told(self, difference: Difference) -> bool:
        """Tell whether mine may have what a tensor is made of: not of gradients if it has those of parameters alone."""
        return self._has_gradients or not is_gradient(difference.name)

    def target(self, difference: Difference) -> str:
        """Return the name of the step that makes a tensor; a trace may hold it under several names."""
        plan = self.plan(difference.name)
        return difference.name if plan is None else plan.resolve(difference.name)

    def recorded(self, plan: Plan) -> dict[str, Difference]:
        """Return what mine has of the tensors of a plan, its input included."""
        if id(plan) not in self._recorded:
            self._recorded[id(plan)] = {plan.name_of(one.name): one for one in self.found}
        return self._recorded[id(plan)]

    def part(self, difference: Difference, without: Set[str] = frozenset()) -> Part | None:
        """Return the steps from the nearest arrays of mine to a tensor, as if it had not recorded some.

        None if the steps are not known, or mine has not all that they start from: it lacks it, or has it in a shape
        that does not fit, or not finite.
        """
        plan = self.plan(difference.name)
        if plan is None:
            return None
        own, target = self.recorded(plan), self.target(difference)
        usable = {name for name, one in own.items() if is_usable(one)} - self._lost
        steps, start = walk(plan, target, usable - without)
        broken = (own.keys() - usable) & {*steps - {target}, *start}
        if broken or len(steps) > MOST_STEPS or not (usable | self._given).issuperset(start):
            return None
        return Part(plan, target, frozenset(steps), tuple(start))

    def followers(self, target: str) -> list[Difference]:
        """Return the tensors of mine that are made of one, as far as it is the nearest that mine has."""
        if self._followers is None:
            self._followers = {}
            for one in filter(is_usable, self.found):
                part = self.part(one)
                for name in () if part is None else part.start:
                    self._followers.setdefault(name, []).append(one)
        return self._followers.get(target, [])

    def is_right(self, difference: Difference) -> bool:
        """Tell whether a tensor is what the right steps make of the nearest arrays of mine."""
        if difference.index not in self._right:
            made = self.make(difference)
            self._right[difference.index] = made is not None and made.is_right
        return self._right[difference.index]

    def make(self, difference: Difference, without: Set[str] = frozenset()) -> Made | None:
        """Make a tensor again by the right steps, of mine's own arrays; None if that cannot be done."""
        part = self.part(difference, without)
        quick = None if part is None else self._run(part, np.dtype(np.float32), {})
        if part is None or quick is None:
            return None
        mine, largest = self.comparison.array(difference), largest_of(np.asarray(quick))
        grown = largest / (largest_of(np.asarray(self.comparison.reference[difference.name])) or 1.0)
        limit = difference.tolerance * (grown if 1 < grown < np.inf else 1.0)
        off = _distance(quick, mine)
        if off > limit and self._fits_otherwise(difference, part, limit):
            off = 0.0
        if off <= limit:
            return Made(difference, part, off, limit)
        exact = self._run(part, np.dtype(np.float64), {})
        noise = np.inf if exact is None else _distance(quick, exact)
        if exact is None or not noise < np.inf:
            return None  # float32 itself goes astray on these
        usual = tolerance(self.comparison.reference, difference.name)
        limit = max(limit, MULTIPLE * noise * max(1.0, difference.tolerance / usual))
        limit = max(limit, allowed(usual, self._format(difference, part)))
        made = Made(difference, part, _distance(exact, mine), limit, exact)
        if not made.is_right and self._is_doubtful(difference):
            self._lost.add(part.target)
        return made

    def seen_from(self, made: Made, wrong: Set[str]) -> Comparison:
        """Return a comparison of mine with what it should be by its own arrays, whose first divergence is a tensor.

        The tensors called `wrong` are not to be trusted, but for those that this one is made of.
        """
        usable = self.recorded(made.part.plan)
        trusted = {one.name for name, one in usable.items() if name in made.part.start or name not in wrong}
        differences = [_seen(one, made, one.name in trusted) for one in self.found]
        first = next(one for one in differences if one.index == made.difference.index)
        missing, extra = self.comparison.missing, self.comparison.extra
        return Comparison(OwnTrace(self, made), self.comparison.mine, differences, missing, extra, first, None)

    def _run(self, part: Part, dtype: np.dtype, read: Mapping[str, Reading]) -> np.ndarray | None:
        """Run the steps of a part on mine's arrays, some of them read in another order of axes."""
        reference, own = self.comparison.reference, self.recorded(part.plan)
        weights = weights_of(reference)
        steps = tuple(step for step in part.plan if step.name in part.steps)
        try:
            start = {
                name: cast(self._array(own[name], read.get(name)) if name in own else given(reference, name), dtype)
                for name in part.start
            }
            params = {name: cast(np.asarray(weights[name]), dtype) for step in steps for name in step.params.values()}
            allowance = Allowance(count_numbers(reference))
            allowance.work = allowance.work if self._work is None else self._work
            made = run_steps(steps, start, params, reference, allowance)[part.target]
            self._work = allowance.work
            return made
        except (*FAILURES, TooMuchError):  # arrays or weights that are not there, a plan of another program
            return None

    def _format(self, difference: Difference, part: Part) -> str:
        """Return the format of fewer bits that a tensor of mine is recorded in, as all that it is made of is."""
        own = self.recorded(part.plan)
        before = [self.comparison.array(own[name]) for name in part.start if name in part.plan]
        if not (before and all(map(stored_in, before))):
            return "float32"
        return stored_in(self.comparison.array(difference)) or "float32"

    def _array(self, difference: Difference, reading: Reading | None = None) -> np.ndarray:
        """Return a tensor of mine, read as it was in the comparison or in another order of axes."""
        if reading is None:
            return self.comparison.array(difference)
        return reading.of(self.comparison.mine[difference.mine], difference.shape_reference)

    def _fits_otherwise(self, difference: Difference, part: Part, limit: float) -> bool:
        """Tell whether mine has what the right steps make if wrong arrays are read in other orders of axes."""
        own = self.recorded(part.plan)
        names = [name for name in (*part.start, part.target) if name in own and self._is_doubtful(own[name])]
        orders = itertools.product(*(self._readings(own[name]) for name in names)) if names else ()
        for chosen in itertools.islice(orders, MOST_READINGS):
            read = dict(zip(names, chosen, strict=True))
            made = self._run(part, np.dtype(np.float32), read)
            if made is not None and _distance(made, self._array(difference, read.get(part.target))) <= limit:
                return True
        return False

    def _is_doubtful(self, difference: Difference) -> bool:
        """Tell whether a tensor may have its axes in another order: its shape allows it, and right ones do not tell."""
        reading = difference.reading
        if reading is None or reading.axes is None:
            return False
        possible = {other.way for other in self._readings(difference)}
        told = self._certain.get(self._kind(difference), set()) & possible
        return (None, False) in possible or (difference.diverges and told != {reading.way})

    def _readings(self, difference: Difference) -> list[Reading]:
        """Return the ways to read a tensor."""
        return list(readings(difference.shape_reference, difference.shape_mine, self._kind(difference)[0]))

    def _kind(self, difference: Difference) -> tuple[str, int]:
        """Return the letters of a tensor's axes, and how many it has."""
        axes = len(difference.shape_reference)
        return layout_of(self.comparison.reference, difference.name, axes), axes


class OwnTrace(Trace):
    """A reference as mine's own arrays have it: these in place of the truth, and one as the right steps make it."""

    def __init__(self, own: Own, made: Made) -> None:
        comparison = own.comparison
        super().__init__(about(comparison.reference))
        self.params = getattr(comparison.reference, "params", self.params)
        self._reference, self._own, self._made = comparison.reference, own, made
        self._usable = {one.name: one for one in comparison.differences if is_usable(one)}
        self._plan = own.plan(made.difference.name)

    @property
    def plan(self) -> Plan | None:
        """The steps that made the tensor."""
        return self._plan

    def count_numbers(self) -> int:
        """Return how many numbers the reference holds."""
        return count_numbers(self._reference)

    def __getitem__(self, name: str) -> np.ndarray:
        if name == self._made.difference.name and self._made.array is not None:
            return self._made.array.reshape(self._made.difference.shape_reference)
        found = self._usable.get(name)
        return np.asarray(self._reference[name]) if found is None else self._own.comparison.array(found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._reference)

    def __len__(self) -> int:
        return len(self._reference)

    def __contains__(self, name: object) -> bool:
        return name in self._reference


def is_usable(difference: Difference) -> bool:
    """Tell whether a tensor of mine can be computed with."""
    return difference.reading is not None and difference.finite


def _seen(difference: Difference, made: Made, is_trusted: bool) -> Difference:
    """Return a difference as it is from mine's own arrays."""
    if difference.index == made.difference.index:
        largest = largest_of(np.asarray(made.array)) or 1.0
        return replace(difference, max_abs=made.off, relative=made.off / largest, tolerance=made.tolerance)
    if is_trusted and is_usable(difference):
        return replace(difference, max_abs=0.0, relative=0.0)
    return replace(difference, max_abs=np.inf, relative=np.inf)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of two results; infinite where other numbers are finite, or shapes differ."""
    return finite_distance(one.squeeze(), other.squeeze())
