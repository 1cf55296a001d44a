"""``npconv finetune``: labelled photos in, a classifier for them out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from npconv.cli import sharing
from npconv.cli.frame import DONE, FAILED_IN_PART, positive
from npconv.cli.output import write
from npconv.cli.problems import say_problems
from npconv.cli.progress import Progress, make_progress
from npconv.workers.batches import MANY

if TYPE_CHECKING:
    from npconv.training.finetune import FineTuned, Watch
    from npconv.training.loop import Epoch
    from npconv.training.problems import Problem
    from npconv.training.recipe import Recipe

DESCRIPTION = """\
Make a classifier for your own photos of a model that was trained on others.
PHOTOS is a folder with one for each class (cat/1.jpg), or with train and
validation around these; a CSV file with a row for each photo; or a zip file
of such folders. Photos that cannot be read are named on stderr and left out;
the exit status is then 1. Nothing is written until all is done.
"""

EPILOG = """\
The folder that is written has the layout of Hugging Face: npconv classify
--model FOLDER and transformers load it. README.md says how good the model is,
with pictures of what it takes for what and of its worst mistakes, and
finetune.json the same for programs.

A CSV file has a column file, and label (label_2, ... for more of them), or a
column of 1 and 0 for each class; and part, if the photos are divided.

The features of the photos are kept on disk, so that another run on the same
photos is quick, and one that was interrupted goes on where it was. They lie
in the folder features of ~/.cache/npconv, or of NPCONV_CACHE, and take up to
1024 MB, or as many as NPCONV_FEATURES_MB says; those of the model that was
used longest ago go first.

To train the network takes longer: an epoch shows a line on stderr, Ctrl-C
ends it with the best model so far, and --resume goes on with it.

examples:
  npconv finetune flowers -o flower-model
  npconv finetune flowers -o flower-model --model facebook/convnext-tiny-224
  npconv finetune flowers -o flower-model --layers all --epochs 10
  npconv classify --model flower-model photo.jpg
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "finetune", help="make a classifier for your own photos", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("source", metavar="PHOTOS", help="folder of classes, CSV file, or zip file of folders")
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="where the model is written")
    parser.add_argument("--model", help="to begin with, as for npconv classify (default: the embedded model)")
    add_what(parser)
    add_recipe(parser)
    add_work(parser)
    parser.set_defaults(run=run, command="finetune")


def add_what(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is trained, and on which photos."""
    parser.add_argument(
        "--layers",
        type=layers,
        default="head",
        metavar="LAYERS",
        help="what is trained; head: a classifier on the features of a network that stays as it is; all: the network "
        "too; N: its last N stages (default head)",
    )
    parser.add_argument(
        "--stages",
        type=positive,
        metavar="N",
        help="how many stages of the network are kept (default: cross-validation decides; all if they are trained)",
    )
    parser.add_argument(
        "--validation",
        type=share_or_path,
        metavar="PART",
        help="what to validate with: a share of the photos such as 0.2, or other photos (default: the part validation "
        "if it is there, else 0.2)",
    )
    parser.add_argument(
        "--problem-type",
        choices=("regression", "single_label_classification", "multi_label_classification"),
        metavar="TYPE",
        help="what the labels of a CSV file are: regression, single_label_classification or "
        "multi_label_classification (default: what its columns say)",
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of what is drawn at random (default 0)")
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="photos at a time (default 8, or 32 to train the network)",
    )


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the work is done, and what it may replace."""
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help=f"processes that share the work; 1 is none but this one (default: one a core, from {MANY} photos on)",
    )
    sharing.add_max_memory(parser)
    parser.add_argument("--no-cache", action="store_true", help="neither keep features of photos nor take kept ones")
    parser.add_argument("--force", action="store_true", help="replace the model that FOLDER holds")


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the network is trained."""
    group = parser.add_argument_group("to train the network, with --layers all or N")
    group.add_argument("--epochs", type=positive, metavar="N", help="passes over the photos, at most (default 30)")
    group.add_argument("--rate", type=float, metavar="R", help="highest learning rate (default 0.001)")
    group.add_argument("--no-flip", action="store_true", help="mirror no photo: for letters, digits, left and right")
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with a training that was stopped, by whatever: it ends as one that was not",
    )
    group.add_argument(
        "--gradients",
        default="npconv",
        metavar="BY",
        help="what computes them: npconv, or torch where PyTorch and transformers are installed (default npconv)",
    )


def recipe_of(args: argparse.Namespace) -> Recipe:
    """Return how the network is trained."""
    from npconv.training.recipe import Recipe

    given = {name: getattr(args, name) for name in ("epochs", "rate", "batch_size")}
    return Recipe(flip=not args.no_flip, **{name: value for name, value in given.items() if value is not None})


def run(args: argparse.Namespace) -> int:
    """Write the model and print what came of it; return 1 if photos were lost, else 0."""
    from npconv.api.pipelines import DEFAULT_MODEL
    from npconv.training.finetune import finetune
    from npconv.training.problems import LOSSES

    done = finetune(
        args.source,
        args.output,
        model=args.model or DEFAULT_MODEL,
        layers=args.layers,
        stages=args.stages,
        validation=args.validation,
        problem_type=args.problem_type,
        seed=args.seed,
        recipe=recipe_of(args),
        gradients=args.gradients,
        resume=args.resume,
        batch_size=args.batch_size or 8,
        workers=args.workers,
        cache=not args.no_cache,
        max_memory=sharing.max_memory(args),
        force=args.force,
        watch=make_watch(),
    )
    write(sys.stdout, text_of(done))
    return FAILED_IN_PART if any(each.kind in LOSSES for each in done.problems) else DONE


def text_of(done: FineTuned) -> str:
    """Return what came of it, in lines."""
    from npconv.cli.evaluate_formats import text
    from npconv.messages import escape
    from npconv.training.loop import INTERRUPTED
    from npconv.training.problems import counted
    from npconv.training.unfrozen import training_folder

    lines = [text(done.evaluation)]
    if done.trained is not None and done.trained.ended == INTERRUPTED:
        epoch = done.trained.best.epoch
        lines.append(
            f"interrupted; the model is that of epoch {epoch}, the best so far. --resume goes on; until then\n"
            f"{escape(str(training_folder(done.directory)))} keeps what it needs\n"
        )
    kept, most = done.choices[0].stages, max(choice.stages for choice in done.choices)
    if kept < most:
        lines.append(
            f"the first {kept} of {most} stages are kept: these photos are told apart better without the others\n"
        )
    if done.duplicates:
        nearly = counted(len(done.duplicates), "photo of the part validation is", "photos of the part validation are")
        lines.append(f"{nearly} nearly the same as one that was trained on; see finetune.json\n")
    return "".join(lines)


def make_watch() -> Watch:
    """Return what shows on stderr how far it is, and what is wrong with photos."""
    from npconv.training.finetune import Watch

    class Shown(Watch):
        """Shows it on stderr."""

        progress = Progress()

        def problems(self, problems: Sequence[Problem]) -> None:
            say_problems("finetune", problems, "finetune.json names all")

        def begin(self, total: int | None, unit: str) -> None:
            self.progress = make_progress(total, unit, output_is_elsewhere=True)

        def advance(self, count: int) -> None:
            self.progress.advance(count)

        def end(self) -> None:
            self.progress.close()

        def epoch(self, epoch: Epoch) -> None:
            self.progress.clear()
            write(sys.stderr, f"{epoch_text(epoch)}\n", flush=True)

    return Shown()


def epoch_text(epoch: Epoch) -> str:
    """Return what is known after an epoch, on one line."""
    words = [f"epoch {epoch.epoch} of {epoch.epochs}: loss {epoch.loss:.4f}"]
    if epoch.validation_loss is not None:
        words.append(f"of the part validation {epoch.validation_loss:.4f}")
    if epoch.validation_accuracy is not None:
        words.append(f"{100 * epoch.validation_accuracy:.2f} % right")
    return ", ".join([*words, f"{epoch.seconds:.1f} s", *(["the best so far"] if epoch.is_best else [])])


def layers(text: str) -> str | int:
    """Return what is trained: a word, or a number of stages."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def share_or_path(text: str) -> str | float:
    """Return the share of photos that a text says, or the path that it is."""
    try:
        return text if os.path.exists(text) else float(text)
    except ValueError:
        return text


def seed(text: str) -> int:
    """Return a whole number of at least 0, or say what was expected."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)
