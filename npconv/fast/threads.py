"""How many cores there are, and who uses them: our threads or the BLAS's.

Two layers of threads on the same cores slow each other down, so only one of them may run at a time. Ours share
everything (tiles, channels, attention heads), the BLAS's share large products only. Ours need the BLAS held to one
thread: by the environment, set before NumPy was loaded, or by threadpoolctl. Where neither is there, the BLAS keeps its
threads and ours stay out of the way.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

from npconv.cores import BLAS_VARIABLES, available_cores
from npconv.errors import InputError
from npconv.fast.scratch import Scratch, SharedScratch

#: More bring nothing, and each has arrays of its own.
MOST_THREADS = 256


def choose_threads(threads: int | None) -> int:
    """Return the number of threads for a request; None asks for all cores.

    Raises
    ------
    InputError
        If it is no whole number of at least 1.
    """
    if threads is None:
        return available_cores()
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise InputError(f"expected threads to be a whole number of at least 1, or None for all cores; got {threads!r}")
    return min(threads, MOST_THREADS)


class SharedLimit:
    """A limit of the whole process that threads may want at the same time: the first sets it, the last lifts it.

    Each with a limit of its own would put back, at its end, what another had set.
    """

    def __init__(self, set_limit: Callable[[], AbstractContextManager[Any]]) -> None:
        self._set_limit = set_limit
        self._lock = threading.Lock()
        self._users = 0
        self._limit: AbstractContextManager[Any] = nullcontext()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Make a context in which the limit holds."""
        with self._lock:
            if self._users == 0:
                self._limit = self._set_limit()
                self._limit.__enter__()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._limit.__exit__(None, None, None)


@cache
def blas_limit() -> Callable[[], AbstractContextManager[Any]] | None:
    """Return a function that makes a context in which the BLAS keeps to one thread; None if nothing can hold it."""
    if any(os.environ.get(name) == "1" for name in BLAS_VARIABLES):
        return nullcontext
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError:
        return None
    controller = threadpoolctl.ThreadpoolController()
    return SharedLimit(lambda: controller.limit(limits=1, user_api="blas"))


def make_scratch(threads: int) -> Scratch:
    """Return scratch arrays for this many threads, as far as the BLAS can be held to one."""
    return SharedScratch(threads) if threads > 1 and blas_limit() is not None else Scratch()
