"""What an earlier run has written to a file of results already."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from npconv.cli.formats import Format
from npconv.cli.output import escape
from npconv.errors import InputError

#: The longest line that can be a result: names and labels are much shorter.
LONGEST_LINE = 10_000_000


@dataclass
class Earlier:
    """What is there: how often each photo, whether one of them failed, and the bytes up to the last whole line."""

    done: Counter[str] = field(default_factory=Counter)
    failed: bool = False
    size: int = 0

    def missing(self, files: Sequence[str], written: Callable[[str], str] = str) -> list[str]:
        """Return the files that are not there; one that is given twice is there when it is there twice.

        `written` returns the name of a file as it is written.
        """
        left = self.done.copy()
        missing = []
        for file in files:
            name = written(file)
            if left[name] > 0:
                left[name] -= 1
            else:
                missing.append(file)
        return missing


def read_earlier(path: str, form: Format) -> Earlier:
    """Read what an earlier run has written; nothing if there is no such file.

    A last line that was not written to its end is left out, and is to be cut off at `size`. A file that cannot be read,
    or holds something else, is an `InputError`.
    """
    if not os.path.exists(path):
        return Earlier()
    try:
        with open(path, "rb") as file:
            return _read_lines(file, path, form)
    except OSError as error:
        raise InputError(f"{escape(path)}: cannot be read ({error.strerror}); check the path") from error


def _read_lines(file: BinaryIO, path: str, form: Format) -> Earlier:
    """Read the lines of an open file."""
    earlier = Earlier()
    header = form.start().encode()
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        is_whole = line.endswith(b"\n")
        if not is_whole and len(line) < LONGEST_LINE:
            break
        if header and number == 1:
            if line != header:
                raise _foreign(path, number, f"expected {header.decode().strip()!r}; was --top-k or the model another?")
        else:
            try:
                name, failed = form.read(line.decode())
            except (ValueError, RecursionError) as error:
                raise _foreign(path, number, "expected a result") from error
            earlier.done[name] += 1
            earlier.failed |= failed
        earlier.size += len(line)
    return earlier


def _foreign(path: str, number: int, expected: str) -> InputError:
    """Return the error for a file that holds something else."""
    return InputError(
        f"{escape(path)}: line {number} was not written by this command in this format: {expected}; "
        "give another --output, or leave out --resume to write it anew"
    )
