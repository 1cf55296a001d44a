"""The workers of a Dask cluster."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from npconv.errors import NotInstalledError, UnavailableError

#: Seconds in which a scheduler must answer.
PATIENCE = 10


@contextmanager
def dask_cluster(address: str) -> Iterator[Executor]:
    """Give what runs tasks on the cluster of a scheduler, such as ``tcp://host:8786``, for a ``with`` block.

    Without Dask, or a scheduler that answers, that is an `UnavailableError`.
    """
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise NotInstalledError("--scheduler needs dask.distributed: pip install distributed") from error
    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise UnavailableError(f"no Dask scheduler answers at {address!r} ({error}); check the address") from error
    with client:
        # pure=False: else two equal batches would be one task, and a task that failed once would not be done again
        executor = client.get_executor(pure=False)
        executor.workers = max(1, sum(client.nthreads().values()))
        yield executor
