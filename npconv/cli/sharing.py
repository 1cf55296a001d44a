"""Who does the work of a call: this process, worker processes of its own, or a cluster of Dask."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, NamedTuple

from npconv.errors import InputError, UnavailableError

#: From so many photos on, worker processes are started without being asked for: fewer are done by then.
MANY = 64

#: Seconds in which a scheduler must answer.
PATIENCE = 10


class Helpers(NamedTuple):
    """What runs batches, and how many may be on their way at a time."""

    executor: Executor
    in_flight: int | None = None


def add_arguments(parser: Any, whole_number: Callable[[str], int]) -> None:
    """Add the arguments that choose who does the work."""
    parser.add_argument("--batch-size", type=whole_number, default=8, metavar="N", help="photos at a time (default 8)")
    parser.add_argument(
        "--workers",
        type=whole_number,
        metavar="N",
        help=f"processes that share the work; 1 is none but this one (default: one a core, from {MANY} photos on)",
    )
    parser.add_argument(
        "--cache",
        action="store_true",
        help="keep the prepared weights in a file beside the model, so that runs at the same time share them in memory",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="let the cluster of this Dask scheduler do the work, such as tcp://host:8786; its workers read the photos "
        "and the model under the same paths",
    )


def choose_workers(args: argparse.Namespace, photos: int) -> int:
    """Return how many processes share the work of so many photos; 1 for none but this one.

    Raises
    ------
    InputError
        If a cluster is asked for as well, or --cache where there is nothing to keep.
    """
    if args.cache and (args.dtype != "float32" or getattr(args, "device", "cpu") != "cpu"):
        raise InputError("--cache keeps weights for float32 on the CPU; leave it out, or --dtype and --device")
    if args.scheduler is not None:
        if args.workers is not None:
            raise InputError("expected --workers or --scheduler, got both; a cluster has workers of its own")
        return 1
    if args.workers is None and (photos < MANY or getattr(args, "device", "cpu") != "cpu"):
        return 1
    from npconv.cores import available_cores

    batches = -(-photos // args.batch_size)
    return max(1, min(args.workers or available_cores(), batches))


@contextmanager
def find_helpers(args: argparse.Namespace, workers: int) -> Iterator[Helpers | None]:
    """Give what does the work for a ``with`` block; None for this process.

    Raises
    ------
    UnavailableError
        If Dask is not installed or no scheduler answers.
    """
    if args.scheduler is not None:
        with _cluster(args.scheduler) as helpers:
            yield helpers
    elif workers > 1:
        from npconv.workers.pool import WorkerPool

        with WorkerPool(workers) as pool:
            yield Helpers(pool)
    else:
        yield None


@contextmanager
def _cluster(address: str) -> Iterator[Helpers]:
    """Give the workers of a Dask cluster."""
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise UnavailableError("--scheduler needs dask.distributed: pip install distributed") from error
    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise UnavailableError(f"no Dask scheduler answers at {address!r} ({error}); check the address") from error
    with client:
        threads = sum(client.nthreads().values())
        # pure=False: else two equal batches would be one task, and a task that failed once would not be done again
        yield Helpers(client.get_executor(pure=False), 2 * max(1, threads))
