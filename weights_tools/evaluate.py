"""Measure how many labelled pictures models get right, with npconv itself.

    python -m weights_tools.evaluate MODEL [MODEL ...] SOURCE [--part test] [--batch-size 100] [--cards]

MODEL is what ``npconv classify --model`` takes, SOURCE what ``weights_tools.train`` takes. Every picture goes through
the model's own preprocessing. Prints a table in Markdown for each model. With ``--cards`` the table and a picture of
the confusions are also written into the model cards, where MODEL is a folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from npconv import AutoImageProcessor, AutoModelForImageClassification
from npconv.errors import InputError
from npconv.files.disk import locate
from npconv.images import open_image
from weights_tools.commands import parser_of, run_command
from weights_tools.training.cards import accuracy_table, write_accuracy
from weights_tools.training.pictures import PART_NAMES, class_of, list_parts, open_source


def evaluate(
    model_name: str, source_path: Path, part: str = "test", batch_size: int = 100
) -> tuple[list[str], np.ndarray]:
    """Classify every picture of one part of a labelled set; return the model's classes and the confusion matrix.

    The matrix, (K, K), counts the pictures by their true class (rows) and the model's answer (columns).

    Raises
    ------
    NpconvError
        If model or pictures cannot be read, or a class of the pictures is none of the model's.
    """
    model = AutoModelForImageClassification.from_pretrained(model_name, engine="fast")  # the same numbers, sooner
    processor = AutoImageProcessor.from_pretrained(model_name)
    classes = list(model.config.id2label.values())
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    with open_source(source_path) as source:
        names = list_parts(source)[part]
        unknown = {class_of(name) for name in names} - set(classes)
        if unknown:
            raise InputError(
                f"expected the model's classes ({', '.join(classes)}); the pictures have {sorted(unknown)[0]!r}"
            )
        for start in range(0, len(names), batch_size):
            batch = names[start : start + batch_size]
            pictures = [open_image(source.read(name)) for name in batch]
            answers = model(processor(pictures)).logits.argmax(axis=1)
            truths = [classes.index(class_of(name)) for name in batch]
            np.add.at(confusion, (truths, answers), 1)
    return classes, confusion


def run(options: argparse.Namespace) -> None:
    """Evaluate the models, one after the other."""
    for name in options.models:
        classes, confusion = evaluate(name, options.source, options.part, max(1, options.batch_size))
        table = accuracy_table(classes, confusion)
        print(f"## {name}\n\n{table}\n" if len(options.models) > 1 else table, flush=True)
        if options.cards:
            write_accuracy(locate(name), classes, confusion, options.part)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = parser_of("evaluate", __doc__)
    parser.add_argument("models", metavar="MODEL", nargs="+", help="name, directory, file or hub id")
    parser.add_argument("source", metavar="SOURCE", type=Path, help="folder or zip file of labelled pictures")
    parser.add_argument("--part", choices=PART_NAMES, default="test", help="which pictures (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=100, help="pictures at a time (%(default)s)")
    parser.add_argument("--cards", action="store_true", help="write table and picture into the models' README.md too")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command with the arguments `argv` and return its exit status."""
    return run_command(run, make_parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
