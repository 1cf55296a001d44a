"""``npconv look``: a photo in, a page out that shows what a model does to it, step by step."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from npconv.cli.output import write
from npconv.cli.overwriting import check_output
from npconv.cli.photos import list_photos, read_photos, source_of
from npconv.cli.sharing import add_max_memory, max_memory
from npconv.errors import InputError
from npconv.messages import escape

DESCRIPTION = """\
Show what a model does to a photo, from its pixels to the answer, as a page
that any browser opens without a network: the photo as it is prepared, the
maps, numbers and source of every step, attention, and what the answer rests
on.
"""

EPILOG = """\
examples:
  npconv look ship.png
  npconv look cat.jpg --model facebook/convnextv2-tiny-1k-224 -o cat.html
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "look", help="show what a model does to a photo, as a page", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("photo", metavar="PHOTO", help="a picture; - is one on standard input")
    parser.add_argument("--model", help="as for npconv classify (default: the embedded model)")
    parser.add_argument("-o", "--output", metavar="FILE", help="the page (default: the photo's name with .html)")
    parser.add_argument("--force", action="store_true", help="replace FILE even if no run of this command wrote it")
    add_max_memory(parser)
    parser.set_defaults(run=run, command="look")


def run(args: argparse.Namespace) -> int:
    """Write the page and say how large it is."""
    from npconv.api import AutoImageProcessor, pipeline
    from npconv.api.pipelines import DEFAULT_MODEL
    from npconv.images import open_image
    from npconv.pictures.html import is_page, write_page
    from npconv.pictures.look import look_at
    from npconv.pictures.page import to_html

    name = args.model or DEFAULT_MODEL
    output = args.output or f"{Path('photo' if args.photo == '-' else args.photo).stem}.html"
    check_output(output, is_page, inputs=[args.photo, name], force=args.force)
    photo = next(read_photos(list_photos(args.command, [args.photo], one=True)))
    try:
        picture = open_image(source_of(photo), max_memory=max_memory(args))
    except InputError as error:
        raise InputError(f"{escape(args.photo)}: {error}") from error
    model, fast = (pipeline(model=name, engine=engine).model for engine in ("explicit", "fast"))
    title = f"{Path(name).name}: {Path(photo.name).name}"
    text = to_html(look_at(model, AutoImageProcessor.from_pretrained(name), picture, title, fast))
    write_page(output, text, "--output")
    write(sys.stdout, f"{escape(output)}, {len(text.encode()) / 1e6:.1f} MB\n")
    return 0
