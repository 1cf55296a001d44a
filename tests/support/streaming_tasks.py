"""What the workers of the streaming tests do: importable by name, as tasks must be."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import ClassVar

from npconv.workers.batches import Work


def double_all(items: list) -> list:
    """Double numbers; die of "die", every time, and of a path, the first time."""
    return [_double(item) for item in items]


def _double(item):
    if item == "die" or (isinstance(item, Path) and not item.exists()):
        if item != "die":
            item.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item if isinstance(item, Path) else 2 * item


def load(name: str, log: str) -> str:
    """Load something, and write down that it was loaded."""
    with open(log, "a") as file:
        file.write(f"{name} {os.getpid()}\n")
    return name.upper()


class Whole(Work):
    """A function of whole batches as work."""

    def __call__(self, items):
        return self.load(items)


class Noting(Whole):
    """The same, noting what is given up."""

    given_up: ClassVar = []

    def failed(self, item, error):
        self.given_up.append((item, type(error)))
        return "gone"
