"""``npconv export``: a model by the names of another library."""

from __future__ import annotations

import argparse
from typing import Any

from npconv.cli.frame import DONE, LazyChoices
from npconv.cli.weights import print_lines, quiet, warn


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "export", help="write a model by the names of another library", description="Write a model by other names."
    )
    parser.add_argument("directory", metavar="DIRECTORY", help="folder of a model")
    parser.add_argument("out", metavar="OUT", help="safetensors file to write")
    parser.add_argument(
        "--to", choices=LazyChoices(names), metavar="DIALECT", help="%(choices)s (default: the source's)"
    )
    parser.add_argument("--prefix", help="what stands before each name (default: what is usual, or the source's)")
    parser.add_argument("--force", action="store_true", help="replace OUT")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export, and print what was written."""
    from npconv.convert import export

    done = export(args.directory, args.out, to=args.to, prefix=args.prefix, force=args.force)
    print_lines([*quiet(done.decisions), f"wrote {done.path}, SHA-256 {done.sha256}"])
    warn(done.decisions)
    return DONE


def names() -> tuple[str, ...]:
    """Return the names of the dialects."""
    from npconv.convert.dialects import dialect_names

    return dialect_names()
