"""``npconv diff``: the first tensor in which a port leaves the reference, and why."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from npconv.cli.output import screen_width, to_json, write
from npconv.cli.overwriting import check_output
from npconv.cores import keep_blas_to_one_thread
from npconv.errors import GoldenError, WeightsError
from npconv.messages import escape

DESCRIPTION = """\
Compare two traces of one model on one input, tensor by tensor in the order of
computation. Says where they part, by how much more than rounding explains,
whether the error was born there or inherited, where in the tensor it sits, and
which known porting mistake gives the same numbers.
"""

EPILOG = """\
Traces are .safetensors, .npz, a folder of .npy files, or a .json index of raw
numbers. REFERENCE is best one that npconv trace wrote: it holds weights, steps
and measured rounding noise.

Exit status: 0 the same; 1 they diverge; 2 they cannot be compared.

examples:
  npconv diff golden.safetensors mine.npz
  npconv diff golden.safetensors mine.npz --unit float16 --save-repro bug
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "diff", help="find where a port leaves the reference, and why", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("reference", metavar="REFERENCE", help="trace that is right")
    parser.add_argument("mine", metavar="MINE", help="trace of the port")
    parser.add_argument("--names", metavar="FILE", help="JSON file of {name in MINE: name in REFERENCE}")
    parser.add_argument(
        "--layout",
        choices=("auto", "strict"),
        default="auto",
        metavar="LAYOUT",
        help="auto: axes may come in another order, and axes of size 1 come and go; strict: not (default auto)",
    )
    parser.add_argument(
        "--unit",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        metavar="UNIT",
        help="what MINE computes in: float32, float16 or bfloat16 (default float32)",
    )
    for name in ("rtol", "atol"):
        parser.add_argument(
            f"--{name}",
            type=_tolerance,
            metavar="NUMBER",
            help="tolerance in place of the measured noise: atol + rtol * largest value of the tensor",
        )
    parser.add_argument("--json", action="store_true", help="write the report as JSON, with all tensors")
    parser.add_argument("--junit", metavar="FILE", help="also write a JUnit report, a test for each tensor")
    parser.add_argument("--save-repro", metavar="DIR", help="write the divergent step and a script that runs it")
    parser.add_argument(
        "--force", action="store_true", help="let --junit and --save-repro replace files that they did not write"
    )
    parser.set_defaults(run=run)


def _tolerance(text: str) -> float:
    """Return a number of at least 0, or say what was expected."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0 such as 1e-5, got {text!r}")
    return value


def run(args: argparse.Namespace) -> int:
    """Print the report; return 1 if the traces diverge, else 0."""
    keep_blas_to_one_thread()  # before NumPy is loaded
    from npconv.golden import report
    from npconv.golden.compare import compare
    from npconv.golden.diagnose import diagnose, origin
    from npconv.golden.junit import to_junit, write_junit
    from npconv.golden.repro import save_repro
    from npconv.golden.trace_file import load_trace

    refuse_outputs(args)
    reference, mine = load_trace(args.reference), load_trace(args.mine)
    renamed = None if args.names is None else read_names(args.names)
    settings = {"unit": args.unit, "rtol": args.rtol, "atol": args.atol, "layout": args.layout}
    comparison = compare(reference, mine, names=renamed, **settings)
    found, suspects = origin(comparison), diagnose(comparison)
    names = (args.reference, args.mine)
    if args.junit is not None:
        explanation = "\n".join(report.why(comparison.first, suspects, found)) if comparison.first else ""
        write_junit(args.junit, to_junit(comparison, explanation))
    script = (
        save_repro(comparison, args.save_repro, force=args.force)
        if args.save_repro is not None and comparison.first
        else None
    )
    if args.json:
        values = report.to_values(comparison, found, suspects, names=names)
        write(sys.stdout, to_json({**values, "repro": None if script is None else str(script)}, indent=2) + "\n")
    else:
        write(sys.stdout, report.to_text(comparison, found, suspects, names=names, width=screen_width()))
        if script is not None:
            write(sys.stdout, f"repro      python {escape(str(script))}\n")
    return 1 if comparison.first else 0


def refuse_outputs(args: argparse.Namespace) -> None:
    """Refuse to write over what no earlier call of this command has written."""
    from npconv.golden.junit import is_report
    from npconv.golden.repro import check_repro

    if args.junit is not None:
        traces = [args.reference, args.mine]
        numbers = [os.path.splitext(trace)[0] + ".bin" for trace in traces if trace.lower().endswith(".json")]
        inputs = [*traces, *numbers, args.names or ""]
        check_output(args.junit, is_report, inputs=inputs, force=args.force, option="--junit", streams=True)
    if args.save_repro is not None:
        check_repro(Path(args.save_repro), force=args.force)


def read_names(path: str) -> dict[str, str]:
    """Return the map of names in a JSON file."""
    from npconv.files.disk import map_file, parse_json

    try:
        names = parse_json(map_file(path), escape(path))
    except WeightsError as error:
        raise GoldenError(f"{escape(path)}: cannot be read ({error}); check --names") from error
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise GoldenError(f"{escape(path)}: expected a JSON object of {{name in MINE: name in REFERENCE}}")
    return names
