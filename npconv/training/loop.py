"""The training: epochs of steps, an average of the weights, a check after each epoch, and a file to go on from.

Everything random comes from the seed, the epoch and the number of the step in it. So a training that was stopped, by
whatever, and goes on from its checkpoint ends with the numbers of one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from npconv.api.loss import image_classification_loss
from npconv.errors import InputError
from npconv.files.disk import write_file
from npconv.training.average import average_decay, update_average
from npconv.training.checkpoint import fingerprint, read_checkpoint, write_checkpoint
from npconv.training.learner import Learner
from npconv.training.optimizer import AdamW, clipped
from npconv.training.photo_tables import SINGLE
from npconv.training.pictures import Pictures
from npconv.training.recipe import Recipe
from npconv.training.schedule import learning_rate

LOG_NAME = "log.jsonl"

#: What ended a training: all epochs are done, none was better for some time, or Ctrl-C.
FINISHED, EARLY, INTERRUPTED = "finished", "early", "interrupted"

#: Seconds after which a checkpoint is written within an epoch.
BETWEEN_CHECKPOINTS = 60.0


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch: a line of the log.

    Attributes
    ----------
    epoch : int
        Its number, from 1.
    epochs : int
        How many there are at most.
    loss : float
        The mean of the steps, of varied photos and smoothed labels.
    validation_loss, validation_accuracy : float, optional
        Of the validation part, by the averaged weights; the accuracy, of 1, where each photo has one label.
    is_best : bool
        Whether these weights are kept, as no epoch before was better.
    seconds : float
        How long it took.
    """

    epoch: int
    epochs: int
    loss: float
    validation_loss: float | None
    validation_accuracy: float | None
    is_best: bool
    seconds: float


@dataclass(frozen=True)
class Trained:
    """What came of a training; the model has the weights of its best epoch."""

    epochs: tuple[Epoch, ...]
    #: `FINISHED`, `EARLY` or `INTERRUPTED`.
    ended: str

    @property
    def best(self) -> Epoch:
        """The epoch whose weights the model has."""
        return best_of(self.epochs)


class Training:
    """A training between two steps: all that changes as it goes on, and what it is made of.

    Parameters
    ----------
    learner : Learner
        The model with its weights.
    count : int
        How many photos there are to train on.
    validation : Pictures, optional
        What the best epoch is chosen by; without, it is the last.
    recipe : Recipe
    """

    def __init__(self, learner: Learner, count: int, validation: Pictures | None, recipe: Recipe) -> None:
        self.learner, self.count, self.validation, self.recipe = learner, count, validation, recipe
        self.weights = learner.weights
        self.optimizer = AdamW(self._parameters, self.weights.parts, recipe.weight_decay, recipe.layer_decay)
        self.average, self.best = self.weights.vector + 0, self.weights.vector + 0
        self.batch_size = min(recipe.batch_size, count)
        self.steps = count // self.batch_size  # in an epoch; what is left over has its turn in another one
        self.log: list[Epoch] = []
        self.done_steps, self.loss, self.seconds = 0, 0.0, 0.0  # of the epoch that goes on

    @property
    def _parameters(self) -> Any:
        """The part of the weights that is trained."""
        return self.weights.vector[: self.weights.trained]

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or none was better for some time."""
        epoch = len(self.log)
        return epoch >= self.recipe.epochs or (epoch > 0 and epoch - best_of(self.log).epoch >= self.recipe.patience)

    def run_epoch(self, save: Callable[[], None], advance: Callable[[int], None]) -> None:
        """Go on to the end of an epoch, and note what came of it. `save` is called from time to time on the way."""
        epoch, start = len(self.log), time.monotonic() - self.seconds
        order = random_numbers(self.recipe.seed, epoch, 0).permutation(self.count)
        saved = time.monotonic()
        while self.done_steps < self.steps:
            self.run_step(order, epoch)
            advance(self.batch_size)
            if time.monotonic() - saved >= BETWEEN_CHECKPOINTS:
                self.seconds, saved = time.monotonic() - start, time.monotonic()
                save()
        self.finish_epoch(time.monotonic() - start)

    def run_step(self, order: np.ndarray, epoch: int) -> float:
        """Do the next step of an epoch; return the loss before it."""
        number, recipe = self.done_steps, self.recipe
        rng = random_numbers(recipe.seed, epoch, 1 + number)
        places = order[number * self.batch_size : (number + 1) * self.batch_size]
        loss, gradient = self.learner.step(places, rng)
        total = epoch * self.steps + number
        rate = learning_rate(total / (recipe.epochs * self.steps), recipe.warmup_epochs / recipe.epochs, recipe.rate)
        self.optimizer.step(self._parameters, clipped(gradient), rate)
        decay = average_decay(recipe.average_epochs * self.steps)
        update_average(self.average, self.weights.vector, total, decay)
        self.done_steps += 1
        self.loss += float(loss)
        return float(loss)

    def finish_epoch(self, seconds: float) -> None:
        """Check the averaged weights, and keep them if they are the best so far."""
        loss = self.loss / self.steps
        if not math.isfinite(loss):
            rate = self.recipe.rate
            raise InputError(f"the loss became {loss} in epoch {len(self.log) + 1}; try a lower rate than {rate}")
        of_validation, accuracy = self.check()
        epoch = Epoch(len(self.log) + 1, self.recipe.epochs, loss, of_validation, accuracy, True, seconds)
        if self.log and score(epoch) <= score(best_of(self.log)) and self.validation is not None:
            epoch = replace(epoch, is_best=False)
        else:
            self.best = self.average + 0
        self.log.append(epoch)
        self.done_steps, self.loss, self.seconds = 0, 0.0, 0.0

    def check(self) -> tuple[float | None, float | None]:
        """Return loss and accuracy of the averaged weights on the validation part; None for what there is not."""
        validation, own = self.validation, self.weights.vector + 0
        if validation is None:
            return None, None
        self.weights.vector[:] = self.average
        loss, right = 0.0, 0
        for x, targets in validation.batches(self.batch_size):
            logits = self.learner.logits(x)
            loss += float(image_classification_loss(logits, targets, self.learner.config)) * len(x)
            right += int((logits.argmax(1) == targets).sum()) if validation.problem_type == SINGLE else 0
        self.weights.vector[:] = own
        count = len(validation)
        return loss / count, right / count if validation.problem_type == SINGLE else None

    def take_best(self) -> None:
        """Let the model have the best weights."""
        self.weights.vector[:] = self.best
        self.weights.count_batches(best_of(self.log).epoch * self.steps if self.log else 0)

    def write(self, folder: Path, of: str) -> None:
        """Write the checkpoint, and the log of the epochs."""
        vectors = {name: self.weights.to_host(vector) for name, vector in self._vectors().items()}
        facts = {
            "of": of, "done_steps": self.done_steps, "loss": self.loss, "seconds": self.seconds,
            "optimizer_steps": self.optimizer.steps, "log": [asdict(epoch) for epoch in self.log],
        }  # fmt: skip
        write_checkpoint(folder, vectors, facts)
        write_log(folder, self.log)

    def read(self, folder: Path, of: str) -> None:
        """Go on where the checkpoint in a folder is, if there is one."""
        found = read_checkpoint(folder, of)
        if found is None:
            return
        vectors, facts = found
        for name, vector in self._vectors().items():
            vector[:] = self.weights.from_host(vectors[name])
        self.done_steps, self.loss, self.seconds = facts["done_steps"], facts["loss"], facts["seconds"]
        self.optimizer.steps = facts["optimizer_steps"]
        self.log = [Epoch(**fields) for fields in facts["log"]]

    def _vectors(self) -> dict[str, Any]:
        """Return the vectors that change."""
        optimizer = {"mean": self.optimizer.mean, "square": self.optimizer.square}
        return {"weights": self.weights.vector, "average": self.average, "best": self.best, **optimizer}


def train(
    learner: Learner,
    pictures: Pictures,
    validation: Pictures | None,
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    show: Callable[[Epoch], None] = lambda epoch: None,
    advance: Callable[[int], None] = lambda count: None,
) -> Trained:
    """Train a model in place: those of its parameters that have ``requires_grad``.

    Parameters
    ----------
    learner, validation, recipe
        See :class:`Training`.
    pictures : Pictures
        Those that the learner trains on.
    folder : Path
        Where ``checkpoint.safetensors`` and ``log.jsonl``, a line an epoch, are written; it is made if need be.
    resume : bool
        Go on from the checkpoint, if there is one.
    show : callable
        Called with each :class:`Epoch`, those before a resumed one too.
    advance : callable
        Called with the number of photos after each step.

    Returns
    -------
    Trained
        Ctrl-C ends the training; but before the end of the first epoch there is nothing to keep, and it goes on as a
        KeyboardInterrupt.

    Raises
    ------
    InputError
        If the loss is no number any more.
    WeightsError
        If a checkpoint cannot be written, or is of another training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    training = Training(learner, len(pictures), validation, recipe)
    start = learner.weights.to_host(learner.weights.vector)
    kind = type(learner).__name__
    of = fingerprint(kind, asdict(recipe), start, learner.weights.parts, *_data(pictures, validation))
    if resume:
        training.read(folder, of)
    ended = FINISHED
    try:
        for epoch in training.log:
            show(epoch)
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that is no number is told of
            while not training.is_over:
                training.run_epoch(lambda: training.write(folder, of), advance)
                training.write(folder, of)
                show(training.log[-1])
        if len(training.log) < recipe.epochs:
            ended = EARLY
    except KeyboardInterrupt:
        if not training.log:
            raise
        ended = INTERRUPTED
    finally:
        training.take_best()
    return Trained(tuple(training.log), ended)


def write_log(folder: Path, log: Sequence[Epoch]) -> None:
    """Write a line of JSON for each epoch."""
    write_file(folder / LOG_NAME, [f"{json.dumps(asdict(epoch))}\n".encode() for epoch in log])


def best_of(log: Sequence[Epoch]) -> Epoch:
    """Return the epoch whose weights are kept."""
    return next(epoch for epoch in reversed(log) if epoch.is_best)


def score(epoch: Epoch) -> tuple[float, float]:
    """Return what epochs are compared by: more is better. Where the accuracy is the same, or none, the loss counts."""
    return epoch.validation_accuracy or 0.0, -(epoch.validation_loss or 0.0)


def random_numbers(seed: int, epoch: int, part: int) -> np.random.Generator:
    """Return the generator of a part of an epoch: 0 is the order of the photos, then comes each step."""
    return np.random.default_rng([seed, epoch, part, 1])  # the last, as zeros at the end would not count


def _data(*parts: Pictures | None) -> list[np.ndarray]:
    """Return the arrays of what is trained on and checked with."""
    return [array for part in parts if part is not None for array in (part.pixels, part.targets)]
