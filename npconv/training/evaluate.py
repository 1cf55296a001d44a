"""A model on labelled photos: what it answers for each, one batch after another, and how good that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npconv.api import AutoConfig, pipeline
from npconv.api.heads import BareModel
from npconv.backend import to_host
from npconv.errors import InputError
from npconv.messages import escape, listed, why_failed
from npconv.models import PretrainedConfig
from npconv.training.labels import in_classes_of, problem_type_of
from npconv.training.measures import Answers, answers_of
from npconv.training.photo_tables import MULTI, REGRESSION, SINGLE
from npconv.training.photos import LabelledPhotos, photo_source, read_photos
from npconv.training.problems import Problem
from npconv.workers.batches import Work

#: Which part is measured if none is named: the first of these that is there.
PREFERRED = ("test", "validation", "all", "train")


class Photo(NamedTuple):
    """A photo, such that any process can read it, and the number of its class, where it has one."""

    file: str
    target: int


class Result(NamedTuple):
    """What became of a photo: an entry of each array of `Answers`, or scores (K,); or why there is nothing."""

    file: str
    value: Any = None
    error: str = ""


@dataclass(frozen=True)
class Evaluation:
    """What a model answers for the photos that could be read.

    Attributes
    ----------
    model : str
        Its name.
    photos : LabelledPhotos
        Those that were measured. The classes, and the numbers in the targets, are those of the model; of several labels
        a column is NaN of which the photos say nothing. ``problems`` say what was left out, with the photos that could
        not be read.
    answers : Answers, optional
        Of a model that tells one class.
    scores : np.ndarray, optional
        Of the others, (N, K) float32: the probability of each label, or the numbers that are predicted.
    """

    model: str
    photos: LabelledPhotos
    answers: Answers | None = None
    scores: np.ndarray | None = None

    def answers_of_one_class(self) -> Answers:
        """Return `answers`; of a model that does not tell one class, it is an `InputError`."""
        if self.answers is None:
            raise InputError(f"expected a model that tells one class, got one of {self.photos.problem_type}")
        return self.answers


class ScoreWork(Work[Photo, Result]):
    """Photos to what a model answers for them; one that fails becomes a result with the reason.

    `max_memory` is what reading a photo may take, in bytes; `dtype_option` is how another dtype is asked for, in what
    is said of an overflow.
    """

    def __init__(
        self, load: Callable[[], Any], problem_type: str, max_memory: int | None = None, dtype_option: str = "dtype="
    ) -> None:
        super().__init__(load)
        self.problem_type, self.max_memory, self.dtype_option = problem_type, max_memory, dtype_option

    def prepare(self, tool: Any, item: Photo) -> np.ndarray:
        """Return the pixel values of a photo."""
        given = {} if self.max_memory is None else {"max_memory": self.max_memory}
        values: np.ndarray = tool.prepare(photo_source(item.file), **given)
        return values

    def run(self, tool: Any, items: Sequence[Photo], arrays: Sequence[np.ndarray]) -> list[Result]:
        """Return the results of photos, given their pixel values."""
        with np.errstate(over="ignore", invalid="ignore"):  # what comes out as no numbers is reported below
            logits = to_host(tool.forward({"pixel_values": np.stack(arrays)}).logits)
        is_finite = np.isfinite(logits).all(axis=1)
        if self.problem_type == SINGLE:
            finite = np.where(is_finite[:, None], logits, 0)
            values = list(zip(*answers_of(finite, np.array([item.target for item in items])), strict=True))
        else:
            values = list(scores_of(logits, self.problem_type))
        flaw = "" if is_finite.all() else tool.flaw(math.nan, self.dtype_option)
        return [
            Result(item.file, value) if is_good else Result(item.file, error=flaw)
            for item, value, is_good in zip(items, values, is_finite, strict=True)
        ]

    def failed(self, item: Photo, error: Exception) -> Result:
        """Return the result of a photo that failed."""
        return Result(item.file, error=why_failed(error, escape(item.file)))


def scores_of(logits: np.ndarray, problem_type: str) -> np.ndarray:
    """Return what logits (N, K) mean, float32: the probability of each of several labels, or numbers as they are."""
    if problem_type == MULTI:
        logits = np.exp(-np.logaddexp(0, -logits.astype(np.float64)))
    return logits.astype(np.float32)


def evaluation_of(model: str, photos: LabelledPhotos, logits: np.ndarray) -> Evaluation:
    """Return what a model answers for photos, given its logits (N, K) for them; the classes are those of the model."""
    if photos.problem_type == SINGLE:
        return Evaluation(model, photos, answers=answers_of(logits, photos.targets))
    in_columns = replace(photos, targets=photos.targets.reshape(logits.shape))
    return Evaluation(model, in_columns, scores=scores_of(logits, photos.problem_type))


def choose_part(parts: dict[str, LabelledPhotos], part: str | None = None) -> LabelledPhotos:
    """Return the photos of a part, or of the first of `PREFERRED` that is there; the problems of all are said.

    Raises
    ------
    InputError
        If there is no such part.
    """
    name = part or next(name for name in PREFERRED if name in parts)
    if name not in parts:
        raise InputError(f"expected a part that is there ({', '.join(parts)}), got {name!r}")
    problems = tuple(problem for photos in parts.values() for problem in photos.problems)
    return replace(parts[name], problems=problems)


def photos_for(source: str | Path, config: PretrainedConfig, part: str | None = None) -> LabelledPhotos:
    """Return the labelled photos of a source with the classes of a model; see `read_photos` and `in_classes_of`."""
    wanted = REGRESSION if problem_type_of(config) == REGRESSION else None
    return in_classes_of(choose_part(read_photos(source, problem_type=wanted), part), config)


def evaluate(
    model: str | Path | BareModel[Any],
    source: str | Path | LabelledPhotos,
    *,
    part: str | None = None,
    batch_size: int = 8,
    workers: int | Executor = 1,
    dtype: Any = "float32",
    device: Any = "cpu",
    cache: bool = False,
    max_memory: int | None = None,
    dtype_option: str = "dtype=",
    watch: Callable[[list[Result]], None] = lambda results: None,
) -> Evaluation:
    """Let a model answer for labelled photos.

    Parameters
    ----------
    model : str, Path or model
        As of :func:`npconv.pipeline`.
    source : str, Path or LabelledPhotos
        What :func:`npconv.training.read_photos` takes, or what it gives for one part.
    part : str, optional
        ``"test"``, ``"validation"``, ``"train"`` or ``"all"``; the first that is there, in this order but ``"train"``
        last, when unset.
    batch_size, workers, dtype, device, cache
        As of :func:`npconv.pipeline`; the last three not of a model that is loaded already.
    max_memory : int, optional
        What reading one photo may take, in bytes; see `open_image`.
    dtype_option : str
        How another dtype is asked for, in what is said of photos whose numbers overflow.
    watch : callable, optional
        Is given the results of each batch when they are there.

    Returns
    -------
    Evaluation
        Photos that cannot be read are left out; its problems name them.

    Raises
    ------
    NpconvError
        If the model cannot be loaded, the photos do not fit it, or none of them could be read.
    """
    config = model.config if isinstance(model, BareModel) else AutoConfig.from_pretrained(model)
    loading = {} if isinstance(model, BareModel) else {"dtype": dtype, "device": device, "cache": cache}
    photos = _fitting(source, config) if isinstance(source, LabelledPhotos) else photos_for(source, config, part)
    targets = photos.targets if photos.problem_type == SINGLE else np.zeros(len(photos), int)
    items = (Photo(file, int(target)) for file, target in zip(photos.files, targets, strict=True))
    values: np.ndarray | None = None  # (N, 5) of one class, (N, K) of the others: a row takes less than its numbers
    is_kept = np.zeros(len(photos), bool)
    failed: list[Problem] = []
    with pipeline("image-classification", model=model, workers=workers, **loading) as tool:
        work = ScoreWork(tool.loader(), photos.problem_type, max_memory, dtype_option)
        with closing(work.share(items, batch_size=batch_size, executor=tool.executor())) as batches:
            for place, result in enumerate(_watched(batches, watch)):
                if result.error:
                    failed.append(Problem("unreadable", result.file, result.error))
                    continue
                if values is None:
                    dtype = np.float64 if photos.problem_type == SINGLE else np.float32
                    values = np.zeros((len(photos), len(result.value)), dtype)
                values[place], is_kept[place] = result.value, True
    return _gathered(str(getattr(model, "name_or_path", model)), photos, values, is_kept, failed)


def _fitting(photos: LabelledPhotos, config: PretrainedConfig) -> LabelledPhotos:
    """Return photos with the classes of a model, which they may have already."""
    is_fitting = (photos.problem_type, photos.classes) == (problem_type_of(config), tuple(config.id2label.values()))
    return photos if is_fitting else in_classes_of(photos, config)


def _watched(batches: Iterable[list[Result]], watch: Callable[[list[Result]], None]) -> Iterator[Result]:
    """Yield the results in batches one by one, after they were shown to who watches."""
    for batch in batches:
        watch(batch)
        yield from batch


def _gathered(
    model: str, photos: LabelledPhotos, values: np.ndarray | None, is_kept: np.ndarray, failed: list[Problem]
) -> Evaluation:
    """Return the results of all photos as one."""
    if values is None:
        reasons = [f"{escape(problem.file)}: {problem.detail}" for problem in failed]
        raise InputError(f"expected photos that can be read, got none: {listed(reasons, 1)}")
    kept = np.flatnonzero(is_kept)
    measured, values = replace(photos.take(kept), problems=(*photos.problems, *failed)), values[kept]
    if photos.problem_type != SINGLE:
        return Evaluation(model, measured, scores=values)
    truth, answer, rank = values[:, :3].T.astype(np.int64)
    return Evaluation(model, measured, answers=Answers(truth, answer, rank, values[:, 3].copy(), values[:, 4].copy()))
