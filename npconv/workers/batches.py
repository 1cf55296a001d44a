"""The one way to work on many items: batch after batch, in this process, in others, or on the machines of a cluster.

Results come in the order of the items. An item that fails, or that workers die of, does not take its batch along.
Memory is bounded: in this process a batch, elsewhere what is on its way.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from npconv import cores
from npconv.errors import UnavailableError

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

Item = TypeVar("Item")
Result = TypeVar("Result")

#: From so many items on, worker processes are started without being asked for: fewer are done by then.
MANY = 64

#: Batches on their way at a time, with an executor that does not say how many workers it has.
IN_FLIGHT = 16

#: What executors raise for a task that was given up because workers died of it: npconv's own, and that of Dask.
GIVEN_UP = ("WorkerError", "KilledWorker")


def usual_workers(items: int, batch_size: int) -> int:
    """Return how many processes share the work on so many items where nobody says; 1 for none but this one."""
    return min(cores.available_cores(), -(-items // batch_size)) if items >= MANY else 1


class Work(Generic[Item, Result]):
    """What is done to each item; the classes of those who have work to share fill it in.

    `load` returns the tool that does the work. Where other processes do it, it is a
    :class:`npconv.workers.loader.Loader`, and the work is sent there with every batch: it must be picklable then, and
    so must the items and their results.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        self.load = load

    def prepare(self, tool: Any, item: Item) -> Any:
        """Return the array that an item becomes."""
        raise NotImplementedError

    def run(self, tool: Any, items: Sequence[Item], arrays: Sequence[Any]) -> list[Result]:
        """Return the results of items, given their arrays, which are of one shape."""
        raise NotImplementedError

    def failed(self, item: Item, error: Exception) -> Result:
        """Return the result of an item that fails by itself, or raise an error, which ends the work."""
        raise error

    def share(
        self,
        items: Iterable[Item],
        *,
        batch_size: int,
        executor: Executor | None = None,
        in_flight: int | None = None,
    ) -> Generator[list[Result], None, None]:
        """Yield the results of items in their order, a batch at a time, while the next batches are being worked on.

        What :meth:`failed` raises ends the stream. When workers die of a batch, its items are done again one by one, so
        the others in it are not lost.

        Parameters
        ----------
        items : iterable
            Read as it goes on.
        batch_size : int
            Items in a batch.
        executor : Executor, optional
            A :class:`npconv.workers.pool.WorkerPool`, a pool of ``concurrent.futures``, the ``get_executor()`` of a
            client of ``distributed``, or any other; this process does the work when unset.
        in_flight : int, optional
            The most batches that are read from `items` and not yet yielded. Twice as many as there are workers when
            unset: each has a batch to work on and one to go on with.
        """
        remaining = iter(items)
        limit = in_flight or 2 * getattr(executor, "workers", IN_FLIGHT // 2)
        waiting: deque[tuple[list[Item], Future[Any]]] = deque()
        process = os.getpid()
        try:
            while batch := list(islice(remaining, batch_size)):
                if executor is None:
                    yield self(batch)
                    continue
                waiting.append((batch, executor.submit(self, batch)))
                while waiting and (len(waiting) >= limit or waiting[0][1].done()):
                    yield self._results(executor, *waiting.popleft())
                    _check_process(process)
            while waiting:
                yield self._results(executor, *waiting.popleft())
                _check_process(process)
        finally:
            if os.getpid() == process:
                for _, future in waiting:
                    future.cancel()

    def _results(self, executor: Any, batch: list[Item], future: Future[Any]) -> list[Result]:
        """Wait for the results of a batch; if workers die of it, do its items one by one."""
        try:
            return future.result()
        except Exception as error:
            if type(error).__name__ not in GIVEN_UP:
                raise
            if len(batch) == 1:
                return [self.failed(batch[0], error)]
        alone = ([item] for item in batch)
        return [result for item in alone for result in self._results(executor, item, executor.submit(self, item))]

    def __call__(self, items: Sequence[Item]) -> list[Result]:
        """Return the results of a batch: prepared one by one, run together as far as their shapes allow."""
        tool = self.load()
        results: dict[int, Result] = {}
        groups: dict[tuple[int, ...], dict[int, Any]] = {}
        for place, item in enumerate(items):
            try:
                array = self.prepare(tool, item)
            except Exception as error:
                results[place] = self.failed(item, error)
            else:
                groups.setdefault(array.shape, {})[place] = array
        for arrays in groups.values():
            found = self._run(tool, [items[place] for place in arrays], list(arrays.values()))
            results |= zip(arrays, found, strict=True)
        return [results[place] for place in range(len(items))]

    def _run(self, tool: Any, items: Sequence[Item], arrays: Sequence[Any]) -> list[Result]:
        """Return the results of items that are run together; if they cannot be, one by one."""
        try:
            return self.run(tool, items, arrays)
        except Exception as error:
            if len(items) == 1:
                return [self.failed(items[0], error)]
        # After the handler: until then, the error keeps what the batch needed in memory.
        return [
            result for item, array in zip(items, arrays, strict=True) for result in self._run(tool, [item], [array])
        ]


def _check_process(process: int) -> None:
    """Refuse to wait, in a forked child, for results that only its parent gets."""
    if os.getpid() != process:
        raise UnavailableError(
            "expected results to be taken by the process that began them, got a fork of it; begin anew in the fork"
        )
