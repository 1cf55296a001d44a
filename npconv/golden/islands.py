"""Arrays that differ while all that is computed of them is right: the port folded something, or recorded it elsewhere.

A tensor is an *island* if, on every path from it through the steps of the reference, the next tensors of mine are good,
and if they would not be, had they been computed of mine's array. That is shown by doing so: a branch that does not show
in the sum, as behind a GRN or a layer scale near 0, leaves everything right whether it is right or not, and proves
nothing. What the model gives out is never an island, nor an array of another shape, or with NaN or infinity in it.

What a port says of its weights is judged likewise: one that differs is folded if what is computed with it is right.
One of another shape is taken to be 0, to see whether it matters at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from npconv.errors import NpconvError
from npconv.golden.exchanged import Exchange
from npconv.golden.foldings import explain
from npconv.golden.judge import squeezed_distance
from npconv.golden.measures import FLOOR, largest_of, last_place
from npconv.golden.output_names import spelled
from npconv.golden.readings import AS_IT_IS, readings
from npconv.golden.segment import FAILURES, MOST_STEPS, cast, count_numbers, given, plans_of, working_dtype
from npconv.golden.trace_file import PARAMETERS, PIXELS, layout_of, weights_of
from npconv.plan.extent import Allowance
from npconv.plan.gradient_steps import forwards
from npconv.plan.run import run_step
from npconv.plan.step import Plan, Step

if TYPE_CHECKING:
    from npconv.golden.compare import Comparison, Difference

#: Tolerances by which the next good tensors must be off when they are computed of an array: less may be rounding.
SHOWN = 4.0

#: Numbers that may be computed in looking for islands, and what it costs, in numbers, to start a step, and to ask what
#: follows of a tensor for each step of the plan.
BUDGET, STARTED, ASKED = 1_000_000_000, 50_000, 500


@dataclass(frozen=True)
class Island:
    """Tensors that differ, one computed of the other, while all that is computed of them is right.

    Parameters
    ----------
    names : tuple of str
        In the reference, in the order of computation.
    good : tuple of str
        The next good tensors, which would be wrong if they were computed of mine's arrays.
    effect : float
        By how many of their tolerances, where that is least sure.
    kind : str
        What explains it: ``"folded"``, ``"elsewhere"``, ``"factor"``, ``"channels"``, ``"order"``, ``"layout"``,
        ``"exchanged"``, or nothing.
    values : mapping
        What it is, as JSON values; see :mod:`npconv.golden.foldings`.
    """

    names: tuple[str, ...]
    good: tuple[str, ...]
    effect: float
    kind: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


class Flow:
    """What is computed of what in a plan, up to the next good tensors of mine."""

    def __init__(self, comparison: Comparison, plan: Plan) -> None:
        self.comparison = comparison
        self.plan = plan
        self.good = {
            self.plan.name_of(found.name): found
            for found in comparison.differences
            if not found.diverges and found.reading is not None
        }
        self.takers: dict[str, list[Step]] = {}
        self.loaders: dict[str, list[Step]] = {}
        for step in plan:
            for name in set(map(self.plan.name_of, step.inputs)):
                self.takers.setdefault(name, []).append(step)
            for name in set(step.params.values()):
                self.loaders.setdefault(name, []).append(step)
        self.given_out = {self.plan.name_of(name) for name in plan.outputs} | {
            self.plan.name_of(found.name) for found in comparison.differences if found.diverges and spelled(found.mine)
        }
        self.closed: set[str] = set()
        for step in reversed(plan.steps):
            if step.name not in self.given_out and self._ends_well(self.takers.get(step.name, ())):
                self.closed.add(step.name)
        self._left = BUDGET

    def is_closed(self, name: str) -> bool:
        """Tell whether the next tensors of mine on every path from a tensor are good."""
        own = self.plan.name_of(name)
        return own in self.closed if own in self.plan else self._ends_well(self.takers.get(own, ()))

    def is_closed_weight(self, name: str) -> bool:
        """Tell whether the next tensors of mine on every path from a weight are good."""
        return self._ends_well(self.loaders.get(name, ()))

    def after(self, name: str) -> tuple[list[Step], list[str]]:
        """Return the steps from a tensor to the next good ones, and the names of these."""
        return self._after(self.takers.get(self.plan.name_of(name), []))

    def effect(self, name: str, array: np.ndarray) -> float:
        """Return by how many tolerances the next good tensors are off if they are computed of an array."""
        return self._run(self.takers.get(self.plan.name_of(name), []), {self.plan.name_of(name): array}, {})

    def effect_of_weight(self, name: str, array: np.ndarray) -> float:
        """Return by how many tolerances the next good tensors are off if they are computed with a weight."""
        return self._run(self.loaders.get(name, []), {}, {name: array})

    def _ends_well(self, takers: Sequence[Step]) -> bool:
        return bool(takers) and all(step.name in self.good or step.name in self.closed for step in takers)

    def _after(self, takers: Sequence[Step]) -> tuple[list[Step], list[str]]:
        """Return some steps, those that follow of them up to the next good tensors, and the names of these."""
        first = {step.name for step in takers}
        steps: list[Step] = []
        changed: set[str] = set()
        for step in self.plan:
            if step.name in first or not changed.isdisjoint(map(self.plan.name_of, step.inputs)):
                steps.append(step)
                if step.name not in self.good:
                    changed.add(step.name)
        return steps, [step.name for step in steps if step.name in self.good]

    def _run(
        self, takers: Sequence[Step], arrays: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> float:
        """Return by how many tolerances good tensors are off; 0 if that cannot be computed, or would take too long."""
        self._left -= ASKED * len(self.plan)
        if self._left < 0:
            return 0.0
        steps, good = self._after(takers)
        if len(steps) > MOST_STEPS or not good:
            return 0.0
        try:
            with np.errstate(all="ignore"):
                return self._largest_effect(steps, arrays, weights)
        except (*FAILURES, NpconvError):  # arrays or weights that the reference lacks, or a plan that cannot be run
            return 0.0

    def _largest_effect(
        self, steps: Sequence[Step], arrays: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> float:
        """Run steps; what good tensors are made of them is compared with mine, and not used further."""
        reference = self.comparison.reference
        params: Mapping[str, np.ndarray] = weights_of(reference)
        first = next(self.good[step.name] for step in steps if step.name in self.good)
        dtype = working_dtype(np.asarray(reference[first.name]))
        results = {name: array.astype(dtype, copy=False) for name, array in arrays.items()}
        allowance = Allowance(count_numbers(reference))
        largest = 0.0
        for step in steps:
            inputs = [results[name] if name in results else self._outside(name, dtype) for name in self._inputs(step)]
            own = {n: cast(np.asarray(weights[n] if n in weights else params[n]), dtype) for n in step.params.values()}
            allowance.take(step, [array.shape for array in inputs], {name: array.shape for name, array in own.items()})
            made = run_step(step, inputs, own)
            self._left -= STARTED + made.size
            if self._left < 0:
                return 0.0
            if step.name in self.good:
                largest = max(largest, self._in_tolerances(self.good[step.name], made))
            else:
                results[step.name] = made
        return largest

    def _inputs(self, step: Step) -> list[str]:
        return list(map(self.plan.name_of, step.inputs))

    def _outside(self, name: str, dtype: np.dtype) -> np.ndarray:
        """Return what a step takes from elsewhere: mine where it is good, else the reference's."""
        if name in self.good:
            return cast(self.comparison.array(self.good[name]), dtype)
        return cast(given(self.comparison.reference, name), dtype)

    def _in_tolerances(self, good: Difference, made: np.ndarray) -> float:
        """Return how far an array is from a good one of mine; a tolerance of someone's own may be below rounding."""
        rounding = FLOOR * last_place(largest_of(np.asarray(self.comparison.reference[good.name])))
        off = squeezed_distance(made, self.comparison.array(good))
        return off / max(good.tolerance, rounding)


def find_islands(comparison: Comparison, exchanged: Sequence[Exchange] = ()) -> list[Island]:
    """Return the islands among the tensors that diverge; what is `exchanged` explains some."""
    if all(not found.diverges for found in comparison.differences):
        return []
    islands: list[Island] = []
    apart = [found for found in comparison.differences if found.diverges and found.finite]
    left = {found.name: found for found in apart if found.reading is not None}
    for plan in _plans(comparison):
        flow = Flow(comparison, plan)
        effects = {}
        for name, found in left.items():
            if (name in plan or name in flow.takers) and flow.is_closed(name) and _is_read_alike(flow, found):
                effect = flow.effect(name, comparison.array(found))
                if effect > SHOWN:
                    effects[name] = effect
        for names in _connected(flow, list(effects), exchanged):
            island = _explained(comparison, flow, names, min(effects[name] for name in names), exchanged)
            if island.kind or PIXELS not in names:  # other inputs may be those of another picture
                islands.append(island)
        left = {name: found for name, found in left.items() if name not in effects}
    return sorted(islands, key=lambda island: comparison[island.names[0]].index)


def _plans(comparison: Comparison) -> list[Plan]:
    """Return the plans of the reference; before one with gradients its steps forwards, which are judged without them.

    Of a port that records no gradients, and of one that folded a weight, what is computed forwards is right.
    """
    found: list[Plan] = []
    for plan in plans_of(comparison.reference):
        forward = forwards(plan)
        found += [plan] if len(forward) == len(plan) else [forward, plan]
    return found


def _is_read_alike(flow: Flow, found: Difference) -> bool:
    """Tell whether a tensor and the next good ones are read in one order of axes, where the shapes allow several.

    A square map that is good only with rows and columns exchanged says nothing of one that is not read so.
    """
    good = [flow.good[name] for name in flow.after(found.name)[1]]
    alike = [other for other in good if len(other.shape_reference) == len(found.shape_reference)]
    return all(_is_turned(flow.comparison, other) == _is_turned(flow.comparison, found) for other in alike)


def _is_turned(comparison: Comparison, found: Difference) -> bool:
    """Tell whether a tensor is read in another order of axes than its shape suggests."""
    letters = layout_of(comparison.reference, found.name, len(found.shape_reference))
    first = next(readings(found.shape_reference, found.shape_mine, letters), AS_IT_IS)
    return found.reading is not None and found.reading.way != first.way


def _connected(flow: Flow, names: Sequence[str], exchanged: Sequence[Exchange]) -> list[list[str]]:
    """Return names in groups, of which one is computed of the other or exchanged with it."""
    groups: list[set[str]] = []
    for name in names:
        steps = {step.name for step in flow.after(name)[0]}
        group = {name} | {other for other in names if other in flow.plan and flow.plan.resolve(other) in steps}
        group |= {pair.other for pair in exchanged if pair.one == name and pair.other in names}
        for other in [other for other in groups if group & other]:
            group |= other
            groups.remove(other)
        groups.append(group)
    return [[name for name in names if name in group] for group in groups]


def _explained(
    comparison: Comparison, flow: Flow, names: Sequence[str], effect: float, exchanged: Sequence[Exchange]
) -> Island:
    """Return an island with what explains it, if that is known."""
    good = dict.fromkeys(name for one in names for name in flow.after(one)[1])
    pairs = [[pair.one, pair.other] for pair in exchanged if pair.one in names and pair.other in names]
    if pairs:
        return Island(tuple(names), tuple(good), effect, "exchanged", {"pairs": pairs})
    for name in names:
        found = explain(comparison, flow.plan, comparison[name])
        if found is not None:
            return Island(tuple(names), tuple(good), effect, *found)
    return Island(tuple(names), tuple(good), effect)


def find_folded(comparison: Comparison) -> set[str]:
    """Return the names, after ``parameters.``, of weights that differ while all that is computed with them is right."""
    wrong = [weight.difference for weight in comparison.weights if weight.difference.diverges]
    weights = weights_of(comparison.mine)
    folded = set()
    for plan in plans_of(comparison.reference) if wrong else ():
        flow = Flow(comparison, forwards(plan))
        for found in wrong:
            name = found.name.removeprefix(PARAMETERS)
            if not (found.finite and flow.is_closed_weight(name)):
                continue
            array = np.zeros(found.shape_reference) if found.reading is None else found.read(weights)
            if flow.effect_of_weight(name, array) > SHOWN:
                folded.add(found.name)
    return folded
