"""What a comparison and its diagnosis say, as text for people; see ``values`` for programs."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from npconv.golden.births import Birth
from npconv.golden.compare import Comparison, Difference
from npconv.golden.hidden import says
from npconv.golden.inputs import tensors
from npconv.golden.judge import Suspect, Suspects
from npconv.golden.naming import partners
from npconv.golden.origin import Origin
from npconv.golden.sentences import ISLAND, told
from npconv.golden.trace_file import about
from npconv.messages import SHOWN_ITEMS, escape, listed
from npconv.plan.gradient_steps import is_gradient, is_share

#: Tensors shown on each side of the first divergence, names shown of those that are missing, suspects, and mistakes
#: after the first.
GOOD, BAD, SUSPECTS, BIRTHS = 2, 3, 4, 5

#: Names of which the likeliest partner is told to programs.
MOST_PARTNERS = 100

#: Places shown of a mistake in several steps, those of a stage as one.
PLACES = 6

HEADER = ("place", "shape", "dtype", "max error", "relative", "cosine", "NMSE", "outside", "tolerance", "of it", "name")


def verdict(comparison: Comparison) -> str:
    """Return the first line of a report."""
    total = len(comparison.differences)
    first, wrong = comparison.first, comparison.wrong_weights
    if wrong:
        return (
            f"first divergence: {wrong[0].difference.name} (wrong weights: {len(wrong)} of {len(comparison.weights)})"
        )
    if first is None:
        apart = sum(len(island.names) for island in comparison.islands)
        return f"no divergence in {tensors(total)}" + (f", {apart} of them {ISLAND}" if apart else "")
    return f"first divergence: {first.name} ({first.index} of {total})"


def to_text(
    comparison: Comparison,
    origin: Origin | None = None,
    suspects: Sequence[Suspect] = (),
    *,
    also: Sequence[Birth] = (),
    names: tuple[str, str] = ("REFERENCE", "MINE"),
    width: int = 100,
) -> str:
    """Return a report: the verdict, both traces, the tensors around the first divergence, where it is from, and why.

    `origin`, `suspects` and `also` come of :mod:`npconv.golden.origin`, :mod:`npconv.golden.diagnose` and
    :mod:`npconv.golden.births`; `names` are what the traces are called, such as their files. Lines of text are `width`
    wide; the table may be wider.
    """
    lines = [verdict(comparison), *_not_finite(comparison), ""]
    lines.append(f"reference  {escape(names[0])}: {provenance(comparison.reference)}")
    lines.append(f"mine       {escape(names[1])}: {provenance(comparison.mine)}")
    lines += [escape(note) for note in [*comparison.notes, *told(comparison), *_names(comparison)]]
    lines += [f"hidden: {says(comparison.hidden)}"] if comparison.hidden else []
    lines += ["", *_table(comparison)]
    first = comparison.first
    if first is not None:
        lines.append("")
        for title, text in (
            ("where from", origin_text(origin)),
            ("where", first.whereabouts),
            ("why", "; ".join(why(first, suspects, origin))),
            *(("also born", text) for text in births_text(also)),
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


def why(
    first: Difference, suspects: Sequence[Suspect], origin: Origin | None, advice: str = "record more tensors"
) -> list[str]:
    """Return the explanations of a divergence, best first, or what is known without one.

    `advice` is what to do to have all mistakes tried, where that took too long.
    """
    if first.broken:
        return ["REFERENCE itself holds NaN or infinity here and is broken; record it again, in float64"]
    fitting = [suspect for suspect in suspects if suspect.fits][:SUSPECTS]
    if fitting:
        return [_fit(suspect) for suspect in fitting] + _margin(suspects) + _cut(suspects, advice)
    if isinstance(suspects, Suspects) and suspects.refused:
        return [f"not known: this part is not run again, {suspects.refused}"]
    if first.reading is None and not suspects:
        return ["the shapes do not fit, and no known mistake gives that of mine"]
    if not suspects and origin is None:
        return ["not known: REFERENCE does not hold the steps, weights and inputs to run this part again"]
    nearest = [s for s in suspects if s.residual < first.relative / 2 and not s.refuted][:1]
    more = [f"the nearest is {_fit(suspect, '')}" for suspect in nearest]
    count = suspects.tried if isinstance(suspects, Suspects) else len(suspects)
    cut = _cut(suspects, advice)
    return ["no known mistake fits" if cut else f"no known mistake fits ({count} tried)", *more, *cut]


def births_text(also: Sequence[Birth]) -> list[str]:
    """Return the mistakes after the first, one a text, and how many more there are."""
    hidden = [f"and {len(also) - BIRTHS} more mistakes"] if len(also) > BIRTHS else []
    return [_birth_text(birth) for birth in also[:BIRTHS]] + hidden


def births_by_tensor(also: Sequence[Birth]) -> dict[str, str]:
    """Return all mistakes after the first in words, by the tensors in which they are first."""
    return {birth.places[0]: _birth_text(birth) for birth in also}


def _birth_text(birth: Birth) -> str:
    """Return a mistake after the first in words."""
    first, count = birth.places[0], len(birth.places)
    places = first if count == 1 else f"{first} and {count - 1} more"
    if birth.again:
        return f"{places}: {'the same again' if birth.suspects.fitting else 'not known either'}"
    reasons = "; ".join(why_born(birth))
    return f"{places}, by up to {birth.origin.born:.1e}: {reasons}"


def why_born(birth: Birth) -> list[str]:
    """Return the explanations of a mistake after the first."""
    return why(birth.difference, birth.suspects, birth.origin, "mend what is before it")


def _margin(suspects: Sequence[Suspect]) -> list[str]:
    """Say of a reason how many others were tried, and how much the nearest leaves."""
    count = suspects.ruled_out if isinstance(suspects, Suspects) else 0
    if not (count and isinstance(suspects, Suspects)):
        return []
    nearest = suspects.runner_up
    margin = "none gives this shape" if nearest is None else f"the nearest leaves {nearest.residual:.0e}"
    return [f"of {count} other explanations {margin}"]


def _cut(suspects: Sequence[Suspect], advice: str) -> list[str]:
    """Say if not all mistakes were tried, because that takes too long."""
    if not isinstance(suspects, Suspects) or suspects.tried == suspects.known:
        return []
    return [f"{suspects.tried} of {suspects.known} mistakes tried; {advice} to have all tried"]


def _fit(suspect: Suspect, verb: str = "fits ") -> str:
    """Return a suspect in words: ``fits tanh GELU (convnext...act): 3e-7``; of a gradient with the function."""
    function = f"{suspect.step.operation}, " if is_gradient(suspect.step.name) or is_share(suspect.step.name) else ""
    return f"{verb}{suspect.says} ({function}{in_places(suspect.places)}): {suspect.residual:.0e}"


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
    step += f" ({origin.operation})" if count == 1 and is_gradient(origin.steps[-1]) else ""
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
    """Say how many names of mine have a counterpart if not all, and which on each side have none."""
    paired, total = comparison.named.paired, comparison.named.total
    lines = [f"names: {paired} of {total} of MINE are paired"] if paired < total else []
    for names, likely, what in (
        (comparison.missing, likely_in_mine(comparison, SHOWN_ITEMS), "missing in MINE"),
        (comparison.extra, likely_in_reference(comparison, SHOWN_ITEMS), "only in MINE"),
    ):
        if names:
            said = [f"{name}, {likely[name]}?" if likely.get(name) else name for name in names]
            lines.append(f"{what}: {len(names)} ({listed(said)})")
    return lines


def likely_in_mine(comparison: Comparison, most: int = MOST_PARTNERS) -> dict[str, str | None]:
    """Return the likeliest partners of the first names that mine lacks."""
    return partners(comparison.missing[:most], comparison.extra, comparison.reference, comparison.mine)


def likely_in_reference(comparison: Comparison, most: int = MOST_PARTNERS) -> dict[str, str | None]:
    """Return the likeliest partners of the first names that only mine has."""
    return partners(comparison.extra[:most], comparison.missing, comparison.mine, comparison.reference)


def shown(comparison: Comparison) -> list[Difference]:
    """Return the last good and the first bad tensors, in order."""
    first = comparison.first
    if first is None:
        ordered = sorted([d for d in comparison.differences if not d.is_island], key=_of_tolerance)
        return sorted(ordered[-GOOD:], key=lambda d: d.index)  # those that came nearest to their tolerance
    good = [d for d in comparison.differences[: first.index - 1] if not d.diverges and not d.is_island][-GOOD:]
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
        f"{_of_tolerance(difference):.2g}" if difference.tolerance else "-",
        difference.name,
    )


def _of_tolerance(difference: Difference) -> float:
    """Return how far a tensor is off in tolerances; of a step that was checked by itself, the larger of both."""
    return max(difference.max_abs / difference.tolerance if difference.tolerance else 0.0, difference.own)


def _share(difference: Difference) -> str:
    """Return how many values are outside as a share; as a number where that would look like none."""
    if not 0 < difference.outside < 1e-4:
        return f"{difference.outside:.2%}"
    size = math.prod(difference.shape_reference)
    return f"{round(difference.outside * size)} of {size}"


def _shape(shape: Sequence[int]) -> str:
    """Return a shape as text: ``1x96x56x56``."""
    return "x".join(map(str, shape)) or "scalar"
