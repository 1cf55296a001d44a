"""``npconv classify``: photos in, labels with scores out, a line a photo."""

from __future__ import annotations

import argparse
from typing import Any

from npconv.cli import sharing
from npconv.cli.formats import FORMATS, RESUMABLE, Earlier, Format, is_result, read_earlier
from npconv.cli.frame import positive
from npconv.cli.output import Output
from npconv.cli.overwriting import check_output
from npconv.cli.photos import Result, list_photos
from npconv.errors import ConfigError, InputError

DESCRIPTION = """\
Name what is in each photo. Photos are turned upright, and reported in the
order given. One that cannot be read is named on stderr with the reason, the
others go on, and the exit status is then 1. Of a folder, the pictures in it
and in the folders below are taken, in the order of their names; hidden ones
are not. Many photos are shared between processes.
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
  npconv classify holiday
  npconv classify --model facebook/convnextv2-tiny-1k-224 --top-k 3 cat.jpg
  npconv classify --format csv *.png > labels.csv
  npconv classify --format jsonl --output labels.jsonl --resume *.png
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser("classify", help="name what is in photos", description=DESCRIPTION, epilog=EPILOG)
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
    parser.add_argument("--force", action="store_true", help="replace FILE even if no run of this command wrote it")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where an earlier run with the same --output ended; only for csv and jsonl. Photos that are in the "
        "file are left out, failed ones too; a last line that was not written to its end is done again",
    )
    sharing.add_arguments(parser)
    sharing.add_device_and_dtype(parser)
    parser.set_defaults(
        run=run, command="classify", can_resume=lambda args: args.output is not None and args.format in RESUMABLE
    )


def run(args: argparse.Namespace) -> int:
    """Classify the photos; return 1 if one of them failed, else 0."""
    sharing.keep_cores_for_engine(args)
    args.photos = list_photos(args.command, args.photos)
    form = _format(args)
    if args.output is not None:
        inputs = [*args.photos, args.model or ""]
        check_output(args.output, is_result, inputs=inputs, force=args.force or args.resume, streams=True)
    with Output(args.output, resume=args.resume, resumable=args.format in RESUMABLE, is_own=is_result) as output:
        photos, earlier = args.photos, Earlier()
        if args.resume:
            earlier = read_earlier(output.content(), output.source, form)
            output.keep(earlier.size)
            photos = earlier.missing(photos, form.name)
        failed = earlier.failed
        if photos:
            with Listing(form, output, started=earlier.size > 0) as listing:
                options = {"top_k": args.top_k}
                failed |= sharing.work_on(args, photos, "image-classification", options, listing.add)
    return 1 if failed else 0


def _format(args: argparse.Namespace) -> Format:
    """Return the form of the results; refuse a call that makes no sense."""
    from npconv.api import AutoConfig
    from npconv.api.pipelines import DEFAULT_MODEL

    if args.resume and (args.output is None or args.format not in RESUMABLE):
        raise InputError(f"--resume needs --output FILE and --format {' or '.join(RESUMABLE)}")
    config = AutoConfig.from_pretrained(args.model or DEFAULT_MODEL)
    if config.num_labels == 0:
        raise ConfigError("expected a model with classes, got one with num_labels 0; see npconv features")
    return FORMATS[args.format](args.photos, min(args.top_k, config.num_labels), config.problem_type == "regression")


class Listing:
    """Results on their way out, in one of the formats. Whatever ends it, it is whole: the array of JSON is closed."""

    def __init__(self, form: Format, output: Output, *, started: bool = False) -> None:
        self.form = form
        self.output = output
        self.started = started

    def add(self, result: Result) -> Result:
        """Write a result, and before the first of all what comes first; return it."""
        entry = self.form.entry(result)
        if entry or not self.started:
            self.output.write(entry if self.started else self.form.start() + entry)
            self.output.flush()
            self.started = True
        return result

    def __enter__(self) -> Listing:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.started:
            self.output.write(self.form.end())
