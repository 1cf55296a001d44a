"""``npconv golden``: the golden cases for ports, and programs checked by them."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, Any

from npconv.cli.output import table, to_json, write
from npconv.errors import GoldenError
from npconv.messages import escape

if TYPE_CHECKING:
    from npconv.golden.case import Case
    from npconv.golden.check import Outcome
    from npconv.golden.trace_file import Trace

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


LIST_DESCRIPTION = """\
List the cases of each operation, and the traces of small whole models:
references for npconv diff, with the weights and the configuration in them.
"""

EXPORT_DESCRIPTION = """\
Write the cases as plain files, and copy the traces of small whole models.
"""


class AnyOrder(argparse.ArgumentParser):
    """A parser that takes names of operations after an option as well, where argparse takes no more."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words; those that are not options join the operations."""
        found, rest = super().parse_known_args(args, namespace)
        if hasattr(found, "operations"):
            found.operations = [*found.operations, *(word for word in rest if not word.startswith("-"))]
            rest = [word for word in rest if word.startswith("-")]
        return found, rest


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("golden", help="golden cases for ports", description=DESCRIPTION)
    parser.set_defaults(run=lambda args: _help(parser))
    kind: Any = type("Parser", (AnyOrder, type(parser)), {})
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=kind)
    listing = commands.add_parser("list", help="list the cases", description=LIST_DESCRIPTION)
    _add_operations(listing)
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=list_cases)
    export = commands.add_parser("export", help="write the cases as plain files", description=EXPORT_DESCRIPTION)
    export.add_argument("folder", metavar="DIR", help="new or empty; DIR/index.json says what all files are")
    _add_operations(export)
    export.add_argument(
        "--format", choices=("raw", "npy"), default="raw", metavar="FORMAT", help="raw (float32, default) or npy"
    )
    export.add_argument("--force", action="store_true", help="replace files of the same names if DIR holds some")
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
        choices=("float32", "float16", "bfloat16", "tf32"),
        default="float32",
        metavar="UNIT",
        help="what the program computes in: float32 (default), float16, bfloat16 or tf32",
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=check_program)


def _add_operations(parser: argparse.ArgumentParser) -> None:
    """Let a command take names of operations."""
    parser.add_argument("operations", metavar="OP", nargs="*", help="names that list prints (default: all)")


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


def chosen(args: argparse.Namespace) -> tuple[list[Case], list[str]]:
    """Return the cases of the operations in a call, and the families of its models; or all of both."""
    from npconv.golden.case import MODELS, cases, models, operations

    traces = {MODELS + family: family for family in models()}
    names = dict.fromkeys(args.operations or [*operations(), *traces])
    found = [case for name in names if name not in traces for case in cases(name)]
    return found, [traces[name] for name in names if name in traces]


def list_cases(args: argparse.Namespace) -> int:
    """Print a line for each case."""
    from npconv.golden.case import MODELS, NO_CASES, model_trace

    found, families = chosen(args)
    traces = {MODELS + family: model_trace(family) for family in families}
    if args.json:
        facts = [*map(_facts, found), *(_trace_facts(name, trace) for name, trace in traces.items())]
        write(sys.stdout, to_json(facts, indent=1) + "\n")
        return 0
    rows = [("operation", "case", "input", "tolerance", "why")]
    for case in found:
        shapes = " ".join("x".join(map(str, array.shape)) for array in case.inputs)
        rows.append((case.operation, case.name, shapes, f"{case.tolerance:.1e}", case.why))
    for name, trace in traces.items():
        said = _trace_facts(name, trace)
        rows.append((name, said["case"], "x".join(map(str, said["inputs"][0])), "-", said["why"]))
    write(sys.stdout, "\n".join(table(rows)) + "\n")
    for name, why in {} if args.operations else NO_CASES.items():
        write(sys.stdout, f"no cases of {name}: {why}\n")
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


def _trace_facts(name: str, trace: Trace) -> dict[str, Any]:
    """Return what there is to know about the trace of a model; each of its tensors has a tolerance of its own."""
    return {
        "operation": name,
        "case": "trace",
        "why": f"a whole model, {len(trace)} tensors with its weights: a reference for npconv diff",
        "attributes": trace.about["config"],
        "inputs": [list(trace["pixel_values"].shape)],
        "params": {key: list(array.shape) for key, array in trace.params.items()},
        "output": list(trace["classifier"].shape),
        "tolerance": None,
        "noise": None,
    }


def export_cases(args: argparse.Namespace) -> int:
    """Write the cases to a folder."""
    from npconv.golden.export import INDEX, export

    found, families = chosen(args)
    count = export(args.folder, found, args.format, families, force=args.force)
    traces = f" and the traces of {', '.join(families)}" if families else ""
    write(sys.stdout, f"{count} cases{traces} written; {escape(args.folder)}/{INDEX} says what they are\n")
    return 0


def check_program(args: argparse.Namespace) -> int:
    """Run a program over the cases of an operation; return 1 if one fails, else 0."""
    from npconv.golden.case import cases
    from npconv.golden.check import check
    from npconv.messages import quoted

    found = cases(args.operation)
    names = [case.name for case in found]
    for name in args.case or ():
        if name not in names:
            raise GoldenError(f"expected a case of {args.operation}: {', '.join(names)}; got {quoted(name)}")
    found = [case for case in found if not args.case or case.name in args.case]
    outcomes: list[Outcome] = []
    width = max(map(len, names))
    for outcome in check(found, args.command, timeout=args.timeout, unit=args.unit):
        outcomes.append(outcome)
        if not args.json:
            write(sys.stdout, f"{outcome.case.name:{width}}  {_verdict(outcome)}\n", flush=True)
    failed = sum(not outcome.passed for outcome in outcomes)
    if not failed and not any(outcome.tells for outcome in outcomes):
        raise GoldenError(
            f"in {args.unit} the tolerance of every case is as large as its values, so that anything would pass; "
            "check in float32, or other cases"
        )
    if args.json:
        write(sys.stdout, to_json([_result(outcome) for outcome in outcomes], indent=1) + "\n")
    else:
        write(sys.stdout, f"{args.operation}: {len(outcomes) - failed} of {len(outcomes)} cases pass\n")
    return 1 if failed else 0


def _verdict(outcome: Outcome) -> str:
    """Return how a program did on a case, on one line."""
    if outcome.passed and not outcome.tells:
        return f"pass  tells nothing: the tolerance {outcome.tolerance:.1e} grows beyond the values in this unit"
    if outcome.passed:
        return f"pass  max error {outcome.error:.1e}, tolerance {outcome.tolerance:.1e}"
    return f"FAIL  {escape(outcome.says)}"


def _result(outcome: Outcome) -> dict[str, Any]:
    """Return how a program did on a case, as JSON values."""
    return {
        "operation": outcome.case.operation,
        "case": outcome.case.name,
        "passed": outcome.passed,
        "error": outcome.error if math.isfinite(outcome.error) else None,
        "tolerance": outcome.tolerance,
        "says": outcome.says,
    }
