"""Many pictures to results, in their order, by whatever runs the work: worker processes, or machines of a cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

from npconv.workers.pool import WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Batches on their way at a time, with an executor that does not say how many workers it has.
IN_FLIGHT = 16

#: What executors raise for a task that was given up because workers died of it: npconv's own, and that of Dask.
GIVEN_UP = (WorkerError.__name__, "KilledWorker")


def map_batches(
    executor: Executor,
    function: Callable[[list[Item]], list[Result]],
    items: Iterable[Item],
    *,
    batch_size: int,
    given_up: Callable[[Item, Exception], Result],
    in_flight: int | None = None,
) -> Iterator[list[Result]]:
    """Yield the results of items in their order, a batch at a time, while the next batches are being worked on.

    Whatever `function` raises ends the stream; errors that belong to an item should be its result instead. Memory is
    bounded: no more than `in_flight` batches are read from `items` and not yet yielded.

    Parameters
    ----------
    executor : Executor
        A :class:`npconv.workers.pool.WorkerPool`, a pool of ``concurrent.futures``, the ``get_executor()`` of a client
        of ``distributed``, or any other.
    function : callable
        From a batch, a list of items, to the list of their results. It, the items and the results must be picklable
        where the executor has other processes.
    items : iterable
        Read as it goes on.
    batch_size : int
        Items in a batch.
    given_up : callable
        Returns the result of an item that workers die of, or raises the error that it gets. When workers die of a
        batch, its items are done again one by one, so the others in it are not lost.
    in_flight : int, optional
        Twice as many as there are workers when unset: each has a batch to work on and one to go on with.
    """
    limit = in_flight or 2 * getattr(executor, "workers", IN_FLIGHT // 2)
    remaining = iter(items)
    waiting: deque[tuple[list[Item], Future]] = deque()
    try:
        while batch := list(islice(remaining, batch_size)):
            waiting.append((batch, executor.submit(function, batch)))
            while waiting and (len(waiting) >= limit or waiting[0][1].done()):
                yield _results(executor, function, *waiting.popleft(), given_up)
        while waiting:
            yield _results(executor, function, *waiting.popleft(), given_up)
    finally:
        for _, future in waiting:
            future.cancel()


def _results(
    executor: Executor,
    function: Callable[[list[Item]], list[Result]],
    batch: list[Item],
    future: Future,
    given_up: Callable[[Item, Exception], Result],
) -> list[Result]:
    """Wait for the results of a batch; if workers die of it, do its items one by one."""
    try:
        return future.result()
    except Exception as error:
        if type(error).__name__ not in GIVEN_UP:
            raise
        if len(batch) == 1:
            return [given_up(batch[0], error)]
    results: list[Result] = []
    for item in batch:
        results += _results(executor, function, [item], executor.submit(function, [item]), given_up)
    return results
