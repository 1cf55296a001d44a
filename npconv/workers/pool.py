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
leave behind. What workers share are files, mapped, in a folder of the pool: it goes with the pool, and if this process
is killed, the workers remove it before they end. A worker takes 0.12 s to start, and then loads what its tasks need.
"""

from __future__ import annotations

import os
import pickle
import secrets
import shutil
import tempfile
import threading
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from npconv.cores import available_cores
from npconv.errors import InputError, NpconvError, UnavailableError
from npconv.workers.process import Worker, WorkerTraceback

#: How many workers may die of one task before it is given up. Once may be bad luck.
ATTEMPTS = 3


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
        If this process may start no others: it is a daemon, or it is being started and imports a script that does not
        keep its work under ``if __name__ == "__main__":``.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"expected at least 1 worker, got {workers}")
        _check_may_start()
        self.workers = available_cores() if workers is None else workers
        # One thread for each worker: it writes, waits and reads, so a slow worker keeps nobody else waiting.
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="npconv-worker")
        self._own = threading.local()
        self._alive: set[Worker] = set()
        self._terminated = False
        self._shown: set[str] = set()
        self._folder = _new_folder_name()
        self._remove_folder = weakref.finalize(self, _remove, self._folder, os.getpid())

    @property
    def folder(self) -> Path:
        """A folder for files that the workers share, made when it is first asked for; removed with the pool.

        If there is no place for it, or the pool has ended, that is an `UnavailableError`.
        """
        if not self._remove_folder.alive:
            raise UnavailableError("the workers have ended, and their folder with them")
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"no temporary folder can be made ({error}); set TMPDIR to one") from error
        return self._folder

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Let a worker call ``fn(*args, **kwargs)``; all of these must be picklable, and `fn` importable.

        The future is of the result, or of what `fn` raised; of :class:`WorkerError` if its workers died
        :data:`ATTEMPTS` times, and of ``UnavailableError`` if no worker can be started.
        """
        return self._threads.submit(self._run, os.getcwd(), fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; with `wait`, return when all are done and the workers have ended."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        if wait:
            for worker in self._alive:
                worker.end()
            self._alive.clear()
            self._remove_folder()

    def terminate(self) -> None:
        """End the workers at once, with whatever they are doing; what is not done raises or is cancelled."""
        self._terminated = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._alive):
            worker.kill()

    def process_ids(self) -> list[int]:
        """Return the ids of the worker processes that are alive."""
        alive = [worker.process for worker in list(self._alive) if worker.process.is_alive()]
        return [process.pid for process in alive if process.pid is not None]

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
            if worker.process.is_alive():
                return worker
            self._bury(worker)
        for _ in range(ATTEMPTS):
            if self._terminated:
                raise WorkerError("the worker processes were ended before it was done")
            try:
                worker = Worker(self._folder)
            except OSError as error:  # no memory or files for it, or it was killed before it had read what it is to do
                status = str(error)
                continue
            self._alive.add(worker)
            if worker.is_ready() and not self._terminated:
                self._own.worker = worker
                return worker
            status = self._bury(worker)
        raise UnavailableError(
            f"worker processes end before they are ready (the last: {status}); what they wrote to stderr says why; "
            "try workers=1"
        )

    def _bury(self, worker: Worker) -> str:
        """Forget a worker, which is dead or will be, and return how it ended."""
        self._own.worker = None
        worker.kill()
        self._alive.discard(worker)
        return worker.status()

    def _open(self, answer: bytes) -> Any:
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


def _new_folder_name() -> Path:
    """Return a name that no folder has."""
    try:
        parent = tempfile.gettempdir()
    except OSError:  # no folder can be written to
        parent = os.curdir
    return Path(parent, f"npconv-{secrets.token_hex(8)}").absolute()


def _remove(folder: Path, maker: int) -> None:
    """Remove the folder of a pool, unless this process is a fork of the one that made it."""
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)


def _check_may_start() -> None:
    """Refuse to start processes where Python would fail to, in the middle of things and with a traceback."""
    import multiprocessing

    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):
        raise UnavailableError(
            'a script that uses workers is run again by each of them: keep its work under if __name__ == "__main__":'
        )
    if process.daemon:
        raise UnavailableError("this process is a daemon of multiprocessing and may start no workers; use workers=1")
