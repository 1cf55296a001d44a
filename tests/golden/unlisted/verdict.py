"""What becomes of a mistake: the first wrong array, and the reason that is stated for it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npconv.errors import GoldenError
from npconv.golden.align import AS_IT_IS
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.measures import distance
from npconv.golden.mistakes import MISTAKES
from npconv.golden.preprocessing import DECODED, IMAGE, image_of
from npconv.plan.run import run_step
from tests.golden.proof import in_tolerances
from tests.golden.unlisted.entry import Entry, specimen_of
from tests.golden.unlisted.port import single

TRACES = ("full", "coarse")
OUTCOMES = ("right", "none", "wrong")


@dataclass(frozen=True)
class Verdict:
    """What became of a mistake in traces of one sort.

    Parameters
    ----------
    entry : Entry
    first : str
        The first wrong array; empty if there is none.
    is_first : bool
        It is the first that must be wrong.
    error : float
        Of that, in tolerances.
    outcome : str
        One of `OUTCOMES`: what the stated reason is.
    says, step : str
        The reason and where it is said to be; of none, the reason why.
    residual : float
        What it leaves unexplained.
    seconds : float
        Taken by comparison and diagnosis.
    """

    entry: Entry
    first: str
    is_first: bool
    error: float
    outcome: str
    says: str
    step: str
    residual: float
    seconds: float


def examine(entry: Entry, traces: str, reasons: bool = True) -> Verdict:
    """Compare a port that makes a mistake with the golden trace, and ask for the reason unless it is not wanted."""
    golden, port = entry.golden(), entry.port(traces)
    begin = time.perf_counter()
    try:
        comparison = compare(golden, port)
    except GoldenError as error:
        return Verdict(entry, "", False, 0.0, "none", str(error), "", np.nan, time.perf_counter() - begin)
    suspects = [suspect for suspect in (diagnose(comparison) if reasons else ()) if suspect.fits]
    seconds = time.perf_counter() - begin
    first = comparison.first
    name = first.name if first else ""
    error = first.max_abs / first.tolerance if first else 0.0
    facts: dict[str, Any] = {"first": name, "is_first": name == entry.first_wrong(traces), "error": error}
    if not suspects:
        return Verdict(entry, **facts, outcome="none", says="", step="", residual=np.nan, seconds=seconds)
    best = suspects[0]
    outcome = "right" if entry.is_right(best, name, first.reading or AS_IT_IS) else "wrong"
    return Verdict(
        entry, **facts, outcome=outcome, says=best.says, step=best.step.name, residual=best.residual, seconds=seconds
    )


def catalogued(entry: Entry) -> list[str]:
    """Return the catalogued mistakes that would make the first wrong array of a full trace as well."""
    golden, port = entry.golden(), entry.port()
    comparison = compare(golden, port)
    plan = entry.plan()
    step = plan[entry.first_wrong("full")]
    first, mine = comparison[step.name], np.asarray(port[step.name])
    arrays = {**golden, **port, IMAGE: image_of(golden[DECODED])} if DECODED in golden else {**golden, **port}
    found = []
    for mistake in MISTAKES:
        wrong = None if mistake.invisible else mistake.at(step, plan)
        if wrong is None:
            continue
        try:
            with np.errstate(all="ignore"):
                inputs = [single(arrays[name]) for name in wrong.inputs]
                made = run_step(wrong, inputs, golden.params, mistake.function)
        except GoldenError:  # shapes that the mistake does not take
            continue
        if distance(single(made), mine) <= first.tolerance:
            found.append(mistake.name)
    return found


def table(verdicts: Iterable[Verdict]) -> list[str]:
    """Return a line for each verdict."""
    header = ("kind", "mistake", "first array", "tolerances", "reason", "residual", "seconds", "what was said")
    rows = [header, *map(_row, verdicts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(verdict: Verdict) -> tuple[str, ...]:
    """Return the cells of a verdict."""
    said = f"{verdict.says} ({verdict.step})" if verdict.step else verdict.says
    return (
        verdict.entry.kind,
        verdict.entry.name,
        "right" if verdict.is_first else f"WRONG: {verdict.first or 'none'}",
        in_tolerances(verdict.error),
        verdict.outcome,
        "" if np.isnan(verdict.residual) else f"{verdict.residual:.0e}",
        f"{verdict.seconds:.2f}",
        said,
    )


def sums(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a line for each kind, and one for all."""
    kinds = list(dict.fromkeys(verdict.entry.kind for verdict in verdicts))
    rows = [("kind", "mistakes", "first array", *OUTCOMES, "seconds")]
    for kind in [*kinds, "all"]:
        own = [verdict for verdict in verdicts if kind in (verdict.entry.kind, "all")]
        counted = [sum(verdict.outcome == outcome for verdict in own) for outcome in OUTCOMES]
        firsts, seconds = sum(verdict.is_first for verdict in own), sum(verdict.seconds for verdict in own)
        rows.append((kind, *map(str, (len(own), firsts, *counted)), f"{seconds:.1f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def prepare(entries: Iterable[Entry]) -> None:
    """Make the golden traces, so that their time is not counted."""
    for entry in entries:
        specimen_of(entry.family, entry.model)
