"""``npconv features``: photos in, the maps of stages or the pooled features out, in a safetensors file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npconv.cli import sharing
from npconv.cli.classify import positive
from npconv.cli.output import escape, write
from npconv.cli.photos import Photo, read_photos, reason_of
from npconv.cli.progress import Progress, make_progress
from npconv.errors import InputError

if TYPE_CHECKING:
    from npconv.cli.features_batch import Features, Options
    from npconv.cli.features_file import FeaturesFile

DESCRIPTION = """\
Write what a model sees in photos before it names anything: the maps of some
of its stages, or the pooled features that its classifier gets. Photos that
cannot be read are named on stderr and left out; the exit status is then 1.
"""

EPILOG = """\
The file holds a tensor for each feature, float32, with a row for each photo:
  stem, stage1, stage2, ...  maps (N, C, H, W) as the stages give them
  pooled                     (N, C): normalized, and the mean of all positions
                             (of CvT, the class token where it has one)
and as metadata: model, dtype, features; files, the names of the N photos, and
failed, those that were left out and why, both as JSON.

examples:
  npconv features *.jpg -o features.safetensors
  npconv features *.jpg -o maps.safetensors --stages stage2,stage4 --resume
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "features", help="write the features of photos to a file", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("photos", metavar="PHOTO", nargs="+", help="picture files; - is one picture on standard input")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the safetensors file")
    parser.add_argument("--model", help="as for npconv classify (default: the embedded model)")
    parser.add_argument("--stages", metavar="NAMES", help="maps to write, with commas between: stage2,stage4")
    parser.add_argument("--pooled", action="store_true", help="write the pooled features (default without --stages)")
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", metavar="TYPE", help="float32 or float64"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where an earlier run ended; leave out photos that are there"
    )
    sharing.add_arguments(parser, positive)
    parser.set_defaults(run=run, can_resume=lambda args: Path(f"{args.output}.part").is_dir())


def run(args: argparse.Namespace) -> int:
    """Write the features; return 1 if a photo failed, else 0."""
    from npconv.cli.features_batch import Options
    from npconv.cli.features_file import FeaturesFile

    names = wanted(args)
    about = {"model": str(args.model or _default_model()), "dtype": args.dtype, "features": ",".join(names)}
    file = FeaturesFile(args.output, about, resume=args.resume)
    with closing(file):
        photos = file.missing(args.photos)
        workers = sharing.choose_workers(args, len(photos))
        with (
            sharing.find_helpers(args, workers) as helpers,
            closing(_features(args, photos, Options(names, args.debug), helpers)) as batches,
            closing(make_progress(len(photos), "photos", output_is_elsewhere=True)) as progress,
        ):
            report(batches, file, progress)
    file.finish()
    return 1 if file.failed else 0


def wanted(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the names of the wanted features, each once.

    Raises
    ------
    InputError
        If the model has no such stage.
    """
    from npconv.api import AutoConfig
    from npconv.cli.features_batch import POOLED, stage_names

    known = stage_names(AutoConfig.from_pretrained(args.model or _default_model()))
    stages = [name.strip() for name in args.stages.split(",")] if args.stages is not None else []
    for name in stages:
        if name not in known:
            raise InputError(f"expected --stages to be some of {','.join(known)}; got {name!r}")
    pooled = [POOLED] if args.pooled or not stages else []
    return tuple(dict.fromkeys([*stages, *pooled]))


def report(batches: Iterator[list[Features]], file: FeaturesFile, progress: Progress) -> None:
    """Put the features into the file, and failures on stderr."""
    for batch in batches:
        for features in batch:
            added = file.add(features)
            if added.error is not None:
                progress.clear()
                write(sys.stderr, f"npconv features: {escape(added.file)}: {added.error}\n", flush=True)
        progress.advance(len(batch))


def _default_model() -> str:
    """Return the name of the embedded model."""
    from npconv.api.pipelines import DEFAULT_MODEL

    return DEFAULT_MODEL


def _features(
    args: argparse.Namespace, names: list[str], options: Options, helpers: sharing.Helpers | None
) -> Generator[list[Features], None, None]:
    """Load the model and yield the features of the photos in their order, a batch at a time."""
    from npconv.api.folded import shared_recipe
    from npconv.cli.features_batch import FeatureExtractor, Features, features_in_worker, features_of_batch
    from npconv.workers.recipes import findable
    from npconv.workers.streaming import map_batches

    model = findable(args.model or _default_model())
    engine = "fast" if args.dtype == "float32" else "explicit"
    arguments: dict[str, Any] = {"dtype": args.dtype, "engine": engine, "cache": args.cache}
    if helpers is None:
        extractor = FeatureExtractor.load(model, **arguments) if names else None
        photos = read_photos(names)
        while extractor is not None and (batch := list(islice(photos, args.batch_size))):
            yield features_of_batch(extractor, options, batch)
        return

    def given_up(photo: Photo, error: Exception) -> Features:
        return Features(photo.name, error=reason_of(error, photo, options.debug))

    recipe = shared_recipe(helpers.executor, FeatureExtractor.load, model=model, threads=1, **arguments)
    yield from map_batches(
        helpers.executor,
        partial(features_in_worker, recipe, options),
        read_photos(names, absolute=args.scheduler is not None),
        batch_size=args.batch_size,
        given_up=given_up,
        in_flight=helpers.in_flight,
    )
