"""Which photos a model is trained on, and which tell how good it has become."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from npconv.errors import InputError
from npconv.messages import escape
from npconv.models import PretrainedConfig
from npconv.training.evaluate import choose_part
from npconv.training.labels import in_classes_of
from npconv.training.photos import LabelledPhotos, check_trainable, read_photos, split

#: The share of the photos that is kept apart where nothing else is said.
SHARE = 0.2


class Parts(NamedTuple):
    """Photos to train on and photos to validate with, of the same classes; whether these were drawn from the others."""

    train: LabelledPhotos
    validation: LabelledPhotos
    was_split: bool


def train_and_validation(
    source: str | Path, validation: float | str | Path | None, *, seed: int = 0, problem_type: str | None = None
) -> Parts:
    """Return the photos to train on and those to validate with, of the same classes.

    Parameters
    ----------
    source : str or Path
        As of :func:`npconv.training.read_photos`. A part ``test`` is left alone.
    validation : float, str or Path, optional
        The share of the photos that is split off, or where the other photos are. When unset, the part ``validation`` of
        the source, or if there is none, `SHARE` of the photos.
    seed : int
        Of the split.
    problem_type : str, optional
        Of a CSV file.

    Raises
    ------
    InputError
        If there are no such photos, or they are all of one class.
    """
    parts = read_photos(source, problem_type=problem_type)
    if "train" not in parts and "all" not in parts:
        raise InputError(f"{escape(str(source))}: expected a part train, got {', '.join(parts)} alone")
    train = choose_part(parts, "train" if "train" in parts else "all")
    check_trainable(train)
    has_own, was_split = "validation" in parts, False
    if isinstance(validation, str | Path):
        classes = dict(enumerate(train.classes))
        config = PretrainedConfig(id2label=classes, problem_type=train.problem_type)
        found = choose_part(read_photos(validation, problem_type=train.problem_type))
        other = replace(in_classes_of(found, config), part="validation")
    elif validation is not None and has_own:
        raise InputError("expected no share to validate with, as the photos have a part validation; leave it out")
    elif has_own:
        other = parts["validation"]
    else:
        train, other = split(train, SHARE if validation is None else validation, seed)
        was_split = True
    return Parts(replace(train, part="train"), other, was_split)
