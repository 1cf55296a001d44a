"""From pictures to labels in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from npconv.api.auto import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
from npconv.api.base import parse_dtype
from npconv.api.folded import shared_recipe
from npconv.api.heads import ImageClassifier
from npconv.backend import to_host
from npconv.errors import ConfigError, InputError
from npconv.images import ConvNextImageProcessor, open_image
from npconv.layers import softmax
from npconv.models import PretrainedConfig
from npconv.workers.pool import WorkerError, WorkerPool
from npconv.workers.recipes import Recipe, findable
from npconv.workers.streaming import map_batches

DEFAULT_MODEL = "convnextv2-cifar10"

#: Stands for an argument that was not given, where None means something.
UNSET: Any = object()

#: What turns logits into scores.
FUNCTIONS = ("softmax", "sigmoid", "none")


def pipeline(
    task: str = "image-classification",
    model: str | Path | ImageClassifier | None = None,
    *,
    image_processor: str | Path | ConvNextImageProcessor | None = None,
    batch_size: int = 1,
    workers: int | Executor = 1,
    top_k: int | None = 5,
    function_to_apply: str | None = None,
    feature_extractor: str | Path | ConvNextImageProcessor | None = None,
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
    workers : int or Executor
        Processes that share the work when there are more pictures than fit in a batch, and with the fast engine the
        weights in memory; 1 (or 0) means none but this one. A script that uses them keeps its work under
        ``if __name__ == "__main__":``. Any ``concurrent.futures.Executor`` may take their place, such as one of
        ``distributed`` for several machines; `model` must then be found there under the same name. A model that is
        loaded already cannot be shared.
    top_k, function_to_apply
        What a call does that does not say; see :meth:`ImageClassificationPipeline.__call__`.
    feature_extractor
        The older name of `image_processor`.
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
    image_processor = feature_extractor if image_processor is None else image_processor
    options: dict[str, Any] = {"batch_size": batch_size, "top_k": top_k, "function_to_apply": function_to_apply}
    shared = isinstance(workers, Executor) or workers > 1
    if isinstance(model, ImageClassifier):
        if image_processor is None:
            raise InputError("expected an image_processor beside a loaded model; AutoImageProcessor reads it")
        if shared:
            raise InputError("expected the name or folder of a model beside workers, got a loaded one; they load it")
        if model_arguments:
            raise InputError(
                f"expected no {', '.join(model_arguments)} beside a loaded model; give them when loading it"
            )
        return ImageClassificationPipeline(model, _processor(image_processor), **options)
    name = DEFAULT_MODEL if model is None else model
    processor = _processor(name if image_processor is None else image_processor)
    arguments = _with_engine(model_arguments)
    if not shared:
        return ImageClassificationPipeline(_load_model(name, **arguments), processor, **options)
    if "config" not in arguments:
        AutoConfig.from_pretrained(name, revision=arguments.get("revision", "main"))  # to fail here, not in a worker
    sent = {"model": findable(name), "image_processor": processor, "threads": 1, **arguments}
    Recipe.of(load_pipeline, **sent)  # likewise
    share = partial(shared_recipe, load=load_pipeline, **sent)
    load = partial(_load_model, name, **arguments)
    return ImageClassificationPipeline(load, processor, workers=workers, share=share, **options)


def load_pipeline(model: Any, image_processor: ConvNextImageProcessor, **arguments: Any) -> ImageClassificationPipeline:
    """Return a pipeline without workers: what each of the workers loads."""
    return ImageClassificationPipeline(_load_model(model, **arguments), image_processor)


class ImageClassificationPipeline:
    """Classifies pictures: decode, prepare, run the model, name the best classes. Made by :func:`pipeline`.

    Worker processes are started when they are first needed and kept until :meth:`close`, the end of a ``with`` block,
    or the end of this process, however it ends.

    Parameters
    ----------
    model : ImageClassifier or callable
        A callable loads it when it is first needed in this process.
    image_processor : ConvNextImageProcessor
    batch_size, workers, top_k, function_to_apply
        As in :func:`pipeline`.
    share : callable, optional
        From what runs the work to the recipe by which it loads the pipeline.
    """

    def __init__(
        self,
        model: ImageClassifier | Callable[[], ImageClassifier],
        image_processor: ConvNextImageProcessor,
        *,
        batch_size: int = 1,
        workers: int | Executor = 1,
        share: Callable[[Executor], Recipe] | None = None,
        top_k: int | None = 5,
        function_to_apply: str | None = None,
    ) -> None:
        _check_batch_size(batch_size)
        self.top_k = top_k
        self.function_to_apply = function_to_apply
        self._model = model
        self.image_processor = image_processor
        self.batch_size = batch_size
        self.workers = workers
        self._share = share
        self._pool: WorkerPool | None = None

    @property
    def model(self) -> ImageClassifier:
        """The model in this process."""
        if not isinstance(self._model, ImageClassifier):
            self._model = self._model()
        return self._model

    def executor(self) -> Executor:
        """Return what runs the work outside of this process; starts nothing by itself."""
        if isinstance(self.workers, Executor):
            return self.workers
        if self._pool is None:
            self._pool = WorkerPool(self.workers)
        return self._pool

    def recipe(self) -> Recipe:
        """Return how the processes of :meth:`executor` load this pipeline.

        Raises
        ------
        InputError
            If it has no workers.
        NpconvError
            If the model cannot be loaded.
        """
        if self._share is None:
            raise InputError("expected a pipeline with workers, got one without; give pipeline(workers=...)")
        return self._share(self.executor())

    def close(self) -> None:
        """End the worker processes at once, if there are any; they are started anew when they are needed again."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool.shutdown()
            self._pool = None

    def __enter__(self) -> ImageClassificationPipeline:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __call__(
        self,
        inputs: Any = None,
        *,
        images: Any = None,
        top_k: Any = UNSET,
        function_to_apply: str | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Classify one picture or many.

        Parameters
        ----------
        inputs : picture, or list or other iterable of pictures
            A path, the bytes of a file, an open file, a Pillow image, or a uint8 array (H, W, 3) or (3, H, W). EXIF
            orientation is applied to all but arrays.
        images
            The older name of `inputs`.
        top_k : int or None, optional
            Classes to name; all of them when None. The pipeline's own when unset, which is 5.
        function_to_apply : str, optional
            ``"softmax"``, ``"sigmoid"`` or ``"none"``. When unset, the pipeline's own, and without one what the
            configuration means: none for a regression, sigmoid for multi-label problems and a single class, else
            softmax.
        batch_size : int, optional
            In place of the pipeline's own.

        Returns
        -------
        list of dict
            ``{"label": str, "score": float}``, best first. A list of such lists for a list of pictures; an iterator
            over them for any other iterable, which is read as it goes on: a batch at a time, or with workers two for
            each worker.

        Raises
        ------
        ImageError, InputError
            If a picture cannot be read or an argument is unknown.
        WorkerError
            If the workers that were given a picture died of it.
        """
        pictures = images if inputs is None else inputs
        options = {
            "top_k": self.top_k if top_k is UNSET else top_k,
            "function_to_apply": function_to_apply or self.function_to_apply,
        }
        size = _check_batch_size(self.batch_size if batch_size is None else batch_size)
        if isinstance(pictures, list | tuple):
            return list(self._stream(pictures, size, **options))
        if _is_single(pictures):
            return next(self._stream([pictures], 1, **options))
        if isinstance(pictures, Mapping) or not isinstance(pictures, Iterable):
            raise InputError(f"expected a picture or an iterable of pictures, got {type(pictures).__name__}")
        return self._stream(pictures, size, **options)

    def _stream(self, images: Iterable[Any], batch_size: int, **options: Any) -> Iterator[list[dict[str, Any]]]:
        """Yield the result of each picture, a batch at a time."""
        remaining = iter(images)
        if self._share is not None:
            first = list(islice(remaining, batch_size + 1))
            remaining = chain(first, remaining)
            if len(first) > batch_size:
                task = partial(_classify_by_recipe, self.recipe(), options)
                sendable = map(_sendable, remaining)
                yield from chain.from_iterable(
                    map_batches(self.executor(), task, sendable, batch_size=batch_size, given_up=_raise)
                )
                return
        while batch := list(islice(remaining, batch_size)):
            yield from self._classify_images(batch, **options)

    def _classify_images(self, images: list[Any], **options: Any) -> list[list[dict[str, Any]]]:
        """Return the best classes of each picture of a batch."""
        return self.classify([self.prepare(image) for image in images], **options)

    def prepare(self, image: Any) -> np.ndarray:
        """Return the pixel values (C, H, W) of one picture.

        Raises
        ------
        ImageError, InputError
            If it cannot be read, or is an array of several.
        """
        if isinstance(image, np.ndarray) and image.ndim > 3:
            raise InputError(f"expected an array of one picture, got shape {image.shape}; give a list of pictures")
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
    dtype = model_arguments.get("dtype", model_arguments.get("torch_dtype", "float32"))
    can_be_fast = dtype != "auto" and parse_dtype(dtype) == np.float32 and model_arguments.get("device", "cpu") == "cpu"
    return {"engine": "fast" if can_be_fast else "explicit", **model_arguments}


def _load_model(name: Any, **arguments: Any) -> ImageClassifier:
    """Load a classifier."""
    return AutoModelForImageClassification.from_pretrained(name, **arguments)


def _processor(given: Any) -> ConvNextImageProcessor:
    """Return an image processor, loaded if only its name is given."""
    return given if isinstance(given, ConvNextImageProcessor) else AutoImageProcessor.from_pretrained(given)


def _classify_by_recipe(recipe: Recipe, options: dict[str, Any], images: list[Any]) -> list[list[dict[str, Any]]]:
    """Classify a batch in a worker."""
    return recipe.load()._classify_images(images, **options)


def _sendable(image: Any) -> Any:
    """Return a picture as it can be sent to a worker: of an open file its content, of a Pillow image its pixels."""
    is_path_or_array = isinstance(image, str | bytes | os.PathLike | np.ndarray)
    if not is_path_or_array and (hasattr(image, "convert") or hasattr(image, "read")):
        return open_image(image)
    return image


def _raise(image: Any, error: Exception) -> Any:
    """Raise the error by which a picture was given up, with its name."""
    raise WorkerError(f"{os.fspath(image) if isinstance(image, str | Path) else 'a picture'}: {error}") from error


def _is_single(images: Any) -> bool:
    """Tell whether this is one picture and not an iterable of pictures."""
    one = (str, bytes, bytearray, memoryview, os.PathLike, np.ndarray)
    return isinstance(images, one) or hasattr(images, "convert") or hasattr(images, "read")


def _check_batch_size(batch_size: int) -> int:
    """Return a number of pictures, or say what was expected."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"expected a batch_size of at least 1, got {batch_size!r}")
    return batch_size
