"""How much of the machine other programs used during a measurement: what decides whether its figures can be trusted.

On Linux: the time that all cores were busy, less that of this process and its descendants. Elsewhere unknown.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from npconv.bench.memory import PROC, process_tree, stat_fields

#: Cores' worth of other programs from which on a report warns.
DISTURBING = 0.1

#: Places in the first line of /proc/stat that are no work of this machine: idle, waiting for a disk, and the time of
#: guests, which is counted as the user's as well. Time stolen by the host counts: the cores were not ours then.
NOT_BUSY = (3, 4, 8, 9)


class OtherPrograms:
    """Watches from its making on; :meth:`cores` says how many cores others have used since, on average."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._start = self._seconds()
        self._began = time.monotonic()

    def cores(self) -> float | None:
        """Return how many cores other programs kept busy on average; None where that is unknown."""
        now = self._seconds()
        if now is None or self._start is None:
            return None
        elapsed = max(time.monotonic() - self._began, 1e-3)
        return max(0.0, (now[0] - self._start[0]) - (now[1] - self._start[1])) / elapsed

    def _seconds(self) -> tuple[float, float] | None:
        """Return the seconds that all cores, and this process with its descendants, have been busy so far."""
        try:
            tick = 1 / os.sysconf("SC_CLK_TCK")
            fields = (self._proc / "stat").read_text().split("\n")[0].split()[1:]
            busy = sum(int(field) for place, field in enumerate(fields) if place not in NOT_BUSY)
            # utime, stime, cutime and cstime, the last two of children that have ended
            own = [stat_fields(pid, self._proc)[11:15] for pid in process_tree(os.getpid(), self._proc)]
            return busy * tick, sum(int(ticks) for times in own for ticks in times) * tick
        except (AttributeError, OSError, ValueError):
            return None
