"""Measure how many labelled pictures models get right, with npconv itself.

    python -m weights_tools.evaluate MODEL [MODEL ...] SOURCE [--part test] [--batch-size 100] [--cards]

MODEL is what ``npconv classify --model`` takes, SOURCE what ``weights_tools.train`` takes. Every picture goes through
the model's own preprocessing. Prints a table in Markdown for each model. With ``--cards`` the table and a picture of
the confusions are also written into the model cards, where MODEL is a folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from npconv import AutoImageProcessor, AutoModelForImageClassification, NpconvError
from npconv.errors import InputError
from npconv.files.disk import locate
from npconv.images import open_image
from weights_tools.training.cards import accuracy_table, write_accuracy
from weights_tools.training.pictures import PART_NAMES, class_of, list_parts, open_source


def evaluate(
    model_name: str, source_path: Path, part: str = "test", batch_size: int = 100
) -> tuple[list[str], np.ndarray]:
    """Classify every picture of one part of a labelled set.

    Returns
    -------
    classes : list of str
        In the model's order.
    confusion : array (K, K)
        Pictures by their true class (rows) and the model's answer (columns).

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
        for batch in _batches(names, batch_size):
            pictures = [open_image(source.read(name)) for name in batch]
            answers = model(processor(pictures)).logits.argmax(axis=1)
            truths = [classes.index(class_of(name)) for name in batch]
            np.add.at(confusion, (truths, answers), 1)
    return classes, confusion


def _batches(names: list[str], size: int) -> Iterator[list[str]]:
    """Yield the names, `size` at a time."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


def run(arguments: argparse.Namespace) -> int:
    """Evaluate the models, one after the other, and return the exit status 0.

    Raises
    ------
    NpconvError
        As of :func:`evaluate`; the tables of the models before are printed by then.
    """
    for name in arguments.models:
        classes, confusion = evaluate(name, arguments.source, arguments.part, max(1, arguments.batch_size))
        if len(arguments.models) > 1:
            print(f"## {name}\n")
        print(accuracy_table(classes, confusion), flush=True)
        if len(arguments.models) > 1:
            print()
        if arguments.cards:
            write_accuracy(locate(name), classes, confusion, arguments.part)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = argparse.ArgumentParser(
        prog="python -m weights_tools.evaluate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("models", metavar="MODEL", nargs="+", help="name, directory, file or hub id")
    parser.add_argument("source", metavar="SOURCE", type=Path, help="folder or zip file of labelled pictures")
    parser.add_argument("--part", choices=PART_NAMES, default="test", help="which pictures (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=100, help="pictures at a time (%(default)s)")
    parser.add_argument("--cards", action="store_true", help="write table and picture into the models' README.md too")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command with the arguments `argv` and return its exit status: 0 done, 2 unusable call or data."""
    try:
        return run(make_parser().parse_args(argv))
    except NpconvError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
