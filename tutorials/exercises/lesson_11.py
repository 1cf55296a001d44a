"""Checkers of lesson 11, and the broken ports that it asks about."""

from __future__ import annotations

from typing import Any

from exercises import exercise
from npconv.golden.mistakes import MISTAKES, apply
from npconv.golden.trace_file import Trace
from npconv.plan.run import run_plan

PLACE_OF_A, MISTAKE_OF_A = "convnextv2.encoder.stages.1.layers.2.layernorm", "layer-norm-ddof"
PLACES_OF_B, MISTAKE_OF_B = None, "grn-mean-over-positions"  # of B at every step


def _catalogued(name: str) -> Any:
    """Return the mistake of a name."""
    return next(mistake for mistake in MISTAKES if mistake.name == name)


def _broken(golden: Trace, name: str, only: list[str] | None) -> Trace:
    """Run the steps of a golden trace in float32 with a mistake."""
    assert golden.plan is not None
    plan, function_of = apply(_catalogued(name), golden.plan, only)
    found = Trace()
    found.add("pixel_values", golden["pixel_values"])
    for step, array in run_plan(plan, {"pixel_values": golden["pixel_values"]}, golden.params, function_of):
        found.add(step.name, array)
    return found


def trace_a(golden: Trace) -> Trace:
    """Return what port A computes."""
    return _broken(golden, MISTAKE_OF_A, [PLACE_OF_A])


def trace_b(golden: Trace) -> Trace:
    """Return what port B computes."""
    return _broken(golden, MISTAKE_OF_B, PLACES_OF_B)


@exercise(
    "Compare A's trace with the golden one; what does a comparison say of its first difference?",
    "compare(golden, trace_a(golden)).first.name",
)
def check_1(answer: Any) -> bool:
    """Check the name of the first array that A has wrong."""
    return answer.removeprefix("convnextv2.") == PLACE_OF_A.removeprefix("convnextv2.")


@exercise(
    "First compare, as for A; then let npconv look for the mistake in what you got.",
    "diagnose(compare(golden, trace_b(golden)))[0].says",
)
def check_2(answer: Any) -> bool:
    """Check the mistake of B, by its name or its words."""
    return answer.strip() in (MISTAKE_OF_B, _catalogued(MISTAKE_OF_B).says)
