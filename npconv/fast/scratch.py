"""Arrays that are made once and used again.

A forward pass needs many arrays that live for a moment: padded maps, gathered windows, hidden values. Making them
anew each time costs more than the page faults show: fresh memory is cold in every cache. Here each has a name and is
kept.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from queue import SimpleQueue
from threading import Thread
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


#: A part of a work, to be done with the scratch arrays of whichever thread does it.
Task = Callable[[Scratch], Any]


def run(task: Task, scratch: Scratch) -> Any:
    """Do a task: works of several kinds are shared at once by ``scratch.map(run, tasks)``."""
    return task(scratch)


class SharedScratch(Scratch):
    """Scratch arrays of several threads that share the work of `map`; each thread has arrays of its own.

    NumPy lets go of the interpreter while it calculates, so threads do run at the same time; what they lose to it
    between two calls grows as the model shrinks. The BLAS must keep to one thread meanwhile.

    The threads wait at queues rather than in a ``ThreadPoolExecutor``: a pass shares its work fifty times or more, and
    its futures cost 20 to 50 us more each time than the 70 that queues take (two cores of a Xeon, a virtual machine).
    """

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.threads = threads
        self._own = [Scratch() for _ in range(threads)]
        self._queues: list[SimpleQueue[Callable[[], None] | None]] = [SimpleQueue() for _ in range(threads - 1)]
        # Not at the end of the interpreter: what runs then may still use a model, and daemons end by themselves.
        weakref.finalize(self, _dismiss, self._queues).atexit = False
        for queue in self._queues:
            Thread(target=_serve, args=(queue,), name="npconv", daemon=True).start()

    def map(self, function: Callable[[Part, Scratch], Any], parts: Iterable[Part]) -> list[Any]:
        """Return ``function(part, scratch)`` for each part, in order; the calling thread takes its share.

        A single part gets these scratch arrays, so that the parts of its own work are shared instead.
        """
        listed = list(parts)
        if len(listed) == 1:
            return [function(listed[0], self)]
        results: list[Any] = [None] * len(listed)
        errors: list[BaseException] = []
        done: SimpleQueue[None] = SimpleQueue()

        def do_share(thread: int) -> None:
            try:
                with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # a setting of each thread by itself
                    for index in range(thread, len(listed), self.threads):
                        results[index] = function(listed[index], self._own[thread])
            except BaseException as error:
                errors.append(error)
            done.put(None)

        sharing = min(self.threads, len(listed))
        for thread in range(1, sharing):
            self._queues[thread - 1].put(partial(do_share, thread))
        do_share(0)
        _wait_for(done, sharing, errors)
        try:
            if errors:
                raise errors[0]
        finally:
            errors.clear()  # an error holds this frame, and with it the scratch arrays
        return results

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays of all threads."""
        return super().nbytes + sum(scratch.nbytes for scratch in self._own)


def _serve(queue: SimpleQueue[Callable[[], None] | None]) -> None:
    """Do what comes in at a queue, until None comes."""
    while (work := queue.get()) is not None:
        work()
        del work  # it would keep the scratch arrays alive while this thread waits


def _wait_for(done: SimpleQueue[None], count: int, errors: list[BaseException]) -> None:
    """Wait for all who share a work, whatever happens meanwhile: they write into arrays that the next call uses."""
    while count:
        try:
            done.get()
            count -= 1
        except BaseException as error:  # Ctrl-C
            errors.append(error)


def _dismiss(queues: list[SimpleQueue[Callable[[], None] | None]]) -> None:
    """End the threads that wait at these queues."""
    for queue in queues:
        queue.put(None)
