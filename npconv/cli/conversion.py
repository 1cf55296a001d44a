"""The commands ``convert``, ``export``, ``inspect`` and ``verify``: words in, lines of text out."""

from __future__ import annotations

import argparse
import dataclasses
import inspect as inspect_
import json
import sys
from collections.abc import Sequence
from typing import Any

from npconv.cli.frame import DONE, FAILED_IN_PART, UsageError
from npconv.cli.output import escape, table, to_json, write
from npconv.convert.convert import convert
from npconv.convert.dialects import OpenFieldsError, dialect_names
from npconv.convert.export import export
from npconv.convert.inspect import Inspection, inspect
from npconv.convert.preprocessing import NAMES
from npconv.convert.tensors import FLOATS
from npconv.convert.verify import FAILED, published_logits, verify
from npconv.models.decisions import WARNING, Decision, lines, pinned

CONVERT = """\
Convert weights of any framework into a folder that npconv and transformers
load. Container and dialect are found from the content. Nothing is run that a
file asks to run, and nothing is written unless every tensor finds its place.
"""

#: Names listed for a file of no known dialect.
MOST_LISTED = 40

#: What `convert` takes besides fields of the configuration.
_ARGUMENTS = tuple(inspect_.signature(convert).parameters)


def add_parsers(subparsers: Any) -> None:
    """Add the four commands to the parser."""
    _add_convert(subparsers)
    _add_export(subparsers)
    _add_inspect(subparsers)
    _add_verify(subparsers)


def _add_convert(subparsers: Any) -> None:
    parser = subparsers.add_parser("convert", help="convert weights for npconv and transformers", description=CONVERT)
    parser.add_argument("source", metavar="SOURCE", help="file, index of several, or folder in Hugging Face layout")
    parser.add_argument("directory", metavar="DIRECTORY", help="folder to write")
    parser.add_argument(
        "--dtype",
        choices=tuple(FLOATS),
        metavar="DTYPE",
        help=f"{', '.join(FLOATS)} (default: as stored, 8-bit floats as float32)",
    )
    parser.add_argument("--max-shard-size", metavar="SIZE", help="most bytes a file, as 200MB (default: one file)")
    parser.add_argument("--labels", metavar="FILE", help="names of the classes: one a line, or JSON")
    parser.add_argument("--name", default="", help="of the source model, such as facebook/convnext-tiny-224")
    parser.add_argument("--force", action="store_true", help="replace the model that DIRECTORY holds")
    _add_reading(parser)
    group = parser.add_argument_group("preprocessing", "instead of what the source or the usual rules say")
    group.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the square that the model sees")
    group.add_argument("--crop-pct", type=float, metavar="SHARE", help="of the shorter edge that is kept, as 0.875")
    group.add_argument("--mean", type=_numbers, metavar="R,G,B", help="such as 0.485,0.456,0.406")
    group.add_argument("--std", type=_numbers, metavar="R,G,B", help="such as 0.229,0.224,0.225")
    group.add_argument("--resample", metavar="FILTER", help="such as bicubic or bilinear")
    parser.set_defaults(run=run_convert)


def _add_reading(parser: Any) -> None:
    """Add the options that say how to read a file."""
    parser.add_argument("--wrapping", metavar="KEY", help="which of several state dicts, such as model_ema")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_field,
        metavar="FIELD=VALUE",
        dest="fields",
        help="field of the configuration, in JSON, such as 'num_heads=[1,3,6]'; may be given again",
    )


def _add_export(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "export",
        help="write a model by the names of another library",
        description="Write a model by other names.",
    )
    parser.add_argument("directory", metavar="DIRECTORY", help="folder of a model")
    parser.add_argument("out", metavar="OUT", help="safetensors file to write")
    parser.add_argument("--to", choices=dialect_names(), metavar="DIALECT", help="%(choices)s (default: the source's)")
    parser.add_argument("--prefix", help="what stands before each name (default: what is usual, or the source's)")
    parser.add_argument("--force", action="store_true", help="replace OUT")
    parser.set_defaults(run=run_export)


def _add_inspect(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "inspect", help="say what a weight file is", description="Say what a weight file is; nothing is written."
    )
    parser.add_argument("file", metavar="FILE", help="file, index of several, or folder in Hugging Face layout")
    parser.add_argument("--format", choices=("text", "json"), default="text", metavar="FORMAT", help="text or json")
    _add_reading(parser)
    parser.set_defaults(run=run_inspect)


def _add_verify(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "verify", help="check a converted or downloaded model", description="Check a model against what is known of it."
    )
    parser.add_argument("directory", metavar="DIRECTORY", help="folder of a model")
    parser.add_argument("--picture", metavar="FILE", help="picture 000000039769 of COCO (two cats)")
    parser.add_argument("--name", choices=published_logits(), metavar="NAME", help="of the checkpoint: %(choices)s")
    parser.set_defaults(run=run_verify)


def run_convert(args: argparse.Namespace) -> int:
    """Convert, and print what was decided; return 1 if the weights hold NaN or infinities."""
    given = {
        "size": None if args.image_size is None else {"shortest_edge": args.image_size},
        "crop_pct": args.crop_pct,
        "image_mean": args.mean,
        "image_std": args.std,
        "resample": args.resample,
    }
    fields = dict(args.fields)
    if args.image_size is not None and fields.setdefault("image_size", args.image_size) != args.image_size:
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
            preprocessing={name: given[name] for name in NAMES if given[name] is not None},
            name=args.name,
            force=args.force,
            **fields,
        )
    except OpenFieldsError as error:
        raise UsageError(error.text(as_option)) from error
    _print_decided(done.decisions, [f"wrote {file}" for file in done.files])
    return FAILED_IN_PART if done.not_finite else DONE


def run_export(args: argparse.Namespace) -> int:
    """Export, and print what was written."""
    done = export(args.directory, args.out, to=args.to, prefix=args.prefix, force=args.force)
    _print_decided(done.decisions, [f"wrote {done.path}, SHA-256 {done.sha256}"])
    return DONE


def run_inspect(args: argparse.Namespace) -> int:
    """Print what a file is; return 1 if it is no model that is known, or holds NaN or infinities."""
    found = inspect(args.file, wrapping=args.wrapping, **dict(args.fields))
    if args.format == "json":
        write(sys.stdout, to_json(_as_json(found), indent=2) + "\n")
    else:
        _print(_lines(found))
        _warn(found.decisions)
    return FAILED_IN_PART if found.problems else DONE


def run_verify(args: argparse.Namespace) -> int:
    """Print the checks; return 1 if one failed."""
    checks = verify(args.directory, picture=args.picture, name=args.name)
    _print([f"{check.name}: {check.outcome}: {check.detail}" for check in checks])
    return FAILED_IN_PART if any(check.outcome == FAILED for check in checks) else DONE


def as_option(name: str, value: Any) -> str:
    """Return the words of the option that gives a field a value."""
    return f"--set '{name}={json.dumps(value, separators=(',', ':'))}'"


def _numbers(text: str) -> list[float]:
    """Read numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers such as 0.485,0.456,0.406, got {text!r}") from None


def _field(text: str) -> tuple[str, Any]:
    """Read ``name=value``; a value that is no JSON is a text."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals and value):
        raise argparse.ArgumentTypeError(f"expected a field and a value such as num_heads=[1,3,6], got {text!r}")
    if name in _ARGUMENTS:
        raise argparse.ArgumentTypeError(f"expected a field of the configuration, got {name}, which has its own option")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        if value[0] in '[{"' or not value.isprintable():
            raise argparse.ArgumentTypeError(f"expected JSON after {name}=, got {value!r}") from None
        return name, value


def _print(lines: Sequence[str]) -> None:
    """Print lines, each on one line whatever is in it."""
    write(sys.stdout, "".join(f"{escape(line)}\n" for line in lines))


def _print_decided(decisions: Sequence[Decision], written: Sequence[str]) -> None:
    """Print decisions and what was written; the warnings last, on stderr."""
    _print([*lines(decision for decision in decisions if decision.level != WARNING), *written])
    _warn(decisions)


def _warn(decisions: Sequence[Decision]) -> None:
    """Write the warnings among decisions to stderr, after what stdout still holds."""
    write(sys.stdout, "", flush=True)
    warned = lines(decision for decision in decisions if decision.level == WARNING)
    write(sys.stderr, "".join(f"weights_tools: {escape(line)}\n" for line in warned), flush=True)


def _as_json(found: Inspection) -> dict[str, Any]:
    """Return an inspection as plain values."""
    content = dataclasses.asdict(dataclasses.replace(found, decisions=[], problems=[]))
    content |= {"decisions": lines(found.decisions), "problems": [str(problem) for problem in found.problems]}
    content["tensors"] = {name: {"dtype": dtype, "shape": shape} for name, (dtype, shape) in found.tensors.items()}
    for kind in content["kinds"]:
        if not kind["values"]:
            kind["least"] = kind["most"] = None
    return content


def _lines(found: Inspection) -> list[str]:
    """Return an inspection as text."""
    shown = [
        f"{found.path}: {found.bytes:,} bytes",
        *lines(decision for decision in found.decisions if decision.level != WARNING),
        f"parameters: {found.parameters:,} in {len(found.tensors)} tensors",
        f"dtypes: {', '.join(f'{dtype} {count:,}' for dtype, count in found.dtypes.items())}",
    ]
    if found.configuration:
        fields = [f"{name} {pinned(value)}" for name, value in sorted(found.configuration.items())]
        shown.append(f"configuration: {', '.join(fields)}")
    if found.licence:
        shown.append(f"licence: {found.licence}")
    shown += [f"left behind: {name}" for name in found.left_behind]
    shown += [f"NaN or infinity: {count} in {name}" for name, count in found.not_finite.items()]
    rows: list[tuple[str, ...]] = [("kind", "tensors", "values", "least", "most", "mean |x|")]
    for kind in found.kinds[: None if found.dialect else 0]:
        numbers = [f"{value:.4g}" if kind.values else "-" for value in (kind.least, kind.most, kind.mean_abs)]
        rows.append((escape(kind.name), str(kind.tensors), f"{kind.values:,}", *numbers))
    if found.dialect:
        shown += table(rows, right=(1, 2, 3, 4, 5))
    else:
        listed = list(found.tensors.items())
        shown += [f"{name} {dtype} {tuple(shape)}" for name, (dtype, shape) in listed[:MOST_LISTED]]
        if len(listed) > MOST_LISTED:
            shown.append(f"and {len(listed) - MOST_LISTED} more; --format json lists all")
    return [*shown, *(f"problem: {_problem(problem)}" for problem in found.problems)]


def _problem(problem: Exception) -> str:
    """Return what is wrong, with the options that mend it."""
    return problem.text(as_option) if isinstance(problem, OpenFieldsError) else str(problem)
