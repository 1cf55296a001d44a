"""How text leaves the program: on one line where it should be, and in any encoding that the terminal has."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from npconv.errors import InputError
from npconv.messages import escape


def write(stream: TextIO | None, text: str, *, flush: bool = False) -> None:
    """Write text to stdout or stderr; letters that its encoding lacks are escaped.

    The stream is None where it was closed before Python started; nothing happens then. With `flush`, what the stream
    still holds is handed on at once.
    """
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    if flush:
        stream.flush()


class Output:
    """Where a command writes its results: standard output, or the file at `path`, opened when something comes.

    The file is written anew behind its first `keep` bytes, which stay. One that cannot be written is an `InputError`.
    """

    def __init__(self, path: str | None, *, keep: int = 0) -> None:
        self.path = path
        self.keep = keep
        self._stream = sys.stdout if path is None else None

    def write(self, text: str) -> None:
        """Write text."""
        with self._named_errors():
            if self._stream is None and self.path is not None:
                mode = "a" if self.keep else "w"
                self._stream = open(self.path, mode, encoding="utf-8", newline="")  # noqa: SIM115 - closed by __exit__
                if self.keep:
                    self._stream.truncate(self.keep)
            write(self._stream, text)

    def flush(self) -> None:
        """Hand on what is written, so that it is there whatever happens to this process."""
        with self._named_errors():
            write(self._stream, "", flush=True)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Say of a file that cannot be written which one it is."""
        try:
            yield
        except OSError as error:
            if self.path is None:
                raise
            raise InputError(f"{escape(self.path)}: cannot be written ({error.strerror}); check --output") from error

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.path is not None and self._stream is not None:
            with suppress(OSError):  # told when it was flushed
                self._stream.close()


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as JSON in ASCII letters; a number that JSON lacks (NaN, infinity) becomes text."""
    plain = json.loads(json.dumps(value), parse_constant=str)
    return json.dumps(plain, indent=indent)


def screen_width() -> int:
    """Return the columns of the terminal, 80 where there is none, within what is easy to read."""
    return min(max(shutil.get_terminal_size().columns, 60), 120)


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), gap: int = 2, indent: int = 0) -> list[str]:
    """Return rows of text as lines with aligned columns, those of `right` to the right, `gap` spaces between them.

    Each row has as many cells as the first; a row with a single cell is a line of its own, whatever its width.
    """
    widths = [max(map(len, column)) for column in zip(*(row for row in rows if len(row) > 1), strict=True)]
    lines = []
    for row in rows:
        cells = row
        if len(row) > 1:
            padded = enumerate(zip(row, widths, strict=True))
            cells = [cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in padded]
        lines.append((" " * indent + (" " * gap).join(cells)).rstrip())
    return lines
