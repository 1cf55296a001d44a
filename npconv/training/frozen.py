"""A classifier of a network that stays as it is: its stages, all or the first ones, and a head fitted to features."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npconv.api import AutoModelForImageClassification
from npconv.api.families import class_for
from npconv.errors import InputError, NpconvWarning
from npconv.models import family_of
from npconv.training.features import Features
from npconv.training.head import Head, fit_head
from npconv.training.photos import LabelledPhotos
from npconv.training.shortened import first_stages, shortened_state


class Choice(NamedTuple):
    """A head on the features that a model has which ends after so many stages."""

    stages: int
    head: Head


def choose_stages(
    features: Features,
    places: np.ndarray,
    photos: LabelledPhotos,
    *,
    stages: int | None = None,
    seed: int = 0,
    executor: Executor | None = None,
) -> list[Choice]:
    """Return the heads that were fitted, the best one first: by the loss in cross-validation.

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
        What fits several heads at the same time; this process fits one after another when unset.

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
    fit = partial(
        fit_head, targets=photos.targets, outputs=len(photos.classes), problem_type=photos.problem_type, seed=seed
    )
    tables = (features.of_stages(count, places) for count in counts)
    for count, head in zip(counts, _each(fit, tables, executor), strict=True):
        choices.append(Choice(count, head))
        if len(choices) > 1 and head.loss >= choices[-2].head.loss:
            break
    return sorted(choices, key=lambda each: each.head.loss)


def _each(fit: Callable[..., Head], tables: Iterator[np.ndarray], executor: Executor | None) -> Iterator[Head]:
    """Yield the head of each table; with an executor, the next ones are fitted meanwhile, and given up at the end."""
    if executor is None:
        yield from map(fit, tables)
        return
    waiting = [executor.submit(fit, table) for table in tables]
    try:
        for future in waiting:
            yield future.result()
    finally:
        for future in waiting:
            future.cancel()


def build_model(model: str | Path, choice: Choice, photos: LabelledPhotos) -> Any:
    """Return the classifier: the stages of a model that were chosen, and the head, in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NpconvWarning)  # of the classifier that is left out
        whole = AutoModelForImageClassification.from_pretrained(model, num_labels=0, strict=False)
    shortened = first_stages(whole.config, choice.stages)
    assert shortened is not None
    config = shortened.from_dict(
        shortened.to_dict(), id2label=dict(enumerate(photos.classes)), problem_type=photos.problem_type
    )
    state = shortened_state(whole, config)
    head = {"classifier.weight": choice.head.weight, "classifier.bias": choice.head.bias}
    state |= {name: array.astype(np.float32) for name, array in head.items()}
    return class_for(family_of(config), "image_classification")(config, state)
