"""From pictures to labels in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from npconv.api.auto import AutoImageProcessor, AutoModelForImageClassification
from npconv.api.heads import ImageClassifier
from npconv.backend import to_host
from npconv.errors import ConfigError, InputError
from npconv.images import ConvNextImageProcessor, open_image
from npconv.layers import softmax
from npconv.models import PretrainedConfig

DEFAULT_MODEL = "convnextv2-cifar10"

#: What turns logits into scores.
FUNCTIONS = ("softmax", "sigmoid", "none")


def pipeline(
    task: str = "image-classification",
    model: str | Path | ImageClassifier | None = None,
    *,
    image_processor: str | Path | ConvNextImageProcessor | None = None,
    batch_size: int = 1,
    **model_arguments: Any,
) -> ImageClassificationPipeline:
    """Make a function from pictures to labelled scores.

    Parameters
    ----------
    task : str
        ``"image-classification"``.
    model : str, Path or model, optional
        As in ``AutoModelForImageClassification.from_pretrained``, or a model that is loaded already. The embedded
        model when unset.
    image_processor : str, Path or processor, optional
        The model's own when unset; needed where `model` is loaded already.
    batch_size : int
        Pictures that pass the model together.
    **model_arguments
        ``dtype``, ``device``, ``engine`` and so on, as in ``from_pretrained``. The engine is the fast one when unset,
        where it can run: in float32 on the CPU.

    Raises
    ------
    NpconvError
        If the task is another one or the model cannot be loaded.
    """
    if task != "image-classification":
        raise InputError(f"expected task 'image-classification', got {task!r}")
    name: Any = DEFAULT_MODEL if model is None else model
    if isinstance(name, ImageClassifier):
        if image_processor is None:
            raise InputError("expected an image_processor beside a loaded model; AutoImageProcessor reads it")
        classifier = name
    else:
        classifier = AutoModelForImageClassification.from_pretrained(name, **_with_engine(model_arguments))
    processor = name if image_processor is None else image_processor
    if not isinstance(processor, ConvNextImageProcessor):
        processor = AutoImageProcessor.from_pretrained(processor)
    return ImageClassificationPipeline(classifier, processor, batch_size=batch_size)


class ImageClassificationPipeline:
    """Classifies pictures: decode, prepare, run the model, name the best classes. Made by :func:`pipeline`."""

    def __init__(self, model: ImageClassifier, image_processor: ConvNextImageProcessor, *, batch_size: int = 1) -> None:
        if batch_size < 1:
            raise InputError(f"expected a batch_size of at least 1, got {batch_size}")
        self.model = model
        self.image_processor = image_processor
        self.batch_size = batch_size

    def __call__(
        self,
        images: Any,
        *,
        top_k: int | None = 5,
        function_to_apply: str | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Classify one picture or many.

        Parameters
        ----------
        images : picture, or list or other iterable of pictures
            A path, a Pillow image, or a uint8 array (H, W, 3) or (3, H, W). EXIF orientation is applied to paths and
            Pillow images.
        top_k : int, optional
            Classes to name; all of them when None.
        function_to_apply : str, optional
            ``"softmax"``, ``"sigmoid"`` or ``"none"``. When unset, what the configuration means: sigmoid for
            multi-label problems and a single class, else softmax.
        batch_size : int, optional
            In place of the pipeline's own.

        Returns
        -------
        list of dict
            ``{"label": str, "score": float}``, best first. A list of such lists for a list of pictures; an iterator
            over them for any other iterable, which is read as it goes on.

        Raises
        ------
        ImageError, InputError
            If a picture cannot be read or an argument is unknown.
        """
        options = {"top_k": top_k, "function_to_apply": function_to_apply}
        if isinstance(images, list | tuple):
            return list(self._stream(images, batch_size or self.batch_size, **options))
        if _is_single(images):
            return next(self._stream([images], 1, **options))
        return self._stream(images, batch_size or self.batch_size, **options)

    def _stream(self, images: Iterable[Any], batch_size: int, **options: Any) -> Iterator[list[dict[str, Any]]]:
        """Yield the result of each picture, a batch at a time."""
        remaining = iter(images)
        while batch := list(islice(remaining, batch_size)):
            yield from self.classify([self.prepare(image) for image in batch], **options)

    def prepare(self, image: Any) -> np.ndarray:
        """Return the pixel values (C, H, W) of one picture."""
        picture = image if isinstance(image, np.ndarray) else open_image(image)
        return self.image_processor(picture)["pixel_values"][0]

    def classify(
        self, pixel_values: list[np.ndarray], *, top_k: int | None = 5, function_to_apply: str | None = None
    ) -> list[list[dict[str, Any]]]:
        """Return the best classes of each picture, given their pixel values."""
        logits = to_host(self.model(np.stack(pixel_values), return_dict=True).logits)
        return [best_labels(row, self.model.config, top_k, function_to_apply) for row in logits]


def best_labels(
    logits: np.ndarray, config: PretrainedConfig, top_k: int | None = 5, function_to_apply: str | None = None
) -> list[dict[str, Any]]:
    """Return the classes with the best scores.

    Parameters
    ----------
    logits : array (K,)
        Of one picture.
    config
        Names the classes, and means a function when `function_to_apply` is unset.
    top_k, function_to_apply
        As in :class:`ImageClassificationPipeline`.

    Raises
    ------
    ConfigError
        If the model has no classes.
    InputError
        If an argument is unknown.
    """
    if config.num_labels == 0:
        raise ConfigError("expected a model with classes, got one with num_labels 0; use AutoModel for features")
    if top_k is not None and top_k < 1:
        raise InputError(f"expected top_k of at least 1 or None, got {top_k}")
    function = function_to_apply or _function_of(config)
    if function not in FUNCTIONS:
        raise InputError(f"expected function_to_apply to be one of {', '.join(FUNCTIONS)}; got {function!r}")
    scores = logits.astype(np.float64)
    if function == "softmax":
        scores = softmax(scores, axis=-1)
    elif function == "sigmoid":
        scores = np.exp(-np.logaddexp(0, -scores))
    best = np.argsort(-scores, kind="stable")[:top_k]
    return [{"label": config.id2label[int(index)], "score": float(scores[index])} for index in best]


def _function_of(config: PretrainedConfig) -> str:
    """Return the function that a configuration means."""
    if config.problem_type == "regression":
        return "none"
    return "sigmoid" if config.problem_type == "multi_label_classification" or config.num_labels == 1 else "softmax"


def _with_engine(model_arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with an engine: the fast one, where it can run and no other is asked for."""
    can_be_fast = model_arguments.get("dtype", "float32") == "float32" and model_arguments.get("device", "cpu") == "cpu"
    return {"engine": "fast" if can_be_fast else "explicit", **model_arguments}


def _is_single(images: Any) -> bool:
    """Tell whether this is one picture and not an iterable of pictures."""
    return isinstance(images, str | Path | np.ndarray) or hasattr(images, "convert") or hasattr(images, "read")
