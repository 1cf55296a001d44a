"""From pictures to labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from npconv.api.auto import AutoModelForImageClassification
from npconv.api.heads import BareModel, ImageClassifier
from npconv.api.pictures import Pipeline
from npconv.backend import to_host
from npconv.errors import ConfigError, InputError
from npconv.layers import softmax
from npconv.models import PretrainedConfig

#: Stands for an argument that was not given, where None means something.
UNSET: Any = object()

#: What turns logits into scores.
FUNCTIONS = ("softmax", "sigmoid", "none")


class ImageClassificationPipeline(Pipeline):
    """Names what is in pictures. Made by :func:`pipeline`."""

    options: ClassVar = {"top_k": 5, "function_to_apply": None}
    model_class = ImageClassifier
    top_k: int | None
    function_to_apply: str | None

    @staticmethod
    def load_model(name: Any, **arguments: Any) -> BareModel:
        """Load a classifier."""
        return AutoModelForImageClassification.from_pretrained(name, **arguments)

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
        options = {
            "top_k": self.top_k if top_k is UNSET else top_k,
            "function_to_apply": function_to_apply or self.function_to_apply,
        }
        return self._call(images if inputs is None else inputs, batch_size, options)

    def run(  # type: ignore[override]  # with the options of its own call
        self, pixel_values: Sequence[np.ndarray], *, top_k: int | None = 5, function_to_apply: str | None = None
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
