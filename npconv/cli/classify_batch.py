"""A batch of photos to their results, in this process or in a worker. One that fails does not take the others along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from npconv.api.pipelines import ImageClassificationPipeline
from npconv.cli.formats import Result
from npconv.cli.photos import Photo, reason_of, source_of
from npconv.workers.recipes import Recipe


class Options(NamedTuple):
    """Labels for each photo, and whether tracebacks of failures go to stderr."""

    top_k: int
    debug: bool = False


def classify_in_worker(recipe: Recipe, options: Options, photos: Sequence[Photo]) -> list[Result]:
    """Return the results of a batch by a classifier that the process loads once."""
    return classify_batch(recipe.load(), options, photos)


def classify_batch(classifier: ImageClassificationPipeline, options: Options, photos: Sequence[Photo]) -> list[Result]:
    """Return the results of a batch, in its order.

    Parameters
    ----------
    classifier : ImageClassificationPipeline
    options : Options
    photos : sequence of Photo
        All of them are in memory at a time, once they are prepared.
    """
    found: dict[int, Result] = {}
    pixels: dict[int, np.ndarray] = {}
    for place, photo in enumerate(photos):
        try:
            pixels[place] = classifier.prepare(source_of(photo))
        except Exception as error:
            found[place] = Result(photo.name, error=reason_of(error, photo, options.debug))
    for places in by_shape(pixels):
        found |= classify_together({place: photos[place] for place in places}, pixels, classifier, options)
    return [found[place] for place in range(len(photos))]


def by_shape(pixels: dict[int, np.ndarray]) -> list[list[int]]:
    """Return the places of arrays of one shape together: without resizing, photos keep the sizes they have."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, array in pixels.items():
        groups.setdefault(array.shape, []).append(place)
    return list(groups.values())


def classify_together(
    photos: dict[int, Photo],
    pixels: dict[int, np.ndarray],
    classifier: ImageClassificationPipeline,
    options: Options,
) -> dict[int, Result]:
    """Return the results of photos that pass the model together; if they cannot, one by one."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # scores that come out as no numbers are reported below
            labels = classifier.classify([pixels[place] for place in photos], top_k=options.top_k)
    except Exception as error:
        if len(photos) == 1:
            return {
                place: Result(photo.name, error=reason_of(error, photo, options.debug))
                for place, photo in photos.items()
            }
        labels = None
    if labels is not None:
        return {place: scored(photo.name, row) for (place, photo), row in zip(photos.items(), labels, strict=True)}
    found: dict[int, Result] = {}
    for place, photo in photos.items():  # after the handler: until then, the error keeps the batch's arrays in memory
        found |= classify_together({place: photo}, pixels, classifier, options)
    return found


def scored(file: str, labels: list[dict[str, Any]]) -> Result:
    """Return the result of a photo, which is an error if the scores are no numbers."""
    if all(math.isfinite(entry["score"]) for entry in labels):
        return Result(file, labels)
    return Result(file, error="the scores are not finite: numbers overflowed inside the model; try --dtype float32")
