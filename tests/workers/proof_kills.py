"""Kills of a command with workers at random moments: what it leaves, and what is left after the next start.

``python -m tests.workers.proof_kills --kills 100``
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import npconv

HOME = Path(npconv.__file__).parents[1]
PHOTO = str(HOME / "npconv" / "zoo" / "samples" / "ship.png")
WORDS = [sys.executable, "-m", "npconv", "classify", *[PHOTO] * 60, "--batch-size", "2", "--workers", "2"]

#: Seconds within which a command is killed, and that its workers then have to end.
LONGEST, PATIENCE = 3.0, 30.0


def workers(place: str) -> list[str]:
    """Return the processes that are workers with this place for temporary files."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            own = os.fsencode(f"TMPDIR={place}") in (folder / "environ").read_bytes()
            if own and b"npconv.workers.process" in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found


def kill_one(environment: dict[str, str], moment: float) -> None:
    """Start the command, and kill it after so many seconds."""
    process = subprocess.Popen(WORDS, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()


def main() -> int:
    """Print what was left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    shared, counted = set(os.listdir("/dev/shm")), Counter()
    with tempfile.TemporaryDirectory() as place:
        environment = {**os.environ, "TMPDIR": place, "OMP_NUM_THREADS": "1"}
        for _ in range(args.kills):
            kill_one(environment, random.uniform(0, LONGEST))
            end = time.monotonic() + PATIENCE
            while workers(place) and time.monotonic() < end:
                time.sleep(0.02)
            counted["with workers that went on"] += bool(workers(place))
            counted["with folders that stayed"] += bool(os.listdir(place))
        subprocess.run(WORDS, env=environment, stdout=subprocess.DEVNULL, check=True)
        left = os.listdir(place) + sorted(set(os.listdir("/dev/shm")) - shared)
    print(f"{args.kills} kills: {dict(+counted)}; after the next start left: {left}")
    return 1 if left or counted["with workers that went on"] else 0


if __name__ == "__main__":
    sys.exit(main())
