"""``npconv evaluate``: labelled photos in, how many of them a model gets right out."""

from __future__ import annotations

import argparse
import io
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npconv.cli import sharing
from npconv.cli.evaluate_formats import FORMATS, is_evaluation
from npconv.cli.frame import DONE, FAILED_IN_PART
from npconv.cli.output import Output, write
from npconv.cli.overwriting import check_output
from npconv.cli.problems import say_problems
from npconv.cli.progress import make_progress
from npconv.errors import InputError
from npconv.messages import escape

if TYPE_CHECKING:
    from PIL import Image

    from npconv.models import PretrainedConfig
    from npconv.training import LabelledPhotos
    from npconv.training.evaluate import Evaluation, Result

DESCRIPTION = """\
Let a model name what is in labelled photos, and say how often it is right.
PHOTOS is a folder with one for each class (cat/1.jpg), or with train,
validation and test around these; a CSV file with a row for each photo; or a
zip file of such folders. Photos that cannot be read, or whose class the model
does not have, are named on stderr and left out; the exit status is then 1.
"""

EPILOG = """\
A CSV file has a column file, and label (label_2, ... for more of them), or a
column of 1 and 0 for each class; and part, if the photos are divided.

formats:
  text  shares that are right, and a line a class
  json  the same as an object, with all classes and mistakes and what was left
        out; shares from 0 to 1
  csv   one row a photo: file, label, answer, score, place (of the label among
        the answers), error; of several labels, or numbers, a column for each

examples:
  npconv evaluate my-model labelled
  npconv evaluate my-model labelled --format csv --output answers.csv
  npconv evaluate my-model labelled --confusion confusion.png
"""

#: How many photos the contact sheet shows.
MOST_MISTAKES = 10

#: What the pictures say that made them.
SOFTWARE = "npconv evaluate"


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "evaluate", help="measure a model on labelled photos", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("model", metavar="MODEL", help="as for npconv classify --model")
    parser.add_argument("source", metavar="PHOTOS", help="folder of classes, CSV file, or zip file of folders")
    parser.add_argument(
        "--part", metavar="PART", help="train, validation or test (default: test if it is there, else validation)"
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="text", metavar="FORMAT", help="text, json or csv (default text)"
    )
    parser.add_argument("--output", metavar="FILE", help="write there and not to standard output")
    parser.add_argument("--confusion", metavar="FILE", help="draw what is taken for what, as PNG")
    parser.add_argument(
        "--mistakes", metavar="FILE", help=f"draw the {MOST_MISTAKES} photos that the model is most wrong about, as PNG"
    )
    parser.add_argument(
        "--card", action="store_true", help="write table and picture into the section Accuracy of the model's README.md"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE even if no run of this command wrote it")
    sharing.add_workers(parser)
    sharing.add_device_and_dtype(parser)
    parser.set_defaults(run=run, command="evaluate")


def run(args: argparse.Namespace) -> int:
    """Print the measures; return 1 if photos were lost, else 0."""
    sharing.keep_cores_for_engine(args)
    from npconv.api import AutoConfig
    from npconv.training.evaluate import photos_for
    from npconv.training.problems import LOSSES

    config = AutoConfig.from_pretrained(args.model)
    _check_outputs(args, config)
    with Output(args.output, is_own=is_evaluation) as output:
        source = args.source if args.scheduler is None else os.path.abspath(args.source)
        photos = photos_for(source, config, args.part)
        say_problems("evaluate", photos.problems, "--format json names all")
        evaluation = _evaluate(args, photos)
        output.write(FORMATS[args.format](evaluation))
        output.flush()
    _draw(args, evaluation)
    return FAILED_IN_PART if any(each.kind in LOSSES for each in evaluation.photos.problems) else DONE


def _check_outputs(args: argparse.Namespace, config: PretrainedConfig) -> None:
    """Refuse outputs that would cost something or cannot be, before anything is computed."""
    from npconv.api.classification import check_classes
    from npconv.files.disk import locate
    from npconv.training.accuracy import read_card
    from npconv.training.labels import problem_type_of
    from npconv.training.photo_tables import SINGLE

    check_classes(config)
    if problem_type_of(config) != SINGLE and (args.confusion or args.mistakes or args.card):
        raise InputError("expected a model that tells one class for --confusion, --mistakes and --card")
    inputs = [args.source, args.model]
    if args.output is not None:
        check_output(args.output, is_evaluation, inputs=inputs, force=args.force, streams=True)
    for option in ("confusion", "mistakes"):
        path = getattr(args, option)
        if path is not None:
            check_output(path, is_drawn, inputs=inputs, force=args.force, option=f"--{option}")
    if args.card:
        read_card(locate(args.model))


def _evaluate(args: argparse.Namespace, photos: LabelledPhotos) -> Evaluation:
    """Let the model answer; photos that fail are named on stderr as they come."""
    from npconv.training.evaluate import evaluate

    with (
        sharing.workers_for(args, len(photos)) as workers,
        closing(make_progress(len(photos), "photos", output_is_elsewhere=True)) as progress,
    ):

        def watch(results: list[Result]) -> None:
            for result in results:
                if result.error:
                    progress.clear()
                    write(sys.stderr, f"npconv evaluate: {escape(result.file)}: {result.error}\n", flush=True)
            progress.advance(len(results))

        return evaluate(
            args.model,
            photos,
            batch_size=args.batch_size,
            workers=workers,
            dtype=args.dtype,
            device=args.device,
            cache=args.cache,
            max_memory=sharing.max_memory(args),
            dtype_option="--dtype ",
            watch=watch,
        )


def _draw(args: argparse.Namespace, evaluation: Evaluation) -> None:
    """Write the pictures and the card that are asked for."""
    from npconv.files.disk import locate
    from npconv.training.accuracy import write_accuracy
    from npconv.training.figures import draw_confusion
    from npconv.training.mistakes import draw_mistakes

    if args.confusion is not None:
        _save(args.confusion, draw_confusion(evaluation.photos.classes, evaluation.answers_of_one_class()))
    if args.mistakes is not None:
        _save(args.mistakes, draw_mistakes(evaluation, MOST_MISTAKES))
    if args.card:
        write_accuracy(locate(args.model), evaluation)


def _save(path: str, picture: Image.Image) -> None:
    """Write a picture as PNG, whole or not at all, with the name of this command in it."""
    from PIL.PngImagePlugin import PngInfo

    from npconv.errors import WeightsError
    from npconv.files.disk import write_file

    info, content = PngInfo(), io.BytesIO()
    info.add_text("Software", SOFTWARE)
    picture.save(content, "PNG", pnginfo=info, optimize=True)
    try:
        write_file(path, [content.getvalue()])
    except WeightsError as error:
        raise InputError(str(error)) from error


def is_drawn(path: Path) -> bool:
    """Tell whether this command drew a picture."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return picture.info.get("Software") == SOFTWARE
    except UnidentifiedImageError:
        return False
