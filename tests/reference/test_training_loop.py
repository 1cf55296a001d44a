"""Training beside PyTorch, in float64: the same order, photos, masks and start, its own model, optimizer and rate."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import math
import re
from dataclasses import replace

import numpy as np
import same_masks
import torch
import transformers
from support.small_training import CLASSES, FIELDS, RECIPE, small_model, small_pictures

from npconv.training.learner import OwnLearner
from npconv.training.loop import Training, random_numbers, train
from npconv.training.torch_learner import TorchLearner

pytestmark = pytest.mark.reference

STEPS = 50


def pair(family, recipe):
    """Return a training by npconv, and the model of transformers that begins alike and drops by its own generator."""
    learner = OwnLearner(small_model(family, "float64"), small_pictures(), recipe)
    model = learner.model
    config = getattr(transformers, type(model.config).__name__)(**model.config.to_dict())
    theirs = getattr(transformers, type(model).__name__)(config).double()
    theirs.load_state_dict({name: torch.tensor(np.array(array)) for name, array in model.state_dict().items()})
    masks = np.random.default_rng(0)  # set anew before each step
    same_masks.train(theirs, model, masks)
    return Training(learner, len(learner.pictures), None, recipe), theirs, masks


def depth(name, blocks):
    """Return how many blocks lie between a parameter and the head."""
    found = re.search(r"stages\.(\d+)\.(?:layers\.(\d+))?", name)
    number = sum(blocks[: int(found[1])]) + int(found[2] or 0) + 1 if found else 0 if "embeddings" in name else None
    return 0 if number is None else sum(blocks) + 1 - number


def their_optimizer(theirs, recipe):
    """Return AdamW of PyTorch, with a group for each parameter."""
    groups = []
    for name, parameter in theirs.named_parameters():
        is_kernel = parameter.ndim > 1 and parameter.numel() > max(parameter.shape)
        share = recipe.layer_decay ** depth(name, [1, 2])
        groups.append(
            {"params": [parameter], "weight_decay": recipe.weight_decay * is_kernel, "share": share, "lr": 0.0}
        )
    return torch.optim.AdamW(groups, betas=(0.9, 0.99), eps=1e-8)


def their_step(theirs, optimizer, x, targets, rate):
    """Do a step of PyTorch's; return the loss before it."""
    optimizer.zero_grad()
    logits = theirs(torch.tensor(x).double()).logits
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(targets).double())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("family", FIELDS)
def test_the_loss_of_50_steps_is_that_of_pytorch(family):
    """Random photos are hard to learn, so that the loss stays far from 0 and every step moves the weights."""
    recipe = replace(RECIPE, epochs=20, drop_path=0.3, rate=2e-3)
    ours, theirs, masks = pair(family, recipe)
    optimizer = their_optimizer(theirs, recipe)
    total, warmup = recipe.epochs * ours.steps, recipe.warmup_epochs * ours.steps
    losses = []
    for step in range(STEPS):
        epoch, number = divmod(step, ours.steps)
        if number == 0:
            ours.done_steps = 0
            order = random_numbers(recipe.seed, epoch, 0).permutation(ours.count)
        drawn = random_numbers(recipe.seed, epoch, 1 + number)
        x, targets = ours.learner.pictures.varied(order[5 * number : 5 * number + 5], recipe, drawn)
        masks.bit_generator.state = drawn.bit_generator.state
        rate = recipe.rate * (0.01 + 0.99 * min(1, step / warmup) * (1 + math.cos(math.pi * step / total)) / 2)
        yours = their_step(theirs, optimizer, x, targets, rate)
        losses.append((ours.run_step(order, epoch), yours))
    mine, yours = np.array(losses).T
    assert np.abs(mine - yours).max() <= 1e-8
    assert yours.std() > 0.05
    state = theirs.state_dict()
    for name, array in ours.learner.model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_allclose(array, state[name].numpy(), rtol=0, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("family", FIELDS)
@pytest.mark.parametrize("problem_type", ["single_label_classification", "multi_label_classification", "regression"])
def test_the_step_by_pytorch_gives_the_same(family, problem_type):
    """Without stochastic depth, which PyTorch draws by itself."""
    rng = np.random.default_rng(3)
    x, targets = rng.normal(size=(4, 3, 12, 12)), rng.dirichlet(np.ones(CLASSES), 4)
    found = []
    for kind in (OwnLearner, TorchLearner):
        model = small_model(family, "float64", problem_type=problem_type)
        learner = kind(model, small_pictures(), replace(RECIPE, drop_path=0.0))
        found.append((*learner.gradient(x, targets, np.random.default_rng(0)), learner.weights.vector))
    for mine, yours in zip(*found, strict=True):
        np.testing.assert_allclose(mine, yours, rtol=1e-9, atol=1e-11)  # some thousand roundings of float64


def test_a_training_by_pytorch_learns_and_repeats(tmp_path):
    found = []
    for name in ("first", "second"):
        model = small_model("cvt")
        recipe, pictures = replace(RECIPE, epochs=8, rate=1e-2), small_pictures()
        learner = TorchLearner(model, pictures, recipe)
        trained = train(learner, pictures, small_pictures(9, 1), recipe, tmp_path / name)
        found.append((trained.epochs[-1].loss, model.state_dict()["classifier.weight"].copy()))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert trained.best.validation_accuracy > 0.9
