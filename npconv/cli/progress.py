"""How far a command has come, on a terminal."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any, TextIO

from npconv.cli.output import write

#: Seconds between two updates: often enough to be seen, too seldom to cost anything.
INTERVAL = 0.2


class Progress:
    """What is told how far it is; this one shows nothing: there is no terminal, or the results go to it."""

    def advance(self, count: int) -> None:
        """Count that many more as done."""

    def clear(self) -> None:
        """Take the line away, so that another can be written; it comes back with the next update."""

    def close(self) -> None:
        """Take the line away."""
        self.clear()


class Counter(Progress):
    """A line that is written over: ``120 of 1000 photos, 45.1 a second``, or ``35 heads fitted, 4.1 a second``."""

    def __init__(self, total: int | None, unit: str, stream: TextIO) -> None:
        self.total = total
        self.unit = unit
        self.stream = stream
        self.done = 0
        self.began = self.shown = time.monotonic()
        self.width = 0

    def advance(self, count: int) -> None:
        """Count, and write the line if it is time."""
        self.done += count
        now = time.monotonic()
        if now - self.shown >= INTERVAL:
            self.shown = now
            of = "" if self.total is None else f" of {self.total}"
            text = f"{self.done}{of} {self.unit}, {self.done / (now - self.began):.1f} a second"
            write(self.stream, f"\r{text:<{self.width}}", flush=True)
            self.width = len(text)

    def clear(self) -> None:
        """Write spaces over the line."""
        if self.width:
            write(self.stream, f"\r{'':{self.width}}\r", flush=True)
            self.width = 0


class Bar(Progress):
    """The bar of tqdm."""

    def __init__(self, total: int | None, unit: str, stream: TextIO, tqdm: Any) -> None:
        self.bar = tqdm(total=total, unit=f" {unit}", file=stream, leave=False, dynamic_ncols=True)

    def advance(self, count: int) -> None:
        """Count; tqdm knows when to write."""
        self.bar.update(count)

    def clear(self) -> None:
        """Take the bar away for a moment."""
        self.bar.clear()

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()


def make_progress(total: int | None, unit: str, *, output_is_elsewhere: bool) -> Progress:
    """Return what shows the progress on stderr, if that is a terminal: the bar of tqdm where it is installed.

    There are `total` to be done, None if nobody knows, of what `unit` says in the plural. Results on a terminal show by
    themselves how far it is, unless they go to a file (`output_is_elsewhere`).
    """
    stream = sys.stderr
    if stream is None or not stream.isatty() or not (output_is_elsewhere or not _is_terminal(sys.stdout)):
        return Progress()
    try:
        return Bar(total, unit, stream, importlib.import_module("tqdm").tqdm)
    except ImportError:
        return Counter(total, unit, stream)


def _is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is there and a terminal."""
    return stream is not None and stream.isatty()
