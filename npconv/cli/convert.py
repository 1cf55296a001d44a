"""``npconv convert``: weights of any framework in, a folder that npconv and transformers load out."""

from __future__ import annotations

import argparse
from typing import Any

from npconv.cli.frame import DONE, FAILED_IN_PART, LazyChoices, UsageError
from npconv.cli.weights import add_reading, as_option, print_lines, quiet, warn

DESCRIPTION = """\
Convert weights of any framework into a folder that npconv and transformers
load. Container and dialect are found from the content. Nothing is run that a
file asks to run, and nothing is written unless every tensor finds its place.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "convert", help="convert weights for npconv and transformers", description=DESCRIPTION
    )
    parser.add_argument("source", metavar="SOURCE", help="file, index of several, or folder in Hugging Face layout")
    parser.add_argument("directory", metavar="DIRECTORY", help="folder to write")
    parser.add_argument(
        "--dtype",
        choices=LazyChoices(dtypes),
        metavar="DTYPE",
        help="%(choices)s (default: as stored, 8-bit floats as float32)",
    )
    parser.add_argument("--max-shard-size", metavar="SIZE", help="most bytes a file, as 200MB (default: one file)")
    parser.add_argument("--labels", metavar="FILE", help="names of the classes: one a line, or JSON")
    parser.add_argument("--name", default="", help="of the source model, such as facebook/convnext-tiny-224")
    parser.add_argument("--force", action="store_true", help="replace the model that DIRECTORY holds")
    add_reading(parser)
    group = parser.add_argument_group("preprocessing", "instead of what the source or the usual rules say")
    group.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the square that the model sees")
    group.add_argument("--crop-pct", type=float, metavar="SHARE", help="of the shorter edge that is kept, as 0.875")
    group.add_argument("--mean", type=numbers, metavar="R,G,B", dest="image_mean", help="such as 0.485,0.456,0.406")
    group.add_argument("--std", type=numbers, metavar="R,G,B", dest="image_std", help="such as 0.229,0.224,0.225")
    group.add_argument("--resample", metavar="FILTER", help="such as bicubic or bilinear")
    group.add_argument("--crop-mode", metavar="MODE", help="center, border or squash, as timm does at any size")
    group.add_argument("--crop-rounding", metavar="HOW", help="of half a pixel: floor, or half_even as timm does")
    group.add_argument("--resize-order", metavar="ORDER", help="horizontal, vertical, pillow12.2 or pillow13")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was decided; return 1 if the weights hold NaN or infinities.

    Raises
    ------
    UsageError
        If options contradict each other, or a field is open that an option must decide.
    SystemExit
        If SIGTERM comes.
    """
    from npconv.convert import OpenFieldsError, convert
    from npconv.convert.preprocessing import NAMES

    given = {name: getattr(args, name, None) for name in NAMES}
    fields = dict(args.fields)
    if args.image_size is not None:
        given["size"] = {"shortest_edge": args.image_size}
        if fields.setdefault("image_size", args.image_size) != args.image_size:
            raise UsageError(
                f"--image-size {args.image_size} and --set image_size={fields['image_size']} contradict each other"
            )
    try:
        done = convert(
            args.source,
            args.directory,
            dtype=args.dtype,
            max_shard_size=args.max_shard_size,
            labels=args.labels,
            wrapping=args.wrapping,
            prefix=args.prefix,
            leave=args.leave,
            preprocessing={name: value for name, value in given.items() if value is not None},
            name=args.name,
            force=args.force,
            **fields,
        )
    except OpenFieldsError as error:
        raise UsageError(error.text(as_option)) from error
    print_lines([*quiet(done.decisions), *(f"wrote {file}" for file in done.files)])
    warn(done.decisions)
    return FAILED_IN_PART if done.not_finite else DONE


def dtypes() -> tuple[str, ...]:
    """Return what weights can be written in."""
    from npconv.convert.writing import FLOATS

    return tuple(FLOATS)


def numbers(text: str) -> list[float]:
    """Read numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers such as 0.485,0.456,0.406, got {text!r}") from None
