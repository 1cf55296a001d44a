"""An engine in a process of its own: ``python -m npconv.bench.orders`` takes orders from stdin and answers on stdout.

An order is a line of JSON, ``{"do": NAME, ...}``; so is the answer, ``{"error": ...}`` when it failed. What libraries
print goes to stderr. The process ends when its stdin does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from npconv.backend import to_device, to_host
from npconv.bench.runners import RUNNERS, Compute, Job, export_onnx
from npconv.bench.step import seconds_by_operation

#: A process rests when it used less than 2 ms of CPU in 10 ms.
LOOK, IDLE = 0.01, 0.002


class Orders:
    """The orders: each method that is not private is one."""

    def __init__(self) -> None:
        self._compute: Compute | None = None
        self._pictures: np.ndarray | None = None

    def load(self, runner: str, job: dict[str, Any]) -> dict[str, Any]:
        """Load a model."""
        self._compute = RUNNERS[runner](Job(**job))
        return {}

    def pictures(self, shape: list[int]) -> dict[str, Any]:
        """Make the input: the same in every process, and a batch begins with the pictures of a smaller one."""
        batch, *rest = shape
        rngs = [np.random.default_rng([7, index]) for index in range(batch)]
        self._pictures = np.stack([rng.standard_normal(rest, np.float32) for rng in rngs])
        return {}

    def open(self, path: str, shape: list[int]) -> dict[str, Any]:
        """Take one picture file as the input, scaled to the model's size."""
        from PIL import Image

        channels, height, width = shape
        picture = Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(picture, np.float32).transpose(2, 0, 1) / 127.5 - 1
        self._pictures = np.resize(pixels, (1, channels, height, width)).astype(np.float32)
        return {}

    def logits(self) -> dict[str, Any]:
        """Return the logits of the input, and the seconds that they took."""
        start = time.perf_counter()
        logits = self._run()
        return {"seconds": time.perf_counter() - start, "logits": np.asarray(logits, np.float64).tolist()}

    def run(self, calls: int) -> dict[str, Any]:
        """Return the seconds of each of some calls, made in a row; answer when the process has come to rest."""
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            self._run()
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds, "rests": wait_for_rest()}

    def training_operations(self, model: str) -> dict[str, Any]:
        """Return the seconds that each operation takes of a step of training, forward and backward."""
        assert self._pictures is not None
        return {"seconds": seconds_by_operation(model, self._pictures)}

    def sgemm(self, size: int, calls: int, device: str = "cpu") -> dict[str, Any]:
        """Return the best seconds of a product of two square float32 matrices."""
        a, b = (to_device(m, device) for m in np.random.default_rng(0).standard_normal((2, size, size), np.float32))
        out = np.empty((size, size), np.float32) if device == "cpu" else None
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            if out is not None:
                np.matmul(a, b, out=out)
            else:
                to_host((a @ b)[:1, :1])  # comes when the whole product is done
            seconds.append(time.perf_counter() - start)
        return {"seconds": min(seconds)}

    def export(self, job: dict[str, Any], shape: list[int]) -> dict[str, Any]:
        """Write the ONNX form of a model."""
        export_onnx(Job(**job), tuple(shape))
        return {}

    def peak_memory(self) -> dict[str, Any]:
        """Return the most memory that this process has had, in bytes, where the system knows; else None."""
        try:
            import resource
        except ImportError:  # Windows
            return {"bytes": None}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"bytes": peak if sys.platform == "darwin" else peak * 1024}

    def _run(self) -> np.ndarray:
        """Run the loaded model on the input."""
        assert self._compute is not None
        assert self._pictures is not None
        return self._compute(self._pictures)


def wait_for_rest(limit: float = 1.0) -> bool:
    """Wait until the threads of this process have stopped spinning; tell whether they did within `limit` seconds.

    Thread pools spin for a while after a call in the hope of another. That is a rival's good right while it has its
    turn, but the next one must find the cores free. To forbid the spinning instead would slow the rival down.
    """
    end = time.monotonic() + limit
    while time.monotonic() < end:
        before = time.process_time()
        time.sleep(LOOK)
        if time.process_time() - before < IDLE:
            return True
    return False


def answer(orders: Any, line: str) -> dict[str, Any]:
    """Carry out one order and return its answer."""
    order = json.loads(line)
    act: Callable[..., dict[str, Any]] = getattr(orders, order.pop("do"))
    try:
        return act(**order)
    except Exception as error:
        lines = str(error).split("\n")
        return {"error": f"{type(error).__name__}: {next((text for text in lines if text.strip()), '')}"[:500]}


def serve(orders: TextIO, answers: TextIO) -> None:
    """Answer order after order until there are no more."""
    own = Orders()
    for line in orders:
        answers.write(json.dumps(answer(own, line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    own_stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, own_stdout)
