"""How long calls of the fast engine take beside other programs, of this checkout and of another, in turns.

``python -m tests.fast.busy_cores OTHER_CHECKOUT``: both in processes of their own, with 0 and with 10 busy loops beside
them; the figures are medians, and the ratio is that of each turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np


def serve(size: int, threads: int) -> None:
    """Time a call for each line on standard input."""
    import npconv

    config = npconv.ConvNextConfig(num_labels=1000)
    model = npconv.ConvNextForImageClassification(config, engine="fast", threads=threads)
    x = np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32)
    model(x)
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        model(x)
        print(json.dumps(time.perf_counter() - began), flush=True)


class Server:
    """A process that runs the engine of a checkout."""

    def __init__(self, stack: ExitStack, checkout: str, size: int, threads: int) -> None:
        words = [sys.executable, __file__, "--serve", str(size), str(threads)]
        environment = {**os.environ, "PYTHONPATH": checkout, "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        stack.callback(self.process.kill)
        assert self.process.stdout.readline() == "ready\n"

    def time(self) -> float:
        """Return the milliseconds of a call."""
        self.process.stdin.write("\n")
        return 1000 * json.loads(self.process.stdout.readline())


def compare(other: str, load: int, turns: int, size: int) -> str:
    """Return a line of figures beside so many busy loops."""
    here = str(Path(__file__).parents[2])
    with ExitStack() as stack:
        named = {"before": (other, 2), "now": (here, 2), "before, 1 thread": (other, 1)}
        servers = {name: Server(stack, checkout, size, threads) for name, (checkout, threads) in named.items()}
        for _ in range(load):
            loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(loop.kill)
        found = {name: [] for name in servers}
        for _ in range(turns):
            for name, server in servers.items():
                found[name].append(server.time())
    medians = ", ".join(f"{name} {statistics.median(times):.0f} ms" for name, times in found.items())
    ratio = statistics.median(a / b for a, b in zip(found["before"], found["now"], strict=True))
    return f"{load} busy loops: {medians}; before / now {ratio:.2f}"


def main() -> None:
    """Print the figures, or serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", nargs="?", help="another checkout")
    parser.add_argument("--serve", nargs=2, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--loads", nargs="*", type=int, default=[0, 10])
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--size", type=int, default=224)
    args = parser.parse_args()
    if args.serve:
        serve(*args.serve)
    else:
        for load in args.loads:
            print(compare(args.other, load, args.turns, args.size), flush=True)


if __name__ == "__main__":
    main()
