"""How long ``npconv trace`` and ``npconv diff`` take on a ConvNeXt-T at 224 x 224.

    python -m tests.golden.speed                   prints seconds, processor seconds and peak memory of every call
    python -m tests.golden.speed --keep FOLDER     keeps model, picture and traces there, and takes those it finds

The model has random weights. The ports are runs in float32: a right one, and three that are wrong in the middle of the
third stage, where all arrays are recorded and where the logits are alone. Of the mistakes, one is in the catalogue, one
is of a kind, and one is neither.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from npconv.bench.architectures import ARCHITECTURES, write_random_model
from npconv.bench.processes import OtherPrograms
from npconv.cores import available_cores
from npconv.golden.trace_file import PIXELS, load_trace
from npconv.layers import gelu, gelu_tanh
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_plan
from npconv.plan.step import Step

#: Where the mistakes are.
PLACE = "encoder.stages.2.layers.4.act"


def unexplained(x: np.ndarray) -> np.ndarray:
    """Return GELU and some noise."""
    return gelu(x) + np.random.default_rng(0).normal(0, 0.01, x.shape).astype(x.dtype)


#: What a port computes at `PLACE`, and what the status of its comparison is.
PORTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "right": (gelu, 0),
    "catalogued": (gelu_tanh, 1),
    "kind": (lambda x: gelu(x) * np.float32(0.75), 1),
    "unexplained": (unexplained, 1),
}


class Figures(NamedTuple):
    """What a call took: seconds on the clock, seconds of all cores, bytes at its peak."""

    wall: float
    processor: float
    memory: int


def measure(arguments: Sequence[str], status: int, module: str = "npconv") -> tuple[Figures, str]:
    """Run a command line in a process of its own; return its figures and what it printed."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, ended, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode != status:
        raise SystemExit(f"expected status {status} of {module} {' '.join(arguments)}, got {process.returncode}")
    wall = time.perf_counter() - begin
    return Figures(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024), printed


def make_subject(folder: Path) -> None:
    """Write a model and a picture."""
    write_random_model(ARCHITECTURES["convnext-tiny"](), folder / "model")
    settings = {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.875}
    (folder / "model" / "preprocessor_config.json").write_text(json.dumps(settings))
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "picture.png")


def write_port(folder: Path, name: str) -> None:
    """Write the full trace of a port, and the one of its logits alone."""
    golden = load_trace(folder / "golden.safetensors")
    plan = golden.plan
    assert plan is not None

    def function_of(step: Step) -> Callable[..., Any]:
        wrong = step.name.endswith(PLACE)
        return (lambda x, **_: PORTS[name][0](x)) if wrong else OPERATIONS[step.operation]

    start = {PIXELS: golden[PIXELS]}
    arrays = {step.name: array for step, array in run_plan(plan, start, golden.params, function_of)}
    for kind, names in (("full", list(arrays)), ("logits", list(plan.outputs))):
        trace = type(golden)()
        for kept in (PIXELS, *names):
            trace.add(kept, {**start, **arrays}[kept])
        trace.save(folder / f"{name}-{kind}.safetensors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.speed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--say", action="store_true", help="print what each call says, too")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "picture.png").exists():
            make_subject(folder)
        golden = folder / "golden.safetensors"
        others = OtherPrograms()
        row("call", "wall s", "processor s", "peak MB")
        called("trace", ["trace", str(folder / "model"), str(folder / "picture.png"), "-o", str(golden)], 0, args.say)
        for kind in ("full", "logits"):
            for name, (_, status) in PORTS.items():
                mine = folder / f"{name}-{kind}.safetensors"
                if not mine.exists():
                    write_port(folder, name)
                called(f"diff {kind}, {name}", ["diff", str(golden), str(mine)], status, args.say)
        if (busy := others.cores()) is not None:
            print(f"other programs kept {busy:.1f} of {available_cores()} cores busy")
    return 0


def called(what: str, arguments: Sequence[str], status: int, say: bool) -> None:
    """Print the figures of a call."""
    figures, printed = measure(arguments, status)
    row(what, f"{figures.wall:.1f}", f"{figures.processor:.1f}", f"{figures.memory / 1e6:.0f}")
    if say:
        print(printed)


def row(*cells: str) -> None:
    """Print a row of the table."""
    print(f"{cells[0]:<26}", *(f"{cell:>12}" for cell in cells[1:]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
