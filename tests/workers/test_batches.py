"""Batches through executors: order, memory, errors, and what becomes of items whose worker is killed."""

import os
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest
from support import streaming_tasks as tasks

from npconv.workers.batches import Work
from npconv.workers.pool import WorkerError, WorkerPool

posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


def map_batches(executor, function, items, **options):
    return tasks.Whole(function).share(items, executor=executor, **options)


class LaterFirst(Executor):
    """Does nothing until somebody waits, and then the last task first."""

    workers = 3

    def __init__(self):
        self.tasks = []
        self.most = 0

    def submit(self, function, /, *args):
        future = WaitedFor(self)
        self.tasks.append((future, function, args))
        self.most = max(self.most, len(self.tasks))
        return future

    def work(self):
        while self.tasks:
            future, function, args = self.tasks.pop()
            future.set_result(function(*args))


class WaitedFor(Future):
    def __init__(self, executor):
        super().__init__()
        self.executor = executor

    def result(self, timeout=None):
        self.executor.work()
        return super().result(timeout)


@pytest.mark.parametrize("count", [0, 1, 5, 30])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_results_come_in_order_whatever_finishes_first(count, batch_size):
    batches = list(map_batches(LaterFirst(), tasks.double_all, range(count), batch_size=batch_size))
    assert [result for batch in batches for result in batch] == [2 * item for item in range(count)]
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_no_more_is_read_than_is_on_its_way():
    read = []

    def items():
        for item in range(100):
            read.append(item)
            yield item

    executor = LaterFirst()
    stream = map_batches(executor, tasks.double_all, items(), batch_size=5)
    assert read == []
    yielded = 0
    for batch in stream:
        yielded += len(batch)
        assert len(read) - yielded <= 5 * 2 * executor.workers
    assert yielded == 100
    assert executor.most == 2 * executor.workers


def test_in_flight_can_be_chosen():
    executor = LaterFirst()
    list(map_batches(executor, tasks.double_all, range(50), batch_size=1, in_flight=4))
    assert executor.most == 4


def test_results_are_not_held_back_while_others_run():
    with ThreadPoolExecutor(2) as executor:
        goes_on = threading.Event()

        def work(items):
            if items == [3]:
                assert goes_on.wait(20)
            return items

        def items():
            for item in range(8):
                time.sleep(0.01)
                yield item

        seen = []
        for batch in map_batches(executor, work, items(), batch_size=1, in_flight=8):
            seen += batch
            if seen == [0, 1, 2]:
                goes_on.set()
    assert seen == list(range(8))


def test_an_error_ends_the_stream_and_cancels_the_rest():
    done = []

    def work(items):
        if items == [2]:
            raise ZeroDivisionError("why")
        done.extend(items)
        return items

    with ThreadPoolExecutor(1) as executor:
        stream = map_batches(executor, work, range(100), batch_size=1, in_flight=4)
        with pytest.raises(ZeroDivisionError, match="why"):
            list(stream)
    assert len(done) <= 6


def test_a_stream_that_is_left_cancels_the_rest():
    executor = LaterFirst()
    stream = map_batches(executor, tasks.double_all, range(100), batch_size=1)
    executor.work()
    next(stream)
    submitted = [future for future, *_ in executor.tasks]
    stream.close()
    assert all(future.cancelled() for future in submitted)


@posix
def test_a_killed_worker_loses_and_doubles_nothing(tmp_path):
    items = [*range(7), tmp_path / "mark", *range(7, 20)]
    with WorkerPool(2) as pool:
        batches = list(map_batches(pool, tasks.double_all, items, batch_size=4))
    expected = [2 * item if isinstance(item, int) else item for item in items]
    assert [result for batch in batches for result in batch] == expected
    assert (tmp_path / "mark").exists()


@posix
def test_an_item_that_kills_workers_is_given_up_alone():
    items = [0, 1, 2, "die", 4, 5, 6, 7]
    with WorkerPool(2) as pool:
        batches = list(tasks.Noting(tasks.double_all).share(items, executor=pool, batch_size=4))
    assert batches == [[0, 2, 4, "gone"], [8, 10, 12, 14]]
    assert tasks.Noting.given_up == [("die", WorkerError)]


class Sums(Work):
    """Rows of numbers to their sums; what is no row, and what is negative, fails."""

    ran: ClassVar = []

    def prepare(self, tool, item):
        return np.array(item, float)

    def run(self, tool, items, arrays):
        self.ran.append(len(items))
        if np.min(arrays) < 0:
            raise ValueError("negative")
        return [tool(row) for row in arrays]

    def failed(self, item, error):
        return type(error).__name__


@pytest.mark.parametrize("shared", [False, True])
def test_an_item_that_fails_takes_no_other_along(shared):
    rows = [[1, 2], [3, 4, 5], "x", [6, 7], [-1, 3], [8, 9, 10], [11]]
    Sums.ran.clear()
    with ThreadPoolExecutor(1) as threads:
        batches = Sums(lambda: np.sum).share(rows, batch_size=6, executor=threads if shared else None)
        assert list(batches) == [[3, 12, "ValueError", 13, "ValueError", 27], [11]]
    assert Sums.ran == [3, 1, 1, 1, 2, 1]  # together by their shapes; those of a length of 2 then one by one


def test_work_that_says_nothing_of_failures_ends_with_the_first():
    class Strict(Sums):
        failed = Work.failed

    batches = Strict(lambda: np.sum).share([[1], [2], [-3], [4]], batch_size=2)
    assert next(batches) == [1, 2]
    with pytest.raises(ValueError, match="negative"):
        next(batches)
