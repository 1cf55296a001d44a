"""What the commands on photos have in common: their arguments, who does the work, and how it is done.

A command says which pipeline it wants, what is done to a photo (:class:`npconv.cli.photos.PhotoWork`), and where the
results go.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from npconv.cli.frame import positive
from npconv.cli.output import write
from npconv.cli.photos import PhotoWork, Result, read_photos
from npconv.cli.progress import make_progress
from npconv.cores import keep_blas_to_one_thread
from npconv.errors import InputError
from npconv.messages import escape
from npconv.workers.batches import MANY, usual_workers

if TYPE_CHECKING:
    from concurrent.futures import Executor


def add_arguments(parser: Any) -> None:
    """Add the photos, and the arguments of `add_workers`."""
    parser.add_argument(
        "photos",
        metavar="PHOTO",
        nargs="+",
        help="picture files, or folders of them; - is one picture on standard input",
    )
    add_workers(parser)


def add_workers(parser: Any) -> None:
    """Add the arguments that choose who does the work."""
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
    add_max_memory(parser)
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="let the cluster of this Dask scheduler do the work, such as tcp://host:8786; its workers read the photos "
        "and the model under the same paths",
    )


def add_device_and_dtype(parser: Any) -> None:
    """Add the arguments that say where and in what precision a classifier computes."""
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", metavar="DEVICE", help="cpu or cuda (default cpu)"
    )
    parser.add_argument(
        "--dtype",
        choices=("float16", "float32", "float64"),
        default="float32",
        metavar="TYPE",
        help="float16, float32 or float64 (default float32)",
    )


def add_max_memory(parser: Any) -> None:
    """Add the argument that says what reading a photo may take."""
    parser.add_argument(
        "--max-memory",
        type=positive,
        metavar="MB",
        help="refuse photos that take more to read, which their headers tell (default 600)",
    )


def max_memory(args: argparse.Namespace) -> int | None:
    """Return what reading a photo may take, in bytes; None where the call does not say."""
    return None if args.max_memory is None else args.max_memory * 2**20


def keep_cores_for_engine(args: argparse.Namespace) -> None:
    """Leave the cores to the threads of the fast engine where that runs; to be called before NumPy is loaded.

    Else the threads of the BLAS, which is not held to one without threadpoolctl, wait for each other at small products.
    """
    if args.dtype == "float32" and getattr(args, "device", "cpu") == "cpu":
        keep_blas_to_one_thread()


def choose_workers(args: argparse.Namespace, photos: int) -> int:
    """Return how many processes share the work of so many photos; 1 for none but this one.

    A cluster asked for as well, or --cache where there is nothing to keep, is an `InputError`.
    """
    device = getattr(args, "device", "cpu")
    if args.cache and (args.dtype != "float32" or device != "cpu"):
        raise InputError("--cache keeps weights for float32 on the CPU; leave it out, or --dtype and --device")
    if args.scheduler is not None:
        if args.workers is not None:
            raise InputError("expected --workers or --scheduler, got both; a cluster has workers of its own")
        return 1
    if args.workers is None:
        return usual_workers(photos, args.batch_size) if device == "cpu" else 1
    return max(1, min(args.workers, -(-photos // args.batch_size)))


@contextmanager
def workers_for(args: argparse.Namespace, photos: int) -> Iterator[int | Executor]:
    """Give what shares the work of so many photos, as :func:`npconv.pipeline` takes it, for a ``with`` block."""
    workers = choose_workers(args, photos)
    if args.scheduler is not None:
        from npconv.workers.cluster import dask_cluster

        with dask_cluster(args.scheduler) as cluster:
            yield cluster
    elif workers == 1:
        yield 1
    else:
        from npconv.workers.pool import WorkerPool

        with WorkerPool(workers) as pool:
            pool.begin("npconv.api")  # while this process loads the model
            yield pool


def work_on(
    args: argparse.Namespace,
    photos: Sequence[str],
    task: str,
    options: Mapping[str, Any],
    add: Callable[[Result], Result],
) -> bool:
    """Do the work of a command; failures go to stderr as well. Tell whether there were any.

    `task` and `options` are of the pipeline. `add` takes each result, in the order of the photos; it returns the
    result, or why it cannot stand beside the others.
    """
    from npconv.api import pipeline

    failed = False
    arguments = {name: getattr(args, name) for name in ("model", "dtype", "device", "cache") if name in args}
    with (
        workers_for(args, len(photos)) as workers,
        pipeline(task, workers=workers, **arguments) as tool,
        closing(make_progress(len(photos), "photos", output_is_elsewhere=args.output is not None)) as progress,
    ):
        ready = read_photos(photos, absolute=args.scheduler is not None)
        work = PhotoWork(tool.loader(), options, args.debug, max_memory(args))
        batches = work.share(ready, batch_size=args.batch_size, executor=tool.executor())
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
