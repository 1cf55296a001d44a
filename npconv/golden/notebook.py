"""What a notebook shows of traces and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from npconv.html import Markup, folded, note, note_table
from npconv.models.tree import spread, summary

if TYPE_CHECKING:
    from npconv.golden.compare import Comparison, Difference
    from npconv.golden.trace_file import Trace

#: Rows that are open at once, and rows at all.
OPEN_ROWS, MOST_ROWS = 16, 1000

#: What is said of a trace above its arrays, by its name in the file.
FACTS = ("family", "task", "dtype")

#: Tensors that are open before the first divergence, and from it on.
BEFORE, AFTER = 2, 4


def trace_note(trace: Trace) -> str:
    """Return what a notebook shows of a trace: what made each array, its shape and range, in order."""
    names = list(trace)[:MOST_ROWS]
    operations = _operations(trace)
    rows = [(name, operations.get(name, ""), summary(trace[name]), spread(trace[name])) for name in names]
    table = note_table(rows, ("array", "made by", "", "values"))
    facts = [(name, str(trace.about[name])) for name in FACTS if name in trace.about]
    more = f", the first {MOST_ROWS:,} here" if len(trace) > MOST_ROWS else ""
    arrays = table if len(rows) <= OPEN_ROWS else folded(f"{len(trace):,} arrays{more}", table)
    return note("Trace", f"{len(trace):,} tensors, {len(trace.params):,} weights", note_table(facts), arrays)


def _operations(trace: Trace) -> dict[str, str]:
    """Return the operation of each step; nothing if the trace does not say, or what it says is no plan."""
    try:
        return {step.name: step.operation for step in trace.plan or ()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}


def comparison_note(comparison: Comparison) -> str:
    """Return what a notebook shows of a comparison: the tensors around the first divergence, and all."""
    differences, first = comparison.differences, comparison.first
    about = f"{len(differences):,} tensors of both, {sum(one.diverges for one in differences):,} diverge"
    wrong = [weight.difference for weight in comparison.wrong_weights]
    parts = [folded(f"{len(wrong):,} weights that were wrong on loading", _table(wrong), is_open=True)] if wrong else []
    if first is not None:
        place = differences.index(first)
        near = differences[max(0, place - BEFORE) : place + AFTER]
        parts.append(folded(f"first divergence: {first.name}", _table(near), is_open=True))
    if names := [*comparison.missing, *comparison.extra]:
        sides = ["the reference"] * len(comparison.missing) + ["mine"] * len(comparison.extra)
        title = f"{len(names):,} tensors of one of the two"
        parts.append(folded(title, note_table(zip(names[:MOST_ROWS], sides, strict=False), ("name", "only in"))))
    return note("Comparison", about, *parts, folded("all tensors of both", _table(differences)))


def _table(differences: Sequence[Difference]) -> Markup:
    """Return a row for each tensor: how far it is off, and how far it may be."""
    rows = (
        (
            "diverges" if one.diverges else "agrees",
            one.name,
            " x ".join(map(str, one.shape_reference)),
            f"{one.max_abs:.2g}",
            f"{one.tolerance:.2g}",
        )
        for one in differences[:MOST_ROWS]
    )
    return note_table(rows, ("", "name", "shape", "largest error", "tolerance"))
