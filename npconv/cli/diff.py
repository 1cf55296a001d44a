"""``npconv diff``: the first tensor in which a port leaves the reference, and why."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npconv.cli.names import HELP, read_names
from npconv.cli.output import screen_width, to_json, write
from npconv.cli.overwriting import check_output
from npconv.cores import keep_blas_to_one_thread
from npconv.messages import escape

if TYPE_CHECKING:
    from npconv.golden.births import Birth
    from npconv.golden.compare import Comparison
    from npconv.golden.judge import Suspect

DESCRIPTION = """\
Compare two traces of one model on one input, tensor by tensor in the order of
computation. Says where they part, by how much more than rounding explains,
whether the error was born there or inherited, where in the tensor it sits, and
which known porting mistake gives the same numbers; then the mistakes after it.
An array that differs while all that is computed of it is right is no
divergence but a note: the port folded something, or recorded it elsewhere.
Weights, as parameters.NAME, come first.
"""

EPILOG = """\
Traces are .safetensors, .npz, a folder of .npy files, or a .json index of raw
numbers. REFERENCE is best one that npconv trace wrote: it holds weights, steps
and measured rounding noise.

Names are those of transformers' modules, as npconv trace --list prints them;
separators and what stands in front do not matter. Those of other libraries are
recognised, or told with --names; a file of such a name is reached as ./timm.

Exit status: 0 the same, but for what is folded; 1 they diverge; 2 they cannot
be compared, or most names in MINE are strange.

examples:
  npconv diff golden.safetensors mine.npz
  npconv diff golden.safetensors mine.npz --unit float16 --save-repro bug
  npconv diff golden.safetensors mine.npz --names timm
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "diff", help="find where a port leaves the reference, and why", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("reference", metavar="REFERENCE", help="trace that is right")
    parser.add_argument("mine", metavar="MINE", help="trace of the port")
    parser.add_argument("--names", metavar="NAMES", help=HELP)
    parser.add_argument(
        "--layout",
        choices=("auto", "strict"),
        default="auto",
        metavar="LAYOUT",
        help="auto: axes may come in another order, and axes of size 1 come and go; strict: not (default auto)",
    )
    parser.add_argument(
        "--unit",
        choices=("float32", "float16", "bfloat16", "tf32"),
        default="float32",
        metavar="UNIT",
        help="what MINE computes in: float32, float16, bfloat16 or tf32 (default float32)",
    )
    for name in ("rtol", "atol"):
        parser.add_argument(
            f"--{name}",
            type=_tolerance,
            metavar="NUMBER",
            help="tolerance in place of the measured noise: atol + rtol * largest value of the tensor",
        )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="let an array diverge even if all that is computed of it is right, as where a port folds or records "
        "something elsewhere, and a second array of one that is right",
    )
    _add_outputs(parser)
    parser.set_defaults(run=run)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is written."""
    parser.add_argument("--json", action="store_true", help="write the report as JSON, with all tensors")
    parser.add_argument("--junit", metavar="FILE", help="also write a JUnit report, a test for each tensor")
    parser.add_argument(
        "--html", metavar="FILE", help="also write a page that shows the first divergent arrays as pictures"
    )
    parser.add_argument("--save-repro", metavar="DIR", help="write the divergent step and a script that runs it")
    parser.add_argument(
        "--force",
        action="store_true",
        help="let --junit, --html and --save-repro replace what they did not write",
    )


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
    from npconv.golden.births import also_born
    from npconv.golden.compare import compare
    from npconv.golden.diagnose import diagnose
    from npconv.golden.junit import to_junit, write_junit
    from npconv.golden.origin import origin
    from npconv.golden.repro import save_repro
    from npconv.golden.trace_file import load_trace
    from npconv.golden.values import to_values

    refuse_outputs(args)
    reference, mine = load_trace(args.reference), load_trace(args.mine)
    renamed = None if args.names is None else read_names(args.names)
    settings = {name: getattr(args, name) for name in ("unit", "rtol", "atol", "layout", "strict")}
    comparison = compare(reference, mine, names=renamed, **settings)
    found, suspects = origin(comparison), diagnose(comparison)
    also = also_born(comparison, suspects)
    names = (args.reference, args.mine)
    if args.junit is not None:
        explanation = "\n".join(report.why(comparison.first, suspects, found)) if comparison.first else ""
        write_junit(args.junit, to_junit(comparison, explanation, also=report.births_by_tensor(also)))
    script = (
        save_repro(comparison, args.save_repro, force=args.force)
        if args.save_repro is not None and comparison.first
        else None
    )
    if args.html is not None:
        text = report.to_text(comparison, found, suspects, also=also, names=names)
        write_html(args, comparison, suspects, text, also)
    if args.json:
        values = to_values(comparison, found, suspects, also=also, names=names)
        write(sys.stdout, to_json({**values, "repro": None if script is None else str(script)}, indent=2) + "\n")
    else:
        write(sys.stdout, report.to_text(comparison, found, suspects, also=also, names=names, width=screen_width()))
        if script is not None:
            write(sys.stdout, f"repro      python {escape(str(script))}\n")
    return 1 if comparison.diverges else 0


def write_html(
    args: argparse.Namespace, comparison: Comparison, suspects: Sequence[Suspect], text: str, also: Sequence[Birth]
) -> None:
    """Write the page, with the report as text."""
    from npconv.pictures.diff_page import to_html
    from npconv.pictures.html import write_page

    title = f"{args.mine} beside {args.reference}"
    write_page(args.html, to_html(comparison, suspects, text, title, also), "--html")


def refuse_outputs(args: argparse.Namespace) -> None:
    """Refuse to write over what no earlier call of this command has written."""
    from npconv.golden.junit import is_report
    from npconv.golden.repro import check_repro

    traces = [args.reference, args.mine]
    numbers = [os.path.splitext(trace)[0] + ".bin" for trace in traces if trace.lower().endswith(".json")]
    inputs = [*traces, *numbers, args.names or ""]
    if args.junit is not None:
        check_output(args.junit, is_report, inputs=inputs, force=args.force, option="--junit", streams=True)
    if args.html is not None:
        from npconv.pictures.html import is_page

        check_output(args.html, is_page, inputs=inputs, force=args.force, option="--html")
    if args.save_repro is not None:
        check_repro(Path(args.save_repro), force=args.force)
