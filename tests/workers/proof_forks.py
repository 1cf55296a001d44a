"""Forks while threads decode, infer, load and share: does a child ever wait for a thread that did not come along?

``python -m tests.workers.proof_forks`` forks 200 times, which takes minutes; a small number of them is in the suite.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from itertools import count

import numpy as np
from PIL import Image

import npconv
from npconv.workers.loader import Loader

MODEL = "convnextv2-cifar10"

#: Seconds in which a child must have ended: it works for a second or two, on a busy machine for ten times as long.
PATIENCE = 60

#: Every so often a child uses workers of its own, which take a second to start.
WITH_WORKERS = 10


def photos() -> list[bytes]:
    """Return pictures as files: JPEG and PNG, the last large enough to take a while."""
    files = []
    for size, form in [((90, 60), "JPEG"), ((64, 64), "PNG"), ((900, 700), "JPEG")]:
        pixels = np.random.default_rng(len(files)).integers(0, 256, (*size, 3)).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, form)
        files.append(stream.getvalue())
    return files


def best(results: list) -> list[str]:
    """Return the first label of each picture."""
    return [result[0]["label"] for result in results]


class Busy:
    """A process with threads for everything that npconv does, and pipelines that its children inherit."""

    def __init__(self) -> None:
        self.photos = photos()
        self.alone = npconv.pipeline("image-classification", model=MODEL)
        self.shared = npconv.pipeline("image-classification", model=MODEL, workers=2)
        self.explicit = npconv.AutoModelForImageClassification.from_pretrained(MODEL)
        self.pixels = self.alone.image_processor(Image.open(io.BytesIO(self.photos[0])))["pixel_values"]
        self.expected = best(self.alone(self.photos))
        self.failed: list[str] = []
        self.done: Counter[str] = Counter()
        self.stop = threading.Event()

    def share(self, _: int) -> None:
        """Let workers classify; the results are what they would be without forks."""
        assert best(self.shared(self.photos)) == self.expected

    def decode(self, turn: int) -> None:
        """Decode and prepare a picture."""
        self.alone.prepare(self.photos[turn % len(self.photos)])

    def infer(self, _: int) -> None:
        """Run both engines, the fast one with its threads."""
        self.alone.model(self.pixels)
        self.explicit(self.pixels)

    def load(self, turn: int) -> None:
        """Load another model, as workers do."""
        load = npconv.AutoModelForImageClassification.from_pretrained
        Loader.of(load, model=MODEL, engine="fast", threads=1 + turn % 3)()

    def run(self, work) -> None:
        """Do one of these until the end."""
        for turn in count():
            if self.stop.is_set():
                return
            try:
                work(turn)
            except Exception:
                self.failed.append(traceback.format_exc())
                return
            self.done[work.__name__] += 1

    def be_a_child(self, number: int) -> None:
        """Do all of it in a child, and end: as multiprocessing does, or as any program."""
        faulthandler.dump_traceback_later(PATIENCE - 5)
        status = 1
        try:
            assert best(self.alone(self.photos)) == self.expected
            self.explicit(self.pixels)
            self.load(number)
            if number % WITH_WORKERS == 0:
                self.share(number)
            status = 0
        except BaseException:
            traceback.print_exc()
        if number % 3 and status == 0:
            sys.exit()  # with all that is registered for the end of a program
        os._exit(status)


def wait_for(child: int) -> str:
    """Return how a child ended."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return "well" if status == 0 else f"with status {os.waitstatus_to_exitcode(status)}"
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hanging"


def prove(forks: int) -> Counter[str]:
    """Fork so many times; return how the children ended, and what went on in the parent meanwhile."""
    busy = Busy()
    busy.share(0)
    workers = busy.shared.executor().process_ids()
    works = [busy.decode, busy.infer, busy.load, busy.share]
    threads = [threading.Thread(target=busy.run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    ended: Counter[str] = Counter()
    for number in range(forks):
        child = os.fork()
        if child == 0:
            busy.be_a_child(number)
        ended[wait_for(child)] += 1
        if number % 20 == 19:
            print(number + 1, dict(ended), file=sys.stderr, flush=True)
    busy.stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    ended["threads that failed"] += len(busy.failed) + sum(thread.is_alive() for thread in threads)
    ended["workers that were lost"] += workers != busy.shared.executor().process_ids()
    busy.shared.close()
    print(*busy.failed, dict(busy.done), file=sys.stderr)
    return +ended


def main() -> int:
    """Print how the children ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forks", type=int, default=200)
    forks = parser.parse_args().forks
    ended = prove(forks)
    print(f"{forks} forks:", ", ".join(f"{number} {how}" for how, number in ended.items()))
    return 0 if ended == {"well": forks} else 1


if __name__ == "__main__":
    sys.exit(main())
