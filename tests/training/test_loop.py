"""The training itself: it learns, repeats with its seed, stops early or when asked to, and goes on where it was."""

import json
import random
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from support import small_training
from support.small_training import FIELDS, RECIPE, small_model, small_pictures

from npconv.errors import InputError, WeightsError
from npconv.files.safetensors import save
from npconv.training import loop
from npconv.training.checkpoint import FILE_NAME
from npconv.training.groups import train_only
from npconv.training.learner import OwnLearner
from npconv.training.loop import LOG_NAME, best_of, train

VALIDATION = small_pictures(9, seed=1)


def train_model(folder, model, pictures=None, recipe=RECIPE, validation=VALIDATION, learner=OwnLearner, **options):
    """Train a model on small pictures; return what came of it."""
    pictures = small_pictures() if pictures is None else pictures
    return train(learner(model, pictures, recipe), pictures, validation, recipe, folder, **options)


def train_small(folder, family="convnextv2", **options):
    """Train a small model; return it and what came of it."""
    model = small_model(family)
    return model, train_model(folder, model, **options)


def bytes_of(model):
    return save(model.state_dict())


@pytest.mark.parametrize("family", FIELDS)
def test_every_family_learns(tmp_path, family):
    _, trained = train_small(tmp_path, family, recipe=replace(RECIPE, epochs=10, rate=1e-2))
    assert trained.ended == "finished"
    assert best_of(trained.epochs).validation_accuracy == 1
    assert trained.epochs[-1].loss < 0.8 * trained.epochs[0].loss


def test_a_training_repeats_with_its_seed(tmp_path):
    first, again, other = (
        bytes_of(train_small(tmp_path / str(number), recipe=replace(RECIPE, seed=seed))[0])
        for number, seed in enumerate([7, 7, 8])
    )
    assert first == again
    assert first != other


def test_the_log_has_a_line_an_epoch_and_each_is_shown(tmp_path):
    shown, photos = [], []
    _, trained = train_small(tmp_path, show=shown.append, advance=photos.append)
    assert tuple(shown) == trained.epochs
    lines = (tmp_path / LOG_NAME).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [asdict(epoch) for epoch in trained.epochs]
    assert photos == [5] * 4 * 3  # of 23 photos, 4 batches of 5, in each of 3 epochs


def test_the_model_has_the_averaged_weights_of_its_best_epoch(tmp_path):
    model, trained = train_small(tmp_path, recipe=replace(RECIPE, epochs=6, rate=0.05))
    best = trained.best
    assert best.validation_accuracy == max(epoch.validation_accuracy for epoch in trained.epochs)
    x, targets = next(VALIDATION.batches(9))
    output = model(x, targets)
    assert output.loss == pytest.approx(best.validation_loss, rel=1e-5)  # float32, in other batches
    assert (output.logits.argmax(1) == targets).mean() == best.validation_accuracy


def test_without_a_validation_part_the_last_epoch_is_kept(tmp_path):
    _, trained = train_small(tmp_path, validation=None)
    assert trained.best is trained.epochs[-1]
    assert trained.best.validation_loss is None


def test_training_ends_when_it_gets_no_better(tmp_path):
    """With no learning rate at all, only the first epoch is the best."""
    _, trained = train_small(tmp_path, recipe=replace(RECIPE, epochs=9, rate=0.0, patience=2))
    assert trained.ended == "early"
    assert [epoch.is_best for epoch in trained.epochs] == [True, False, False]


def stopping(after):
    """Return a learner that is interrupted after so many steps."""
    left = iter(range(after))

    class Stopping(OwnLearner):
        def step(self, places, rng):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return super().step(places, rng)

    Stopping.__name__ = OwnLearner.__name__  # which a checkpoint is of
    return Stopping


def test_ctrl_c_keeps_the_best_so_far_and_the_training_can_go_on(tmp_path):
    whole, _ = train_small(tmp_path / "whole")
    model, trained = train_small(tmp_path / "parts", learner=stopping(6))
    assert trained.ended == "interrupted"
    assert len(trained.epochs) == 1
    interrupted = bytes_of(model)
    shown = []
    model, trained = train_small(tmp_path / "parts", resume=True, show=shown.append)
    assert trained.ended == "finished"
    assert len(shown) == 3
    assert bytes_of(model) == bytes_of(whole) != interrupted


def test_a_finished_training_that_is_resumed_ends_at_once_with_the_same(tmp_path):
    model, _ = train_small(tmp_path)
    again, _ = train_small(tmp_path, resume=True, learner=stopping(0))
    assert bytes_of(model) == bytes_of(again)


def test_before_the_end_of_the_first_epoch_ctrl_c_has_nothing_to_keep(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_small(tmp_path, learner=stopping(3))


def run_program(folder, *arguments):
    command = [sys.executable, small_training.__file__, str(folder), *map(str, arguments)]
    return subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_killed_at_five_random_moments_it_ends_with_the_same_file(tmp_path):
    """By SIGKILL, up to two steps after a step: in another one, while a checkpoint is written, or between."""
    whole = run_program(tmp_path / "whole")
    assert (whole.returncode, whole.stderr) == (0, "")
    moments = random.Random(0)
    for _ in range(5):
        killed = run_program(tmp_path / "parts", moments.randint(1, 10), moments.uniform(0, 0.02))
        assert killed.returncode == -signal.SIGKILL
        assert not (tmp_path / "parts" / "model.safetensors").exists()
    assert run_program(tmp_path / "parts").returncode == 0
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert first == second


@pytest.mark.parametrize("change", ["recipe", "photos", "model"])
def test_a_checkpoint_of_another_training_is_refused(tmp_path, change):
    train_small(tmp_path)
    recipe = replace(RECIPE, rate=0.1) if change == "recipe" else RECIPE
    model = small_model("cvt" if change == "model" else "convnextv2")
    pictures = small_pictures(seed=int(change == "photos"))
    with pytest.raises(WeightsError, match="of a training with other photos, options or another model"):
        train_model(tmp_path, model, pictures, recipe, resume=True)


def test_a_checkpoint_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"expected a checkpoint of a training .*; delete it to begin anew"):
        train_small(tmp_path, resume=True)


def test_a_loss_that_is_no_number_is_told(tmp_path):
    with pytest.raises(InputError, match=r"the loss became (nan|inf) in epoch \d; try a lower rate than 1e\+30"):
        train_small(tmp_path, recipe=replace(RECIPE, rate=1e30))


@pytest.mark.parametrize("family", FIELDS)
def test_what_is_frozen_stays(tmp_path, family):
    model = small_model(family)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    train_only(model, 1)
    train_model(tmp_path, model)
    changed = {name for name, array in model.state_dict().items() if not np.array_equal(array, before[name])}
    parameters = {name for name, _ in model.named_parameters()}
    assert changed & parameters <= {name for name, p in model.named_parameters() if p.requires_grad}
    assert "classifier.weight" in changed


def test_stored_statistics_are_renewed(tmp_path):
    model, trained = train_small(tmp_path, "cvt")
    first = dict(small_model("cvt").named_buffers())
    for name, buffer in model.named_buffers():
        if name.endswith("num_batches_tracked"):
            assert buffer == 4 * trained.best.epoch
        else:
            assert not np.array_equal(buffer, first[name]), name


def test_the_rate_of_stochastic_depth_is_that_of_before_afterwards(tmp_path):
    for family in FIELDS:
        model, _ = train_small(tmp_path, family, recipe=replace(RECIPE, epochs=1, drop_path=0.5))
        assert model.config.to_dict() == small_model(family).config.to_dict()


@pytest.mark.parametrize(
    ("problem_type", "targets"),
    [("regression", [[0.1, 0.5, 0.9]]), ("multi_label_classification", [[1, 0, 1], [0, 1, 1]])],
)
def test_numbers_and_several_labels_are_trained_too(tmp_path, problem_type, targets):
    model = small_model(problem_type=problem_type)
    wanted = np.resize(np.array(targets, np.float32), (23, 3))
    pictures = replace(small_pictures(), targets=wanted, problem_type=problem_type)
    recipe = replace(RECIPE, epochs=12, rate=1e-2)
    validation = replace(VALIDATION, targets=wanted[:9], problem_type=problem_type)
    trained = train_model(tmp_path, model, pictures, recipe, validation)
    assert trained.epochs[-1].validation_loss < 0.8 * trained.epochs[0].validation_loss
    assert trained.best.validation_accuracy is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: small_model(dtype="float16"), "a model in float32 or float64 to train, got float16"),
        (lambda: small_model().requires_grad_(False), "got all of them with requires_grad = False"),
        (lambda: small_model("cvt", engine="fast"), "engine='explicit' for gradients"),
    ],
)
def test_models_that_cannot_learn_are_refused(model, message):
    with pytest.raises(InputError, match=message):
        OwnLearner(model(), small_pictures(), RECIPE)


def test_fewer_photos_than_a_batch_are_one_batch(tmp_path):
    model = small_model()
    trained = train_model(tmp_path, model, small_pictures(3), replace(RECIPE, batch_size=64), None)
    assert len(trained.epochs) == 3


def test_the_rest_of_the_photos_has_its_turn_in_another_epoch():
    orders = [loop.random_numbers(0, epoch, 0).permutation(23)[:20] for epoch in range(10)]
    assert len(np.unique(np.concatenate(orders))) == 23
