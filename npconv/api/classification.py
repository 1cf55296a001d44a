"""From pictures to labels."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, TypedDict, overload

import numpy as np

from npconv.api.auto import AutoModelForImageClassification
from npconv.api.heads import BareModel, ImageClassifier
from npconv.api.pictures import UNSET, Pipeline
from npconv.backend import to_host
from npconv.errors import ConfigError, InputError, NpconvWarning
from npconv.images.decode import PictureSource
from npconv.images.settings import enum_value
from npconv.layers import softmax
from npconv.messages import shown
from npconv.models import PretrainedConfig

#: What turns logits into scores.
FUNCTIONS = ("softmax", "sigmoid", "none")


class Score(TypedDict):
    """A class, and how much speaks for it."""

    label: str
    score: float


class ImageClassificationPipeline(Pipeline):
    """Names what is in pictures. Made by :func:`pipeline`, or directly, as :class:`Pipeline` says."""

    task = "image-classification"
    options: ClassVar = {"top_k": 5, "function_to_apply": None, "timeout": None, "max_memory": None}
    numbers = "the scores"
    top_k: int | None
    function_to_apply: str | None
    timeout: float | None
    max_memory: int | None

    @staticmethod
    def load_model(name: Any, **arguments: Any) -> BareModel[Any]:
        """Load a classifier."""
        return AutoModelForImageClassification.from_pretrained(name, **arguments)

    @classmethod
    def check_model(cls, model: BareModel[Any]) -> None:
        """Refuse a model without a classifier, or without classes."""
        if not isinstance(model, ImageClassifier):
            raise InputError(f"expected a model with a classifier for {cls.task!r}, got a {type(model).__name__}")
        check_classes(model.config)

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

    @overload
    def __call__(
        self,
        inputs: PictureSource | np.ndarray,
        *,
        images: Any = ...,
        top_k: Any = ...,
        function_to_apply: str | None = ...,
        timeout: float | None = ...,
        batch_size: int | None = ...,
        num_workers: int | None = ...,
        max_memory: int | None = ...,
    ) -> list[Score]: ...
    @overload
    def __call__(
        self,
        inputs: list[Any] | tuple[Any, ...],
        *,
        images: Any = ...,
        top_k: Any = ...,
        function_to_apply: str | None = ...,
        timeout: float | None = ...,
        batch_size: int | None = ...,
        num_workers: int | None = ...,
        max_memory: int | None = ...,
    ) -> list[list[Score]]: ...
    @overload
    def __call__(
        self,
        inputs: Any = None,
        *,
        images: Any = ...,
        top_k: Any = ...,
        function_to_apply: str | None = ...,
        timeout: float | None = ...,
        batch_size: int | None = ...,
        num_workers: int | None = ...,
        max_memory: int | None = ...,
    ) -> Any: ...
    def __call__(
        self,
        inputs: Any = None,
        *,
        images: Any = None,
        top_k: Any = UNSET,
        function_to_apply: str | None = None,
        timeout: float | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        max_memory: int | None = None,
    ) -> Any:
        """Classify one picture or many.

        Parameters
        ----------
        inputs : picture, or list, data set or other iterable of pictures
            A path, a URL of http or https, a data URI, the bytes of a file, an open file, a Pillow image, or a uint8
            array (H, W, 3) or (3, H, W). EXIF orientation is applied to all but arrays.
        images
            The older name of `inputs`.
        top_k : int or None, optional
            Classes to name; all of them when None. The pipeline's own when unset, which is 5.
        function_to_apply : str, optional
            ``"softmax"``, ``"sigmoid"`` or ``"none"``. When unset, the pipeline's own, and without one (or with
            ``"default"``) what the configuration means: none for a regression, sigmoid for multi-label problems and a
            single class, else softmax.
        timeout : float, optional
            Of URLs: seconds that fetching one may take; 60 when unset.
        batch_size : int, optional
            In place of the pipeline's own.
        num_workers
            Has no effect: `workers` of :func:`pipeline` are other processes.
        max_memory : int, optional
            What reading one picture may take, in bytes; see `open_image`.

        Returns
        -------
        list of dict
            ``{"label": str, "score": float}``, best first. A list of such lists for a list of pictures; an iterator
            over them for any other iterable, which is read as it goes on: a batch at a time, or with workers two for
            each worker. The iterator has a length where the iterable has one.

        Raises
        ------
        ImageError, InputError
            If a picture cannot be fetched or read or an argument is unknown.
        WorkerError
            If the workers that were given a picture died of it.
        """
        options = {
            "top_k": self.top_k if top_k is UNSET else top_k,
            "function_to_apply": function_to_apply or self.function_to_apply,
            "timeout": self.timeout if timeout is None else timeout,
            "max_memory": self.max_memory if max_memory is None else max_memory,
        }
        return self._call(images if inputs is None else inputs, batch_size, options)

    def postprocess(  # type: ignore[override]  # with the options of its own call
        self, model_outputs: Any, function_to_apply: str | None = None, top_k: Any = UNSET
    ) -> list[Score]:
        """Return the best classes of a picture, given what the model gives for it; the options are those of a call."""
        function = function_to_apply or self.function_to_apply
        logits = to_host(model_outputs.logits)[0]
        return _ranked(logits, self.model.config, self.top_k if top_k is UNSET else top_k, function)


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
) -> list[Score]:
    """Return the classes with the best scores, given the logits (K,) of one picture.

    The arguments are those of :class:`ImageClassificationPipeline`; the configuration means a function where none is
    given. A model without classes is a `ConfigError`, an unknown argument an `InputError`.
    """
    check_classes(config)
    return _ranked(logits, config, top_k, function_to_apply)


def _ranked(
    logits: np.ndarray, config: PretrainedConfig, top_k: int | None, function_to_apply: str | None
) -> list[Score]:
    """Return the classes with the best scores; that the model has classes, its pipeline has seen."""
    if top_k is not None and not (isinstance(top_k, int | np.integer) and top_k >= 1):
        raise InputError(f"expected top_k of at least 1 or None, got {shown(top_k)}")
    function = str(enum_value(function_to_apply or "default")).lower()
    if function == "default":
        function = _function_of(config)
    if function not in FUNCTIONS:
        raise InputError(f"expected function_to_apply to be one of {', '.join(FUNCTIONS)}; got {function_to_apply!r}")
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
