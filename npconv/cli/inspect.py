"""``npconv inspect``: what a weight file is."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from npconv.cli.frame import DONE, FAILED_IN_PART
from npconv.cli.output import table, to_json, write
from npconv.cli.weights import add_reading, as_option, print_lines, quiet, warn
from npconv.messages import escape

if TYPE_CHECKING:
    from npconv.convert import Inspection

#: Names listed for a file of no known dialect.
MOST_LISTED = 40


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "inspect", help="say what a weight file is", description="Say what a weight file is; nothing is written."
    )
    parser.add_argument("file", metavar="FILE", help="file, index of several, or folder in Hugging Face layout")
    parser.add_argument("--format", choices=("text", "json"), default="text", metavar="FORMAT", help="text or json")
    add_reading(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what a file is; return 1 if it is no model that is known, or holds NaN or infinities."""
    from npconv.convert import inspect

    found = inspect(args.file, wrapping=args.wrapping, prefix=args.prefix, leave=args.leave, **dict(args.fields))
    if args.format == "json":
        write(sys.stdout, to_json(as_json(found), indent=2) + "\n")
    else:
        print_lines(as_text(found))
        warn(found.decisions)
    return FAILED_IN_PART if found.problems else DONE


def as_json(found: Inspection) -> dict[str, Any]:
    """Return an inspection as plain values."""
    from npconv.models.naming import lines

    content = dataclasses.asdict(dataclasses.replace(found, decisions=[], problems=[]))
    content |= {"decisions": lines(found.decisions), "problems": [str(problem) for problem in found.problems]}
    content["tensors"] = {name: {"dtype": dtype, "shape": shape} for name, (dtype, shape) in found.tensors.items()}
    for kind in content["kinds"]:
        if not kind["values"]:
            kind["least"] = kind["most"] = None
    return content


def as_text(found: Inspection) -> list[str]:
    """Return an inspection as lines of text."""
    from npconv.messages import in_json

    lines = [
        f"{found.path}: {found.bytes:,} bytes",
        *quiet(found.decisions),
        f"parameters: {found.parameters:,} in {len(found.tensors)} tensors",
        f"dtypes: {', '.join(f'{dtype} {count:,}' for dtype, count in found.dtypes.items())}",
    ]
    if found.configuration:
        fields = [f"{name} {in_json(value)}" for name, value in sorted(found.configuration.items())]
        lines.append(f"configuration: {', '.join(fields)}")
    if found.licence:
        lines.append(f"licence: {found.licence}")
    lines += [f"left behind: {name}" for name in found.left_behind]
    lines += [f"NaN or infinity: {count} in {name}" for name, count in found.not_finite.items()]
    lines += kinds(found) if found.dialect else names(found)
    return [*lines, *(f"problem: {in_options(problem)}" for problem in found.problems)]


def kinds(found: Inspection) -> list[str]:
    """Return the table of the numbers."""
    rows: list[tuple[str, ...]] = [("kind", "tensors", "values", "least", "most", "mean |x|")]
    for kind in found.kinds:
        numbers = [f"{value:.4g}" if kind.values else "-" for value in (kind.least, kind.most, kind.mean_abs)]
        rows.append((escape(kind.name), str(kind.tensors), f"{kind.values:,}", *numbers))
    return table(rows, right=(1, 2, 3, 4, 5))


def names(found: Inspection) -> list[str]:
    """Return the first tensors of a file that nobody knows."""
    listed = [f"{name} {dtype} {tuple(shape)}" for name, (dtype, shape) in found.tensors.items()]
    hidden = len(listed) - MOST_LISTED
    return [*listed[:MOST_LISTED], *([f"and {hidden} more; --format json lists all"] if hidden > 0 else [])]


def in_options(problem: Exception) -> str:
    """Return what is wrong, with the options that mend it."""
    from npconv.convert import OpenFieldsError

    return problem.text(as_option) if isinstance(problem, OpenFieldsError) else str(problem)
