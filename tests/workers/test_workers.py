"""Worker processes: what they answer, and what becomes of tasks and processes when one is killed."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
from support import worker_tasks as tasks

from npconv import ConfigError, InputError, NpconvError, NpconvWarning, UnavailableError
from npconv.cores import available_cores
from npconv.workers import pool as workers
from npconv.workers.pool import ATTEMPTS, WorkerError, WorkerPool, WorkerTraceback

pytestmark = pytest.mark.long

linux = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(1) as shared:
        yield shared


def is_alive(process_id: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_results_are_those_of_the_function(pool):
    assert [future.result() for future in [pool.submit(tasks.double, x) for x in range(5)]] == [0, 2, 4, 6, 8]
    assert pool.submit(tasks.double, x="ab").result() == "abab"
    array = np.random.default_rng(0).standard_normal((8, 3, 50, 40)).astype(np.float32)
    np.testing.assert_array_equal(pool.submit(tasks.double, array).result(), 2 * array)


def test_a_worker_is_another_process_and_is_used_again(pool):
    first, second = (pool.submit(tasks.process_id).result() for _ in range(2))
    assert first == second != os.getpid()
    assert pool.process_ids() == [first]


def test_a_worker_has_one_thread_and_this_process_keeps_its_own(pool, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    os.kill(pool.submit(tasks.process_id).result(), signal.SIGTERM)  # for a new worker
    found = wait_until(lambda: not pool.process_ids()) and pool.submit(tasks.environment).result()
    assert os.environ == before
    assert found == {"blas": ["1"] * 4, "cores": 1, "folder": str(tmp_path)}


def test_errors_arrive_with_where_they_were_raised(pool):
    with pytest.raises(ConfigError, match="expected this, got that") as caught:
        pool.submit(tasks.fail, "config").result()
    assert isinstance(caught.value.__cause__, WorkerTraceback)
    assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(NpconvError, match="HeaderTooLarge: expected less"):  # its class takes two arguments
        pool.submit(tasks.fail, "two arguments").result()
    with pytest.raises(ZeroDivisionError, match="why"):
        pool.submit(tasks.fail, "other").result()


def test_what_a_task_had_is_let_go_with_its_error(pool):
    with pytest.raises(ValueError, match="with something"):
        pool.submit(tasks.fail_with_something).result()
    assert pool.submit(tasks.is_something_left).result() is False


def test_what_cannot_be_sent_is_an_error_and_not_the_end(pool):
    worker = pool.submit(tasks.process_id).result()
    with pytest.raises(InputError, match="a worker's result cannot be sent back"):
        pool.submit(tasks.unpicklable).result()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pool.submit(lambda: None).result()
    assert pool.submit(tasks.process_id).result() == worker


def test_warnings_arrive_once(pool):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            pool.submit(tasks.warn, "a warning of a worker").result()
    assert [(warning.category, str(warning.message)) for warning in caught] == [
        (NpconvWarning, "a warning of a worker")
    ]


@posix
def test_a_task_whose_worker_is_killed_is_done_again(pool, tmp_path):
    before = pool.submit(tasks.process_id).result()
    others = [pool.submit(tasks.double, x) for x in range(3)]
    killed = pool.submit(tasks.die_once, str(tmp_path / "mark"))
    more = [pool.submit(tasks.double, x) for x in range(3, 6)]
    assert killed.result(60) == "done"
    assert [future.result(60) for future in others + more] == [0, 2, 4, 6, 8, 10]
    assert pool.submit(tasks.process_id).result() != before


@posix
def test_a_worker_killed_in_the_middle_of_its_answer(pool, tmp_path):
    assert pool.submit(tasks.die_while_answering, str(tmp_path / "mark")).result(60).shape == (2_000_000,)


@linux
def test_an_idle_worker_that_is_killed_is_replaced(pool):
    worker = pool.submit(tasks.process_id).result()
    os.kill(worker, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(worker))
    assert pool.submit(tasks.process_id).result(60) != worker


@posix
def test_a_task_that_kills_every_worker_is_given_up(pool):
    killing = pool.submit(tasks.die)
    after = pool.submit(tasks.double, 21)
    with pytest.raises(WorkerError, match=rf"^{ATTEMPTS} worker processes died .*the last: signal 9"):
        killing.result(60)
    assert after.result(60) == 42


def test_workers_begin_with_what_their_tasks_need():
    with WorkerPool(1) as own:
        assert not own.submit(tasks.is_loaded, "wave").result()
        own.begin("wave")
        assert own.submit(tasks.is_loaded, "wave").result()
        own.begin("no_such_module")  # whose task will say so
        assert own.submit(tasks.double, 1).result() == 2


def test_shutdown_finishes_the_tasks_and_ends_the_workers():
    with WorkerPool(2) as own:
        futures = [own.submit(tasks.sleep, 0.2) for _ in range(3)]
        assert own.submit(tasks.double, 1).result() == 2
        ids = own.process_ids()
    assert len(ids) == 2
    assert [future.result(0) for future in futures] == [0.2] * 3
    assert own.process_ids() == []
    assert not any(map(is_alive, ids))
    with pytest.raises(RuntimeError):
        own.submit(tasks.double, 1)


def test_terminate_ends_the_workers_at_once():
    own = WorkerPool(1)
    worker = own.submit(tasks.process_id).result()
    futures = [own.submit(tasks.sleep, 60) for _ in range(3)]
    assert wait_until(futures[0].running)
    own.terminate()
    with pytest.raises(WorkerError, match="ended before it was done"):
        futures[0].result(20)
    with pytest.raises(CancelledError):
        futures[2].result(20)
    assert not is_alive(worker)


@linux
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_and_clean_up_when_their_parent_is_killed(end, tmp_path):
    command = "from support import worker_tasks; worker_tasks.start_and_print_ids(2)"
    home = Path(workers.__file__).parents[2]
    path = os.pathsep.join([str(home), str(Path(__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, env=environment)
    ids = [int(word) for word in parent.stdout.readline().split()]
    parent.stdout.close()
    assert len(ids) == 2
    assert all(map(is_alive, ids))
    assert len(list(tmp_path.glob("npconv-*"))) == 1
    parent.send_signal(end)
    assert parent.wait(20) == -end
    assert wait_until(lambda: not any(map(is_alive, ids)))
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_pool_goes_with_it():
    with WorkerPool(1) as own:
        (own.folder / "shared").write_text("by all of them")
        assert own.submit(os.listdir, own.folder).result() == ["shared"]
        folder = own.folder
    assert not folder.exists()
    with pytest.raises(UnavailableError, match="have ended, and their folder with them"):
        own.folder  # noqa: B018 - it is made when it is asked for
    forgotten = WorkerPool(1)
    folder = forgotten.folder
    if hasattr(os, "fork"):
        if (child := os.fork()) == 0:
            forgotten._folder.remove()  # as the end of this process would
            os._exit(0)
        os.waitpid(child, 0)
        assert folder.exists()  # it is not the child's
    del forgotten
    gc.collect()
    assert not folder.exists()


def test_the_folder_starts_no_worker_while_a_task_does(monkeypatch):
    """It is asked for when a task has looked for a worker, found none, and not yet started one."""
    looked, taken_first = threading.Event(), WorkerPool._taken_first

    def slowly(pool):
        found = taken_first(pool)
        looked.set()
        time.sleep(0.1)
        return found

    monkeypatch.setattr(WorkerPool, "_taken_first", slowly)
    with WorkerPool(1) as own:
        task = own.submit(os.getpid)
        assert looked.wait(20)
        own.folder  # noqa: B018 - it is made when it is asked for
        assert own.process_ids() == [task.result()]


def test_workers_that_cannot_start_are_an_error_and_no_hang(monkeypatch):
    started = []

    class Dead(workers.Worker):
        def is_ready(self):
            started.append(self.process.pid)
            self.kill()
            return super().is_ready()

    monkeypatch.setattr(workers, "Worker", Dead)
    with WorkerPool(1) as own, pytest.raises(UnavailableError, match="worker processes end before they are ready"):
        own.submit(tasks.double, 1).result(60)
    assert len(started) == ATTEMPTS


def test_a_process_that_cannot_be_made_is_tried_again(monkeypatch):
    tried = []

    class Second(workers.Worker):
        def __init__(self, folder):
            tried.append(self)
            if len(tried) == 1:
                raise BrokenPipeError("killed while it was started")
            super().__init__(folder)

    monkeypatch.setattr(workers, "Worker", Second)
    with WorkerPool(1) as own:
        assert own.submit(tasks.double, 1).result(60) == 2
    tried.clear()
    monkeypatch.setattr(workers, "Worker", lambda folder: (_ for _ in ()).throw(OSError("no memory")))
    with WorkerPool(1) as own, pytest.raises(UnavailableError, match="the last: no memory"):
        own.submit(tasks.double, 1).result(60)


def test_workers_start_no_workers(pool):
    with pytest.raises(UnavailableError, match="this process is a worker and may start none of its own"):
        pool.submit(WorkerPool, 1).result()


def test_the_number_of_workers_is_checked():
    with pytest.raises(InputError, match="at least 1 worker, got 0"):
        WorkerPool(0)
    assert WorkerPool().workers == available_cores()
