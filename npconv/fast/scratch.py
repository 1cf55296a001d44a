"""Arrays that are made once and used again.

A forward pass needs many arrays that live for a moment: padded maps, gathered windows, hidden values. Making them
anew each time costs more than the page faults show: fresh memory is cold in every cache. Here each has a name and is
kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np

Part = TypeVar("Part")


class Scratch:
    """Named float32 arrays. A name stands for one use at a time; a smaller shape takes the front of a larger array."""

    #: Threads that share the work of `map`.
    threads = 1

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        self._bordered: dict[str, np.ndarray] = {}

    def array(self, name: str, *shape: int) -> np.ndarray:
        """Return an array of this shape with any content."""
        size = math.prod(shape)
        kept = self._arrays.get(name)
        if kept is None or kept.size < size:
            kept = self._arrays[name] = np.empty(size, np.float32)
        return kept[:size].reshape(shape)

    def zero_bordered(self, name: str, *shape: int) -> np.ndarray:
        """Return an array that was zero when it was made: what a user never writes to, such as a border, stays zero."""
        kept = self._bordered.get(name)
        if kept is None or kept.shape != shape:
            kept = self._bordered[name] = np.zeros(shape, np.float32)
        return kept

    def map(self, function: Callable[[Part, Scratch], Any], parts: Iterable[Part]) -> list[Any]:
        """Return ``function(part, scratch)`` for each of the independent parts of a work, in order."""
        return [function(part, self) for part in parts]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in [*self._arrays.values(), *self._bordered.values()])


class SharedScratch(Scratch):
    """Scratch arrays of several threads that share the work of `map`; each thread has arrays of its own.

    NumPy lets go of the interpreter while it calculates, so threads do run at the same time; what they lose to it
    between two calls grows as the model shrinks. The BLAS must keep to one thread meanwhile.
    """

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.threads = threads
        self._own = [Scratch() for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="npconv")

    def map(self, function: Callable[[Part, Scratch], Any], parts: Iterable[Part]) -> list[Any]:
        """Return ``function(part, scratch)`` for each part, in order; the calling thread takes its share.

        A single part gets these scratch arrays, so that the parts of its own work are shared instead.
        """
        listed = list(parts)
        if len(listed) == 1:
            return [function(listed[0], self)]
        results: list[Any] = [None] * len(listed)

        def do_share(thread: int) -> None:
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # a setting of each thread by itself
                for index in range(thread, len(listed), self.threads):
                    results[index] = function(listed[index], self._own[thread])

        others = [self._pool.submit(do_share, thread) for thread in range(1, min(self.threads, len(listed)))]
        try:
            do_share(0)
        finally:
            wait(others)  # after an error as well: they write into arrays that the next call uses
        for other in others:
            other.result()
        return results

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays of all threads."""
        return super().nbytes + sum(scratch.nbytes for scratch in self._own)
