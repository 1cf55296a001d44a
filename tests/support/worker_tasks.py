"""What the workers of the tests do: importable by name, as tasks must be."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import warnings
import weakref
from pathlib import Path

import numpy as np

from npconv import ConfigError, NpconvWarning, SafetensorsError
from npconv.cores import available_cores
from npconv.workers.pool import WorkerPool


def process_id(_=None) -> int:
    return os.getpid()


def double(x):
    return 2 * x


def is_loaded(module: str) -> bool:
    return module in sys.modules


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(mark: str) -> str:
    """Die the first time, leaving a mark by which the second time is known."""
    if not os.path.exists(mark):
        Path(mark).touch()
        die()
    return "done"


def die_while_answering(mark: str) -> np.ndarray:
    """Return, the first time, what kills the process in the middle of being pickled."""
    return np.zeros(2_000_000) if os.path.exists(mark) else FatalToSend(mark)


class FatalToSend:
    """Dies when it is pickled."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self):
        Path(self.mark).touch()
        die()


def fail(kind: str) -> None:
    if kind == "config":
        raise ConfigError("expected this, got that")
    if kind == "two arguments":
        raise SafetensorsError("HeaderTooLarge", "expected less")
    raise ZeroDivisionError("why")


def warn(text: str) -> None:
    warnings.warn(text, NpconvWarning, stacklevel=1)


class Something:
    """What may be large."""


#: The last thing that a task had when it failed.
_had: weakref.ref[Something] | None = None


def fail_with_something() -> None:
    """Fail with a thing in a variable, which nobody collects as garbage."""
    global _had
    gc.disable()
    something = Something()
    _had = weakref.ref(something)
    raise ValueError("with something")


def is_something_left() -> bool:
    """Tell whether it is in memory, and have garbage collected as before."""
    gc.enable()
    return _had is not None and _had() is not None


def unpicklable():
    return lambda: None


def environment() -> dict:
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    return {"blas": [os.environ.get(name) for name in names], "cores": available_cores(), "folder": os.getcwd()}


def start_and_print_ids(workers: int) -> None:
    """Start workers, print their ids and keep them busy: the life of a parent that is about to be killed."""
    pool = WorkerPool(workers)
    (pool.folder / "shared").touch()
    futures = [pool.submit(process_id, sleep(0.01)) for _ in range(workers)]
    for future in futures:
        future.result()
    busy = [pool.submit(sleep, 60) for _ in range(workers)]
    print(*pool.process_ids(), flush=True)
    for future in busy:
        future.result()
