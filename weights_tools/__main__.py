"""Another name for four commands of ``npconv``, and one for a command of the source tree.

``python -m weights_tools convert|export|inspect|verify`` are those of ``npconv``, with the same exit statuses;
``train`` needs the source tree. Every error is one line on stderr; ``--debug`` shows where it comes from.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

from npconv.cli import convert, export, inspect, verify
from npconv.cli.frame import DONE, UNUSABLE, Parser, run_program
from npconv.cli.output import write
from npconv.errors import UnavailableError

PROGRAM = "python -m weights_tools"

#: Commands with a parser of their own.
FORWARDED = {
    "train": "train a small model on labelled pictures",
}


def make_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(prog=PROGRAM, description="Weight files of ConvNeXt, ConvNeXt V2 and CvT, without their framework.")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (convert, export, inspect, verify):
        command.add_parser(subparsers)
    for name, text in FORWARDED.items():
        subparsers.add_parser(name, help=text, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command with the words `argv`, those of the process when unset, and return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    return run_program("weights_tools", lambda: _run(words), debug="--debug" in words)


def _run(words: list[str]) -> int:
    """Parse the words and run the command; without one, print the help."""
    parser = make_parser()
    try:
        if words and words[0] in FORWARDED:
            return _import(words[0]).main(words[1:])
        args: Any = parser.parse_args(words)
    except SystemExit as done:  # after --help, or words that make no sense
        return DONE if done.code is None else int(done.code)
    if not hasattr(args, "run"):
        write(sys.stdout, parser.format_help())
        return UNUSABLE
    return args.run(args)


def _import(name: str) -> Any:
    """Return the module of a command that has its own parser, and is not installed: it needs a source tree."""
    try:
        return importlib.import_module(f"weights_tools.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"weights_tools.{name}":
            raise
        raise UnavailableError(f"{PROGRAM} {name} needs the source tree: run it in a checkout of the project") from None


if __name__ == "__main__":
    sys.exit(main())
