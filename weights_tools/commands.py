"""What the commands share: their parsers, errors in one line, and files that are made again and compared."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from npconv.errors import NpconvError


def parser_of(name: str, text: str | None) -> argparse.ArgumentParser:
    """Return the parser of ``python -m weights_tools.NAME``, described by the first line of `text`."""
    return argparse.ArgumentParser(prog=f"python -m weights_tools.{name}", description=(text or "").partition("\n")[0])


def folder_parser(name: str, text: str | None) -> argparse.ArgumentParser:
    """Return the parser of a command that writes the files of a folder, or makes them again and compares."""
    parser = parser_of(name, text)
    parser.add_argument("folder", type=Path, help="where the files are, or are to be")
    parser.add_argument("--check", action="store_true", help="make them again elsewhere and compare")
    return parser


def run_command(run: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    """Run a command and return its exit status: 0 done, 2 unusable call or data, which is one line on stderr."""
    try:
        run(options)
    except NpconvError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def make_again(folder: Path, make: Callable[[Path], None], difference: Callable[[Path, Path], str]) -> tuple[int, int]:
    """Make the files of a folder again elsewhere, print what is different, and return how many are, of how many.

    `difference` says how the file that is kept differs from the one that is made, and nothing if it does not.
    """
    with tempfile.TemporaryDirectory() as temporary:
        make(Path(temporary))
        fresh, kept = ({path.name: path for path in place.glob("*.safetensors")} for place in (Path(temporary), folder))
        different = 0
        for name in sorted({*fresh, *kept}):
            said = "is not there" if name not in kept else "is no case" if name not in fresh else ""
            said = said or difference(kept[name], fresh[name])
            if said:
                different += 1
                print(f"{name}: {said}")
    return different, len(fresh)
