"""Train a small image classifier on a folder or zip file of labelled pictures.

    python -m weights_tools.train SOURCE DIRECTORY [options]

SOURCE holds ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, or ``<class>/*.jpg`` only. DIRECTORY gets
``config.json``, ``model.safetensors`` (float16), ``preprocessor_config.json`` and a model card ``README.md``: what
npconv and transformers load. Needs the extra ``train``. A run of some seed on one CPU and number of threads can be
repeated; a stopped run goes on with ``--resume``. Nothing is chosen by the test part: it is looked at once, at the end.
The loop is that of ``npconv finetune --layers all``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import fields
from pathlib import Path
from string import Template
from typing import Any

from npconv.api.families import class_for
from npconv.cli.frame import positive
from npconv.errors import InputError, UnavailableError
from npconv.models import find_family
from npconv.training.accuracy import versions_text
from npconv.training.groups import parameter_groups
from npconv.training.learner import Learner
from npconv.training.loop import INTERRUPTED, Epoch, train
from npconv.training.pictures import Pictures
from weights_tools.commands import parser_of, run_command
from weights_tools.training.families import FIELDS, build
from weights_tools.training.pictures import Dataset, read_dataset
from weights_tools.training.recipe import EmbeddedRecipe

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

- Data: $source, $trained_on pictures to train on, $watched more to choose the best epoch by, $tested_on to test on.
- $epochs epochs of AdamW: batches of $batch_size, learning rate up to $rate in $warmup_epochs epochs and down by a
  cosine, weight decay $weight_decay, label smoothing $label_smoothing.
- Variations: half of the pictures moved by some pixels, half random cut-outs of other scale and shape; mirroring,
  brightness, contrast and saturation; in the share $cover a rectangle is covered, in $exchange it is another picture's.
- The weights are a running average over about $average_epochs epochs, rounded to float16. Seed $seed.
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
    parser.add_argument("--batch-size", type=int, default=128, help="pictures a step (%(default)s)")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate (%(default)s)")
    parser.add_argument("--weight-decay", type=float, default=0.05, help="decay of matrices (%(default)s)")
    parser.add_argument(
        "--watch", type=float, default=0.02, help="share of the pictures to choose the best epoch by (%(default)s)"
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
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in DIRECTORY")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Train and write a model."""
    prepare_torch(arguments)
    from weights_tools.training.learner import DeviceLearner
    from weights_tools.training.saving import rounded_to_float16, save_model

    start = time.monotonic()
    folder: Path = arguments.directory
    folder.mkdir(parents=True, exist_ok=True)
    dataset = read_dataset(arguments.source, arguments.size, folder, watch=arguments.watch, seed=arguments.seed)
    recipe = make_recipe(arguments, dataset)
    model = build(arguments.family, list(dataset.classes), arguments.size, arguments.widths, arguments.depths)
    groups = parameter_groups(in_npconv(model))
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{count} parameters, {len(dataset.train)} pictures to train on, {len(dataset.test)} to test on", flush=True)
    learner = DeviceLearner(model, groups, dataset.train, recipe)
    trained = train(learner, dataset.train, dataset.watch, recipe, folder, resume=arguments.resume, show=say_epoch)
    if trained.ended == INTERRUPTED:
        raise KeyboardInterrupt
    exact = accuracy(learner, dataset.test)
    model.load_state_dict(rounded_to_float16(model))
    learner.weights.take_statistics()
    rounded = accuracy(learner, dataset.test)
    save_model(model, folder, dataset.processor, write_card(arguments, dataset, recipe, count, rounded))
    print(f"accuracy on the test part: {exact:.4f} in float32, {rounded:.4f} with weights rounded to float16")
    print(f"{folder} written, {(time.monotonic() - start) / 60:.1f} minutes")


def prepare_torch(arguments: argparse.Namespace) -> None:
    """Set PyTorch up as the arguments say, or refuse what cannot be."""
    try:
        import torch
        import transformers  # noqa: F401 - to know that it is there
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


def say_epoch(epoch: Epoch) -> None:
    """Print what is known after an epoch."""
    watched = epoch.validation_accuracy
    seen = "" if watched is None else f"accuracy on the watched part {watched:.4f}, "
    print(f"epoch {epoch.epoch}/{epoch.epochs}: loss {epoch.loss:.4f}, {seen}{epoch.seconds:.2f} s", flush=True)


def accuracy(learner: Learner, pictures: Pictures) -> float:
    """Return the share of pictures whose class has the highest output."""
    right = sum(int((learner.logits(x).argmax(1) == labels).sum()) for x, labels in pictures.batches(500))
    return right / len(pictures)


def in_npconv(model: Any) -> Any:
    """Return the model of npconv of the same configuration as one of transformers, with weights of its own."""
    config = find_family(model.config.model_type).config_class(**model.config.to_dict())
    return class_for(find_family(config.model_type), "image_classification")(config)


def make_recipe(arguments: argparse.Namespace, dataset: Dataset) -> EmbeddedRecipe:
    """Return how to train, from the arguments and the colours of the training pictures."""
    settings = dataset.processor.settings()
    given = vars(arguments)
    return EmbeddedRecipe(
        **{field.name: given[field.name] for field in fields(EmbeddedRecipe) if field.name in given},
        warmup_epochs=2,
        label_smoothing=0.1,
        average_epochs=3.0,
        layer_decay=1.0,
        patience=arguments.epochs,
        mean=list(settings.image_mean),
        std=list(settings.image_std),
        bfloat16=not arguments.no_bfloat16,
    )


def write_card(
    arguments: argparse.Namespace, dataset: Dataset, recipe: EmbeddedRecipe, parameters: int, accuracy: float
) -> str:
    """Return the model card."""
    import torch

    source = arguments.data_name or Path(arguments.source).name
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
        watched=0 if dataset.watch is None else len(dataset.watch),
        trained_on=len(dataset.train),
        tested_on=len(dataset.test),
        command=command_of(arguments),
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
