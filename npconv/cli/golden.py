"""``npconv golden``: the golden cases for ports, and programs checked by them."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, Any

from npconv.cli.output import escape, table, to_json, write
from npconv.errors import GoldenError

if TYPE_CHECKING:
    from npconv.golden.case import Case
    from npconv.golden.check import Outcome

DESCRIPTION = """\
Golden cases: small inputs and right results of every operation, layer and
block, and of small models, for those who write them in another language.
"""

CHECK_EPILOG = """\
{input} in the command stands for a folder, {output} for a file to write.
In the folder, case.json tells attributes, and shape and file of each input
and parameter; all numbers are raw little-endian float32 in C order. So must
the output be, of the shape that case.json tells, and the status 0.

The exit status is 1 when a case fails, 2 when the program cannot be started.

examples:
  npconv golden check layer_norm --command "./my_layer_norm {input} {output}"
  npconv golden check conv2d --case stem --command "node c.js {input} {output}"
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("golden", help="golden cases for ports", description=DESCRIPTION)
    parser.set_defaults(run=lambda args: _help(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    listing = commands.add_parser("list", help="list the cases", description="List the cases of each operation.")
    _add_operations(listing)
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=list_cases)
    export = commands.add_parser("export", help="write the cases as plain files", description="Write plain files.")
    export.add_argument("folder", metavar="DIR", help="made if it is not there; DIR/index.json says what all files are")
    _add_operations(export)
    export.add_argument(
        "--format", choices=("raw", "npy"), default="raw", metavar="FORMAT", help="raw (float32, default) or npy"
    )
    export.set_defaults(run=export_cases)
    check = commands.add_parser(
        "check", help="run a program over cases", description="Run a program over cases.", epilog=CHECK_EPILOG
    )
    check.add_argument("operation", metavar="OP", help="a name that list prints")
    check.add_argument("--command", required=True, metavar="WORDS", help="the program, with {input} and {output}")
    check.add_argument("--case", action="append", metavar="NAME", help="this case only (may be given again)")
    check.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="seconds for each case (default 60)")
    check.add_argument(
        "--unit",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        metavar="UNIT",
        help="what the program computes in: float32 (default), float16 or bfloat16",
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=check_program)


def _add_operations(parser: argparse.ArgumentParser) -> None:
    """Let a command take names of operations."""
    parser.add_argument("operations", metavar="OP", nargs="*", help="operations (default: all)")


def _help(parser: argparse.ArgumentParser) -> int:
    """Print the help of a call without a command."""
    write(sys.stdout, parser.format_help())
    return 2


def seconds(text: str) -> float:
    """Return a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return value


def chosen(args: argparse.Namespace) -> list[Case]:
    """Return the cases of the operations in a call, or all."""
    from npconv.golden.case import cases, operations

    return [case for name in dict.fromkeys(args.operations or operations()) for case in cases(name)]


def list_cases(args: argparse.Namespace) -> int:
    """Print a line for each case."""
    found = chosen(args)
    if args.json:
        write(sys.stdout, to_json([_facts(case) for case in found], indent=1) + "\n")
        return 0
    rows = [("operation", "case", "input", "tolerance", "why")]
    for case in found:
        shapes = " ".join("x".join(map(str, array.shape)) for array in case.inputs)
        rows.append((case.operation, case.name, shapes, f"{case.tolerance:.1e}", case.why))
    write(sys.stdout, "\n".join(table(rows)) + "\n")
    return 0


def _facts(case: Case) -> dict[str, Any]:
    """Return what there is to know about a case without its numbers."""
    return {
        "operation": case.operation,
        "case": case.name,
        "why": case.why,
        "attributes": case.attributes,
        "inputs": [list(array.shape) for array in case.inputs],
        "params": {name: list(array.shape) for name, array in case.params.items()},
        "output": list(case.expected.shape),
        "tolerance": case.tolerance,
        "noise": case.noise,
    }


def export_cases(args: argparse.Namespace) -> int:
    """Write the cases to a folder."""
    from npconv.golden.export import INDEX, export

    count = export(args.folder, chosen(args), args.format)
    write(sys.stdout, f"{count} cases written; {escape(args.folder)}/{INDEX} says what they are\n")
    return 0


def check_program(args: argparse.Namespace) -> int:
    """Run a program over the cases of an operation; return 1 if one fails, else 0.

    Raises
    ------
    GoldenError
        If there is no such operation or case, or the program cannot be started.
    """
    from npconv.golden.case import cases
    from npconv.golden.check import check

    found = cases(args.operation)
    names = [case.name for case in found]
    for name in args.case or ():
        if name not in names:
            raise GoldenError(f"expected a case of {args.operation}: {', '.join(names)}; got {name[:80]!r}")
    found = [case for case in found if not args.case or case.name in args.case]
    outcomes: list[Outcome] = []
    width = max(map(len, names))
    for outcome in check(found, args.command, timeout=args.timeout, unit=args.unit):
        outcomes.append(outcome)
        if not args.json:
            write(sys.stdout, f"{outcome.case.name:{width}}  {_verdict(outcome)}\n", flush=True)
    failed = sum(not outcome.passed for outcome in outcomes)
    if args.json:
        write(sys.stdout, to_json([_result(outcome) for outcome in outcomes], indent=1) + "\n")
    else:
        write(sys.stdout, f"{args.operation}: {len(outcomes) - failed} of {len(outcomes)} cases pass\n")
    return 1 if failed else 0


def _verdict(outcome: Outcome) -> str:
    """Return how a program did on a case, on one line."""
    if outcome.passed:
        return f"pass  max error {outcome.error:.1e}, tolerance {outcome.case.tolerance:.1e}"
    return f"FAIL  {escape(outcome.says)}"


def _result(outcome: Outcome) -> dict[str, Any]:
    """Return how a program did on a case, as JSON values."""
    return {
        "operation": outcome.case.operation,
        "case": outcome.case.name,
        "passed": outcome.passed,
        "error": outcome.error if math.isfinite(outcome.error) else None,
        "tolerance": outcome.case.tolerance,
        "says": outcome.says,
    }
