"""What the commands for weight files share: how a file is to be read, and what was decided about it."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from npconv.cli.output import write
from npconv.errors import NpconvWarning
from npconv.messages import escape

if TYPE_CHECKING:
    from npconv.models.naming import Decision


def add_reading(parser: Any) -> None:
    """Add the options that say how to read a file."""
    parser.add_argument("--wrapping", metavar="KEY", help="which of several state dicts, such as model_ema")
    parser.add_argument("--prefix", help="what the names of the model begin with, such as student.; leave the rest")
    parser.add_argument(
        "--leave",
        action="append",
        default=[],
        metavar="PATTERN",
        help="names to leave behind, such as 'fc.*'; may be given again",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=field,
        metavar="FIELD=VALUE",
        dest="fields",
        help="field of the configuration, in JSON, such as 'num_heads=[1,3,6]'; may be given again",
    )


def field(text: str) -> tuple[str, Any]:
    """Read ``name=value``; a value that is no JSON is a text."""
    from npconv.convert.convert import convert

    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals and value):
        raise argparse.ArgumentTypeError(f"expected a field and a value such as num_heads=[1,3,6], got {text!r}")
    if name in inspect.signature(convert).parameters:
        raise argparse.ArgumentTypeError(f"expected a field of the configuration, got {name}, which has its own option")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        if value[0] in '[{"' or not value.isprintable():
            raise argparse.ArgumentTypeError(f"expected JSON after {name}=, got {value!r}") from None
        return name, value


def as_option(name: str, value: Any) -> str:
    """Return the words of the option that gives a field a value."""
    return f"--set '{name}={json.dumps(value, separators=(',', ':'))}'"


def print_lines(lines: Iterable[str]) -> None:
    """Print lines, each on one line whatever is in it."""
    write(sys.stdout, "".join(f"{escape(line)}\n" for line in lines))


def quiet(decisions: Iterable[Decision]) -> list[str]:
    """Return as text what was decided and is no warning."""
    from npconv.models.naming import WARNING, lines

    return lines(decision for decision in decisions if decision.level != WARNING)


def warn(decisions: Sequence[Decision]) -> None:
    """Warn of what may surprise, after what stdout still holds."""
    from npconv.models.naming import WARNING

    for decision in decisions:
        if decision.level == WARNING:
            warnings.warn(str(decision), NpconvWarning, stacklevel=2)
