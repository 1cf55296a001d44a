"""Train a small image classifier on a folder or zip file of labelled pictures.

    python -m weights_tools.train SOURCE DIRECTORY [options]

SOURCE holds ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, or ``<class>/*.jpg`` only. DIRECTORY gets
``config.json``, ``model.safetensors`` (float16), ``preprocessor_config.json`` and a model card ``README.md``: what
npconv and transformers load. Needs the extra ``train``. A run of some seed on one CPU and number of threads can be
repeated; a stopped run goes on with ``--resume``. Nothing is chosen by the test part: it is looked at once, at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from string import Template

from npconv.cli.frame import positive
from npconv.errors import InputError, UnavailableError
from npconv.models import find_family
from npconv.training.accuracy import versions_text
from weights_tools.commands import parser_of, run_command
from weights_tools.training.families import FIELDS, build
from weights_tools.training.pictures import Dataset, colour_statistics, read_dataset, split_off
from weights_tools.training.recipe import Recipe, check_recipe

MODEL_CARD = Template("""\
---
library_name: transformers
pipeline_tag: image-classification
license: apache-2.0
model-index:
- name: $name
  results:
  - task: {type: image-classification}
    dataset: {type: other, name: $quoted_source, split: test}
    metrics: [{type: accuracy, value: $accuracy}]
---

# $name

A small $family for pictures of $size x $size pixels: $parameters parameters, stages of $widths channels with
$depths blocks. It tells apart $count classes: $classes.

## Training

- Data: $source, $trained_on pictures to train on, $watched more to watch the progress on, $tested_on to test on.
- $epochs epochs of AdamW: batches of $batch_size, learning rate up to $learning_rate in $warmup epochs and down by a
  cosine, weight decay $weight_decay, label smoothing $label_smoothing.$early
- Variations: half of the pictures moved by some pixels, half random cut-outs of other scale and shape; mirroring,
  brightness, contrast and saturation; in the share $cover a rectangle is covered, in $exchange it is another picture's.
- The weights are a running average (decay $average_decay a step), rounded to float16. Seed $seed.
- Nothing was chosen by the test pictures.

Command:

    $command

Trained on: $computer.

## Accuracy

Measured by PyTorch in float32 on the $tested_on test pictures, from the weights as stored: $accuracy % top-1.

$versions

## Use

Larger photos are scaled to $size pixels on the shorter edge and the centre is cut out. A picture of anything but the
classes above gets one of them nevertheless.
""")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = parser_of("train", __doc__)
    parser.add_argument("source", metavar="SOURCE", help="folder or zip file of labelled pictures")
    parser.add_argument("directory", metavar="DIRECTORY", type=Path, help="where the model is written")
    parser.add_argument("--family", choices=tuple(FIELDS), default="convnextv2", help="kind of network (%(default)s)")
    parser.add_argument("--widths", type=_numbers, default=[40, 80, 160], help="channels a stage (40,80,160)")
    parser.add_argument("--depths", type=_numbers, default=[2, 4, 1], help="blocks a stage (2,4,1)")
    parser.add_argument("--size", type=int, default=32, help="edge of the pictures in pixels (%(default)s)")
    parser.add_argument("--epochs", type=int, default=38, help="passes over the pictures (%(default)s)")
    parser.add_argument("--minutes", type=float, default=0.0, help="train for so long, whatever --epochs says")
    parser.add_argument("--early-size", type=int, default=24, help="edge in the first epochs (%(default)s)")
    parser.add_argument("--early-epochs", type=int, default=22, help="how many epochs that is (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=128, help="pictures a step (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="highest learning rate (%(default)s)")
    parser.add_argument("--weight-decay", type=float, default=0.05, help="decay of matrices (%(default)s)")
    parser.add_argument(
        "--watch", type=float, default=0.02, help="share of the pictures kept apart for progress (%(default)s)"
    )
    parser.add_argument("--cover", type=float, default=0.25, help="share of pictures with a part covered (%(default)s)")
    parser.add_argument(
        "--exchange", type=float, default=0.0, help="share of pictures with a part of another one (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch (0: its own choice)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (%(default)s)")
    parser.add_argument("--compile", action="store_true", help="let PyTorch compile the network's blocks")
    parser.add_argument("--no-bfloat16", action="store_true", help="compute in float32 only")
    parser.add_argument("--data-name", help="what the model card calls the pictures (the file name of SOURCE)")
    parser.add_argument("--resume", action="store_true", help="go on from DIRECTORY/checkpoint.pt")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Train and write a model."""
    try:
        import torch

        from weights_tools.training import loop
    except ImportError as error:
        raise UnavailableError(f"training needs an extra: pip install '.[train]' ({error})") from error
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise UnavailableError(
            f"expected a PyTorch that finds a GPU, got version {torch.__version__}; try --device cpu"
        )
    if len(arguments.widths) != len(arguments.depths):
        raise InputError(f"expected one width and one depth a stage, got {arguments.widths} and {arguments.depths}")
    if arguments.threads > 0:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    start = time.monotonic()
    dataset = read_dataset(arguments.source, arguments.size, seed=arguments.seed)
    recipe = make_recipe(arguments, dataset)
    train, watch = split_off(dataset.train, arguments.watch, arguments.seed)
    check_recipe(recipe, len(train))
    model = build(arguments.family, dataset.classes, arguments.size, arguments.widths, arguments.depths)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters} parameters, {len(train)} pictures to train on, {len(dataset.test)} to test on", flush=True)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    average, epochs = loop.train(model, train, watch, recipe, arguments.directory, arguments.resume)
    exact = loop.accuracy(average, dataset.test, recipe)
    average.load_state_dict(loop.rounded_to_float16(average))
    rounded = loop.accuracy(average, dataset.test, recipe)
    card = write_card(arguments, dataset, replace(recipe, epochs=epochs), parameters, len(train), rounded)
    loop.save_model(average, arguments.directory, arguments.size, recipe.mean, recipe.std, card)
    print(f"accuracy on the test part: {exact:.4f} in float32, {rounded:.4f} with weights rounded to float16")
    print(f"{arguments.directory} written, {(time.monotonic() - start) / 60:.1f} minutes")


def make_recipe(arguments: argparse.Namespace, dataset: Dataset) -> Recipe:
    """Return how to train, from the arguments and the colours of the training pictures."""
    mean, std = colour_statistics(dataset.train.pixels)
    given = vars(arguments)
    return Recipe(
        **{field.name: given[field.name] for field in fields(Recipe) if field.name in given},
        warmup_epochs=2,
        label_smoothing=0.1,
        average_decay=0.999,
        mean=mean,
        std=[max(value, 1e-3) for value in std],
        bfloat16=not arguments.no_bfloat16,
    )


def write_card(
    arguments: argparse.Namespace, dataset: Dataset, recipe: Recipe, parameters: int, trained_on: int, accuracy: float
) -> str:
    """Return the model card."""
    import torch

    source = arguments.data_name or Path(arguments.source).name
    early, edge = min(recipe.early_epochs, recipe.epochs), recipe.early_size
    return MODEL_CARD.substitute(
        vars(recipe),
        name=arguments.directory.name,
        family=find_family(arguments.family).title,
        parameters=f"{parameters:,}",
        widths=", ".join(map(str, arguments.widths)),
        depths=", ".join(map(str, arguments.depths)),
        count=len(dataset.classes),
        classes=", ".join(dataset.classes),
        source=source,
        quoted_source=json.dumps(source, ensure_ascii=False),
        watched=len(dataset.train) - trained_on,
        trained_on=trained_on,
        tested_on=len(dataset.test),
        command=command_of(arguments),
        warmup=recipe.warmup_epochs,
        early=f"\n- The first {early} epochs saw {edge} x {edge} pixels." if early else "",
        accuracy=f"{100 * accuracy:.2f}",
        versions=versions_text({"torch": str(torch.__version__)}),
        computer=torch.cuda.get_device_name() if recipe.device == "cuda" else "CPU",
    )


def command_of(arguments: argparse.Namespace) -> str:
    """Return the command that says the same as the arguments, without what is as it would be anyway."""
    parser = make_parser()
    words = ["python -m weights_tools.train", Path(arguments.source).name, arguments.directory.name]
    for name, value in vars(arguments).items():
        if name in ("source", "directory", "data_name", "resume") or value == parser.get_default(name):
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, list) else str(value))
    return " ".join(words)


def main(argv: list[str] | None = None) -> int:
    """Run the command with the arguments `argv` and return its exit status."""
    return run_command(run, make_parser().parse_args(argv))


def _numbers(text: str) -> list[int]:
    """Read whole numbers above zero, separated by commas."""
    return [positive(part.strip()) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
