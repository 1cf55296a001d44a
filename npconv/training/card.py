"""The card of a fine-tuned model, its pictures, and the same facts for programs."""

from __future__ import annotations

import io
import json
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from npconv._version import __version__
from npconv.files.disk import write_file
from npconv.images.versions import library_versions
from npconv.messages import escape
from npconv.pictures.charts import panels
from npconv.training.accuracy import PICTURE_NAME, accuracy_table, as_code, in_markdown, percent, versions_text
from npconv.training.figures import draw_confusion
from npconv.training.loop import EARLY, FINISHED, INTERRUPTED, LOG_NAME, Epoch, Trained
from npconv.training.measures import top
from npconv.training.mistakes import draw_mistakes
from npconv.training.photo_tables import MULTI, SINGLE
from npconv.training.problems import counted, describe
from npconv.training.recipe import Recipe
from npconv.training.report import report
from npconv.training.unfrozen import ALL, HEAD, OWN

if TYPE_CHECKING:
    from PIL import Image

    from npconv.training.finetune import Call, FineTuned

CARD_NAME, FACTS_NAME, MISTAKES_NAME = "README.md", "finetune.json", "mistakes.png"

CURVES_NAME = "learning.png"

#: What each picture shows, by its name.
CAPTIONS = {
    PICTURE_NAME: "What each class is taken for",
    MISTAKES_NAME: "The worst mistakes",
    CURVES_NAME: "Loss and accuracy by epoch",
}

PICTURES = tuple(CAPTIONS)

#: Photos on the contact sheet, and of what else is listed.
MOST_MISTAKES, MOST_LISTED = 10, 10

#: What a card says of photos with one label, several, or numbers.
TELLS = {
    SINGLE: "tells which of $count classes is in a photo",
    MULTI: "tells which of $count labels a photo has",
    "regression": "gives numbers for a photo: $count",
}

CARD = Template("""\
---
library_name: transformers
pipeline_tag: image-classification
$metrics---

# $name

A $family that $tells: $classes.

## Data

- $source: $trained to train on, $validated to validate with.
- $split
$findings
## Training

$training

## Accuracy

$accuracy

$versions

$table
$pictures
## How to repeat it

    $command

## Use

    npconv classify --model $folder photo.jpg

or in Python, where `transformers` takes the place of `npconv` if you like:

    from npconv import pipeline
    print(pipeline("image-classification", model=$python)("photo.jpg"))

A photo of anything else than the above gets an answer all the same.
""")

#: At the top of the card, for programs.
METRICS = Template("""\
model-index:
- name: $name
  results:
  - task: {type: image-classification}
    dataset: {type: own, name: $source, split: validation}
    metrics: [{type: accuracy, value: $accuracy}]
""")


def draw_pictures(folder: Path, done: FineTuned) -> tuple[str, ...]:
    """Draw what is taken for what, the worst mistakes and how the network learned, as far as there is such a thing.

    The names of the files are returned.
    """
    evaluation, drawn = done.evaluation, {}
    if evaluation.answers is not None:
        drawn[PICTURE_NAME] = draw_confusion(evaluation.photos.classes, evaluation.answers)
        drawn[MISTAKES_NAME] = draw_mistakes(evaluation, MOST_MISTAKES)
    if done.trained is not None:
        drawn[CURVES_NAME] = panels(_curves(done.trained.epochs)).image
    for name, picture in drawn.items():
        _save(folder / name, picture)
    return tuple(drawn)


def _curves(epochs: Sequence[Epoch]) -> dict[str, dict[str, list[float]]]:
    """Return what is drawn over the epochs."""
    found = {"loss": {"train": [epoch.loss for epoch in epochs]}}
    losses = [epoch.validation_loss for epoch in epochs if epoch.validation_loss is not None]
    accuracies = [epoch.validation_accuracy for epoch in epochs if epoch.validation_accuracy is not None]
    if losses:
        found["loss"]["validation"] = losses
    return found | ({"accuracy": {"validation": accuracies}} if accuracies else {})


def _save(path: Path, picture: Image.Image) -> None:
    """Write a picture as PNG."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_file(path, [content.getvalue()])


def card_text(done: FineTuned, pictures: tuple[str, ...]) -> str:
    """Return the card, with links to these pictures beside it."""
    call, train, evaluation = done.call, done.train, done.evaluation
    name, source = done.directory.name, Path(call.source).name
    count = f"{len(train.classes):,}"
    metrics = ""
    if evaluation.answers is not None:
        share = top(evaluation.answers, 1)
        names = {"name": json.dumps(name), "source": json.dumps(source)}
        metrics = METRICS.substitute(names, accuracy=f"{100 * share.value:.2f}")
    return CARD.substitute(
        name=in_markdown(name),
        folder=shlex.quote(name),
        python=json.dumps(name, ensure_ascii=False),
        source=in_markdown(source),
        metrics=metrics,
        family=_title(done),
        tells=Template(TELLS[train.problem_type]).substitute(count=count),
        classes=_listed(train.classes),
        trained=counted(len(train), "photo", "photos"),
        validated=counted(len(evaluation.photos), "photo", "photos"),
        split=_split_text(done),
        findings=_findings_text(done),
        training=_training_text(done),
        accuracy=_accuracy_text(done),
        versions=versions_text(),
        table=_table(done),
        pictures="".join(f"\n![{CAPTIONS[picture]}]({picture})\n" for picture in pictures),
        command=command_of(done),
    )


def facts_of(done: FineTuned) -> dict[str, Any]:
    """Return what was done and what came of it, as JSON can hold it."""
    validated, best = done.evaluation.photos, done.choices[0]
    return {
        "written_by": f"npconv {__version__}",
        "versions": library_versions(),
        "call": asdict(done.call),
        "ended": done.trained.ended if done.trained else None,
        "epochs": [asdict(epoch) for epoch in done.trained.epochs] if done.trained else [],
        "classes": list(done.train.classes),
        "train_photos": len(done.train),
        "stages": best.stages,
        "strength": best.comparison.strength,
        "temperature": best.comparison.temperature,
        "compared": [
            {"stages": stages, "tried": [each._asdict() for each in found.tried]} for stages, found in done.choices
        ],
        "duplicates": [
            {"file": validated.files[each.place], "of": done.train.files[each.of], "likeness": each.likeness}
            for each in done.duplicates
        ],
        "problems": [vars(problem) for problem in done.problems],
        "evaluation": report(done.evaluation),
    }


def command_of(done: FineTuned) -> str:
    """Return the command that does the same; photos and model are called by their last names."""
    call = done.call
    words = ["npconv", "finetune", Path(call.source).name, "-o", done.directory.name, "--model", call.model]
    options = {
        "layers": None if call.layers == HEAD else call.layers,
        "stages": call.stages,
        "validation": Path(call.validation).name if isinstance(call.validation, str) else call.validation,
        "problem-type": call.problem_type,
        "seed": call.seed or None,
        **_recipe_options(call),
    }
    for option, value in options.items():
        words += [] if value is None else [f"--{option}", *([] if value is True else [str(value)])]
    return escape(shlex.join(words))


def _recipe_options(call: Call) -> dict[str, Any]:
    """Return the options that say how the network was trained, where it is not the usual way."""
    if call.recipe is None:
        return {}
    usual, own = Recipe(), call.recipe
    names = {"epochs": "epochs", "rate": "rate", "batch-size": "batch_size"}
    changed = {
        option: getattr(own, name) for option, name in names.items() if getattr(own, name) != getattr(usual, name)
    }
    return {
        **changed,
        "no-flip": None if own.flip else True,
        "gradients": None if call.gradients == OWN else call.gradients,
    }


def _title(done: FineTuned) -> str:
    """Return what kind of model it is, and of which it was made."""
    return f"{done.family} made of {as_code(done.call.model)}"


def _listed(names: tuple[str, ...]) -> str:
    """Return the names of classes, the first of many."""
    more = len(names) - 3 * MOST_LISTED
    shown = ", ".join(map(in_markdown, names[: 3 * MOST_LISTED]))
    return f"{shown} and {more:,} more" if more > 0 else shown


def _split_text(done: FineTuned) -> str:
    """Return how the photos were divided."""
    call = done.call
    if isinstance(call.validation, str):
        return f"The photos to validate with are those of {in_markdown(Path(call.validation).name)}."
    if done.was_split:
        return f"The photos to validate with were drawn from each class by seed {call.seed}."
    return "The photos were divided already."


def _findings_text(done: FineTuned) -> str:
    """Return what was found in the photos, as items of a list."""
    validated, lines = done.evaluation.photos, []
    if done.duplicates:
        nearly = counted(len(done.duplicates), "photo is", "photos are")
        lines.append(f"- {nearly} nearly the same as one that was trained on, so the accuracy may be too high:")
        for place, of, _ in done.duplicates[:MOST_LISTED]:
            files = (validated.files[place], done.train.files[of])
            lines.append("  - " + " and ".join(as_code(Path(file).name) for file in files))
        lines += ["  - and more: see finetune.json"] if len(done.duplicates) > MOST_LISTED else []
    else:
        lines.append("- No photo is nearly the same as one that was trained on.")
    if done.problems:
        lines.append(f"- {counted(len(done.problems), 'thing was', 'things were')} wrong with the photos:")
        lines += [f"  - {in_markdown(describe(problem))}" for problem in done.problems[:MOST_LISTED]]
        lines += ["  - and more: see finetune.json"] if len(done.problems) > MOST_LISTED else []
    return "\n".join([*lines, ""])


def _learning_text(done: FineTuned, trained: Trained) -> str:
    """Return how the network was trained."""
    recipe, layers = done.call.recipe, done.call.layers
    assert recipe is not None
    what = "The whole network was"
    if layers != ALL:
        count = "stage" if layers == 1 else f"{layers} stages"
        what = f"The last {count} of the network and its classifier were"
    ended = {
        FINISHED: "Then it was over",
        EARLY: f"Then {counted(recipe.patience, 'epoch was', 'epochs were')} no better",
        INTERRUPTED: "Then it was interrupted",
    }
    text = (
        f"{what} trained by AdamW: batches of {recipe.batch_size}, learning rate up to {recipe.rate:g} and down by a "
        f"cosine, {recipe.layer_decay:g} times as high for each block before the last, weight decay "
        f"{recipe.weight_decay:g}, stochastic depth {recipe.drop_path:g}, label smoothing {recipe.label_smoothing:g}. "
        f"The photos were varied: other parts of them, {'mirrored or not, ' if recipe.flip else ''}in other colours, "
        f"mixed with each other (mixup {recipe.mixup:g}). The weights are a running average; they are those of epoch "
        f"{trained.best.epoch} of {len(trained.epochs)}, the best on the photos to validate with. "
        f"{ended[trained.ended]}. `{LOG_NAME}` has a line for each epoch."
    )
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


def _training_text(done: FineTuned) -> str:
    """Return how the model came about."""
    if done.trained is not None:
        return _learning_text(done, done.trained)
    best = done.choices[0]
    kind = "linear" if done.train.problem_type == "regression" else "logistic"
    losses = (
        f"{comparison.loss:.4f} with {counted(stages, 'stage', 'stages')}"
        for stages, comparison in sorted(done.choices)
    )
    found = best.comparison
    chosen = f"its strength of regularization, {found.strength:.2g}, was"
    if found.temperature > 1:
        chosen = (
            f"its strength of regularization, {found.strength:.2g}, and its temperature, {found.temperature:.3g}, were"
        )
    text = (
        f"Kept as it was: the network up to its stage {best.stages}. The classifier after it is new, a {kind} "
        f"regression on the features, fitted by L-BFGS; {chosen} chosen by cross-validation on the training photos. "
        f"The loss there: {', '.join(losses)}."
    )
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


def _accuracy_text(done: FineTuned) -> str:
    """Return how good the model is, in a sentence."""
    answers = done.evaluation.answers
    measured = "measured by npconv from the weights as stored"
    photos = counted(len(done.evaluation.photos), "photo", "photos")
    if answers is None:
        return f"On the {photos} to validate with, {measured}."
    share = top(answers, 1)
    return (
        f"{percent(share.right, share.total, 2)} top-1 on the {photos} to validate with, {measured};\n"
        f"{100 * share.low:.2f} to {100 * share.high:.2f} % with a confidence of 95 %."
    )


def _table(done: FineTuned) -> str:
    """Return the table of the classes, labels or numbers."""
    if done.evaluation.answers is not None:
        return accuracy_table(done.evaluation)
    said = report(done.evaluation)
    rows = said.get("labels") or said["numbers"]
    lines = ["| " + " | ".join(name.replace("_", " ") for name in rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    for row in rows:
        cells = [
            f"{cell:.4g}" if isinstance(cell, float) else "" if cell is None else str(cell) for cell in row.values()
        ]
        lines.append("| " + " | ".join(in_markdown(cell) for cell in cells) + " |")
    return "\n".join(lines)
