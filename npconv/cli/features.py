"""``npconv features``: photos in, the maps of stages or the pooled features out, in a safetensors file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from npconv.cli import sharing
from npconv.cli.overwriting import check_output
from npconv.cli.photos import list_photos
from npconv.errors import InputError

DESCRIPTION = """\
Write what a model sees in photos before it names anything: the maps of some
of its stages, or the pooled features that its classifier gets. Photos that
cannot be read are named on stderr and left out; the exit status is then 1.
Folders are taken as by npconv classify.
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
  npconv features *.jpg -o maps.safetensors --stages stage2,stage3 --resume
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "features", help="write the features of photos to a file", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the safetensors file")
    parser.add_argument("--model", help="as for npconv classify (default: the embedded model)")
    parser.add_argument("--stages", metavar="NAMES", help="maps to write, with commas between: stage2,stage3")
    parser.add_argument("--pooled", action="store_true", help="write the pooled features (default without --stages)")
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", metavar="TYPE", help="float32 or float64"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where an earlier run ended; leave out photos that are there"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE even if no run of this command wrote it")
    sharing.add_arguments(parser)
    parser.set_defaults(run=run, command="features", can_resume=lambda args: Path(f"{args.output}.part").is_dir())


def run(args: argparse.Namespace) -> int:
    """Write the features; return 1 if a photo failed, else 0."""
    sharing.keep_cores_for_engine(args)
    from npconv.api.pipelines import DEFAULT_MODEL
    from npconv.cli.features_file import FeaturesFile, is_features

    args.photos = list_photos(args.command, args.photos)
    model = args.model or DEFAULT_MODEL
    names = wanted(args, model)
    about = {"model": str(model), "dtype": args.dtype, "features": ",".join(names)}
    options = {"features": names, "return_tensors": "np"}
    check_output(args.output, is_features, inputs=[*args.photos, model], force=args.force)
    with FeaturesFile(args.output, about, resume=args.resume) as file:
        if photos := file.missing(args.photos):
            sharing.work_on(args, photos, "image-feature-extraction", options, file.add)
        file.finish()
    return 1 if file.failed else 0


def wanted(args: argparse.Namespace, model: str) -> tuple[str, ...]:
    """Return the names of the wanted features, each once; a stage that the model lacks is an `InputError`."""
    from npconv.api import AutoConfig
    from npconv.api.extraction import POOLED

    known = AutoConfig.from_pretrained(model).stage_names
    stages = [name.strip() for name in args.stages.split(",")] if args.stages is not None else []
    for name in stages:
        if name not in known:
            raise InputError(f"expected --stages to be some of {','.join(known)}; got {name!r}")
    pooled = [POOLED] if args.pooled or not stages else []
    return tuple(dict.fromkeys([*stages, *pooled]))
