"""A classifier of a network that stays as it is: its stages, all or the first ones, and a head fitted to features."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from npconv.api import AutoModelForImageClassification
from npconv.api.families import class_for
from npconv.errors import InputError, NpconvWarning
from npconv.models import family_of
from npconv.training.features import Features
from npconv.training.head import Comparison, Head, compare_strengths, fit_head
from npconv.training.photos import LabelledPhotos
from npconv.training.shortened import first_stages, shortened_state

Result = TypeVar("Result")


class Choice(NamedTuple):
    """What cross-validation found for a head on the features of a model that ends after so many stages."""

    stages: int
    comparison: Comparison


def choose_stages(
    features: Features,
    places: np.ndarray,
    photos: LabelledPhotos,
    *,
    stages: int | None = None,
    seed: int = 0,
    executor: Executor | None = None,
) -> list[Choice]:
    """Return what was compared, the best first: by the loss in cross-validation.

    Parameters
    ----------
    features : Features
        Of these photos and others.
    places : np.ndarray, (N,)
        Where the features of the photos are.
    photos : LabelledPhotos
        N to train on.
    stages : int, optional
        How many stages are kept. When unset, one after another is left off as long as the loss becomes smaller.
    seed : int
        Of cross-validation.
    executor : Executor, optional
        What compares several at the same time; this process does one after another when unset.

    Raises
    ------
    InputError
        If the model cannot end after so many stages.
    """
    if stages is not None and stages not in features.columns:
        known = ", ".join(map(str, features.columns))
        raise InputError(f"expected stages to be one of {known}, after which this model can end; got {stages}")
    counts = [stages] if stages is not None else sorted(features.columns, reverse=True)
    choices: list[Choice] = []
    compare = partial(compare_strengths, **_problem(photos), seed=seed)
    tables = (features.of_stages(count, places) for count in counts)
    for count, comparison in zip(counts, _each(compare, tables, executor), strict=True):
        choices.append(Choice(count, comparison))
        if len(choices) > 1 and comparison.loss >= choices[-2].comparison.loss:
            break
    return sorted(choices, key=lambda each: each.comparison.loss)


def fit_choice(
    choice: Choice, features: Features, places: np.ndarray, photos: LabelledPhotos, executor: Executor | None = None
) -> Head:
    """Return the head of a choice, fitted to all photos; the arguments are those of :func:`choose_stages`."""
    fit = partial(fit_head, **_problem(photos), strength=choice.comparison.strength)
    return next(_each(fit, iter([features.of_stages(choice.stages, places)]), executor))


def _problem(photos: LabelledPhotos) -> dict[str, Any]:
    """Return what a head is to do, as the functions of ``head`` take it."""
    return {"targets": photos.targets, "outputs": len(photos.classes), "problem_type": photos.problem_type}


def _each(
    work: Callable[[np.ndarray], Result], tables: Iterator[np.ndarray], executor: Executor | None
) -> Iterator[Result]:
    """Yield what comes of each table; with an executor, two are worked on at a time."""
    if executor is None:
        yield from map(work, tables)
        return
    while pair := [executor.submit(work, table) for table in islice(tables, 2)]:
        yield from (future.result() for future in pair)


def build_model(model: str | Path, stages: int, head: Head, photos: LabelledPhotos) -> Any:
    """Return the classifier: so many stages of a model, and the head, in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NpconvWarning)  # of the classifier that is left out
        whole = AutoModelForImageClassification.from_pretrained(model, num_labels=0, strict=False)
    shortened = first_stages(whole.config, stages)
    assert shortened is not None
    config = shortened.from_dict(
        shortened.to_dict(), id2label=dict(enumerate(photos.classes)), problem_type=photos.problem_type
    )
    state = shortened_state(whole, config)
    state |= {f"classifier.{name}": array.astype(np.float32) for name, array in head._asdict().items()}
    return class_for(family_of(config), "image_classification")(config, state)
