"""``npconv classify``: photos in, labels with scores out, a line a photo."""

from __future__ import annotations

import argparse
import math
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from npconv.cli.formats import FORMATS, Result
from npconv.cli.output import escape, write
from npconv.errors import ConfigError, InputError, NpconvError

if TYPE_CHECKING:
    import numpy as np

    from npconv.api.pipelines import ImageClassificationPipeline

DESCRIPTION = """\
Name what is in each photo. Photos are read one after another, turned upright,
and reported in the order given. One that cannot be read is named on stderr
with the reason, the others go on, and the exit status is then 1.
"""

EPILOG = """\
formats:
  text  one line a photo: its name, then labels with scores, best first
  json  an array with an object a photo:
        {"file": ..., "labels": [{"label": ..., "score": ...}, ...]}
        or {"file": ..., "error": ...}
  csv   one row a photo: file, label_1, score_1, label_2, score_2, ..., error

examples:
  npconv classify holiday/*.jpg
  npconv classify --model facebook/convnextv2-tiny-1k-224 --top-k 3 cat.jpg
  npconv classify --format csv *.png > labels.csv
"""


#: What errors call a picture from standard input.
STANDARD_INPUT_NAMES = ("<stdin>", "the picture")


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
        help="text, json or csv, see below (default text)",
    )
    parser.add_argument("--batch-size", type=positive, default=8, metavar="N", help="photos at a time (default 8)")
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
    parser.set_defaults(run=run)


def positive(text: str) -> int:
    """Return a whole number of at least 1, or say what was expected."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Classify the photos; return 1 if one of them failed, else 0."""
    from npconv.api import pipeline

    classifier = pipeline(model=args.model, dtype=args.dtype, device=args.device)
    config = classifier.model.config
    if config.num_labels == 0:
        raise ConfigError("expected a model with classes, got one with num_labels 0; use it from Python for features")
    form = FORMATS[args.format](args.photos, min(args.top_k, config.num_labels), config.problem_type == "regression")
    failed = False
    write(sys.stdout, form.start())
    try:
        for batch in results(args.photos, classifier, args.top_k, args.batch_size, debug=args.debug):
            for result in batch:
                write(sys.stdout, form.entry(result))
                if result.error is not None:
                    failed = True
                    write(sys.stdout, "", flush=True)
                    write(sys.stderr, f"npconv classify: {escape(result.file)}: {result.error}\n", flush=True)
            write(sys.stdout, "", flush=True)
    finally:
        write(sys.stdout, form.end())
    return 1 if failed else 0


def results(
    photos: Iterable[str], classifier: ImageClassificationPipeline, top_k: int, batch_size: int, *, debug: bool = False
) -> Iterator[list[Result]]:
    """Yield the results of the photos in their order, a batch at a time.

    Parameters
    ----------
    photos : iterable of str
        Paths, or ``"-"`` for standard input. Read as it goes on: no more than a batch is in memory.
    classifier : ImageClassificationPipeline
    top_k : int
        Labels for each photo.
    batch_size : int
        Photos that pass the model together.
    debug : bool
        Print the traceback of each failure to stderr.
    """
    remaining = iter(photos)
    while batch := list(islice(remaining, batch_size)):
        found: dict[int, Result] = {}
        pixels: dict[int, np.ndarray] = {}
        for place, photo in enumerate(batch):
            try:
                pixels[place] = classifier.prepare(source_of(photo))
            except Exception as error:
                found[place] = Result(photo, error=reason_of(error, photo, debug))
        for places in by_shape(pixels):
            found |= classify_together({place: batch[place] for place in places}, pixels, classifier, top_k, debug)
        yield [found[place] for place in range(len(batch))]


def source_of(photo: str) -> Any:
    """Return what to read a photo from.

    Raises
    ------
    InputError
        If it is a folder, or there is no standard input.
    """
    if photo == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed; give the path of a picture")
        return sys.stdin.buffer
    if os.path.isdir(photo):
        raise InputError(f"is a folder; give the pictures in it: {os.path.join(photo, '*')}")
    return photo


def by_shape(pixels: dict[int, np.ndarray]) -> list[list[int]]:
    """Return the places of arrays of one shape together: without resizing, photos keep the sizes they have."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, array in pixels.items():
        groups.setdefault(array.shape, []).append(place)
    return list(groups.values())


def classify_together(
    photos: dict[int, str],
    pixels: dict[int, np.ndarray],
    classifier: ImageClassificationPipeline,
    top_k: int,
    debug: bool,
) -> dict[int, Result]:
    """Return the results of photos that pass the model together; if they cannot, one by one."""
    import numpy as np

    try:
        with np.errstate(over="ignore", invalid="ignore"):  # scores that come out as no numbers are reported below
            labels = classifier.classify([pixels[place] for place in photos], top_k=top_k)
    except Exception as error:
        if len(photos) == 1:
            return {place: Result(photo, error=reason_of(error, photo, debug)) for place, photo in photos.items()}
        labels = None
    if labels is not None:
        return {place: scored(photo, row) for (place, photo), row in zip(photos.items(), labels, strict=True)}
    found: dict[int, Result] = {}
    for place, photo in photos.items():  # after the handler: until then, the error keeps the batch's arrays in memory
        found |= classify_together({place: photo}, pixels, classifier, top_k, debug)
    return found


def scored(photo: str, labels: list[dict[str, Any]]) -> Result:
    """Return the result of a photo, which is an error if the scores are no numbers."""
    if all(math.isfinite(entry["score"]) for entry in labels):
        return Result(photo, labels)
    return Result(photo, error="the scores are not finite: numbers overflowed inside the model; try --dtype float32")


def reason_of(error: Exception, photo: str, debug: bool) -> str:
    """Return why a photo failed, on one line and without its name."""
    if debug:
        write(sys.stderr, "".join(traceback.format_exception(error)))
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller picture or model"
    text = escape(str(error))
    if not isinstance(error, NpconvError):
        return f"unexpected {type(error).__name__}: {text}" + ("" if debug else "; --debug shows where")
    for name in STANDARD_INPUT_NAMES if photo == "-" else (escape(photo),):
        text = text.removeprefix(f"{name}: ").removeprefix(f"{name} ")
    return text
