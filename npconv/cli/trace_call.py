"""The arguments of ``npconv trace``, and which of them go together."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from npconv.cli.frame import UsageError
from npconv.cli.names import HELP
from npconv.cli.overwriting import check_output as check_overwritten
from npconv.cli.sharing import add_max_memory
from npconv.errors import InputError
from npconv.messages import escape

#: What ``--checkpoint`` writes: its folder, and the files in it.
CHECKPOINT = ("", "config.json", "model.safetensors")


class Sparing(argparse.Action):
    """An option with which others need not be given."""

    def __init__(self, option_strings: Sequence[str], dest: str, spared: Sequence[argparse.Action], help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=help)
        self.spared = spared

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        """Note it, and ask for the others no more."""
        setattr(namespace, self.dest, True)
        for action in self.spared:
            action.required = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to the parser."""
    parser.add_argument("model", metavar="MODEL", help="as for npconv classify")
    photo = parser.add_argument(
        "photo",
        metavar="PHOTO",
        help="a picture (- is standard input), a folder with one picture, or a .npy or .safetensors file with "
        "pixel_values (N, C, H, W)",
    )
    output = parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help=".safetensors, .npz, .json (an index, and the numbers in .bin), or a new folder for .npy files",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE even if it is no earlier trace of npconv")
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        action="append",
        help='names to record, such as "encoder.stages.2.*" or "preprocessing.*"; may be given several times',
    )
    parser.add_argument(
        "--dtype",
        choices=("float64", "float32"),
        default="float64",
        metavar="TYPE",
        help="float64, the truth, or float32, what npconv makes of it (default float64)",
    )
    add_max_memory(parser)
    _add_names(parser, (photo, output))
    parser.add_argument("--no-weights", action="store_true", help="leave the weights out")
    parser.add_argument("--no-noise", action="store_true", help="do not measure the noise of float32")
    parser.add_argument(
        "--noise-of",
        metavar="FILE",
        action="append",
        default=[],
        help="count the errors of this trace, of a correct float32 run such as PyTorch's, as noise too",
    )
    _add_gradients(parser)
    _add_make(parser, photo)


def _add_names(parser: argparse.ArgumentParser, spared: Sequence[argparse.Action]) -> None:
    """Add the options for names, which may be listed without the `spared` arguments."""
    parser.add_argument("--names", metavar="NAMES", help=f"call the tensors as a port does: {HELP}")
    parser.add_argument(
        "--list",
        action=Sparing,
        spared=spared,
        help="print names, shapes and aliases of the tensors; needs no PHOTO and no FILE",
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def _add_gradients(parser: argparse.ArgumentParser) -> None:
    """Add the options of the way back, and of training."""
    parser.add_argument(
        "--gradients", action="store_true", help="record the loss and the gradients of all tensors and parameters too"
    )
    parser.add_argument(
        "--label",
        metavar="K",
        type=_numbers,
        help="what the loss of a classifier is of: the class of each picture, such as 3 or 3,5, or a number for each "
        "class; half the sum of squares of the outputs is the loss of a model without classes",
    )
    parser.add_argument(
        "--training",
        action="store_true",
        help="with dropout and drop path, whose masks are recorded, and the batch's statistics in batch norms",
    )


def _numbers(text: str) -> list[int] | list[float]:
    """Return the numbers of ``"3,5"``."""
    words = text.split(",")
    for kind in (int, float):
        with suppress(ValueError):
            return [kind(word) for word in words]
    raise argparse.ArgumentTypeError(f"expected numbers, such as 3 or 3,5, got {text!r}")


def _add_make(parser: argparse.ArgumentParser, photo: argparse.Action) -> None:
    """Add the options of a model that is made."""
    parser.add_argument(
        "--make",
        action=Sparing,
        spared=(photo,),
        help="draw weights and pictures: MODEL is a name, a folder with a config.json, or such a file",
    )
    parser.add_argument(
        "--checkpoint", metavar="DIR", help="also write the model that is made, as transformers reads it"
    )
    parser.add_argument(
        "--size",
        metavar="S",
        type=_height_and_width,
        help="height and width of the pictures, such as 224 or 224x256 (default: the model's height, another width)",
    )
    parser.add_argument("--pictures", metavar="N", type=int, help="how many (default 2)")
    parser.add_argument("--seed", metavar="N", type=int, help="what is drawn, masks of --training too (default 0)")


def _height_and_width(text: str) -> tuple[int, int]:
    """Return height and width of ``"224x256"``, or of ``"224"`` for a square."""
    words = text.split("x")
    try:
        height, width = (int(words[0]), int(words[-1]))
        if len(words) <= 2 and min(height, width) > 0:
            return height, width
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected pixels, such as 224 or 224x256 (height and width), got {text!r}")


def check_call(args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together: a list, a photo, and a model that is made are three calls."""
    if args.list and (args.photo is not None or args.output is not None or args.make):
        given = "--make" if args.make else "a PHOTO" if args.photo is not None else "--output"
        raise UsageError(f"--list is of the model alone, got {given} too; give one or the other")
    if args.json and not args.list:
        raise UsageError("--json is for --list; a trace is written as JSON by --output FILE.json")
    if args.photo is not None and args.make:
        raise UsageError(f"expected no PHOTO beside --make, which draws pictures; got {escape(args.photo)}")
    if args.label is not None and not args.gradients:
        raise UsageError("expected --gradients beside --label, which says of what the loss is")
    own = [name for name in ("checkpoint", "size", "pictures", "seed") if getattr(args, name) is not None]
    if own and not args.make and not (args.training and own == ["seed"]):
        raise UsageError(f"expected --make beside --{own[0]}, which says what it draws")


def refuse_output(args: argparse.Namespace) -> None:
    """Refuse a place that the trace cannot be written to, or that holds something else than an earlier trace.

    So for the folder of a model that is made: it must hold nothing.
    """
    from npconv.golden.trace_file import check_output, is_own

    check_output(args.output)
    path = Path(args.output)
    files = [path, path.with_suffix(".bin")] if path.suffix.lower() == ".json" else [path] if path.suffix else []
    for file in files:  # of an index, the numbers too: they are its own if it is
        inputs = (args.photo or "", args.model, args.names or "", *args.noise_of)
        check_overwritten(str(file), lambda _: is_own(path), inputs=inputs, force=args.force)
    folder = args.checkpoint
    if folder is None:
        return
    if os.path.realpath(path) in [os.path.realpath(os.path.join(folder, name)) for name in CHECKPOINT]:
        raise InputError(f"{escape(args.output)}: that is written by --checkpoint; give the trace another --output")
    if args.force or not os.path.lexists(folder):
        return
    if not os.path.isdir(folder) or os.listdir(folder):
        raise InputError(f"{escape(folder)}: expected a new or empty folder for --checkpoint, or --force")
