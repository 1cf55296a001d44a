"""Proof that golden cases and traces find mistakes: every mistake of the catalogue is made, and looked for.

    python -m tests.golden.proof              prints the table; the exit status is 1 if a mistake gets away
    python -m tests.golden.proof --readme     writes the table into npconv/golden/README.md

Of each mistake that numbers can show:

- **Cases.** The operation with the mistake in it must miss a golden case by at least :data:`ENOUGH` tolerances.
- **Traces.** Of each family of models in which it can be made, a tiny model runs in float32 with the mistake wherever
  it can be made, as a port would have it; forwards and back, if it is a mistake of the way back or of training. The
  comparison of that trace with the golden one must name the first step where the mistake can be made as the first
  divergent tensor, by at least :data:`ENOUGH` tolerances, and the diagnosis must name the mistake itself before all
  others. What a port cannot compute any further for its mistake (shapes that do not fit) is not in its trace.

No model shows every mistake: an epsilon needs tiny variance, an overflow large numbers. So there are several of each
family (``tests.golden.tiny_models``), and one that shows a mistake is enough. Where the mistake is seen on others
as well, but another explains the numbers as well as it does up to the last bits (epsilons of 0 and 1e-12 on a map of
usual variance) and comes before it, that is counted and printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import npconv.golden
from npconv.errors import GoldenError
from npconv.golden.case import every_case, run_mistake
from npconv.golden.compare import compare
from npconv.golden.diagnose import diagnose
from npconv.golden.measures import distance
from npconv.golden.mistakes import MISTAKES, Mistake
from npconv.models import FAMILIES
from tests.golden.specimens import Specimen, specimens

#: Tolerances by which a mistake must be off to count as caught.
ENOUGH = 10.0

README = Path(npconv.golden.__file__).with_name("README.md")
BEGIN, END = "<!-- mistakes: begin -->", "<!-- mistakes: end -->"

#: Models of a family that every mistake is tried on.
ALWAYS = ("usual", "square")


@dataclass(frozen=True)
class Finding:
    """What became of one mistake in one specimen.

    Parameters
    ----------
    family, specimen : str
    error : float
        Of the first step where the mistake is made, in tolerances; 0 if it is not in the port's trace.
    is_first : bool
        That step is the first divergent one.
    named : str
        The best suspect: the name of a mistake, a layout in words, or ``"nothing"``.
    fits : bool
        The mistake itself is among the suspects that fit, first or not.
    """

    family: str
    specimen: str
    error: float
    is_first: bool
    named: str
    fits: bool

    @property
    def shows(self) -> bool:
        """Whether the mistake is seen here where it is made."""
        return self.is_first and self.error >= ENOUGH


@dataclass(frozen=True)
class Verdict:
    """How a mistake fares: its error in each case, in tolerances, and the best finding of each family."""

    mistake: Mistake
    cases: Mapping[str, float]
    best: Mapping[str, Finding]
    findings: Sequence[Finding]

    @property
    def case_error(self) -> float:
        """The error in the case that shows it best."""
        return max(self.cases.values(), default=0.0)

    @property
    def said_of_cases(self) -> str:
        """How many cases catch it of those in which it can be made, and which best."""
        best = max(self.cases, key=lambda name: self.cases[name], default="none")
        caught = sum(error >= ENOUGH for error in self.cases.values())
        return f"{caught} of {len(self.cases)}, {best}: {in_tolerances(self.case_error)}"

    @property
    def failures(self) -> list[str]:
        """What is wrong, in words."""
        is_shown = self.case_error >= ENOUGH or self.mistake.unseen
        found = [] if is_shown else [f"cases: {self.case_error:.1f} tolerances"]
        for family, finding in self.best.items():
            if not finding.shows:
                found.append(f"{family}: {finding.error:.1f} tolerances in {finding.specimen}")
            elif finding.named != self.mistake.name:
                found.append(f"{family}: taken for {finding.named} in {finding.specimen}")
        return found if self.best else [*found, "no model in which it can be made"]


def examine(specimen: Specimen, mistake: Mistake) -> Finding | None:
    """Make a mistake in a specimen and look for it; None if it cannot be made there."""
    place = specimen.place(mistake) if specimen.tries(mistake) else None
    if place is None:
        return None
    comparison = compare(specimen.golden, specimen.port(mistake))
    first = comparison.first
    if first is None or first.name != place:
        seen = next((found for found in comparison.differences if found.name == place), None)
        error = seen.max_abs / seen.tolerance if seen else 0.0
        return Finding(specimen.family, specimen.says, error, False, "nothing", False)
    suspects = [suspect for suspect in diagnose(comparison) if suspect.fits]
    names = [suspect.mistake.name if suspect.mistake else suspect.says for suspect in suspects] or ["nothing"]
    error = first.max_abs / first.tolerance
    return Finding(specimen.family, specimen.says, error, True, names[0], mistake.name in names)


def detection_table() -> list[tuple[str, str, str, float]]:
    """Return how far off each visible mistake is in each case where it can be made.

    Returns
    -------
    list of (operation, case, mistake, error)
        The error in tolerances of the case; infinite where the result is not finite, has another shape, or cannot be
        computed at all.
    """
    table = []
    for case in every_case():
        for mistake in MISTAKES:
            if not mistake.invisible and case.makes(mistake):
                made = run_mistake(case, mistake)
                error = float("inf") if made is None else distance(case.expected, made)
                table.append((case.operation, case.name, mistake.name, error / case.tolerance))
    return table


def prove(thorough: bool = True) -> list[Verdict]:
    """Examine every visible mistake in every specimen.

    If it is not `thorough`, what one model of a family has shown and named is not tried on its others, but for those
    of :data:`ALWAYS`.
    """
    visible = [mistake for mistake in MISTAKES if not mistake.invisible]
    cases: dict[str, dict[str, float]] = {mistake.name: {} for mistake in visible}
    for operation, case, name, error in detection_table():
        cases[name][f"{operation}/{case}"] = error
    findings: dict[str, list[Finding]] = {mistake.name: [] for mistake in visible}
    for specimen in specimens():
        for mistake in visible:
            found = findings[mistake.name]
            is_proven = any(one.family == specimen.family and one.shows and one.named == mistake.name for one in found)
            if is_proven and not thorough and specimen.says not in ALWAYS:
                continue
            finding = examine(specimen, mistake)
            if finding is not None:
                found.append(finding)
    return [
        Verdict(mistake, cases[mistake.name], _best(mistake, findings[mistake.name]), findings[mistake.name])
        for mistake in visible
    ]


def _best(mistake: Mistake, findings: Sequence[Finding]) -> dict[str, Finding]:
    """Return the finding of each family that shows the mistake best: seen, then named, then the largest error."""
    best: dict[str, Finding] = {}
    for finding in findings:
        rank = (finding.shows, finding.named == mistake.name, finding.error)
        other = best.get(finding.family)
        if other is None or rank > (other.shows, other.named == mistake.name, other.error):
            best[finding.family] = finding
    return best


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a line for each mistake."""
    header = ("mistake", "operation", "families", "cases", "trace", "first tensor", "named first")
    rows = [header, *(_row(verdict) for verdict in verdicts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(verdict: Verdict) -> tuple[str, ...]:
    """Return the cells of a mistake; errors are the smallest of its families."""
    best = verdict.best.values()
    return (
        verdict.mistake.name,
        verdict.mistake.operation,
        ", ".join(verdict.best) or "none",
        in_tolerances(verdict.case_error),
        in_tolerances(min((finding.error for finding in best), default=0.0)),
        "right" if best and all(finding.is_first for finding in best) else "WRONG",
        "yes" if not verdict.failures else f"NO: {'; '.join(verdict.failures)}",
    )


def in_tolerances(error: float) -> str:
    """Return an error as a number with two digits: ``36``, ``1.2e+05``, ``shape`` where there is none."""
    if error == float("inf"):
        return "no number"
    return f"{error:.2g}" if error < 100 or error >= 1e4 else f"{error:.0f}"


def summary(verdicts: Sequence[Verdict]) -> list[str]:
    """Return what it comes to, and which mistakes cannot be told apart in which models."""
    good = [verdict for verdict in verdicts if not verdict.failures]
    shown = [(verdict, finding) for verdict in verdicts for finding in verdict.findings if finding.shows]
    first = [finding for verdict, finding in shown if finding.named == verdict.mistake.name]
    families = sum(len(verdict.best) for verdict in verdicts)
    lines = [
        f"{len(good)} of {len(verdicts)} mistakes are caught by the cases and named first, "
        f"{families} times in {len(FAMILIES)} families and the pictures before them",
        f"of {len(shown)} traces that show their mistake at once, {len(first)} name it first; the others:",
    ]
    for verdict, finding in shown:
        if finding.named != verdict.mistake.name:
            how = "fits, after" if finding.fits else "taken for"
            lines.append(f"  {verdict.mistake.name} ({finding.family}, {finding.specimen}): {how} {finding.named}")
    return lines


def readme_table(verdicts: Sequence[Verdict]) -> str:
    """Return the catalogue as a table in Markdown, and what numbers cannot show."""
    lines = [
        "| mistake | operation | what it is | where it comes from | caught by cases | trace |",
        "|---|---|---|---|---|---|",
    ]
    for verdict in verdicts:
        mistake = verdict.mistake
        smallest = min((finding.error for finding in verdict.best.values()), default=0.0)
        texts = (mistake.name, mistake.operation, mistake.says, mistake.origin)
        cells = [text.replace("|", "\\|") for text in texts]
        lines.append(f"| {' | '.join([*cells, verdict.said_of_cases, in_tolerances(smallest)])} |")
    lines += ["", "What no numbers can show, because it is the same function in another form:", ""]
    equal = [mistake for mistake in MISTAKES if mistake.invisible]
    lines += [f"- {mistake.says} ({mistake.operation}): {mistake.invisible}." for mistake in equal]
    return "\n".join(lines)


def write_readme(verdicts: Sequence[Verdict], path: Path = README) -> None:
    """Put the table between its markers.

    Raises
    ------
    GoldenError
        If the file or the markers are not there.
    """
    if not path.is_file():
        raise GoldenError(f"{path}: expected the README to write to; run this in a source tree")
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise GoldenError(f"{path}: expected the lines {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{readme_table(verdicts)}\n\n{END}{after}", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a mistake is not caught or not named first, 2 if there is no README, else 0."""
    description = "Make every mistake of the catalogue, and see that cases and traces catch it."
    parser = argparse.ArgumentParser(prog="python -m tests.golden.proof", description=description)
    parser.add_argument("--readme", action="store_true", help=f"write the table into {README.name} as well")
    args = parser.parse_args(arguments)
    verdicts = prove()
    print("\n".join([*table(verdicts), "", *summary(verdicts)]))
    if args.readme:
        try:
            write_readme(verdicts)
        except GoldenError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 1 if any(verdict.failures for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
