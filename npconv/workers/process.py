"""One worker process: this end of its pipes, and what it does at the other.

It does what it is asked to until its pipe ends: when it is told to, or with the process that started it, however that
one ends.

It is started as a Python of its own, not by ``multiprocessing``, which would run the user's program once more in each
worker: one without a ``__main__`` guard would start workers of workers, and one from standard input cannot be run
again. Here the program is run once more only if something that it defines itself is sent to a worker.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import threading
import traceback
import warnings
import weakref
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn

from npconv.cores import THREAD_VARIABLES, limit_cores
from npconv.errors import InputError, NpconvError, UnavailableError
from npconv.forks import in_child, whole_to_forks
from npconv.workers import program

#: Seconds that a worker has to end by itself before it is killed; it waits for nothing, so it needs none.
PATIENCE = 5

#: What a worker runs. Its paths are those of whoever started it; the first line, which says so, is read byte by byte,
#: so that nothing behind it is.
COMMAND = (
    "import sys; sys.path = [path for path in sys.path if path]; import json; "
    "sys.path[:] = json.loads(open(0, 'rb', 0, closefd=False).readline()); "
    "from npconv.workers.process import serve; serve()"
)

_READY = b"ready"

#: Bytes that say how long a message is.
_LENGTH = 8

#: Whether this process is a worker.
_serving = False


class WorkerTraceback(Exception):  # noqa: N818 - no error by itself: the cause of one, as text
    """Where in a worker process an error was raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Worker:
    """One worker process and this end of its pipes; it removes `folder` when the process that started it is gone.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(self, folder: Path) -> None:
        with whole_to_forks():  # else a child could keep pipes that it does not know of
            self.process = subprocess.Popen(
                [program.interpreter(), *program.interpreter_options(), "-c", COMMAND],
                bufsize=0,  # no buffers, whose locks and contents a fork would copy
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")},
                start_new_session=True,  # Ctrl-C is sent to all of a session: this process decides what to do then
            )
            _workers.add(self)
        with suppress(OSError):  # it is gone already, as whoever waits for it will see
            _write(self.process.stdin, json.dumps(program.paths()).encode() + b"\n")
            self._send(pickle.dumps((folder, program.main_of_this_process())))

    def is_ready(self) -> bool:
        """Wait until the worker has started, and tell whether it has."""
        try:
            return _receive(self.process.stdout) == _READY
        except (EOFError, OSError, ValueError):
            return False

    def ask(self, message: bytes) -> bytearray:
        """Send a task and wait for the answer; EOFError or OSError when the worker is gone."""
        try:
            self._send(message)
            return _receive(self.process.stdout)
        except ValueError as error:  # the pipe was closed at this end
            raise EOFError from error

    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self.process.poll() is None

    def end(self) -> None:
        """Let the worker end, now that it has nothing to do."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        self.kill()
        self.close()

    def close(self) -> None:
        """Let go of the pipes; nobody may be waiting at them."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def kill(self) -> None:
        """End the worker whatever it does."""
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)

    def status(self) -> str:
        """Return how the process ended, in words."""
        code = self.process.poll()
        return f"signal {-code}" if code is not None and code < 0 else f"status {code}"

    def leave_to_parent(self) -> None:
        """Let go of a worker of the process that this one is a fork of: it must see the end of that one alone."""
        self.close()
        self.process.returncode = 0  # whatever it is, it is not known here

    def _send(self, message: bytes) -> None:
        _write(self.process.stdin, len(message).to_bytes(_LENGTH, "big"))
        _write(self.process.stdin, message)

    def __del__(self) -> None:
        if hasattr(self, "process"):
            self.end() if self.process.returncode is None else self.close()


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for worker in list(_workers):
        worker.leave_to_parent()


in_child(_leave_all_to_parent)


def _write(pipe: Any, content: bytes) -> None:
    """Write to a pipe without a buffer, which takes what it has room for."""
    left = memoryview(content)
    while left:
        left = left[pipe.write(left) :]


def _receive(pipe: Any) -> bytearray:
    """Read a message; EOFError if the pipe ends."""
    return _read(pipe, int.from_bytes(_read(pipe, _LENGTH), "big"))


def _read(pipe: Any, size: int) -> bytearray:
    content = bytearray(size)
    left = memoryview(content)
    while left:
        if not (count := pipe.readinto(left)):
            raise EOFError
        left = left[count:]
    return content


def serve() -> None:
    """Be a worker: answer tasks until the pipe ends."""
    global _serving
    _serving = True
    limit_cores(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    incoming, outgoing = _take_pipes()
    folder, main = pickle.loads(_receive(incoming))
    program.stand_in_for(main)
    tasks: SimpleQueue[bytearray] = SimpleQueue()
    threading.Thread(target=_take_in, args=(incoming, tasks, folder), daemon=True).start()
    with suppress(OSError):
        answer = _READY
        while True:
            _write(outgoing, len(answer).to_bytes(_LENGTH, "big"))
            _write(outgoing, answer)
            answer = _answer(tasks.get())
    _leave(folder)


def _take_pipes() -> tuple[Any, Any]:
    """Return the pipes of tasks and answers; who reads or prints from now on finds nothing, and gets to stderr."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # there is no stderr
        os.dup2(nothing, 1)
    return incoming, outgoing


def _take_in(pipe: Any, tasks: SimpleQueue[bytearray], folder: Path) -> None:
    """Take tasks from the pipe; when it ends, in the middle of whatever this process does, clean up and end it."""
    with suppress(EOFError, OSError):
        while True:
            tasks.put(_receive(pipe))
    _leave(folder)


def _leave(folder: Path) -> NoReturn:
    """Remove the folder and end this process, whatever its other threads do."""
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _answer(message: bytearray) -> bytes:
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
    """Return an error that can be sent, and its traceback as text: pickling drops the cause of an error.

    The traceback itself would keep what the task had in memory, until Python looks for garbage.
    """
    text = "".join(traceback.format_exception(error))
    error.__traceback__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # some errors cannot be made again of their arguments
        error = NpconvError(str(error)) if isinstance(error, NpconvError) else RuntimeError(f"{error!r}")
    return error, text


def check_may_start() -> None:
    """Refuse to start workers where there can be none: in a worker, and in programs that are no Python to start.

    Raises
    ------
    UnavailableError
    """
    if program.is_run_again():
        raise UnavailableError(program.RUN_AGAIN)
    if _serving:
        raise UnavailableError("this process is a worker and may start none of its own; use workers=1")
    program.interpreter()
