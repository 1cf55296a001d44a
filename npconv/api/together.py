"""One picture at a time by all workers of a pool together: see ``npconv.fast.team``."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from npconv.fast.team import CAN_MEET, Table, TeamScratch
from npconv.forks import Lock
from npconv.workers.interrupts import uninterrupted
from npconv.workers.pool import WorkerPool

#: The share of a pass that a member may wait for others, and how many pictures are not shared after a worse one: other
#: programs have the cores.
MOST_WAITING, REST = 0.5, 20


class Together:
    """Has all workers of a pool run the fast engine on one picture at a time; only one of these may have the pool.

    Parameters
    ----------
    pool : WorkerPool
    function : callable
        ``function(tool, pixel_values)`` runs the model once, with what is loaded; importable.
    """

    def __init__(self, pool: WorkerPool, function: Callable[[Any, np.ndarray], Any]) -> None:
        self._pool, self._function = pool, function
        self._lock = Lock()
        self._table: Table | None = None
        self._process = os.getpid()
        self._turns = self._rest = 0
        self._shape: tuple[int, ...] | None = None  # of the last picture

    def run(self, load: Callable[[], Any], pixel_values: np.ndarray) -> Any:
        """Return what the function returns for what `load` returns in a worker and pixel values (1, C, H, W).

        `load` is a :class:`npconv.workers.loader.Loader`. None if the workers cannot do it together, now: whoever asks
        does it without them, and meets the error, if it is the picture's or the model's. That goes for a picture of
        another shape than the last as well, as laying a table takes longer than it saves.
        """
        with self._lock.held():
            last, self._shape = self._shape, np.shape(pixel_values)
            known = [last, self._table.shape if self._table else None]
            if self._rest:
                self._rest -= 1
            elif CAN_MEET and self._pool.workers > 1 and (last is None or self._shape in known):
                try:
                    return self._take_turn(load, self._laid(pixel_values))
                except Exception:
                    self._rest = REST
            return None

    def _laid(self, pixel_values: np.ndarray) -> Table:
        """Return the table with the pixel values on it: another for another shape, and in a forked child."""
        if self._table is None or self._table.shape != pixel_values.shape or self._process != os.getpid():
            self.clear()
            path = self._pool.folder / secrets.token_hex(8)
            self._table, self._turns = Table.lay(path, self._pool.workers, pixel_values.shape), 0
        np.copyto(self._table.pixel_values, pixel_values, casting="no")  # another dtype may be a mistake
        return self._table

    def _take_turn(self, load: Callable[[], Any], table: Table) -> Any:
        """Return what the function returns at the first seat, when all have done their parts."""
        self._turns += 1
        place, seats = (table.path, table.members, table.shape), range(table.members)
        done: SimpleQueue[Future[Any]] = SimpleQueue()
        found, most_waited = None, 0.0
        try:
            with uninterrupted():
                for seat in seats:
                    task = (_take_part, self._function, load, place, self._turns, seat)
                    self._pool.submit(*task).add_done_callback(done.put)
            for _ in seats:
                future = done.get()  # the first error at once: the others may wait for who had it
                with uninterrupted():
                    result, waited = future.result()
                found, most_waited = result if found is None else found, max(waited, most_waited)
        except BaseException:  # Ctrl-C as well
            table.break_up()
            self.clear()
            raise
        # In the first turn members load the model, and wait for each other.
        if self._turns > 1 and most_waited > MOST_WAITING:
            self._rest = REST
        return found

    def clear(self) -> None:
        """Have no table any more."""
        if self._table is not None and self._process == os.getpid():
            self._table.path.unlink(missing_ok=True)
        self._table, self._process = None, os.getpid()


#: What this process has at the table where it last was.
_scratch: TeamScratch | None = None


def _take_part(
    function: Callable[[Any, np.ndarray], Any],
    load: Callable[[], Any],
    place: tuple[Path, int, tuple[int, ...]],
    turn: int,
    seat: int,
) -> tuple[Any, float]:
    """Do the parts of a seat, in a worker; return the result at the first seat, and the share of the time it waited."""
    global _scratch
    own, _scratch = _scratch, None
    if own is None or own.table.path != place[0]:
        own = None  # let go of the last arrays before there are new ones
        own = TeamScratch(Table(*place))
    start = time.perf_counter()
    with own.turn(turn, seat):
        result = function(load(), own.table.pixel_values)
    _scratch = own  # unless the team has broken up
    return (result if seat == 0 else None), own.waited / (time.perf_counter() - start)
