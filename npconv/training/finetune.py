"""A classifier for one's own photos, from the folder they lie in to the folder of a model that every library loads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from npconv.api import AutoImageProcessor
from npconv.api.pipelines import DEFAULT_MODEL
from npconv.convert.writing import check_free, publish
from npconv.errors import InputError
from npconv.files.disk import locate, write_file
from npconv.files.locks import staged
from npconv.files.temporary import temporary_folder
from npconv.images import ConvNextImageProcessor
from npconv.messages import escape, listed, quoted, shown
from npconv.training.card import CARD_NAME, FACTS_NAME, PICTURES, card_text, draw_pictures, facts_of
from npconv.training.duplicates import Duplicate, near_duplicates
from npconv.training.evaluate import Evaluation, evaluation_of
from npconv.training.features import Features, work_out_features
from npconv.training.frozen import Choice, build_model, choose_stages, fit_of, load_fitting
from npconv.training.head import side_by_side
from npconv.training.loop import INTERRUPTED, LOG_NAME, Epoch, Trained, write_log
from npconv.training.parts import Parts, train_and_validation
from npconv.training.photo_tables import REGRESSION
from npconv.training.photos import LabelledPhotos, check_trainable
from npconv.training.problems import Problem
from npconv.training.recipe import Recipe
from npconv.training.tables import blocks
from npconv.training.unfrozen import ALL, HEAD, OWN, check_gradients, remove_training, train_network, training_folder
from npconv.workers.batches import usual_workers
from npconv.workers.pool import WorkerPool

#: What is written.
NAMES = ("config.json", "model.safetensors", "preprocessor_config.json", CARD_NAME, FACTS_NAME, LOG_NAME, *PICTURES)


class Watch:
    """What is told how far it is; this one does nothing with it."""

    def problems(self, problems: Sequence[Problem]) -> None:
        """Take what is wrong with the photos."""

    def begin(self, total: int | None, unit: str) -> None:
        """Take how much there is to do next, None if nobody knows, of what `unit` says in the plural."""

    def advance(self, count: int) -> None:
        """Take how much more of it is done."""

    def end(self) -> None:
        """Take that it is done."""

    def epoch(self, epoch: Epoch) -> None:
        """Take what is known after an epoch of training the network."""


@dataclass(frozen=True)
class Call:
    """What a fine-tuning was asked for, as far as its result depends on it."""

    source: str
    model: str
    layers: str | int = HEAD
    stages: int | None = None
    validation: float | str | None = None
    problem_type: str | None = None
    seed: int = 0
    #: How the network is trained, and by what; None if it stays as it is.
    recipe: Recipe | None = None
    gradients: str = OWN


@dataclass(frozen=True)
class FineTuned:
    """What came of a fine-tuning.

    Attributes
    ----------
    directory : Path
        Where the model is.
    call : Call
        What was asked for.
    train : LabelledPhotos
        The photos that it was trained on.
    evaluation : Evaluation
        What it answers for the photos of the validation part.
    choices : tuple of Choice
        What cross-validation compared, the chosen one first.
    family : str
        What kind of model it is: ``"ConvNeXt"``.
    was_split : bool
        Whether the photos to validate with were drawn from those of the source.
    duplicates : tuple of Duplicate
        Photos of the validation part that are nearly the same as one of the training part, by their places.
    problems : tuple of Problem
        What was wrong with the photos.
    trained : Trained, optional
        What came of the training of the network, if it was trained.
    """

    directory: Path
    call: Call
    train: LabelledPhotos
    evaluation: Evaluation
    choices: tuple[Choice, ...]
    family: str
    was_split: bool
    duplicates: tuple[Duplicate, ...]
    problems: tuple[Problem, ...]
    trained: Trained | None = None


def finetune(
    source: str | Path,
    output: str | Path,
    *,
    model: str | Path = DEFAULT_MODEL,
    layers: str | int = HEAD,
    stages: int | None = None,
    validation: float | str | Path | None = None,
    problem_type: str | None = None,
    seed: int = 0,
    recipe: Recipe | None = None,
    gradients: str = OWN,
    resume: bool = False,
    batch_size: int = 8,
    workers: int | Executor | None = None,
    cache: bool = True,
    max_memory: int | None = None,
    force: bool = False,
    watch: Watch | None = None,
) -> FineTuned:
    """Make a classifier for labelled photos of a model that was trained on others.

    Parameters
    ----------
    source : str or Path
        A folder of classes, a CSV file or a zip file, as of :func:`npconv.training.read_photos`.
    output : str or Path
        The folder to write: ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``, as transformers
        has them, a model card with pictures, and ``finetune.json`` with the same facts for programs.
    model : str or Path
        An embedded model's name, a directory, a ``.safetensors`` file or a hub id.
    layers : str or int
        ``"head"``: a new classifier on the features of a network that stays as it is. ``"all"``: the network is trained
        as well, or with a number its last stages.
    stages : int, optional
        How many stages of the network are kept. When unset, all where the network is trained; else cross-validation
        decides: those that come last may be left off, where the photos are unlike those that the model was trained on.
    validation : float, str or Path, optional
        Share of the photos to validate with, or where these are. When unset, the part ``validation`` of the source, or
        a fifth of the photos.
    problem_type : str, optional
        Of a CSV file, where its columns do not say it.
    seed : int
        Of the split, cross-validation and training: with it, the result is the same each time.
    recipe : Recipe, optional
        How the network is trained; its `seed` is that of above.
    gradients : str
        What computes them: ``"npconv"``, or ``"torch"`` where PyTorch is installed (extra ``train``).
    resume : bool
        Go on with a training of the network that was stopped, by whatever: beside `output`, in a folder ``.training``.
    batch_size : int
        Photos at a time, where the network is not trained.
    workers : int or Executor, optional
        As of :func:`npconv.pipeline`; a process for each core when unset, if there are many photos.
    cache : bool
        Keep the features of the photos on disk, in the folder for npconv's caches, and take those that are there.
    max_memory : int, optional
        What reading one photo may take, in bytes; see `open_image`.
    force : bool
        Replace the model that `output` holds.
    watch : Watch, optional
        Is told how far it is.

    Returns
    -------
    FineTuned

    Raises
    ------
    NpconvError
        If the photos or the model cannot be used, an argument makes no sense, or the folder cannot be written.
    """
    watch = Watch() if watch is None else watch
    directory = Path(output)
    _check_layers(layers)
    _check_output(directory, [source, locate(model), *([validation] if isinstance(validation, str | Path) else [])])
    if layers != HEAD:
        check_gradients(gradients)
    force = force or (resume and training_folder(directory).exists())
    check_free(directory, NAMES, force)
    own = str(validation) if isinstance(validation, Path) else validation
    recipe = None if layers == HEAD else replace(recipe or Recipe(), seed=seed)
    call = Call(str(source), str(model), layers, stages, own, problem_type, seed, recipe, gradients)
    processor = AutoImageProcessor.from_pretrained(model)
    with staged(directory) as staging, temporary_folder() as folder:
        parts = train_and_validation(source, validation, seed=seed, problem_type=problem_type)
        files = (*parts.train.files, *parts.validation.files)
        watch.problems([*parts.train.problems, *parts.validation.problems])
        with _executor(workers, len(files), batch_size) as executor:
            with _told(watch, len(files), "photos"):
                features = work_out_features(
                    files,
                    model,
                    processor=processor,
                    batch_size=batch_size,
                    workers=executor or 1,
                    cache=cache,
                    max_memory=max_memory,
                    folder=folder,
                    advance=watch.advance,
                )
            watch.problems(features.problems)
            made, done = _fit(directory, call, features, parts, executor, watch)
            del features  # on Windows, its file can be removed only then
        if recipe is not None:
            done = _train_network(made, done, processor, recipe, resume, watch)
        _write(staging, made, processor, done)
        publish(staging, directory, NAMES, force)
    if done.trained is not None and done.trained.ended != INTERRUPTED:
        remove_training(training_folder(directory))
    return done


def _check_layers(layers: str | int) -> None:
    """Refuse what cannot be trained."""
    is_count = isinstance(layers, int) and not isinstance(layers, bool) and layers > 0
    if layers not in (HEAD, ALL) and not is_count:
        raise InputError(f"expected layers to be head, all or a number of stages, got {shown(layers)}")


def _check_output(directory: Path, inputs: Sequence[Any]) -> None:
    """Refuse to write where the call reads from."""
    place = os.path.realpath(directory)
    for given in inputs:
        read = os.path.realpath(given)
        if place == read or (os.path.isdir(read) and place.startswith(os.path.join(read, ""))):
            raise InputError(f"{quoted(directory)} is in {quoted(given)}, which the call reads; give another folder")


@contextmanager
def _executor(workers: int | Executor | None, photos: int, batch_size: int) -> Iterator[Executor | None]:
    """Give what shares the work on so many photos, for a ``with`` block; None for this process alone."""
    if isinstance(workers, Executor):
        yield workers
        return
    count = usual_workers(photos, batch_size) if workers is None else workers
    if count <= 1:
        yield None
        return
    with WorkerPool(count) as pool:
        try:
            for _ in range(count):  # while this process looks for photos whose features are there already
                pool.submit(load_fitting)
            yield pool
        finally:
            pool.terminate()  # of what is not done any more, nothing is waited for


@contextmanager
def _told(watch: Watch, total: int | None, unit: str) -> Iterator[None]:
    """Tell that something begins, and at the end of the block that it is over, also if it fails."""
    watch.begin(total, unit)
    try:
        yield
    finally:
        watch.end()


def _fit(
    directory: Path, call: Call, features: Features, parts: Parts, executor: Executor | None, watch: Watch
) -> tuple[Any, FineTuned]:
    """Return the model with its new head, and what came of it; photos that cannot be read are left out."""
    count, readable = len(parts.train), features.readable
    places, others = readable[readable < count], readable[readable >= count]
    if not len(places) or not len(others):
        reasons = [f"{escape(each.file)}: {each.detail}" for each in features.problems]
        raise InputError(f"expected photos that can be read in both parts, got none in one: {listed(reasons, 1)}")
    train = parts.train.take(places)
    if (train.targets == train.targets[0]).all():
        check_trainable(train)
    stages = call.stages if call.recipe is None else call.stages or max(features.columns)
    with _told(watch, None, "heads fitted"):
        choices = choose_stages(
            features, places, train, stages=stages, seed=call.seed, executor=executor, advance=watch.advance
        )
        find = partial(near_duplicates, features.rows(places), features.rows(others))
        calls: list[Callable[[], Any]] = [fit_of(choices[0], features, places, train), find]
        # The features are in a file of this machine, of which other executors may know nothing.
        head, duplicates = side_by_side(calls, executor if isinstance(executor, WorkerPool) else None)
        watch.advance(1)
    kept = choices[0].stages
    made = build_model(call.model, kept, head, train)
    layer, rows = made.params["classifier"], features.rows(others, kept)
    logits = np.concatenate([rows[part] @ layer["weight"].T + layer["bias"] for part in blocks(rows)])
    done = FineTuned(
        directory=directory,
        call=call,
        train=train,
        evaluation=evaluation_of(str(directory), parts.validation.take(others - count), logits),
        choices=tuple(choices),
        family=made.family.title,
        was_split=parts.was_split,
        duplicates=tuple(duplicates),
        problems=(*parts.train.problems, *parts.validation.problems, *features.problems),
    )
    return made, done


def _train_network(
    made: Any, done: FineTuned, processor: ConvNextImageProcessor, recipe: Recipe, resume: bool, watch: Watch
) -> FineTuned:
    """Train the network of a classifier too, in place; return what came of it then."""
    call, validation = done.call, done.evaluation.photos
    if done.train.problem_type != REGRESSION:
        # On varied photos a fitted head is much too sure; of numbers it knows how large they are.
        for array in made.params["classifier"].values():
            array[...] = 0
    with _told(watch, recipe.epochs * len(done.train), "photos"):
        learned = train_network(
            made,
            done.train,
            validation,
            processor,
            recipe,
            training_folder(done.directory),
            stages=None if call.layers == ALL else int(call.layers),
            gradients=call.gradients,
            resume=resume,
            show=watch.epoch,
            advance=watch.advance,
        )
    evaluation = evaluation_of(str(done.directory), validation, learned.logits)
    return replace(done, evaluation=evaluation, trained=learned.trained)


def _write(staging: Path, made: Any, processor: ConvNextImageProcessor, done: FineTuned) -> None:
    """Write model, preprocessing, pictures, card and facts into a folder that is moved to its place then."""
    made.save_pretrained(staging)
    processor.save_pretrained(staging)
    if done.trained is not None:
        write_log(staging, done.trained.epochs)
    drawn = draw_pictures(staging, done)
    write_file(staging / CARD_NAME, [card_text(done, drawn).encode()])
    write_file(staging / FACTS_NAME, [(json.dumps(facts_of(done), indent=2) + "\n").encode()])
