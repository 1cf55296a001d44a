"""``npconv info``: what a model is, down to each layer."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

from npconv.cli.info_text import render
from npconv.cli.output import screen_width, to_json, write
from npconv.messages import escape

if TYPE_CHECKING:
    from npconv.cli.facts import Facts

DESCRIPTION = """\
Show what a model is: configuration, preprocessing, the eps and activation used
at each site, and a table of layers with output shape, parameters and
multiply-adds. Works from a config.json alone, too.
"""

EPILOG = """\
Multiply-adds are counted as in the papers: those of convolutions, linear
layers and the matrix products of attention, for one picture.

examples:
  npconv info
  npconv info facebook/convnext-tiny-224 --size 384
  npconv info ./my-model --format json
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("info", help="show what a model is", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="embedded model, directory, .safetensors file or hub id; see npconv models (default: the embedded model)",
    )
    parser.add_argument(
        "--size",
        type=size,
        metavar="SIZE",
        help="224 or 224x320: picture for the layers (default: what the preprocessing makes)",
    )
    parser.add_argument("--all", action="store_true", help="list every block, also those that are all alike")
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", metavar="FORMAT", help="text or json (default text)"
    )
    parser.set_defaults(run=run)


def size(text: str) -> tuple[int, int]:
    """Return height and width from ``224`` or ``224x320``, or say what was expected."""
    match = re.fullmatch(r"([0-9]{1,6})(?:x([0-9]{1,6}))?", text)
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (height and width):
        raise argparse.ArgumentTypeError(
            f"expected pixels such as 224, or height x width such as 224x320, got {text!r}"
        )
    return height, width


def run(args: argparse.Namespace) -> int:
    """Print the facts; return 1 if weights or preprocessing are there and broken, else 0."""
    from npconv.api.pipelines import DEFAULT_MODEL
    from npconv.cli.facts import gather

    facts = gather(DEFAULT_MODEL if args.model is None else args.model, args.size)
    if args.format == "json":
        write(sys.stdout, to_json(as_json(facts), indent=2) + "\n")
    else:
        write(sys.stdout, render(facts, all_blocks=args.all, width=screen_width()))
    broken = [problem for problem in facts.problems if problem.broken]
    write(sys.stdout, "", flush=True)
    for problem in broken:
        write(sys.stderr, f"npconv info: {escape(facts.name)}: {escape(problem.reason)}\n")
    return 1 if broken else 0


def as_json(facts: Facts) -> dict[str, Any]:
    """Return the facts as plain values."""
    from npconv.cli.facts import Problem
    from npconv.models.fields import config_fields

    other, _, unknown = config_fields(facts.config)
    weights, processor = facts.weights, facts.processor
    return {
        "name": facts.name,
        "path": str(facts.path.absolute()),
        "family": facts.family.title,
        "parameters": sum(row.parameters for row in facts.layers),
        "multiply_adds": sum(row.multiply_adds for row in facts.layers),
        "input": [facts.config.num_channels, *facts.size],
        "labels": facts.labels,
        "weights": {"error": weights.reason} if isinstance(weights, Problem) else weights._asdict(),
        "configuration": facts.config.to_dict(),
        "other_than_default": sorted(other),
        "unknown_fields": sorted(unknown),
        "preprocessing": {"error": processor.reason} if isinstance(processor, Problem) else processor.to_dict(),
        "layers": [row._asdict() for row in facts.layers],
    }
