"""The most memory that a process and all its children have had together.

On Linux the processes are looked at every few milliseconds and their proportional set sizes (PSS) summed: a page that
several of them share, as workers share weights, counts once. A peak between two looks is missed in the sum, but not in
the largest process, whose own peak the kernel keeps; the result is the larger of the two. Elsewhere only the first
process is known.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from pathlib import Path

#: Seconds between two looks.
INTERVAL = 0.02

PROC = Path("/proc")


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
