"""The controller's hold on an engine's process: orders out, answers back, and no way for either side to hang."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from npconv.errors import NpconvError

#: Seconds that the longest order may take: compiling a model on a busy machine.
PATIENCE = 900.0


class EngineError(NpconvError):
    """An engine could not do what it was told; the message says why."""


class RemoteEngine:
    """A process that runs ``npconv.bench.orders``. Close it, or use it in a ``with`` statement.

    The `environment` is added to that of this process; an answer may take `patience` seconds.
    """

    def __init__(self, environment: Mapping[str, str], patience: float = PATIENCE) -> None:
        self.patience = patience
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "npconv.bench.orders"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C reaches the controller alone, which then ends its engines
        )
        self.pid = self._process.pid
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Give an order and return the answer.

        An engine that reports an error, ends, or does not answer in time is closed: an `EngineError`.
        """
        assert self._process.stdin is not None
        with suppress(OSError):  # it is gone; the silence that follows is reported below
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        try:
            line = self._answers.get(timeout=self.patience)
        except queue.Empty:
            self.close(at_once=True)
            raise EngineError(f"no answer within {self.patience:g} s") from None
        answer = json.loads(line) if line else {"error": self._reason_of_end()}
        if "error" in answer:
            self.close(at_once=True)
            raise EngineError(answer["error"])
        return answer

    def load(self, runner: str, job: Mapping[str, Any]) -> None:
        """Let it load a model: a runner's name, and the fields of its ``Job``."""
        self.ask("load", runner=runner, job=dict(job))

    def close(self, *, at_once: bool = False) -> None:
        """End the process: by closing its stdin, then by force, with all its children."""
        process = self._process
        with suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2 if at_once else 10)
        if process.poll() is None:
            self._kill()
        process.wait()
        self._messages.close()

    def _listen(self) -> None:
        """Pass on each line that comes from the process; an empty one says that it has ended."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(line)
        self._answers.put("")

    def _kill(self) -> None:
        """End the process and, where the system knows groups, those that it started."""
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _reason_of_end(self) -> str:
        """Return how the process ended and the last that it said."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._messages.seek(0, os.SEEK_END)
        self._messages.seek(max(0, self._messages.tell() - 4000))
        lines = self._messages.read().decode("utf-8", "replace").strip().splitlines()
        return f"its process ended with status {self._process.returncode}" + (f": {lines[-1][:300]}" if lines else "")

    def __enter__(self) -> RemoteEngine:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self.close(at_once=error is not None)
