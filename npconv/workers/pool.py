"""Worker processes: a batch or a stream of pictures, shared between processes of one thread each.

Why processes and not threads: between two NumPy calls only one Python thread runs at a time, which costs small models
10 to 30 %, and decoding and resizing wait for the same lock. A process of its own has neither problem, and its BLAS is
told to keep to one thread, which can only be said before NumPy is loaded.

Why a pipe for each worker: in ``concurrent.futures.ProcessPoolExecutor`` all workers write to one pipe behind one lock.
A worker that is killed while it writes a large result leaves half a message and a taken lock, and the others wait for
ever; one that dies breaks all tasks, whichever killed it. Here a dead worker is the end of its own pipe only: the task
that it had is known, is given to a new worker, and no other task notices.

Arguments and results go through the pipes. That is cheap: eight pictures of 3 x 224 x 224 in float32 (4.8 MB) take
3 ms (measured on two cores), a path and its labels 0.03 ms. So there is no shared memory that a killed process could
leave behind. What workers share are files, mapped, in a folder of the pool: it goes with the pool; if this process is
killed, the workers remove it before they end, and if they are killed as well, whoever makes the next such folder does.
A worker takes 0.12 s to start, and then loads what its tasks need.

A forked child has none of its parent's threads and must not touch its workers: a pool that it inherits starts anew
there when it is used, with workers and a folder of its own.
"""

from __future__ import annotations

import importlib
import os
import pickle
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from npconv.cores import available_cores
from npconv.errors import InputError, NpconvError, UnavailableError
from npconv.files.temporary import TemporaryFolder
from npconv.forks import Lock
from npconv.workers.interrupts import uninterrupted
from npconv.workers.process import Worker, WorkerTraceback, check_may_start

#: How many workers may die of one task before it is given up. Once may be bad luck.
ATTEMPTS = 3

_BEGINNING = Lock()


def _load(module: str) -> None:
    """Import a module."""
    importlib.import_module(module)


class WorkerError(NpconvError):
    """A task was given up because every worker process that had it died."""


class WorkerPool(Executor):
    """Worker processes that do one task after another; a task that lost its worker is done again by a new one.

    A process is started when there is a task and no idle worker; there are at most so many `workers`, as many as
    :func:`available_cores` when unset. Workers end with the pool, and with the process that made it, however that one
    ends.

    Raises
    ------
    InputError
        If `workers` is no positive number.
    UnavailableError
        If this process may start no workers: it is one; or it runs a program a second time for what that defines,
        which does not keep its work under ``if __name__ == "__main__":``; or there is no Python to start.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"expected at least 1 worker, got {workers}")
        self.workers = available_cores() if workers is None else workers
        self._ended = False
        self._terminated = False
        self._shown: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        """Have no workers yet, in this process."""
        check_may_start()
        # One thread for each worker: it writes, waits and reads, so a slow worker keeps nobody else waiting.
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="npconv-worker")
        self._own = threading.local()
        self._alive: set[Worker] = set()
        self._first: list[Worker] = []
        self._starting = Lock()
        self._folder = TemporaryFolder()
        self._process = os.getpid()

    def _here(self) -> WorkerPool:
        """Return this pool; in a forked child, it begins anew when it is first used."""
        if self._process != os.getpid():
            with _BEGINNING.held():
                if self._process != os.getpid():
                    self._begin()
        return self

    @property
    def folder(self) -> Path:
        """A folder for files that the workers share, made when it is first asked for; removed with the pool.

        A worker is started before, if there is none: it removes the folder if this process is killed. If there is no
        place for it, or the pool has ended, that is an `UnavailableError`.
        """
        if self._ended:
            raise UnavailableError("the workers have ended, and their folder with them")
        with self._here()._starting.held(), suppress(OSError):  # whoever has a task for it finds out
            if not self._alive:
                self._first.append(self._start())
        return self._folder.make()

    def begin(self, module: str) -> None:
        """Start all workers now, and have each import a module: what the first tasks would otherwise wait for."""
        for _ in range(self.workers):
            self.submit(_load, module)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Let a worker call ``fn(*args, **kwargs)``; all of these must be picklable, and `fn` importable.

        The future is of the result, or of what `fn` raised; of :class:`WorkerError` if its workers died
        :data:`ATTEMPTS` times, and of ``UnavailableError`` if no worker can be started.
        """
        if self._ended:
            raise RuntimeError("cannot schedule new futures after shutdown")  # as other executors
        folder = ""
        with suppress(OSError):  # the folder of this process may be gone
            folder = os.getcwd()
        with uninterrupted():
            return self._here()._threads.submit(self._run, folder, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; with `wait`, return when all are done and the workers have ended."""
        self._ended = True
        if self._process != os.getpid():  # nothing was begun in this child
            return
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        if wait:
            for worker in self._alive:
                worker.end()
            self._alive.clear()
            self._folder.remove()

    def terminate(self) -> None:
        """End the workers at once, with whatever they are doing; what is not done raises or is cancelled."""
        self._ended = self._terminated = True
        if self._process != os.getpid():
            return
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._alive):
            worker.kill()

    def process_ids(self) -> list[int]:
        """Return the ids of the worker processes that are alive."""
        return [worker.process.pid for worker in list(self._here()._alive) if worker.is_alive()]

    def __exit__(self, exception_type: Any, *details: Any) -> None:
        """End the workers: when all tasks are done, or at once after an error."""
        if exception_type is not None:
            self.terminate()
        self.shutdown()

    def _run(self, folder: str, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Have this thread's worker do a task, and new ones if it dies."""
        message = pickle.dumps((folder, fn, args, kwargs), protocol=pickle.HIGHEST_PROTOCOL)
        for _ in range(ATTEMPTS):
            worker = self._worker()
            try:
                answer = worker.ask(message)
            except (EOFError, OSError):  # the other end of the pipe is gone
                status = self._bury(worker)
            else:
                return self._open(answer)
        raise WorkerError(
            f"{ATTEMPTS} worker processes died of it one after another (the last: {status}); is there enough memory?"
        )

    def _worker(self) -> Worker:
        """Return this thread's worker, a new one if there is none or it has died while it was idle."""
        worker = getattr(self._own, "worker", None)
        if worker is not None:
            if worker.is_alive():
                return worker
            self._bury(worker)
        for _ in range(ATTEMPTS):
            if self._terminated:
                raise WorkerError("the worker processes were ended before it was done")
            try:
                with self._starting.held():  # else the folder might start another meanwhile
                    worker = self._taken_first() or self._start()
            except OSError as error:  # no memory or files for it
                status = str(error)
                continue
            if worker.is_ready() and not self._terminated:
                self._own.worker = worker
                return worker
            status = self._bury(worker)
        raise UnavailableError(
            f"worker processes end before they are ready (the last: {status}); what they wrote to stderr says why; "
            "try workers=1"
        )

    def _taken_first(self) -> Worker | None:
        """Return the worker that was started with the folder, to the thread that asks first."""
        with suppress(IndexError):
            return self._first.pop()
        return None

    def _start(self) -> Worker:
        """Start a worker."""
        worker = Worker(self._folder.path)
        self._alive.add(worker)
        return worker

    def _bury(self, worker: Worker) -> str:
        """Forget a worker, which is dead or will be, and return how it ended."""
        self._own.worker = None
        worker.kill()
        worker.close()
        self._alive.discard(worker)
        return worker.status()

    def _open(self, answer: bytearray) -> Any:
        """Return the result in an answer or raise the error; warn as the worker did, once however many workers do."""
        is_result, value, shown = pickle.loads(answer)
        for category, text in shown:
            if text not in self._shown:
                self._shown.add(text)
                warnings.warn(text, category, stacklevel=2)
        if is_result:
            return value
        error, text = value
        raise error from WorkerTraceback(text)
