"""Forked children of a process that works: with workers, threads, and streams that are not theirs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import npconv

pytestmark = [pytest.mark.long, pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")]

#: In a process of its own, whose threads are known: what forked children do. Each has 60 seconds.
FRAME = """\
import os, sys, signal, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, that it is dangerous
import numpy as np, npconv
from support import worker_tasks
from npconv.workers.pool import WorkerPool
PHOTOS = [np.full((40, 40, 3), value, np.uint8) for value in (0, 90, 200)]

def child(work):
    process = os.fork()
    if process == 0:
        signal.alarm(60)
        try:
            work()
        except npconv.NpconvError as error:
            print(type(error).__name__, error, sep=": ", flush=True)
            os._exit(2)
        sys.exit()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
"""


def run(code: str) -> list[str]:
    """Run code behind the frame; return what it prints."""
    homes = [str(Path(npconv.__file__).parents[1]), str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(homes)}
    command = [sys.executable, "-c", FRAME + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_child_uses_its_parents_pipeline_with_workers():
    lines = run("""
pipe = npconv.pipeline("image-classification", model="convnextv2-cifar10", workers=2)
expected = pipe(PHOTOS)
workers = pipe.executor().process_ids()
folder = pipe.executor().folder
def work():
    assert pipe(PHOTOS) == expected
    assert not set(pipe.executor().process_ids()) & set(workers)
    assert pipe.executor().folder != folder
    pipe.close()
print([child(work) for _ in range(2)], child(pipe.close), child(lambda: None))
assert pipe(PHOTOS) == expected
print(pipe.executor().process_ids() == workers, folder.exists())
""")
    assert lines == ["[0, 0] 0 0", "True True"]


def test_results_that_a_parent_began_are_refused_in_its_children():
    (line, status) = run("""
pipe = npconv.pipeline("image-classification", model="convnextv2-cifar10", workers=2)
results = pipe(iter(PHOTOS * 9))
next(results)
def work():
    list(results)
print(child(work))
assert len(list(results)) == 26
""")
    assert line == (
        "UnavailableError: expected results to be taken by the process that began them, got a fork of it; "
        "begin anew in the fork"
    )
    assert status == "2"


def test_a_pool_that_has_ended_has_ended_in_children_too():
    lines = run("""
pool = WorkerPool(1)
pool.submit(abs, 1).result()
def ends():
    pool.shutdown()
    try:
        pool.submit(abs, 1)
    except RuntimeError:
        print("ended", flush=True)
print(child(ends))
print(pool.submit(abs, -2).result())
pool.terminate()
print(child(ends))
""")
    assert lines == ["ended", "0", "2", "ended", "0"]


def test_workers_of_a_dead_parent_end_though_its_child_lives(tmp_path):
    lines = run("""
first = os.fork()
if first == 0:
    pool = WorkerPool(2)
    [pool.submit(worker_tasks.sleep, 0.1) for _ in range(2)][-1].result()
    lives = os.fork()
    if lives == 0:
        os.closerange(0, 3)  # else whoever reads what is printed waits for it
        time.sleep(300)
    print(lives, *pool.process_ids(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(first, 0)
""")
    lives, *workers = map(int, lines[0].split())
    try:
        subprocess.run(
            ["timeout", "30", "sh", "-c", " ".join(f"while kill -0 {w} 2>&-; do sleep 0.05; done;" for w in workers)],
            check=True,
        )
    finally:
        os.kill(lives, 9)


def test_a_shared_classifier_in_a_child():
    lines = run("""
from npconv.api.shared import SharedClassifier
classifier = SharedClassifier("convnextv2-cifar10", workers=2)
x = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype(np.float32)
expected = classifier(x)
def work():
    assert np.array_equal(classifier(x), expected)
    classifier.close()
print(child(work), np.array_equal(classifier(x), expected))
""")
    assert lines == ["0 True"]


def test_a_loader_is_free_in_a_child_while_a_thread_loads():
    lines = run("""
from npconv.workers.loader import Loader
from support import worker_tasks
began = threading.Event()
slow = Loader.of(worker_tasks.sleep, seconds=2.0)
threading.Thread(target=slow).start()
time.sleep(0.2)
print(child(lambda: print(Loader.of(worker_tasks.double, x=4)(), flush=True)))
""")
    assert lines == ["8", "0"]


def test_a_few_forks_while_threads_decode_infer_load_and_share():
    """The whole of it by hand: ``python -m tests.workers.proof_forks``."""
    home = Path(npconv.__file__).parents[1]
    command = [sys.executable, "-W", "ignore", "-m", "tests.workers.proof_forks", "--forks", "4"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=400, check=False)
    assert (done.returncode, done.stdout) == (0, "4 forks: 4 well\n"), done.stderr
