"""One worker process: this end of its pipe, and what it does at the other.

It does what it is asked to until its pipe ends, or the process that started it, however that one ends.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from npconv.cores import THREAD_VARIABLES, limit_cores
from npconv.errors import InputError, NpconvError

#: Seconds that a worker has to end by itself before it is killed; it waits for nothing, so it needs none.
PATIENCE = 5

_READY = b"ready"

# The environment belongs to the whole process: two threads that start workers must not interleave there.
_STARTING = threading.Lock()


class WorkerTraceback(Exception):  # noqa: N818 - no error by itself: the cause of one, as text
    """Where in a worker process an error was raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Worker:
    """One worker process and this end of its pipe; it removes `folder` when the process that started it is gone."""

    def __init__(self, folder: Path) -> None:
        import multiprocessing  # here, because whoever starts no processes need not wait for it

        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, folder), name="npconv-worker", daemon=True)
        with _STARTING, _undisturbed(), _environment(dict.fromkeys(THREAD_VARIABLES, "1")):
            self.process.start()
        theirs.close()  # so that the pipe ends when the worker does

    def is_ready(self) -> bool:
        """Wait until the worker has started, and tell whether it has."""
        try:
            return self._pipe.recv_bytes() == _READY
        except (EOFError, OSError):
            return False

    def ask(self, message: bytes) -> bytes:
        """Send a task and wait for the answer; EOFError or OSError when the worker is gone."""
        self._pipe.send_bytes(message)
        return self._pipe.recv_bytes()

    def end(self) -> None:
        """Let the worker end, now that it has nothing to do."""
        self._pipe.close()
        self.process.join(PATIENCE)
        self.kill()

    def kill(self) -> None:
        """End the worker whatever it does."""
        self.process.kill()
        self.process.join(PATIENCE)

    def status(self) -> str:
        """Return how the process ended, in words."""
        code = self.process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"status {code}"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a moment."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let what is started not notice Ctrl-C, which a terminal sends to all: this process decides what to do then."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # would be started along with the first process, and lift what is set here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Any, folder: Path) -> None:
    """Be a worker: answer tasks until the pipe ends."""
    limit_cores(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    with suppress(EOFError, OSError):
        pipe.send_bytes(_READY)
        while True:
            pipe.send_bytes(_answer(pipe.recv_bytes()))


def _end_with_parent(folder: Path) -> None:
    """Wait until the parent process is gone, in the middle of whatever else this process does; clean up and end it."""
    import multiprocessing
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def _answer(message: bytes) -> bytes:
    """Do a task and return the pickled answer: whether it went well, the result or error, and warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            folder, function, args, kwargs = pickle.loads(message)
            with suppress(OSError):  # a folder that is gone: paths from the root work all the same
                os.chdir(folder)
            is_result, value = True, function(*args, **kwargs)
        except Exception as error:
            is_result, value = False, _portable(error)
    shown = [(warning.category, str(warning.message)) for warning in caught]
    try:
        return pickle.dumps((is_result, value, shown), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # whatever an object raises that is not made for pickling
        refusal = InputError(f"a worker's result cannot be sent back: {error}")
        return pickle.dumps((False, _portable(refusal), []))


def _portable(error: Exception) -> tuple[Exception, str]:
    """Return an error that can be sent, and its traceback as text: pickling drops the cause of an error."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # some errors cannot be made again of their arguments
        error = NpconvError(str(error)) if isinstance(error, NpconvError) else RuntimeError(f"{error!r}")
    return error, text
