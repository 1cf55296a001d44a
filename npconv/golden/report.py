"""What a comparison and its diagnosis say, as text for people and as plain values for programs."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from npconv.golden.compare import Comparison, Difference
from npconv.golden.diagnose import Origin
from npconv.golden.inputs import tensors
from npconv.golden.judge import Suspect, Suspects
from npconv.golden.trace_file import about
from npconv.messages import escape, listed

#: Tensors shown on each side of the first divergence, names shown of those that are missing, and suspects.
GOOD, BAD, SUSPECTS = 2, 3, 4

#: Places shown of a mistake in several steps, those of a stage as one.
PLACES = 6

HEADER = ("place", "shape", "dtype", "max error", "relative", "cosine", "NMSE", "outside", "tolerance", "of it", "name")


def verdict(comparison: Comparison) -> str:
    """Return the first line of a report."""
    total = len(comparison.differences)
    first = comparison.first
    if first is None:
        return f"no divergence in {tensors(total)}"
    return f"first divergence: {first.name} ({first.index} of {total})"


def to_text(
    comparison: Comparison,
    origin: Origin | None = None,
    suspects: Sequence[Suspect] = (),
    *,
    names: tuple[str, str] = ("REFERENCE", "MINE"),
    width: int = 100,
) -> str:
    """Return a report: the verdict, both traces, the tensors around the first divergence, where it is from, and why.

    `origin` and `suspects` come of :mod:`npconv.golden.diagnose`; `names` are what the traces are called, such as their
    files. Lines of text are `width` wide; the table may be wider.
    """
    lines = [verdict(comparison), *_not_finite(comparison), ""]
    lines.append(f"reference  {escape(names[0])}: {provenance(comparison.reference)}")
    lines.append(f"mine       {escape(names[1])}: {provenance(comparison.mine)}")
    lines += [escape(note) for note in [*comparison.notes, *_names(comparison)]]
    lines += ["", *_table(comparison)]
    first = comparison.first
    if first is not None:
        lines.append("")
        for title, text in (
            ("where from", origin_text(origin)),
            ("where", first.whereabouts),
            ("why", "; ".join(why(first, suspects, origin))),
        ):
            if text:
                wrapper = textwrap.TextWrapper(width, f"{title:<10} ", " " * 11)
                wrapper.break_long_words = wrapper.break_on_hyphens = False
                lines += wrapper.wrap(text)
    return "\n".join(escape(line) for line in lines) + "\n"


def provenance(trace: Mapping[str, Any]) -> str:
    """Return in one line what a trace says of itself."""
    facts = about(trace)
    parts = [str(facts[key]) for key in ("model", "family", "task", "dtype") if facts.get(key)]
    for key, title in (("checkpoint", "weights"), ("input", "input"), ("photo", "photo")):
        if facts.get(key):
            parts.append(f"{title} {str(facts[key])[:12]}")
    versions = facts.get("versions")
    parts += [f"{name} {version}" for name, version in sorted(versions.items())] if versions else []
    return ", ".join([*parts, tensors(len(trace))])


def why(first: Difference, suspects: Sequence[Suspect], origin: Origin | None) -> list[str]:
    """Return the explanations of a divergence, best first, or what is known without one."""
    if first.broken:
        return ["REFERENCE itself holds NaN or infinity here and is broken; record it again, in float64"]
    fitting = [suspect for suspect in suspects if suspect.fits][:SUSPECTS]
    if fitting:
        return [_fit(suspect) for suspect in fitting] + _margin(fitting[0], suspects) + _cut(suspects)
    if isinstance(suspects, Suspects) and suspects.refused:
        return [f"not known: this part is not run again, {suspects.refused}"]
    if first.reading is None and not suspects:
        return ["the shapes do not fit, and no known mistake gives that of mine"]
    if not suspects and origin is None:
        return ["not known: REFERENCE does not hold the steps, weights and inputs to run this part again"]
    nearest = [s for s in suspects if s.residual < first.relative / 2][:1]
    more = [f"the nearest is {_fit(suspect, '')}" for suspect in nearest]
    count = suspects.tried if isinstance(suspects, Suspects) else len(suspects)
    return [f"no known mistake fits ({count} tried)", *more, *_cut(suspects)]


def _margin(best: Suspect, suspects: Sequence[Suspect]) -> list[str]:
    """Say of a reason that is in no catalogue how many others were tried, and how much the nearest leaves."""
    others = [suspect.residual for suspect in suspects if not suspect.fits]
    if not (best.kind and others and isinstance(suspects, Suspects)):
        return []
    return [f"of {suspects.tried - 1} other explanations the nearest leaves {min(others):.0e}"]


def _cut(suspects: Sequence[Suspect]) -> list[str]:
    """Say if not all mistakes were tried, because that takes too long."""
    if not isinstance(suspects, Suspects) or suspects.tried == suspects.known:
        return []
    return [f"{suspects.tried} of {suspects.known} mistakes tried; record more tensors to have all tried"]


def _fit(suspect: Suspect, verb: str = "fits ") -> str:
    """Return a suspect in words: ``fits tanh GELU (convnext...act): 3e-7``."""
    return f"{verb}{suspect.says} ({in_places(suspect.places)}): {suspect.residual:.0e}"


def in_places(names: Sequence[str]) -> str:
    """Return the names of steps in short, those that differ by one number as one: ``stages.1.layers.{1, 3}.act``."""
    numbers: dict[tuple[str, str], list[str]] = {}
    for name in names:
        before, layers, after = name.rpartition(".layers.")
        number, dot, end = after.partition(".")
        known = (before + layers, dot + end) if number.isdecimal() else (name, "")
        numbers.setdefault(known, []).append(number if number.isdecimal() else "")
    found = []
    for (before, after), several in numbers.items():
        each = ", ".join(sorted(several, key=lambda number: (len(number), number)))
        found.append(f"{before}{{{each}}}{after}" if len(several) > 1 else f"{before}{each}{after}")
    return listed(found, PLACES)


def origin_text(origin: Origin | None) -> str:
    """Say whether an error was born where it is first seen."""
    if origin is None:
        return ""
    count = len(origin.steps)
    step = f"the step {origin.steps[-1]}" if count == 1 else f"the {count} steps since the last good tensors"
    start = listed(origin.start)
    if origin.is_born_here:
        given = f"your own {start}" if origin.of_mine else f"the reference's {start}"
        by = f", by up to {origin.born:.1e}" if origin.born < float("inf") else ""
        rest = f"; what these inputs differ by makes {origin.inherited:.1e} of it" if origin.of_mine else ""
        return f"born here: {step}, run again on {given}, should give other values{by}{rest}"
    return (
        f"inherited: {step}, run again on your own {start}, should give what you have (up to {origin.born:.1e}); what "
        f"these inputs differ by, within their tolerances, grows to {origin.inherited:.1e} here"
    )


def _not_finite(comparison: Comparison) -> list[str]:
    """Say which tensors are not finite, before anything else."""
    broken = [difference for difference in comparison.differences if not difference.finite]
    if not broken:
        return []
    more = f", and {tensors(len(broken) - 1)} more" if len(broken) > 1 else ""
    return [f"not finite: {broken[0].name} ({broken[0].whereabouts}){more}"]


def _names(comparison: Comparison) -> list[str]:
    """Say which names have no counterpart."""
    lines = []
    for names, what in ((comparison.missing, "missing in MINE"), (comparison.extra, "only in MINE")):
        if names:
            lines.append(f"{what}: {len(names)} ({listed(names)})")
    return lines


def shown(comparison: Comparison) -> list[Difference]:
    """Return the last good and the first bad tensors, in order."""
    first = comparison.first
    if first is None:
        ordered = sorted(comparison.differences, key=lambda d: d.max_abs / d.tolerance if d.tolerance else 0.0)
        return sorted(ordered[-GOOD:], key=lambda d: d.index)  # those that came nearest to their tolerance
    good = [d for d in comparison.differences[: first.index - 1] if not d.diverges][-GOOD:]
    bad = [d for d in comparison.differences if d.diverges][:BAD]
    return good + bad


def _table(comparison: Comparison) -> list[str]:
    """Return the tensors around the first divergence as aligned lines; without one, those nearest to it."""
    rows = [("", *HEADER), *(_row(difference) for difference in shown(comparison))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return lines if comparison.first else ["nearest to their tolerance:", *lines]


def _row(difference: Difference) -> tuple[str, ...]:
    """Return the cells of a tensor."""
    shape, dtype = _shape(difference.shape_reference), difference.dtype
    if difference.shape_mine != difference.shape_reference:
        shape += f" / {_shape(difference.shape_mine)}"
    if difference.dtype_mine != dtype:
        dtype += f" / {difference.dtype_mine}"
    if difference.layout:
        shape += f" ({difference.layout})"
    return (
        "bad" if difference.diverges else "good",
        str(difference.index),
        shape,
        dtype,
        f"{difference.max_abs:.1e}",
        f"{difference.relative:.1e}",
        f"{difference.cosine:.6f}",
        f"{difference.nmse:.1e}",
        _share(difference),
        f"{difference.tolerance:.1e}",
        f"{difference.max_abs / difference.tolerance:.2g}" if difference.tolerance else "-",
        difference.name,
    )


def _share(difference: Difference) -> str:
    """Return how many values are outside as a share; as a number where that would look like none."""
    if not 0 < difference.outside < 1e-4:
        return f"{difference.outside:.2%}"
    size = math.prod(difference.shape_reference)
    return f"{round(difference.outside * size)} of {size}"


def _shape(shape: Sequence[int]) -> str:
    """Return a shape as text: ``1x96x56x56``."""
    return "x".join(map(str, shape)) or "scalar"


def to_values(
    comparison: Comparison,
    origin: Origin | None = None,
    suspects: Sequence[Suspect] = (),
    *,
    names: tuple[str, str] = ("REFERENCE", "MINE"),
) -> dict[str, Any]:
    """Return everything that a report says as JSON values, and all tensors; infinity is a float as Python has it."""
    first = comparison.first
    return {
        "verdict": verdict(comparison),
        "diverges": first is not None,
        "first": first.name if first else None,
        "last_good": comparison.last_good.name if comparison.last_good else None,
        "reference": {"file": names[0], **_about(comparison.reference)},
        "mine": {"file": names[1], **_about(comparison.mine)},
        "notes": list(comparison.notes),
        "missing": list(comparison.missing),
        "extra": list(comparison.extra),
        "origin": None if origin is None else _origin_values(origin),
        "suspects": [_suspect_values(suspect) for suspect in suspects],
        "why": why(first, suspects, origin) if first else [],
        "tensors": [_values(difference) for difference in comparison.differences],
    }


def _origin_values(origin: Origin) -> dict[str, Any]:
    """Return an origin as JSON values."""
    names = {"steps": list(origin.steps), "start": list(origin.start)}
    return {"born_here": origin.is_born_here, **vars(origin), **names}


def _suspect_values(suspect: Suspect) -> dict[str, Any]:
    """Return a suspect as JSON values."""
    return {
        "says": suspect.says,
        "mistake": suspect.mistake.name if suspect.mistake else None,
        "step": suspect.step.name,
        "steps": suspect.steps,
        "places": suspect.places,
        "residual": suspect.residual,
        "fits": suspect.fits,
        "kind": suspect.kind,
        "values": dict(suspect.values),
    }


def _about(trace: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trace says of itself, without what is said of single tensors."""
    kept = ("model", "family", "task", "dtype", "checkpoint", "input", "photo", "versions")
    return {key: value for key, value in about(trace).items() if key in kept and value is not None}


def _values(difference: Difference) -> dict[str, Any]:
    """Return a difference as JSON values."""
    fields = {key: value for key, value in vars(difference).items() if key != "reading"}
    fields["shape_reference"], fields["shape_mine"] = list(difference.shape_reference), list(difference.shape_mine)
    return {**fields, "diverges": difference.diverges}
