"""``npconv bench``: how fast the engines are, beside their rivals."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from npconv.cli.bench_text import render
from npconv.cli.frame import positive
from npconv.cli.output import to_json, write
from npconv.errors import InputError
from npconv.messages import escape

DESCRIPTION = """\
Measure npconv's engines and the rivals that are installed: all in one run, in
turns, each in a process of its own, after checking that they compute the same.
"""

EPILOG = """\
models: an embedded model, directory, .safetensors file or hub id, or one of
  convnext-tiny, convnextv2-tiny, convnextv2-atto, cvt-13
  with random weights at the activation ranges of trained ones (default: these)

rivals: torch (PyTorch through transformers), torch.compile, onnxruntime.
  Those that are not installed are named and left out. "none" is none.

On a GPU (--device cuda) the explicit engine runs through CuPy and torch is the
only rival; both in float32 without TF32, and a call takes the pictures to the
GPU and fetches the logits. Of the GPU's memory nothing is said.

Close other programs first. The exit status is 1 when an engine fails or its
logits differ from the others'.

examples:
  npconv bench --quick
  npconv bench convnextv2-atto --against torch --batch 1
  npconv bench --threads 2 --json > report.json
"""

RIVALS = "torch,torch.compile,onnxruntime"


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("bench", help="measure the engines", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("models", metavar="MODEL", nargs="*", help="what to measure, see below")
    parser.add_argument("--against", type=names, metavar="NAMES", help=f"default {RIVALS}; on cuda, torch")
    parser.add_argument("--batch", type=numbers, default=[1, 8], metavar="N,N", help="pictures in a call (default 1,8)")
    parser.add_argument("--threads", type=positive, metavar="N", help="cores to use (default: all)")
    parser.add_argument("--rounds", type=positive, metavar="N", help="turns of each engine (default 10)")
    parser.add_argument(
        "--size", type=positive, metavar="N", help="of the pictures (default: what a model is made for)"
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", metavar="DEVICE", help="cpu or cuda (default cpu)"
    )
    parser.add_argument("--json", action="store_true", help="print everything that was measured as JSON")
    parser.add_argument("--quick", action="store_true", help="few measurements, to see that everything works")
    parser.set_defaults(run=run)


def names(text: str) -> list[str]:
    """Return the names in a list with commas; none for ``none``."""
    return [] if text == "none" else [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[int]:
    """Return the whole numbers in a list with commas, each once."""
    return list(dict.fromkeys(positive(word) for word in text.split(",")))


def run(args: argparse.Namespace) -> int:
    """Measure and print; return 1 if an engine failed or disagrees, else 0."""
    from npconv.bench.measure import Settings, measure
    from npconv.cores import available_cores

    cores = available_cores()
    if args.threads is not None and args.threads > cores:
        raise InputError(
            f"expected --threads of at most {cores}, the cores that this process may use; got {args.threads}"
        )
    chosen = {"models": list(dict.fromkeys(args.models))} if args.models else {}
    settings = Settings(
        **chosen,
        against=names(RIVALS if args.device == "cpu" else "torch") if args.against is None else args.against,
        batches=args.batch,
        threads=args.threads or cores,
        rounds=args.rounds or (2 if args.quick else 10),
        size=args.size,
        quick=args.quick,
        device=args.device,
    )
    progress = show_progress()
    try:
        report = measure(settings, progress)
    finally:
        progress("")
    write(sys.stdout, f"{to_json(report, indent=1)}\n" if args.json else render(report))
    return 0 if all(is_sound(model) for model in report["models"]) else 1


def show_progress() -> Callable[[str], None]:
    """Return a function that shows what is being done on one line of the terminal; it does nothing without one."""
    if sys.stderr is None or not sys.stderr.isatty():
        return lambda text: None
    return lambda text: write(sys.stderr, f"\r\x1b[K{escape(text)[:79]}", flush=True)


def is_sound(model: dict[str, Any]) -> bool:
    """Tell whether every engine ran a model and all agree."""
    return not model["failures"] and all(result["agrees"] for result in model["results"])
