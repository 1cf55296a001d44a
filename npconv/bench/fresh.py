"""Cold start and peak memory, each in a fresh process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npconv.bench.contenders import Contender
from npconv.bench.processes import PROC, PeakMemory
from npconv.bench.remote import RemoteEngine

#: Calls after loading: buffers that are made on the way are there after the second.
CALLS = 3


def write_picture(path: Path) -> None:
    """Write a picture as a camera would: smooth, 640 x 480, PNG."""
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(path)


def cold_start(contender: Contender, job: Mapping[str, Any], picture: Path, shape: Sequence[int]) -> float:
    """Return the seconds from the start of a process to the logits of a picture.

    The process loads Python, the engine and the model, decodes the picture, scales it to `shape` (C, H, W) and runs. An
    engine that fails is an `EngineError`.
    """
    start = time.perf_counter()
    with RemoteEngine(contender.environment) as remote:
        remote.load(contender.runner, job)
        remote.ask("open", path=str(picture), shape=list(shape))
        remote.ask("logits")
        return time.perf_counter() - start


def peak_memory(contender: Contender, job: Mapping[str, Any], shape: Sequence[int]) -> int | None:
    """Return the peak memory in bytes of loading a model and running it on pictures of `shape` (N, C, H, W).

    Of all processes where the system tells (Linux), else of the first; None where not even that is known. An engine
    that fails is an `EngineError`.
    """
    with RemoteEngine(contender.environment) as remote, PeakMemory(remote.pid) as peak:
        remote.load(contender.runner, job)
        remote.ask("pictures", shape=list(shape))
        remote.ask("run", calls=CALLS)
        if not (PROC / "self" / "status").is_file():
            return remote.ask("peak_memory")["bytes"]
        peak.look()
    return peak.bytes
