"""``finetune`` with the network trained: what is written, what is said of it, how it is stopped and resumed."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from support.small_training import small_model

import npconv
from npconv.errors import InputError, UnavailableError
from npconv.training.finetune import finetune
from npconv.training.learner import OwnLearner
from npconv.training.loop import EARLY, FINISHED, INTERRUPTED
from npconv.training.recipe import Recipe
from npconv.training.unfrozen import remove_training, training_folder

#: The module, whose name in the package is that of the function.
module = sys.modules[finetune.__module__]

COLOURS = {"blue": (10, 40, 190), "green": (20, 160, 40), "red": (200, 30, 20)}
RECIPE = Recipe(epochs=3, batch_size=6, rate=1e-2)


@pytest.fixture
def model(tmp_path):
    """A small model to begin with."""
    folder = tmp_path / "small"
    small_model("convnextv2", num_labels=5).save_pretrained(folder)
    npconv.ConvNextImageProcessor(size=12, crop_pct=1.0).save_pretrained(folder)
    return folder


@pytest.fixture
def photos(tmp_path):
    """Eight photos of each of three colours."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = np.array(colour, np.uint8) + rng.integers(0, 50, (16, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def train(photos, model, output, **options):
    return finetune(photos, output, **{"model": model, "layers": "all", "recipe": RECIPE, "cache": False, **options})


def card_of(folder):
    """Return the words of a model card, wherever its lines end."""
    return " ".join((folder / "README.md").read_text().split())


def test_what_is_written_is_a_model_with_its_log_and_curves(tmp_path, photos, model):
    done = train(photos, model, tmp_path / "mine")
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    assert {"model.safetensors", "config.json", "preprocessor_config.json", "log.jsonl", "learning.png"} <= names
    assert not (tmp_path / "mine.training").exists()
    lines = [json.loads(line) for line in (tmp_path / "mine" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert json.loads((tmp_path / "mine" / "finetune.json").read_text())["epochs"] == lines
    assert done.trained.ended == FINISHED
    answers = npconv.pipeline("image-classification", model=str(tmp_path / "mine"))
    files = [str(file) for file in done.evaluation.photos.files]
    labels = [sorted(COLOURS)[k] for k in done.evaluation.photos.targets]
    right = [answers(file)[0]["label"] == label for file, label in zip(files, labels, strict=True)]
    assert np.mean(right) == done.trained.best.validation_accuracy


def test_the_card_says_how_it_was_trained_and_how_to_repeat_it(tmp_path, photos, model):
    train(photos, model, tmp_path / "mine", recipe=Recipe(epochs=2, batch_size=6, flip=False), seed=3)
    card = card_of(tmp_path / "mine")
    assert "The whole network was trained by AdamW: batches of 6," in card
    assert "mirrored" not in card
    assert "--layers all --seed 3 --epochs 2 --batch-size 6 --no-flip" in card
    assert "![Loss and accuracy by epoch](learning.png)" in card


def test_the_same_call_gives_the_same_file(tmp_path, photos, model):
    first, second, other = (
        train(photos, model, tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    contents = [(done.directory / "model.safetensors").read_bytes() for done in (first, second, other)]
    assert contents[0] == contents[1] != contents[2]


def test_the_last_stage_alone_is_trained(tmp_path, photos, model):
    train(photos, model, tmp_path / "mine", layers=1)
    before, after = (
        npconv.AutoModel.from_pretrained(folder, strict=False).state_dict() for folder in (model, tmp_path / "mine")
    )
    changed = {name for name, array in after.items() if not np.array_equal(array, before[name])}
    assert changed
    assert all(name.startswith(("encoder.stages.1.", "layernorm.")) for name in changed)
    assert "The last stage of the network and its classifier were trained" in card_of(tmp_path / "mine")


def stopping(monkeypatch, after, error):
    """Let training be stopped by an error after so many steps."""
    left, step = iter(range(after)), OwnLearner.step

    def stopped(learner, *arguments):
        if next(left, None) is None:
            raise error
        return step(learner, *arguments)

    monkeypatch.setattr(OwnLearner, "step", stopped)


def test_a_stopped_call_that_is_resumed_gives_the_file_of_one_that_was_not(tmp_path, photos, model, monkeypatch):
    whole = train(photos, model, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stopping(patch, 4, RuntimeError("the machine is gone"))
        with pytest.raises(RuntimeError):
            train(photos, model, tmp_path / "parts")
    assert not (tmp_path / "parts").exists()
    assert (tmp_path / "parts.training" / "checkpoint.safetensors").exists()
    parts = train(photos, model, tmp_path / "parts", resume=True)
    first, second = ((done.directory / "model.safetensors").read_bytes() for done in (whole, parts))
    assert first == second
    assert not (tmp_path / "parts.training").exists()


def test_ctrl_c_writes_the_best_model_so_far_and_can_be_resumed(tmp_path, photos, model, monkeypatch):
    whole = train(photos, model, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stopping(patch, 7, KeyboardInterrupt())
        done = train(photos, model, tmp_path / "parts")
    assert done.trained.ended == INTERRUPTED
    assert json.loads((tmp_path / "parts" / "finetune.json").read_text())["ended"] == INTERRUPTED
    assert len(done.trained.epochs) == 2
    assert "Then it was interrupted" in card_of(tmp_path / "parts")
    with pytest.raises(InputError, match="holds"):
        train(photos, model, tmp_path / "parts")
    parts = train(photos, model, tmp_path / "parts", resume=True)
    first, second = ((each.directory / "model.safetensors").read_bytes() for each in (whole, parts))
    assert first == second


def test_what_does_not_get_better_ends_early(tmp_path, photos, model):
    done = train(photos, model, tmp_path / "mine", recipe=Recipe(epochs=9, batch_size=6, rate=0.0, patience=1))
    assert done.trained.ended == EARLY
    assert "Then 1 epoch was no better" in card_of(tmp_path / "mine")


def test_numbers_are_learned_beginning_with_a_head_that_was_fitted(tmp_path, photos, model):
    table = tmp_path / "ages.csv"
    rows = [f"photos/{name}/{k}.png,{100 + 10 * k}" for name in COLOURS for k in range(8)]
    table.write_text("\n".join(["file,label", *rows]) + "\n")
    done = train(table, model, tmp_path / "mine", problem_type="regression", recipe=Recipe(epochs=2, batch_size=6))
    assert done.trained.best.validation_loss < 100**2  # which a head at 0 would have
    assert done.trained.best.validation_accuracy is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 3}, "from 1 to the 2 stages of the model, got 3"),
        ({"layers": 0}, "expected layers to be head, all or a number of stages, got 0"),
        ({"layers": "some"}, "got 'some'"),
        ({"gradients": "jax"}, "expected gradients of npconv or torch, got 'jax'"),
    ],
)
def test_calls_that_make_no_sense_are_refused(tmp_path, photos, model, options, message):
    with pytest.raises(InputError, match=message):
        train(photos, model, tmp_path / "mine", **options)
    assert not (tmp_path / "mine").exists()
    assert not (tmp_path / "mine.training").exists()


def test_without_pytorch_its_gradients_are_refused_before_the_work(tmp_path, photos, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(module, "work_out_features", None)
    with pytest.raises(UnavailableError, match="training by PyTorch needs an extra"):
        train(photos, model, tmp_path / "mine", gradients="torch")


def test_the_usual_call_trains_no_network(tmp_path, photos, model, monkeypatch):
    monkeypatch.setattr(module, "train_network", None)
    done = train(photos, model, tmp_path / "mine", layers="head")
    assert done.trained is None
    assert not (tmp_path / "mine" / "log.jsonl").exists()


def test_what_a_training_needed_is_removed_and_nothing_else(tmp_path):
    folder = training_folder(tmp_path / "made")
    assert folder == tmp_path / "made.training"
    remove_training(folder)  # there is none
    for kept in ((), ("checkpoint.safetensors",), ("log.jsonl",), ("checkpoint.safetensors", "mine.txt")):
        folder.mkdir(exist_ok=True)
        for name in kept:
            (folder / name).write_text("")
        remove_training(folder)
        assert folder.exists() == ("mine.txt" in kept)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
