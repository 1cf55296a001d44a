"""What the card of a fine-tuned model says, sentence by sentence, and the command that makes it again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from npconv.training import card
from npconv.training.finetune import Call
from npconv.training.frozen import Choice
from npconv.training.loop import EARLY, FINISHED, INTERRUPTED, Epoch, Trained
from npconv.training.problems import Problem
from npconv.training.recipe import Recipe

CALL = Call("/photos/roses", "org/model")


def done(call=CALL, **facts):
    """Return what there is after a fine-tuning, as far as a sentence needs it."""
    files = tuple(f"a/{number}.png" for number in range(30))
    photos = SimpleNamespace(files=files, classes=("red", "blue"), problem_type="single_label_classification")
    usual = {"train": photos, "evaluation": SimpleNamespace(photos=photos, answers=None), "directory": Path("my model")}
    nothing = {"duplicates": (), "problems": (), "trained": None, "was_split": True, "family": "ConvNeXt"}
    return SimpleNamespace(call=call, **{**usual, **nothing, **facts})


def flat(text):
    assert all(len(line) <= 110 for line in text.splitlines())
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("changed", "options"),
    [
        ({}, ""),
        ({"seed": 3, "stages": 2}, " --stages 2 --seed 3"),
        ({"stages": 0}, " --stages 0"),
        ({"layers": "all", "recipe": Recipe()}, " --layers all"),
        ({"layers": 2, "recipe": Recipe(), "gradients": "torch"}, " --layers 2 --gradients torch"),
        ({"recipe": Recipe(epochs=5, rate=0.5, batch_size=7)}, " --epochs 5 --rate 0.5 --batch-size 7"),
        ({"recipe": Recipe(flip=False)}, " --no-flip"),
        ({"recipe": Recipe(mixup=0.5, seed=9)}, ""),
        ({"validation": 0.25}, " --validation 0.25"),
        ({"validation": "/there/of it"}, " --validation 'of it'"),
        ({"problem_type": "regression"}, " --problem-type regression"),
    ],
)
def test_the_command_that_does_it_again(changed, options):
    expected = f"npconv finetune roses -o 'my model' --model org/model{options}"
    assert card.command_of(done(replace(CALL, **changed))) == expected


@pytest.mark.parametrize("count", [1, 30, 31, 1040])
def test_of_many_classes_the_first_are_named(count):
    names = tuple(f"c{number}" for number in range(count))
    more = f" and {count - 30:,} more" if count > 30 else ""
    assert card._listed(names) == ", ".join(names[:30]) + more


def test_how_the_photos_were_divided():
    assert card._split_text(done()) == "The photos to validate with were drawn from each class by seed 0."
    assert card._split_text(done(was_split=False)) == "The photos were divided already."
    said = card._split_text(done(replace(CALL, validation="/there/others")))
    assert said == "The photos to validate with are those of others."
    drawn = card._split_text(done(replace(CALL, validation=0.5, seed=4)))
    assert drawn == "The photos to validate with were drawn from each class by seed 4."


@pytest.mark.parametrize("count", [0, 1, 10, 11])
def test_what_was_found_in_the_photos(count):
    duplicates = [SimpleNamespace(place=number, of=29 - number, likeness=1.0) for number in range(count)]
    twins = [(each.place, each.of, each.likeness) for each in duplicates]
    problems = [Problem("unreadable", f"{number}.png", "no picture") for number in range(count)]
    said = card._findings_text(done(duplicates=twins, problems=problems)).split("\n")
    if not count:
        assert said == ["- No photo is nearly the same as one that was trained on.", ""]
        return
    photos = "1 photo is" if count == 1 else f"{count} photos are"
    things = "1 thing was" if count == 1 else f"{count} things were"
    shown, more = min(count, 10), ["  - and more: see finetune.json"] * (count > 10)
    assert said[0] == (f"- {photos} nearly the same as one that was trained on, so the accuracy may be too high:")
    assert said[1 : 1 + shown] == [f"  - `{n}.png` and `{29 - n}.png`" for n in range(shown)]
    rest = said[1 + shown :]
    assert rest[: len(more) + 1] == [*more, f"- {things} wrong with the photos:"]
    told = rest[len(more) + 1 :]
    assert len(told) == shown + len(more) + 1
    assert all(line.startswith(f"  - {n}.png: ") for n, line in enumerate(told[:shown]))
    assert told[shown:] == [*more, ""]


def epoch(number, loss, validation=None, accuracy=None, is_best=False):
    return Epoch(number, 9, loss, validation, accuracy, is_best, 1.0)


EPOCHS = (epoch(1, 3.0, 2.5, 0.5), epoch(2, 2.0, 1.5, 0.75, is_best=True), epoch(3, 1.0, 1.75, 0.5))


@pytest.mark.parametrize(
    ("layers", "what"),
    [
        ("all", "The whole network was"),
        (1, "The last stage of the network and its classifier were"),
        (3, "The last 3 stages of the network and its classifier were"),
    ],
)
@pytest.mark.parametrize(
    ("ended", "how"),
    [
        (FINISHED, "Then it was over."),
        (EARLY, "Then 8 epochs were no better."),
        (INTERRUPTED, "Then it was interrupted."),
    ],
)
@pytest.mark.parametrize("flip", [True, False])
def test_how_the_network_was_trained(layers, what, ended, how, flip):
    recipe = Recipe(batch_size=7, rate=0.0125, patience=8, flip=flip, mixup=0.25, drop_path=0.15, label_smoothing=0.05)
    call = replace(CALL, layers=layers, recipe=recipe)
    mirrored = "mirrored or not, " if flip else ""
    assert flat(card._training_text(done(call, trained=Trained(EPOCHS, ended)))) == (
        f"{what} trained by AdamW: batches of 7, learning rate up to 0.0125 and down by a cosine, 0.9 times as high "
        "for each block before the last, weight decay 0.05, stochastic depth 0.15, label smoothing 0.05. The photos "
        f"were varied: other parts of them, {mirrored}in other colours, mixed with each other "
        "(mixup 0.25). The weights are a running average; they are those of epoch 2 of 3, the best on the photos to "
        f"validate with. {how} `{card.LOG_NAME}` has a line for each epoch."
    )


@pytest.mark.parametrize(
    ("temperature", "chosen"),
    [(1.0, "0.012, was chosen"), (1.5, "0.012, and its temperature, 1.5, were chosen")],
)
@pytest.mark.parametrize(("kind", "word"), [("regression", "linear"), ("single_label_classification", "logistic")])
def test_how_a_head_was_fitted(temperature, chosen, kind, word):
    found = [SimpleNamespace(strength=0.0123, temperature=temperature, loss=loss) for loss in (0.5, 0.75)]
    choices = tuple(Choice(stages, one) for stages, one in zip((2, 1), found, strict=True))
    made = done(choices=choices)
    made.train.problem_type = kind
    assert flat(card._training_text(made)) == (
        f"Kept as it was: the network up to its stage 2. The classifier after it is new, a {word} regression on the "
        f"features, fitted by L-BFGS; its strength of regularization, {chosen} by cross-validation on the training "
        "photos. The loss there: 0.7500 with 1 stage, 0.5000 with 2 stages."
    )


def test_what_is_drawn_over_the_epochs():
    assert card._curves(EPOCHS) == {
        "loss": {"train": [3.0, 2.0, 1.0], "validation": [2.5, 1.5, 1.75]},
        "accuracy": {"validation": [0.5, 0.75, 0.5]},
    }
    assert card._curves([epoch(1, 3.0)]) == {"loss": {"train": [3.0]}}
    assert card._curves([epoch(1, 3.0, 2.0)]) == {"loss": {"train": [3.0], "validation": [2.0]}}
    assert card._curves([epoch(1, 3.0, 0.0, 0.0)])["accuracy"] == {"validation": [0.0]}
