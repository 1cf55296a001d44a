"""How many cores this process may use, and how libraries are told of it."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

#: Environment variables that say, at the time NumPy is loaded, how many threads its matrix library (BLAS) may use.
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

#: The same for every library with threads of its own.
THREAD_VARIABLES = (*BLAS_VARIABLES, "OMP_NUM_THREADS")

#: Runs of a model at the same time.
MOST_AT_ONCE = 2

Item = TypeVar("Item")
Result = TypeVar("Result")

#: This process's share, where others of npconv's work beside it.
_share = math.inf


def available_cores() -> int:
    """Return how many cores this process may use: those of its CPU affinity, less where its container has a limit.

    In a worker of a :class:`npconv.workers.pool.WorkerPool` it is 1: its share.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _share, _container_limit())))


def limit_cores(share: int) -> None:
    """Let :func:`available_cores` be no more than that in this process from now on."""
    global _share
    _share = share


def keep_blas_to_one_thread() -> None:
    """Leave the cores to threads of one's own: two layers of threads slow each other down.

    Only where NumPy is not loaded yet and the environment says nothing of threads.
    """
    if "numpy" not in sys.modules and not any(name in os.environ for name in THREAD_VARIABLES):
        os.environ.update(dict.fromkeys(BLAS_VARIABLES, "1"))


def at_once(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what a function makes of each item, in order; two are made at the same time where there are two cores.

    It is for runs of a model, each of which has large arrays.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(MOST_AT_ONCE, available_cores())) as pool:
        return list(pool.map(function, items))


def _container_limit(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Return the cores' worth of time that the control groups of this process allow; infinite without a limit."""
    limits = [math.inf]
    folders = [root]
    with suppress(OSError, ValueError):
        names = [line.partition("::")[2] for line in own.read_text().splitlines() if line.startswith("0::")]
        for name in names:
            inner = root / name.lstrip("/")
            folders += [inner, *inner.parents]
    for folder in folders:
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            limits.append(float(quota) / float(period) if quota != "max" else math.inf)
    with suppress(OSError, ValueError):  # the older kind of control group
        quota = (root / "cpu" / "cpu.cfs_quota_us").read_text()
        limits.append(float(quota) / float((root / "cpu" / "cpu.cfs_period_us").read_text()))
    return min(limit for limit in limits if limit > 0)
