"""A classifier of a network that stays as it is: its stages, all or the first ones, and a head fitted to features."""

from __future__ import annotations

import warnings
from collections.abc import Callable
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
from npconv.training.head import Comparison, Head, compare_strengths, fit_head
from npconv.training.photos import LabelledPhotos
from npconv.training.shortened import first_stages, shortened_state


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
    advance: Callable[[int], None] = lambda count: None,
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
        What fits several heads at the same time; this process does one after another when unset.
    advance : callable
        Called with a number of heads when they are fitted.

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
    for count in counts:
        problem = features.rows(places, count), photos.targets, len(photos.classes), photos.problem_type
        choices.append(Choice(count, compare_strengths(*problem, seed=seed, executor=executor, advance=advance)))
        if len(choices) > 1 and choices[-1].comparison.loss >= choices[-2].comparison.loss:
            break
    return sorted(choices, key=lambda each: each.comparison.loss)


def fit_of(choice: Choice, features: Features, places: np.ndarray, photos: LabelledPhotos) -> Callable[[], Head]:
    """Return the call that fits the head of a choice to all photos, such that another process can do it."""
    problem = features.rows(places, choice.stages), photos.targets, len(photos.classes), photos.problem_type
    found = choice.comparison
    return partial(fit_head, *problem, strength=found.strength, temperature=found.temperature)


def load_fitting() -> None:
    """Load what a process needs to fit a head, which takes a while."""
    import scipy.optimize  # noqa: F401


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
