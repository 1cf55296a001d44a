"""``npconv verify``: whether a folder is the model that it says."""

from __future__ import annotations

import argparse
from typing import Any

from npconv.cli.frame import DONE, FAILED_IN_PART, LazyChoices
from npconv.cli.weights import print_lines


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "verify", help="check a converted or downloaded model", description="Check a model against what is known of it."
    )
    parser.add_argument("directory", metavar="DIRECTORY", help="folder of a model")
    parser.add_argument("--picture", metavar="FILE", help="picture 000000039769 of COCO (two cats)")
    parser.add_argument("--name", choices=LazyChoices(names), metavar="NAME", help="of the checkpoint: %(choices)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the checks; return 1 if one failed."""
    from npconv.convert.verify import FAILED, verify

    checks = verify(args.directory, picture=args.picture, name=args.name)
    print_lines(f"{check.name}: {check.outcome}: {check.detail}" for check in checks)
    return FAILED_IN_PART if any(check.outcome == FAILED for check in checks) else DONE


def names() -> tuple[str, ...]:
    """Return the names of the checkpoints whose logits are published."""
    from npconv.convert.verify import published_logits

    return tuple(published_logits())
