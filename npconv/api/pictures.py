"""Pipelines in general: a function of pictures that decodes, prepares and runs, here or in other processes.

And the one from pictures to labels.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from npconv.api.auto import AutoModelForImageClassification
from npconv.api.heads import BareModel, ImageClassifier
from npconv.backend import to_host
from npconv.errors import ConfigError, InputError, NpconvWarning
from npconv.images import ConvNextImageProcessor, open_image
from npconv.images.decode import picture_name
from npconv.layers import softmax
from npconv.messages import listed
from npconv.models import PretrainedConfig
from npconv.workers.batches import GIVEN_UP, Work
from npconv.workers.loader import Loader
from npconv.workers.pool import WorkerError, WorkerPool

#: Stands for an argument that was not given, where None means something.
UNSET: Any = object()

#: What turns logits into scores.
FUNCTIONS = ("softmax", "sigmoid", "none")


class Pipeline:
    """A function of pictures: decode, prepare, run the model, say what came out. Made by :func:`pipeline`.

    Worker processes are started when they are first needed and kept until :meth:`close`, the end of a ``with`` block,
    or the end of this process, however it ends.

    A callable `model` loads it when it is first needed in this process. `share` makes of what runs the work elsewhere
    what loads the pipeline there. The options are what a call does that does not say.
    """

    #: Names of the options of a call, and their values where neither the call nor the pipeline says.
    options: ClassVar[dict[str, Any]]
    #: What a model must be that is loaded already.
    model_class: ClassVar[type[BareModel]] = BareModel

    def __init__(
        self,
        model: BareModel | Callable[[], BareModel],
        image_processor: ConvNextImageProcessor,
        *,
        batch_size: int = 1,
        workers: int | Executor = 1,
        share: Callable[[Executor], Loader] | None = None,
        **options: Any,
    ) -> None:
        self._model = model
        self.image_processor = image_processor
        self.batch_size = _check_batch_size(batch_size)
        self.workers = workers
        self._share = share
        self._pool: WorkerPool | None = None
        self.__dict__.update({**self.options, **options})

    @staticmethod
    def load_model(name: Any, **arguments: Any) -> BareModel:
        """Load what the pipeline runs; the arguments are those of ``from_pretrained``."""
        raise NotImplementedError

    @staticmethod
    def check_config(config: PretrainedConfig) -> None:
        """Refuse a model that is not for this task, and say once what it lacks; nothing unless a task has a say."""

    def run(self, pixel_values: Sequence[np.ndarray], **options: Any) -> list[Any]:
        """Return the result of each of some pictures, given their pixel values, which are of one shape."""
        raise NotImplementedError

    #: What a result is made of.
    numbers: ClassVar[str]

    def flaw(self, value: Any, dtype_option: str = "dtype=") -> str:
        """Return what is wrong with the result of a picture; an empty text if all its numbers are finite.

        `dtype_option` is how another dtype is asked for.
        """
        if self.is_finite(value):
            return ""
        wrong = self.model.not_finite
        if wrong:
            places = listed([f"{count} in {name}" for name, count in wrong.items()])
            return f"{self.numbers} are not finite, as the weights hold NaN or infinity: {places}; take another file"
        wider = {"float16": "float32", "float32": "float64"}.get(self.model.dtype.name)
        way = f"; try {dtype_option}{wider}" if wider else ", the widest; are these the weights of this model?"
        return f"{self.numbers} are not finite: numbers overflowed inside the model in {self.model.dtype}{way}"

    def is_finite(self, value: Any) -> bool:
        """Say whether all numbers of a picture's result are finite."""
        raise NotImplementedError

    @property
    def model(self) -> Any:
        """The model in this process."""
        if not isinstance(self._model, BareModel):
            self._model = self._model()
        return self._model

    def executor(self) -> Executor | None:
        """Return what runs the work outside of this process; starts nothing by itself."""
        if self._share is None:
            return None
        if isinstance(self.workers, Executor):
            return self.workers
        if self._pool is None:
            self._pool = WorkerPool(self.workers)
        return self._pool

    def loader(self) -> Callable[[], Any]:
        """Return what gives this pipeline to those who do its work: in this process itself, elsewhere loaded anew.

        Raises
        ------
        NpconvError
            If the model cannot be loaded.
        """
        executor = self.executor()
        return (lambda: self) if executor is None or self._share is None else self._share(executor)

    def close(self) -> None:
        """End the worker processes at once, if there are any; they are started anew when they are needed again."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool.shutdown()
            self._pool = None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def prepare(self, image: Any, **image_processor_kwargs: Any) -> np.ndarray:
        """Return the pixel values (C, H, W) of one picture; ``max_memory`` is one of the arguments, see `open_image`.

        Raises
        ------
        ImageError, InputError
            If it cannot be read, or is an array of several.
        """
        if isinstance(image, np.ndarray) and image.ndim > 3:
            raise InputError(f"expected an array of one picture, got shape {image.shape}; give a list of pictures")
        if not isinstance(image, np.ndarray | str | os.PathLike | bytes):
            image = open_image(image, max_memory=image_processor_kwargs.get("max_memory"))
        # The processor opens the others itself, and lets go of the picture before it resizes its copy.
        return self.image_processor(image, **image_processor_kwargs)["pixel_values"][0]

    def _call(self, pictures: Any, batch_size: int | None, options: Mapping[str, Any]) -> Any:
        """Return the result of a picture, the list of those of a list, or an iterator over those of an iterable."""
        size = _check_batch_size(self.batch_size if batch_size is None else batch_size)
        if isinstance(pictures, list | tuple):
            return list(self._stream(pictures, size, options))
        if _is_single(pictures):
            return next(self._stream([pictures], 1, options))
        if isinstance(pictures, Mapping) or not isinstance(pictures, Iterable):
            raise InputError(f"expected a picture or an iterable of pictures, got {type(pictures).__name__}")
        return self._stream(pictures, size, options)

    def _stream(self, images: Iterable[Any], batch_size: int, options: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the result of each picture, a batch at a time; what fits in one batch is not worth starting workers."""
        remaining = iter(images)
        first = [] if self._share is None else list(islice(remaining, batch_size + 1))
        if len(first) > batch_size:
            sendable = map(partial(_sendable, max_memory=options.get("max_memory")), chain(first, remaining))
            work = PictureWork(self.loader(), options)
            batches = work.share(sendable, batch_size=batch_size, executor=self.executor())
        else:
            work = PictureWork(lambda: self, options)
            batches = work.share(chain(first, remaining), batch_size=batch_size)
        yield from chain.from_iterable(batches)


class ImageClassificationPipeline(Pipeline):
    """Names what is in pictures. Made by :func:`pipeline`."""

    options: ClassVar = {"top_k": 5, "function_to_apply": None, "max_memory": None}
    numbers = "the scores"
    model_class = ImageClassifier
    top_k: int | None
    function_to_apply: str | None
    max_memory: int | None

    @staticmethod
    def load_model(name: Any, **arguments: Any) -> BareModel:
        """Load a classifier."""
        return AutoModelForImageClassification.from_pretrained(name, **arguments)

    @staticmethod
    def check_config(config: PretrainedConfig) -> None:
        """Refuse a model without classes; say so where they have no names."""
        check_classes(config)
        if config.num_labels > 1 and all(name == f"LABEL_{number}" for number, name in config.id2label.items()):
            warnings.warn(
                "the model has no names of classes, so that they are LABEL_0 and so on: "
                "npconv convert MODEL FOLDER --labels FILE makes one with names",
                NpconvWarning,
                stacklevel=3,
            )

    def __call__(
        self,
        inputs: Any = None,
        *,
        images: Any = None,
        top_k: Any = UNSET,
        function_to_apply: str | None = None,
        batch_size: int | None = None,
        max_memory: int | None = None,
    ) -> Any:
        """Classify one picture or many.

        Parameters
        ----------
        inputs : picture, or list or other iterable of pictures
            A path, a data URI, the bytes of a file, an open file, a Pillow image, or a uint8 array (H, W, 3) or
            (3, H, W). EXIF orientation is applied to all but arrays.
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
        max_memory : int, optional
            What reading one picture may take, in bytes; see `open_image`.

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
        options = {
            "top_k": self.top_k if top_k is UNSET else top_k,
            "function_to_apply": function_to_apply or self.function_to_apply,
            "max_memory": self.max_memory if max_memory is None else max_memory,
        }
        return self._call(images if inputs is None else inputs, batch_size, options)

    def run(  # type: ignore[override]  # with the options of its own call
        self, pixel_values: Sequence[np.ndarray], *, top_k: int | None = 5, function_to_apply: str | None = None
    ) -> list[list[dict[str, Any]]]:
        """Return the best classes of each picture, given their pixel values."""
        logits = to_host(self.model(np.stack(pixel_values), return_dict=True).logits)
        return [best_labels(row, self.model.config, top_k, function_to_apply) for row in logits]

    def is_finite(self, value: list[dict[str, Any]]) -> bool:
        """Say whether all scores are finite."""
        return all(math.isfinite(entry["score"]) for entry in value)


@dataclass(frozen=True)
class PictureWork(Work[Any, Any]):
    """Pictures to the results of a pipeline; the first that fails ends it."""

    options: Mapping[str, Any]  #: of the call

    def prepare(self, tool: Pipeline, item: Any) -> np.ndarray:
        """Return the pixel values of a picture."""
        memory = self.options.get("max_memory")
        given = {} if memory is None else {"max_memory": memory}
        return tool.prepare(item, **{**given, **(self.options.get("image_processor_kwargs") or {})})

    def run(self, tool: Pipeline, items: Sequence[Any], arrays: Sequence[np.ndarray]) -> list[Any]:
        """Return the results of pictures, given their pixel values."""
        preparing = ("image_processor_kwargs", "max_memory")
        options = {name: value for name, value in self.options.items() if name not in preparing}
        with np.errstate(over="ignore", invalid="ignore"):  # what comes out as no numbers is an error below
            values = tool.run(arrays, **options)
        if flaw := next(filter(None, map(tool.flaw, values)), ""):
            raise InputError(flaw)
        return values

    def failed(self, item: Any, error: Exception) -> Any:
        """Raise the error; one by which a picture was given up says which."""
        if type(error).__name__ not in GIVEN_UP:
            raise error
        raise WorkerError(f"{picture_name(item) if isinstance(item, str | Path) else 'a picture'}: {error}") from error


def check_classes(config: PretrainedConfig) -> None:
    """Raise a ConfigError for a model without classes."""
    if not config.id2label:
        raise ConfigError("expected a model with classes, got one with num_labels 0; use AutoModel for features")
    if config.head_is_projection:
        raise ConfigError(
            f"expected a model with classes, got one with a projection: its {config.num_labels} numbers are an "
            "embedding, which AutoModelForImageClassification gives as logits; npconv features gives what is before it"
        )


def best_labels(
    logits: np.ndarray, config: PretrainedConfig, top_k: int | None = 5, function_to_apply: str | None = None
) -> list[dict[str, Any]]:
    """Return the classes with the best scores, given the logits (K,) of one picture.

    The arguments are those of :class:`ImageClassificationPipeline`; the configuration means a function where none is
    given. A model without classes is a `ConfigError`, an unknown argument an `InputError`.
    """
    check_classes(config)
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
    return "sigmoid" if config.problem_type == "multi_label_classification" or len(config.id2label) == 1 else "softmax"


def _sendable(image: Any, max_memory: int | None = None) -> Any:
    """Return a picture as it can be sent to a worker: of an open file its content, of a Pillow image its pixels."""
    is_path_or_array = isinstance(image, str | bytes | os.PathLike | np.ndarray)
    if not is_path_or_array and (hasattr(image, "convert") or hasattr(image, "read")):
        return open_image(image, max_memory=max_memory)
    return image


def _is_single(images: Any) -> bool:
    """Tell whether this is one picture and not an iterable of pictures."""
    one = (str, bytes, bytearray, memoryview, os.PathLike, np.ndarray)
    return isinstance(images, one) or hasattr(images, "convert") or hasattr(images, "read")


def _check_batch_size(batch_size: int) -> int:
    """Return a number of pictures, or say what was expected."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"expected a batch_size of at least 1, got {batch_size!r}")
    return batch_size
