"""A classifier whose network learns too, all of it or its last stages. It begins with a head that was fitted before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npconv.errors import InputError
from npconv.images import ConvNextImageProcessor
from npconv.messages import shown
from npconv.training.checkpoint import FILE_NAME
from npconv.training.groups import train_only
from npconv.training.learner import OwnLearner
from npconv.training.loop import LOG_NAME, Epoch, Trained, train
from npconv.training.photos import LabelledPhotos
from npconv.training.pictures import read_pictures
from npconv.training.recipe import Recipe
from npconv.training.torch_learner import TorchLearner, check_installed

#: What may be trained: the head alone, everything, or so many of the last stages.
HEAD, ALL = "head", "all"

#: What computes the gradients.
OWN, TORCH = "npconv", "torch"
LEARNERS: dict[str, type[OwnLearner]] = {OWN: OwnLearner, TORCH: TorchLearner}


class Learned(NamedTuple):
    """What came of a training of the network."""

    trained: Trained
    #: What the model answers for the validation part, (N, K).
    logits: np.ndarray


def train_network(
    model: Any,
    photos: LabelledPhotos,
    validation: LabelledPhotos,
    processor: ConvNextImageProcessor,
    recipe: Recipe,
    folder: Path,
    *,
    stages: int | None = None,
    gradients: str = OWN,
    resume: bool = False,
    show: Callable[[Epoch], None] = lambda epoch: None,
    advance: Callable[[int], None] = lambda count: None,
) -> Learned:
    """Train a classifier in place, on photos that can all be read.

    Parameters
    ----------
    model : a classifier of npconv
    photos, validation : LabelledPhotos
        To train on, and to choose the best epoch by.
    processor : ConvNextImageProcessor
        That makes the photos ready.
    recipe : Recipe
    folder : Path
        Of the checkpoint and the log.
    stages : int, optional
        How many of the last stages are trained; all of the network when unset.
    gradients : str
        What computes them, of `LEARNERS`.
    resume, show, advance
        As of :func:`npconv.training.loop.train`.

    Raises
    ------
    NpconvError
        If the model has fewer stages, `gradients` is unknown or not installed, or as `train` says.
    """
    check_gradients(gradients)
    train_only(model, stages)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        pictures, others = (read_pictures(part, processor, folder)[0] for part in (photos, validation))
        learner = LEARNERS[gradients](model, pictures, recipe)
        trained = train(learner, pictures, others, recipe, folder, resume=resume, show=show, advance=advance)
    finally:
        _remove_if_empty(folder)
    logits = [learner.logits(x) for x, _ in others.batches(recipe.batch_size)]
    train_only(model, None)
    return Learned(trained, np.concatenate(logits))


def check_gradients(gradients: str) -> None:
    """Refuse what cannot compute gradients: an unknown name is an `InputError`, what is missing `UnavailableError`."""
    if gradients not in LEARNERS:
        raise InputError(f"expected gradients of {' or '.join(LEARNERS)}, got {shown(gradients)}")
    if gradients == TORCH:
        check_installed()


def training_folder(directory: Path) -> Path:
    """Return the folder beside that of a model where its training is until it is done."""
    return directory.with_name(f"{directory.name}.training")


def remove_training(folder: Path) -> None:
    """Remove what a training that is done no longer needs."""
    for name in (FILE_NAME, LOG_NAME):
        (folder / name).unlink(missing_ok=True)
    _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder in which nothing is."""
    with suppress(OSError):
        folder.rmdir()
