"""What the fast engines of all families share: threads, scratch arrays, and batches that are shared out.

An engine is a function from pixel values to what the family's function in ``model.py`` returns, for whichever task the
parameters are of. Heads are small, so the explicit layers do them.

Two layers of threads on the same cores slow each other down, so only one of them may run at a time. Ours share
everything (tiles, channels, attention heads), the BLAS's share large products only. Ours need the BLAS held to one
thread: by the environment, set before NumPy was loaded, or by threadpoolctl. Where neither is there, the BLAS keeps its
threads and ours stay out of the way.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import numpy as np

from npconv.cores import BLAS_VARIABLES, available_cores
from npconv.errors import InputError
from npconv.fast.products import shares
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


class Engine:
    """Base: shares the work between threads, and keeps scratch arrays for the last input shape.

    Parameters
    ----------
    threads : int, optional
        All cores that this process may use when unset.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = choose_threads(threads)
        self._kept = threading.local()

    def __call__(self, pixel_values: np.ndarray) -> tuple[Any, list[np.ndarray]]:
        """Run the model on pixel values (N, C, H, W), float32; return what the family's function returns."""
        self._check(pixel_values)
        scratch = self._scratch(pixel_values.shape)
        limit = blas_limit() if scratch.threads > 1 else None
        with limit() if limit else nullcontext():
            if scratch.threads == 1 or len(pixel_values) < scratch.threads:
                return self._run(pixel_values, scratch)
            # Pictures are more work at a time than parts of one, so whole ones are shared where there are enough.
            parts = shares(len(pixel_values), scratch)
            return _join(scratch.map(lambda part, own: self._run(pixel_values[slice(*part)], own), parts))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the scratch arrays, which belong to the threads of this process."""
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _kept=threading.local())

    def _check(self, pixel_values: np.ndarray) -> None:
        """Refuse pictures that do not fit the model."""
        raise NotImplementedError

    def _run(self, pixel_values: np.ndarray, scratch: Scratch) -> tuple[Any, list[np.ndarray]]:
        """Run the model with these scratch arrays."""
        raise NotImplementedError

    def _scratch(self, shape: tuple[int, ...]) -> Scratch:
        """Return the scratch arrays for pictures of this shape; every calling thread has its own.

        So has every process: a fork inherits the arrays, but not the threads that would share the work.
        """
        wanted = (os.getpid(), shape)
        if getattr(self._kept, "wanted", None) != wanted:
            self._kept.wanted, self._kept.scratch = wanted, make_scratch(self.threads)
        return self._kept.scratch


def _join(results: list[tuple[Any, list[np.ndarray]]]) -> tuple[Any, list[np.ndarray]]:
    """Put the results of parts of a batch together."""
    firsts, hidden_states = zip(*results, strict=True)
    maps = [np.concatenate(parts) for parts in zip(*hidden_states, strict=True)]
    if isinstance(firsts[0], list):
        return [np.concatenate(parts) for parts in zip(*firsts, strict=True)], maps
    return None if firsts[0] is None else np.concatenate(firsts), maps


def own(params: Any) -> Any:
    """Return a float32 copy of parameters of a head, which the explicit layers will use."""
    if isinstance(params, Mapping):
        return {name: own(value) for name, value in params.items()}
    return np.array(params, np.float32, order="C")
