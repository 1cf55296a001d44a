"""What the system tells of processes: the most memory that one and its children had, and what others used meanwhile.

Memory: on Linux the processes are looked at every few milliseconds and their proportional set sizes (PSS) summed: a
page that several of them share, as workers share weights, counts once. A peak between two looks is missed in the sum,
but not in the largest process, whose own peak the kernel keeps; the result is the larger of the two. Elsewhere only the
first process is known.

Other programs decide whether figures can be trusted. On Linux: the time that all cores were busy, less that of this
process and its descendants. Elsewhere unknown.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import defaultdict
from pathlib import Path

#: Seconds between two looks.
INTERVAL = 0.02

PROC = Path("/proc")

#: Cores' worth of other programs from which on a report warns.
DISTURBING = 0.1

#: Places in the first line of /proc/stat that are no work of this machine: idle, waiting for a disk, and the time of
#: guests, which is counted as the user's as well. Time stolen by the host counts: the cores were not ours then.
NOT_BUSY = (3, 4, 8, 9)


def process_tree(root: int, proc: Path = PROC) -> list[int]:
    """Return a process and all its descendants."""
    children = defaultdict(list)
    for folder in proc.glob("[0-9]*"):
        if fields := stat_fields(int(folder.name), proc):
            children[int(fields[1])].append(int(folder.name))
    tree = [root]
    for pid in tree:  # grows while it is walked
        tree += children[pid]
    return tree


def stat_fields(pid: int, proc: Path = PROC) -> list[str]:
    """Return what the kernel says of a process, from its state on; nothing if it has gone."""
    # "pid (name) state parent ...", and the name may hold spaces and parentheses
    return _read(proc / str(pid) / "stat").rpartition(")")[2].split()


def current_bytes(pid: int, proc: Path = PROC) -> int:
    """Return the proportional set size of a process; 0 if it has gone."""
    return _kilobytes(proc / str(pid) / "smaps_rollup", "Pss") or _kilobytes(proc / str(pid) / "status", "VmRSS")


def resident_bytes(pid: int, proc: Path = PROC) -> int:
    """Return the set size of a process, of which :func:`peak_bytes` is the largest so far; 0 if it has gone."""
    return _kilobytes(proc / str(pid) / "status", "VmRSS")


def peak_bytes(pid: int, proc: Path = PROC) -> int:
    """Return the largest set size that a process has had, as the kernel keeps it; 0 if it has gone."""
    return _kilobytes(proc / str(pid) / "status", "VmHWM")


def _kilobytes(file: Path, field: str) -> int:
    """Return a field such as ``Pss:   123 kB`` in bytes; 0 if it is not there."""
    match = re.search(rf"^{field}:\s+(\d+) kB", _read(file), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _read(file: Path) -> str:
    """Return the text of a file; empty if it cannot be read, as when its process has just ended."""
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""


class PeakMemory:
    """Watches a process from a thread while the ``with`` block runs; `bytes` is then the peak, 0 where unknown."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def look(self) -> None:
        """Take what the processes have now, and their own peaks, into account."""
        tree = process_tree(self.pid)
        self.bytes = max(self.bytes, sum(map(current_bytes, tree)), *map(peak_bytes, tree))

    def _watch(self) -> None:
        """Look again and again."""
        while not self._stop.wait(INTERVAL):
            self.look()

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.look()


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
