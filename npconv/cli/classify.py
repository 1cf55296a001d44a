"""``npconv classify``: photos in, labels with scores out, a line a photo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from npconv.cli import sharing
from npconv.cli.formats import FORMATS, RESUMABLE, Format, Result
from npconv.cli.output import Output, escape, write
from npconv.cli.photos import Photo, read_photos, reason_of
from npconv.cli.progress import Progress, make_progress
from npconv.cli.resume import Earlier, read_earlier
from npconv.errors import ConfigError, InputError

if TYPE_CHECKING:
    from npconv.api.pipelines import ImageClassificationPipeline
    from npconv.cli.classify_batch import Options

DESCRIPTION = """\
Name what is in each photo. Photos are turned upright, and reported in the
order given. One that cannot be read is named on stderr with the reason, the
others go on, and the exit status is then 1. Many photos are shared between
processes.
"""

EPILOG = """\
formats:
  text  one line a photo: its name, then labels with scores, best first
  json  an array with an object a photo:
        {"file": ..., "labels": [{"label": ..., "score": ...}, ...]}
        or {"file": ..., "error": ...}
  jsonl such an object a photo, each on a line of its own
  csv   one row a photo: file, label_1, score_1, label_2, score_2, ..., error

examples:
  npconv classify holiday/*.jpg
  npconv classify --model facebook/convnextv2-tiny-1k-224 --top-k 3 cat.jpg
  npconv classify --format csv *.png > labels.csv
  npconv classify --format jsonl --output labels.jsonl --resume *.png
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("classify", help="name what is in photos", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("photos", metavar="PHOTO", nargs="+", help="picture files; - is one picture on standard input")
    parser.add_argument(
        "--model",
        help="embedded model, directory, .safetensors file or hub id; see npconv models (default: the embedded model)",
    )
    parser.add_argument("--top-k", type=positive, default=5, metavar="K", help="labels for each photo (default 5)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        metavar="FORMAT",
        help="text, json, jsonl or csv, see below (default text)",
    )
    parser.add_argument("--output", metavar="FILE", help="write there and not to standard output")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where an earlier run with the same --output ended; only for csv and jsonl. Photos that are in the "
        "file are left out, failed ones too; a last line that was not written to its end is done again",
    )
    sharing.add_arguments(parser, positive)
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
    parser.set_defaults(run=run, can_resume=lambda args: args.output is not None and args.format in RESUMABLE)


def positive(text: str) -> int:
    """Return a whole number of at least 1, or say what was expected."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Classify the photos; return 1 if one of them failed, else 0."""
    form, earlier = _plan(args)
    photos = earlier.missing(args.photos, form.name) if args.resume else args.photos  # type: ignore[attr-defined]
    if not photos:
        return 1 if earlier.failed else 0
    workers = sharing.choose_workers(args, len(photos))
    with (
        sharing.find_helpers(args, workers) as helpers,
        closing(_results(args, photos, helpers)) as batches,
        Output(args.output, keep=earlier.size) as output,
        closing(make_progress(len(photos), "photos", output_is_elsewhere=args.output is not None)) as progress,
    ):
        failed = report(batches, form, output, progress, goes_on=earlier.size > 0)
    return 1 if failed or earlier.failed else 0


def _plan(args: argparse.Namespace) -> tuple[Format, Earlier]:
    """Return the form of the results, and what there is already; refuse a call that makes no sense."""
    from npconv.api import AutoConfig
    from npconv.api.pipelines import DEFAULT_MODEL

    if args.resume and (args.output is None or args.format not in RESUMABLE):
        raise InputError(f"--resume needs --output FILE and --format {' or '.join(RESUMABLE)}")
    config = AutoConfig.from_pretrained(args.model or DEFAULT_MODEL)
    if config.num_labels == 0:
        raise ConfigError("expected a model with classes, got one with num_labels 0; see npconv features")
    form = FORMATS[args.format](args.photos, min(args.top_k, config.num_labels), config.problem_type == "regression")
    if not args.resume:
        return form, Earlier()
    return form, read_earlier(args.output, form)  # type: ignore[arg-type]  # RESUMABLE: this one can read


def report(batches: Iterator[list[Result]], form: Format, output: Output, progress: Progress, *, goes_on: bool) -> bool:
    """Write the results, and failures on stderr; return whether there were any.

    Whatever ends it, what is written then is whole: the array of JSON is closed.
    """
    failed = False
    started = goes_on
    try:
        for batch in batches:
            if not started:
                output.write(form.start())
                started = True
            for result in batch:
                output.write(form.entry(result))
                if result.error is not None:
                    failed = True
                    output.flush()
                    progress.clear()
                    write(sys.stderr, f"npconv classify: {escape(result.file)}: {result.error}\n", flush=True)
            output.flush()
            progress.advance(len(batch))
    finally:
        if started:
            output.write(form.end())
    return failed


def _results(
    args: argparse.Namespace, photos: list[str], helpers: sharing.Helpers | None
) -> Generator[list[Result], None, None]:
    """Load the model and yield the results of the photos in their order, a batch at a time."""
    from npconv.api import pipeline
    from npconv.cli.classify_batch import Options

    classifier = pipeline(
        model=args.model,
        dtype=args.dtype,
        device=args.device,
        cache=args.cache,
        workers=helpers.executor if helpers else 1,
    )
    options = Options(args.top_k, args.debug)
    if helpers is None:
        yield from results(read_photos(photos), classifier, options, args.batch_size)
    else:
        ready = read_photos(photos, absolute=args.scheduler is not None)
        yield from results_of_helpers(ready, classifier, options, args.batch_size, helpers)


def results(
    photos: Iterator[Photo], classifier: ImageClassificationPipeline, options: Options, batch_size: int
) -> Iterator[list[Result]]:
    """Yield the results of photos, found by this process: no more than a batch is in memory."""
    from npconv.cli.classify_batch import classify_batch

    while batch := list(islice(photos, batch_size)):
        yield classify_batch(classifier, options, batch)


def results_of_helpers(
    photos: Iterator[Photo],
    classifier: ImageClassificationPipeline,
    options: Options,
    batch_size: int,
    helpers: sharing.Helpers,
) -> Iterator[list[Result]]:
    """Yield the results of photos, found by others: no more than they have on their way is in memory."""
    from npconv.cli.classify_batch import classify_in_worker
    from npconv.workers.streaming import map_batches

    def given_up(photo: Photo, error: Exception) -> Result:
        return Result(photo.name, error=reason_of(error, photo, options.debug))

    return map_batches(
        helpers.executor,
        partial(classify_in_worker, classifier.recipe(), options),
        photos,
        batch_size=batch_size,
        given_up=given_up,
        in_flight=helpers.in_flight,
    )
