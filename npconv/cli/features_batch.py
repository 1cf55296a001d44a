"""A batch of photos to their features, in this process or in a worker."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from npconv.api import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
from npconv.cli.photos import Photo, reason_of, source_of
from npconv.errors import NpconvWarning, WeightsError
from npconv.images import ConvNextImageProcessor, open_image
from npconv.models import PretrainedConfig
from npconv.workers.recipes import Recipe

POOLED = "pooled"
CLASSIFIER = ("classifier.weight", "classifier.bias")


@dataclass(frozen=True)
class Features:
    """What became of one photo: arrays by name, each of one picture; or an `error`."""

    file: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    error: str | None = None


class Options(NamedTuple):
    """Which features are wanted, and whether tracebacks of failures go to stderr."""

    names: tuple[str, ...]
    debug: bool = False


class FeatureExtractor(NamedTuple):
    """A model without its classifier, and what prepares pictures for it."""

    model: Any
    image_processor: ConvNextImageProcessor

    @classmethod
    def load(cls, model: str, **arguments: Any) -> FeatureExtractor:
        """Load a model, with arguments as in ``from_pretrained``; its classifier, if the file has one, is left out.

        Raises
        ------
        NpconvError
            If the model cannot be loaded.
        """
        config = AutoConfig.from_pretrained(model, num_labels=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NpconvWarning)  # what is left out and what is missing is looked at below
            loaded = AutoModelForImageClassification.from_pretrained(model, config=config, strict=False, **arguments)
        report = loaded.loading_report
        wrong = [*report.missing, *(name for name in report.unexpected if name not in CLASSIFIER)]
        if wrong:
            raise WeightsError(f"{model}: expected the weights of the model, got a file that differs in {wrong[0]!r}")
        return cls(loaded, AutoImageProcessor.from_pretrained(model))

    def __call__(self, photos: Sequence[Any], names: Sequence[str]) -> list[dict[str, np.ndarray]]:
        """Return the wanted features of each of some pictures, which pass the model together."""
        pixel_values = np.stack([self.image_processor(open_image(photo))["pixel_values"][0] for photo in photos])
        output = self.model(pixel_values, output_hidden_states=True, return_dict=True)
        arrays = dict(zip(stage_names(self.model.config), output.hidden_states, strict=True))
        arrays[POOLED] = output.logits  # without a classifier, what it would get
        # Copies: else each keeps the arrays of all stages of the whole batch in memory.
        return [{name: np.array(arrays[name][place]) for name in names} for place in range(len(photos))]


def stage_names(config: PretrainedConfig) -> list[str]:
    """Return the names of the maps that a model has: the stem, where it has one, and the stages."""
    if config.model_type == "cvt":
        return [f"stage{number}" for number in range(1, len(config.depth) + 1)]
    return list(config.stage_names)


def features_in_worker(recipe: Recipe, options: Options, photos: Sequence[Photo]) -> list[Features]:
    """Return the features of a batch by a model that the process loads once."""
    return features_of_batch(recipe.load(), options, photos)


def features_of_batch(extractor: FeatureExtractor, options: Options, photos: Sequence[Photo]) -> list[Features]:
    """Return the features of a batch in its order; if the batch fails, of each photo by itself."""
    try:
        arrays = extractor([source_of(photo) for photo in photos], options.names)
    except Exception as error:
        if len(photos) == 1:
            return [Features(photos[0].name, error=reason_of(error, photos[0], options.debug))]
    else:
        return [_finite(photo.name, found) for photo, found in zip(photos, arrays, strict=True)]
    return [result for photo in photos for result in features_of_batch(extractor, options, [photo])]


def _finite(file: str, arrays: dict[str, np.ndarray]) -> Features:
    """Return the features of a photo, which are an error if they are no numbers."""
    if all(np.isfinite(array).all() for array in arrays.values()):
        return Features(file, arrays)
    return Features(file, error="the features are not finite: numbers overflowed inside the model")
