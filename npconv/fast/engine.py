"""What the fast engines of all families share: scratch arrays, threads, and batches that are shared out.

A forward pass needs many arrays that live for a moment: padded maps, gathered windows, hidden values. Making them
anew each time costs more than the page faults show: fresh memory is cold in every cache. Here each has a name and is
kept.

An engine is a function from pixel values to what the family's function in ``model.py`` returns, for whichever task the
parameters are of. Heads are small, so the explicit layers do them.

Two layers of threads on the same cores slow each other down, so only one of them may run at a time. Ours share
everything (tiles, channels, attention heads), the BLAS's share large products only. Ours need the BLAS held to one
thread: by the environment, set before NumPy was loaded, or by threadpoolctl. Where neither is there, the BLAS keeps its
threads and ours stay out of the way.
"""

from __future__ import annotations

import importlib
import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import cache, partial
from itertools import pairwise
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import numpy as np

from npconv.cores import BLAS_VARIABLES, available_cores
from npconv.errors import InputError
from npconv.forks import Lock

Part = TypeVar("Part")

#: More bring nothing, and each has arrays of its own.
MOST_THREADS = 256

#: Seconds for which a thread that has not come, or not come back, is waited for before others do its work.
PATIENCE = 0.02

#: Seconds after which it is looked again who is done, should the word of it be lost.
AGAIN = 0.1


class Scratch:
    """Named float32 arrays. A name stands for one use at a time; a smaller shape takes the front of a larger array."""

    #: Threads, or processes, that share the work of `map`.
    threads = 1

    #: Whether they come together at once: then they share small works as well.
    meets_at_once = False

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

    def result(self, *shape: int) -> np.ndarray:
        """Return an array for what a pass returns: a new one, with any content."""
        return np.empty(shape, np.float32)

    def map_array(self, stage: int, *shape: int, is_result: bool) -> np.ndarray:
        """Return an array for the map that a stage makes, which the pass may return."""
        return self.result(*shape) if is_result else self.array(f"map {stage}", *shape)

    @property
    def private(self) -> Scratch:
        """Arrays for what is worked out by everyone who shares the work, outside of `map`.

        Threads share one pass, and so these arrays; processes each run a pass of their own, with arrays of their own.
        """
        return self

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
            threading.Thread(target=_serve, args=(queue,), name="npconv", daemon=True).start()

    def map(self, function: Callable[[Part, Scratch], Any], parts: Iterable[Part]) -> list[Any]:
        """Return ``function(part, scratch)`` for each part, in order; the calling thread takes its share.

        A single part gets these scratch arrays, so that the parts of its own work are shared instead.
        """
        listed = list(parts)
        if len(listed) <= 1:
            return [function(part, self) for part in listed]
        sharing = min(self.threads, len(listed))
        work = _SharedWork(function, listed, sharing)
        queues = self._queues[: sharing - 1]
        for thread, queue in enumerate(queues, 1):
            queue.put(partial(work.help, thread, self._own[thread]))
        try:
            work.do(0, self._own[0], wait=True)
        finally:
            work.close()
            for queue in queues:
                if not queue.empty():
                    with suppress(Empty):  # who has not come by now need not
                        queue.get_nowait()
            work.wait_for_helpers()
        try:
            if work.errors:
                raise work.errors[0]
        finally:
            work.errors.clear()  # an error holds this frame, and with it the scratch arrays
        return work.results

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays of all threads."""
        return super().nbytes + sum(scratch.nbytes for scratch in self._own)


class _SharedWork:
    """Parts that threads claim one by one: first those that fall to each, then what others have not begun.

    So a thread that does not come, because other programs have the cores, keeps nobody waiting for long. It is waited
    for a moment all the same: threads that never wait are those that the system lets wait when it has others.
    """

    def __init__(self, function: Callable[[Any, Scratch], Any], parts: list[Any], threads: int) -> None:
        self._function, self._parts = function, parts
        self._open = [deque(range(thread, len(parts), threads)) for thread in range(threads)]
        self.results: list[Any] = [None] * len(parts)
        self.errors: list[BaseException] = []
        #: Threads that have come to help, and those of them that are done; each says so, too, to wake who waits.
        self.helpers: list[int] = []
        self.ended: list[int] = []
        self.done: SimpleQueue[None] = SimpleQueue()

    def help(self, thread: int, scratch: Scratch) -> None:
        """Do what is still open, in another thread than the one that waits for the results."""
        self.helpers.append(thread)
        self.do(thread, scratch)
        self.ended.append(thread)
        self.done.put(None)

    def do(self, thread: int, scratch: Scratch, *, wait: bool = False) -> None:
        """Do what falls to a thread, then what is still open; in between, `wait` for those who may be coming."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # a setting of each thread by itself
            self._do_all(self._open[thread], scratch)
            if wait:
                self._wait()
            for of_another in self._open:
                if of_another:
                    self._do_all(of_another, scratch)

    def _do_all(self, places: deque[int], scratch: Scratch) -> None:
        """Do parts as long as there are any that nobody has begun."""
        while places:
            try:
                index = places.popleft()
            except IndexError:  # another thread was quicker
                return
            try:
                self.results[index] = self._function(self._parts[index], scratch)
            except BaseException as error:
                self.errors.append(error)

    def _wait(self) -> None:
        """Wait until all parts have been begun, or nothing happens for a while."""
        with suppress(Empty):
            while any(self._open):
                self.done.get(timeout=PATIENCE)

    def close(self) -> None:
        """Leave nothing open: whoever comes now has nothing to do."""
        for places in self._open:
            places.clear()

    def wait_for_helpers(self) -> None:
        """Wait for all who share the work, whatever happens meanwhile: they write into arrays that the next call uses.

        What counts is who is done, not what was heard: Ctrl-C may come when a word is taken and not yet looked at.
        """
        while len(self.ended) < len(self.helpers):
            try:
                with suppress(Empty):
                    self.done.get(timeout=AGAIN)
            except BaseException as error:  # Ctrl-C
                self.errors.append(error)


def _serve(queue: SimpleQueue[Callable[[], None] | None]) -> None:
    """Do what comes in at a queue, until None comes."""
    while (work := queue.get()) is not None:
        work()
        del work  # it would keep the scratch arrays alive while this thread waits


def _dismiss(queues: list[SimpleQueue[Callable[[], None] | None]]) -> None:
    """End the threads that wait at these queues."""
    for queue in queues:
        queue.put(None)


def shares(length: int, scratch: Scratch) -> list[tuple[int, int]]:
    """Cut a length into one span (first, end) for each thread."""
    return spans(length, -(-length // scratch.threads))


def small_shares(length: int, scratch: Scratch) -> list[tuple[int, int]]:
    """Cut the length of a small work: into one span for threads, which take longer to come together than to do it."""
    return shares(length, scratch) if scratch.meets_at_once else spans(length, length)


def spans(length: int, longest: int, threads: int = 1) -> list[tuple[int, int]]:
    """Cut a length into equal spans (first, end) of at most `longest`, as many for each of some threads.

    A length that need not be cut is not, whatever the threads.
    """
    count = max(1, -(-length // max(1, longest)))
    if count > 1:
        count = min(length, -(-count // threads) * threads)
    edges = [length * i // count for i in range(count + 1)]
    return list(pairwise(edges))


def choose_threads(threads: int | None) -> int:
    """Return the number of threads for a request; None asks for all cores.

    What is no whole number of at least 1 is an `InputError`.
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
        self._lock = Lock()
        self._users: set[object] = set()
        self._process = os.getpid()
        self._limit: AbstractContextManager[Any] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Make a context in which the limit holds."""
        user = object()
        with self._lock.held():
            if self._process != os.getpid():  # a fork: the limit came along, its users did not
                self._process, self._users = os.getpid(), set()
            if self._limit is None:
                self._limit = self._set_limit()
                self._limit.__enter__()
            self._users.add(user)
        try:
            yield
        finally:
            with self._lock.held():
                self._users.discard(user)
                if not self._users and self._limit is not None:
                    self._limit.__exit__(None, None, None)
                    self._limit = None


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


#: Scratch arrays of a team of processes, if this one works in it: see ``npconv.fast.team``.
TEAM: ContextVar[Scratch | None] = ContextVar("team", default=None)


class Engine:
    """Base: shares the work between threads, and keeps scratch arrays for the last input shape.

    The threads are all cores that this process may use when unset.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = choose_threads(threads)
        self._kept = threading.local()

    def __call__(self, pixel_values: np.ndarray, *, every_map: bool = True) -> tuple[Any, list[np.ndarray]]:
        """Run the model on pixel values (N, C, H, W), float32; return what the family's function returns.

        Without `every_map` the last of the hidden states is the only one, and the others take no new memory; a backbone
        has them all.
        """
        self._check(pixel_values)
        scratch = TEAM.get() or self._scratch(pixel_values.shape)
        limit = blas_limit() if scratch.threads > 1 else None
        with limit() if limit else nullcontext():
            if scratch.threads == 1 or len(pixel_values) < scratch.threads:
                return self._run(pixel_values, scratch, every_map)
            # Pictures are more work at a time than parts of one, so whole ones are shared where there are enough.
            parts = shares(len(pixel_values), scratch)
            return _join(scratch.map(lambda part, own: self._run(pixel_values[slice(*part)], own, every_map), parts))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the scratch arrays, which belong to the threads of this process."""
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _kept=threading.local())

    def _check(self, pixel_values: np.ndarray) -> None:
        """Refuse pictures that do not fit the model."""
        raise NotImplementedError

    def _run(self, pixel_values: np.ndarray, scratch: Scratch, every_map: bool) -> tuple[Any, list[np.ndarray]]:
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
