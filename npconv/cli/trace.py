"""``npconv trace``: a model and a photo in, the golden trace out: every named array of the run in one file."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npconv.cli.names import read_names
from npconv.cli.output import table, to_json, write
from npconv.cli.photos import Photo, list_photos, read_photos, source_of
from npconv.cli.sharing import max_memory
from npconv.cli.trace_call import add_arguments, check_call, refuse_output
from npconv.cores import keep_blas_to_one_thread
from npconv.errors import InputError
from npconv.messages import escape

if TYPE_CHECKING:
    import numpy as np

    from npconv.api.heads import BareModel
    from npconv.golden.trace_file import Trace

DESCRIPTION = """\
Record every named array that a model computes of one photo, in order, for
ports of the model to be compared with: npconv diff REFERENCE MINE. The arrays
are float64, the truth without rounding; the weights come along, and how far
correct float32 arithmetic lands from each array.
"""

EPILOG = """\
Names are the module paths of the model in transformers, and some that
npconv/golden/README.md lists; --list prints those of a model. Of a photo,
preprocessing is recorded too.

With --gradients the loss and all gradients come after what is computed
forwards: NAME.grad of the tensor or parameter NAME.

With --make there is no photo: weights and two pictures are drawn that hide no
mistake, as those of a fresh model do (GRN 0, layer scale 1e-6, biases 0).

examples:
  npconv trace facebook/convnext-tiny-224 cat.jpg -o golden.safetensors
  npconv trace --make facebook/convnext-tiny-224 -o golden.npz --checkpoint DIR
  npconv trace ./model cat.jpg -o golden.safetensors --gradients --label 3
  npconv trace ./model input.npy -o stage2.npz --only "encoder.stages.2.*"
  npconv trace ./model --list --names timm
"""

#: Files that hold pixel values and no picture.
PIXEL_FILES = (".npy", ".safetensors")


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "trace", help="record every array of a model for ports", description=DESCRIPTION, epilog=EPILOG
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the trace and say what is in it, or list what would be."""
    keep_blas_to_one_thread()  # before NumPy is loaded
    from npconv.golden.hidden import hidden, says
    from npconv.golden.renaming import rename
    from npconv.golden.trace_file import load_trace
    from npconv.golden.truth import add_noise

    check_call(args)
    names = None if args.names is None else read_names(args.names)
    if args.list:
        return list_names(args, names)
    refuse_output(args)
    recorded = make_trace(args)
    for file in args.noise_of:
        add_noise(recorded, load_trace(file))
    if names is not None:
        recorded = rename(recorded, names)
    recorded.save(args.output)
    size = _size(args.output)
    weights = f" and {len(recorded.params)} weights" if recorded.params else ""
    write(sys.stdout, f"{len(recorded)} tensors{weights}, {size} bytes, {escape(args.output)}\n")
    if hides := says(hidden(recorded)):
        write(sys.stdout, f"hidden: {hides}\n")
    return 0


def list_names(args: argparse.Namespace, names: Mapping[str, str] | str | None) -> int:
    """Print the tensors that a trace of a model would hold."""
    from npconv.golden.listing import list_tensors

    found = list_tensors(args.model, names=names, only=args.only, gradients=args.gradients, training=args.training)
    if args.json:
        write(sys.stdout, to_json([one._asdict() for one in found], indent=1) + "\n")
        return 0
    rows = [("name", "shape", "axes", "also called")]
    rows += [(one.name, "x".join(map(str, one.shape)), one.layout, " ".join(one.aliases)) for one in found]
    write(sys.stdout, "\n".join(table(rows)) + "\n")
    return 0


def make_trace(args: argparse.Namespace) -> Trace:
    """Return the trace that a call asks for."""
    from npconv.golden.preprocessing import with_preprocessing
    from npconv.golden.truth import load_model, record

    if args.make:
        model, before, about = _made(args)
    else:
        model = load_model(args.model)
        before, about = _prepared(args)
    labels = _labels(args, model, len(before["pixel_values"]))
    patterns, wanted = _chosen(args, before, model, labels)
    recorded = record(
        model,
        before["pixel_values"],
        noise=not args.no_noise,
        only=patterns,
        dtype=args.dtype,
        weights=not args.no_weights,
        gradients=args.gradients,
        labels=labels,
        training=args.training,
        rng=args.seed or 0,
    )
    if args.checkpoint is not None:
        model.save_pretrained(args.checkpoint)
    return with_preprocessing(recorded, {name: before[name] for name in wanted}, about)


def _made(args: argparse.Namespace) -> tuple[BareModel[Any], dict[str, np.ndarray], dict[str, Any]]:
    """Return a model that is made, pixel values for it, and what the trace says of it."""
    from npconv.golden.made import make

    seed = args.seed or 0
    pictures = 2 if args.pictures is None else args.pictures
    model, pixel_values = make(args.model, seed=seed, size=args.size, pictures=pictures)
    return model, {"pixel_values": pixel_values}, {"model": f"{os.path.basename(args.model)} made of seed {seed}"}


def _prepared(args: argparse.Namespace) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the pixel values, with all that comes before them, and what the trace says of the photo."""
    if os.path.splitext(args.photo)[1].lower() in PIXEL_FILES:
        return {"pixel_values": _pixel_values(Path(args.photo))}, {}
    from npconv.api import AutoImageProcessor
    from npconv.golden.preprocessing import record_preprocessing
    from npconv.images import open_image

    processor = AutoImageProcessor.from_pretrained(args.model)
    photo = next(read_photos(list_photos("trace", [args.photo], one=True)))
    try:
        source = source_of(photo)
    except InputError as error:
        raise InputError(f"{escape(args.photo)}: {error}") from error
    arrays, preprocessing = record_preprocessing(processor, open_image(source, max_memory=max_memory(args)))
    return arrays, {"photo": _hash(photo), "preprocessing": preprocessing}


def _pixel_values(path: Path) -> np.ndarray:
    """Return the pixel values in a file."""
    from npconv.files.disk import map_file
    from npconv.files.npy import read_npy
    from npconv.golden.trace_file import load_trace
    from npconv.messages import listed, quoted

    if path.suffix.lower() == ".npy":
        return read_npy(map_file(path), quoted(path))
    arrays = load_trace(path)
    if "pixel_values" not in arrays:
        raise InputError(f"{quoted(path)}: expected a tensor 'pixel_values'; got {listed(list(map(quoted, arrays)))}")
    return arrays["pixel_values"]


def _hash(photo: Photo) -> str:
    """Return the SHA-256 of a picture file that has been read."""
    from npconv.files.disk import map_file

    content = map_file(photo.path) if photo.content is None else photo.content
    return hashlib.sha256(content).hexdigest()


def _labels(args: argparse.Namespace, model: BareModel[Any], pictures: int) -> Any:
    """Return the labels that a call gives; with a model that is made they are drawn too."""
    from npconv.golden.made import draw_labels
    from npconv.golden.tracing import task_of

    if args.label is not None or not (args.gradients and args.make and task_of(model) == "image_classification"):
        return args.label
    return draw_labels(model.config, pictures, args.seed or 0)


def _chosen(
    args: argparse.Namespace, before: Iterable[str], model: BareModel[Any], labels: Any
) -> tuple[list[str] | None, list[str]]:
    """Return the patterns for the model's own names, and the names of what comes before it that fit one."""
    from npconv.golden.course import make_course
    from npconv.golden.tracing import fitting, task_of

    patterns = args.only
    if patterns is None:
        return None, list(before)
    wanted = [name for name in before if any(fnmatchcase(name, pattern) for pattern in patterns)]
    plan = make_course(model.config, task_of(model), args.gradients, labels, args.training).whole
    # One that fits nothing at all stays, for the model to refuse it.
    own = [
        pattern
        for pattern in patterns
        if not any(fnmatchcase(name, pattern) for name in wanted) or fitting(plan, pattern, model.base_model_prefix)
    ]
    # The pixel values are in every trace: with a call for the preprocessing alone, they are all that the model adds.
    return own or ["pixel_values"], wanted


def _size(path: str) -> int:
    """Return the bytes that a trace takes on the disk."""
    target = Path(path)
    if target.is_dir():
        return sum(file.stat().st_size for file in target.iterdir())
    data = target.with_suffix(".bin") if target.suffix.lower() == ".json" else None
    return target.stat().st_size + (data.stat().st_size if data else 0)
