"""What the commands on photos have in common: their arguments, who does the work, and how it is done.

A command says which pipeline it wants, what is done to a photo (:class:`npconv.cli.photos.PhotoWork`), and where the
results go.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

from npconv.cli.frame import positive
from npconv.cli.output import escape, write
from npconv.cli.photos import PhotoWork, Result, read_photos
from npconv.cli.progress import make_progress
from npconv.errors import InputError

#: From so many photos on, worker processes are started without being asked for: fewer are done by then.
MANY = 64


def add_arguments(parser: Any) -> None:
    """Add the photos, and the arguments that choose who does the work."""
    parser.add_argument("photos", metavar="PHOTO", nargs="+", help="picture files; - is one picture on standard input")
    parser.add_argument("--batch-size", type=positive, default=8, metavar="N", help="photos at a time (default 8)")
    parser.add_argument(
        "--workers",
        type=positive,
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
    device = getattr(args, "device", "cpu")
    if args.cache and (args.dtype != "float32" or device != "cpu"):
        raise InputError("--cache keeps weights for float32 on the CPU; leave it out, or --dtype and --device")
    if args.scheduler is not None:
        if args.workers is not None:
            raise InputError("expected --workers or --scheduler, got both; a cluster has workers of its own")
        return 1
    if args.workers is None and (photos < MANY or device != "cpu"):
        return 1
    from npconv.cores import available_cores

    batches = -(-photos // args.batch_size)
    return max(1, min(args.workers or available_cores(), batches))


def find_executor(args: argparse.Namespace, workers: int) -> AbstractContextManager[Executor | None]:
    """Return what does the work, for a ``with`` block; None for this process."""
    if args.scheduler is not None:
        from npconv.workers.cluster import dask_cluster

        return dask_cluster(args.scheduler)
    if workers > 1:
        from npconv.workers.pool import WorkerPool

        return WorkerPool(workers)
    return nullcontext()


def work_on(
    args: argparse.Namespace,
    photos: Sequence[str],
    task: str,
    make_work: Callable[[Callable[[], Any]], PhotoWork],
    add: Callable[[Result], Result],
) -> bool:
    """Do the work of a command; failures go to stderr as well. Tell whether there were any.

    Parameters
    ----------
    args : Namespace
        Of the command.
    photos : sequence of str
    task : str
        Of the pipeline.
    make_work : callable
        From what loads the pipeline to what is done to a photo.
    add : callable
        Takes a result, in the order of the photos; returns it, or why it cannot stand beside the others.
    """
    from npconv.api import pipeline

    failed = False
    workers = choose_workers(args, len(photos))
    arguments = {name: getattr(args, name) for name in ("model", "dtype", "device", "cache") if name in args}
    with (
        find_executor(args, workers) as executor,
        closing(make_progress(len(photos), "photos", output_is_elsewhere=args.output is not None)) as progress,
    ):
        load = pipeline(task, workers=executor or 1, **arguments).loader()
        ready = read_photos(photos, absolute=args.scheduler is not None)
        batches = make_work(load).share(ready, batch_size=args.batch_size, executor=executor)
        with closing(batches):
            for batch in batches:
                for given in batch:
                    result = add(given)
                    if result.error is not None:
                        failed = True
                        progress.clear()
                        write(sys.stderr, f"npconv {args.command}: {escape(result.file)}: {result.error}\n", flush=True)
                progress.advance(len(batch))
    return failed
