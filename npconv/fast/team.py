"""Processes that work on one picture together: what threads do for large models, without Python's lock.

Between two calls of NumPy only one thread of a process runs Python. The calls of a small model take 5 to 20 us, so two
threads mostly wait for that lock and for each other: ConvNeXt V2-A gains 1.2 from a second core. Processes have a lock
each. Here every member of a team runs the whole pass, of one picture, and where it says ``scratch.map`` each does its
own parts, and waits until the others have done theirs.

- Arrays of `scratch` lie in a file that all members map, the *table*; those of ``scratch.private``, and of the scratch
  that a part of `map` gets, are a member's own.
- So outside of `map` a pass may write to arrays of `scratch` only what does not depend on what it overwrites: all
  members do it, and not at the same time.
- Nobody waits before the parts of a `map`. So neither they, nor what comes before them, may write to what is read after
  the `map` before: a member that is late would read it too late.
- A member waits by looking at the counts of the others, which takes a microsecond. It spins only for a moment: where
  other programs have the cores, it sleeps in between, and says how long it waited in all.

Members see each other's writes in their order on x86 processors alone; others would need fences, which Python has not.
"""

from __future__ import annotations

import math
import mmap
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import NpconvError
from npconv.fast.engine import TEAM, Part, Scratch

#: Whether the processes of a team see what the others wrote, in its order.
CAN_MEET = platform.machine().lower() in ("x86_64", "amd64")

#: Seconds for which a member looks for the others without pause, and the pauses after that.
SPIN, PAUSE = 0.001, 0.00005

#: Bytes between what one member writes and what another does: two lines of a cache.
APART = 128


class TeamError(NpconvError):
    """A team cannot go on: a member has failed, or died and began anew."""


class Table:
    """The file that the members of a team share: counts, the pixel values of one picture, and scratch arrays.

    Parameters
    ----------
    path : Path
    members : int
    shape : tuple of int
        Of the pixel values (1, C, H, W).
    """

    def __init__(self, path: Path, members: int, shape: tuple[int, ...]) -> None:
        self.path, self.members, self.shape = path, members, shape
        self._counts = self._map(0, np.int64, (2 * members + 1) * APART // 8).data.cast("B").cast("q")
        self._end = _page(self._counts.nbytes)
        self.pixel_values = self.map_next(*shape)

    @classmethod
    def lay(cls, path: Path, members: int, shape: tuple[int, ...]) -> Table:
        """Return a new table, in a new file; OSError if there is no room for it."""
        path.touch(mode=0o600, exist_ok=False)
        try:
            _grow(path, _page((2 * members + 1) * APART) + _page(4 * math.prod(shape)))
            return cls(path, members, shape)
        except BaseException:
            path.unlink()  # what was written of it would fill the disk
            raise

    def map_next(self, *shape: int) -> np.ndarray:
        """Return the next float32 array of the file, which is long enough."""
        start, size = self._end, math.prod(shape)
        self._end += _page(4 * size)
        return self._map(start, np.float32, size).reshape(shape)

    def grow(self, *shape: int) -> None:
        """Make the file longer by an array, of zeros; OSError if there is no room for it."""
        _grow(self.path, _page(4 * math.prod(shape)))

    def arrivals(self, seat: int) -> int:
        """Return how often a member has come to where all wait."""
        return self._counts[seat * APART // 8]

    def arrive(self, seat: int, times: int) -> None:
        """Say that a member has come there so many times."""
        self._counts[seat * APART // 8] = times

    def begin(self, seat: int, turn: int) -> None:
        """Begin a pass, of which the first is 1; `TeamError` if another process has begun it in this seat, and died."""
        place = (self.members + seat) * APART // 8
        if self._counts[place] != turn - 1:
            raise TeamError("a member of the team has died")
        self._counts[place] = turn

    def break_up(self) -> None:
        """Have all members stop."""
        self._counts[2 * self.members * APART // 8] = 1

    def check(self) -> None:
        """Raise `TeamError` if the members are to stop."""
        if self._counts[2 * self.members * APART // 8]:
            raise TeamError("another member of the team has failed")

    def _map(self, start: int, dtype: Any, size: int) -> np.ndarray:
        return np.asarray(np.memmap(self.path, dtype, "r+", start, size))


class TeamScratch(Scratch):
    """Scratch arrays of one member of a team, at a table."""

    meets_at_once = True

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.threads, self.table = table.members, table
        self._own = Scratch()
        self._turns = self._times = self._results = self._seat = 0
        #: Seconds that this member waited for others in the last pass.
        self.waited = 0.0

    @contextmanager
    def turn(self, number: int, seat: int) -> Iterator[None]:
        """Have engines run one pass with these arrays, in a ``with`` block; if it fails, it does for all members.

        The first pass is number 1. Members may change their seats, which say whose parts of the work they do.
        """
        token = TEAM.set(self)
        self._seat, self._results, self.waited = seat, 0, 0.0
        try:
            if self._turns != number - 1:  # this process is in the place of one that died
                raise TeamError("a member of the team has died")
            self._turns = number
            self.table.begin(seat, number)
            yield
        except BaseException:
            self.table.break_up()
            raise
        finally:
            TEAM.reset(token)

    def array(self, name: str, *shape: int) -> np.ndarray:
        """Return an array of this shape with any content, which the other members see."""
        kept = self._arrays.get(name)
        if kept is None or kept.size < math.prod(shape):
            if self._seat == 0:
                self.table.grow(*shape)
            self._meet()
            kept = self._arrays[name] = self.table.map_next(math.prod(shape))
        return kept[: math.prod(shape)].reshape(shape)

    def result(self, *shape: int) -> np.ndarray:
        """Return an array for what a pass returns, which the next pass overwrites."""
        self._results += 1
        return self.array(f"result {self._results}", *shape)

    @property
    def private(self) -> Scratch:
        """Arrays of this member alone."""
        return self._own

    def map(self, function: Callable[[Part, Scratch], Any], parts: Iterable[Part]) -> list[Any]:
        """Return ``function(part, scratch)`` for the parts of this member, and None for those that others do."""
        listed = list(parts)
        results: list[Any] = [None] * len(listed)
        for number in range(self._seat, len(listed), self.threads):
            results[number] = function(listed[number], self._own)
        self._meet()
        return results

    def _meet(self) -> None:
        """Wait until all members have come here."""
        self._times += 1
        table, start = self.table, time.perf_counter()
        table.arrive(self._seat, self._times)
        for seat in range(self.threads):
            while table.arrivals(seat) < self._times:
                if time.perf_counter() - start > SPIN:
                    table.check()
                    time.sleep(PAUSE)
        self.waited += time.perf_counter() - start

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, those that are shared included."""
        return super().nbytes + self._own.nbytes


def _page(size: int) -> int:
    """Return a number of bytes rounded up, so that what comes next can be mapped."""
    return -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY


def _grow(path: Path, size: int) -> None:
    """Write so many zeros to the end of a file: a file with holes would end the process where a disk is full."""
    with path.open("r+b") as file:  # a file that is gone is not made again
        file.seek(0, os.SEEK_END)
        file.write(bytes(size))
