"""From pictures to features: what a model sees before it names anything."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from npconv.api.auto import AutoConfig
from npconv.api.families import class_for
from npconv.api.heads import BareModel
from npconv.api.pictures import Pipeline
from npconv.backend import to_host
from npconv.errors import InputError, NpconvWarning, WeightsError
from npconv.files.loading_arguments import sort_out
from npconv.models import family_of
from npconv.tensors import as_tensor, parse_tensor_type

#: The name of what a classifier gets, beside those of the maps.
POOLED = "pooled"

#: The name of what bare models give out first.
LAST = "last_hidden_state"

#: What a model without a classifier has no use for.
CLASSIFIER = ("classifier.weight", "classifier.bias")


class ImageFeatureExtractionPipeline(Pipeline):
    """Returns what a model sees in pictures before it names anything. Made by :func:`pipeline`, or directly.

    Of a model with a classifier, the classifier is left out.
    """

    task = "image-feature-extraction"
    options: ClassVar = {
        "pool": False,
        "return_tensors": None,
        "image_processor_kwargs": None,
        "features": None,
        "timeout": None,
        "max_memory": None,
    }
    numbers = "the features"
    pool: bool
    return_tensors: str | bool | None
    image_processor_kwargs: Mapping[str, Any] | None
    features: Sequence[str] | None
    timeout: float | None
    max_memory: int | None

    @staticmethod
    def load_model(name: Any, **arguments: Any) -> BareModel[Any]:
        """Load a model; its classifier, if the file has one, is left out.

        Raises
        ------
        NpconvError
            If the model cannot be loaded.
        """
        config = arguments.get("config")
        if config is None:
            config = AutoConfig.from_pretrained(name, **sort_out(arguments)[0].arguments())
            arguments["num_labels"] = 0
        else:
            arguments["config"] = config.from_dict(config.to_dict(), num_labels=0)
        family = family_of(config)
        is_bare = config.architectures == [family.class_names["model"]]  # without the last norm of a classifier, in CvT
        task = "model" if is_bare else family.main_task
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NpconvWarning)  # what is left out and what is missing is looked at below
            loaded: BareModel[Any] = class_for(family, task).from_pretrained(name, strict=False, **arguments)
        report = loaded.loading_report
        wrong = [*report.missing, *(parameter for parameter in report.unexpected if parameter not in CLASSIFIER)]
        if wrong:
            raise WeightsError(f"{name}: expected the weights of the model, got a file that differs in {wrong[0]!r}")
        return loaded

    def __call__(
        self,
        inputs: Any = None,
        *,
        images: Any = None,
        pool: bool | None = None,
        return_tensors: str | bool | None = None,
        image_processor_kwargs: Mapping[str, Any] | None = None,
        features: Sequence[str] | None = None,
        timeout: float | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        max_memory: int | None = None,
    ) -> Any:
        """Return the features of one picture or many.

        Parameters
        ----------
        inputs : picture, or list, data set or other iterable of pictures
            As in :class:`ImageClassificationPipeline`.
        images
            The older name of `inputs`.
        pool : bool, optional
            Return the pooled features, which a classifier gets (normalized, and the mean of all positions; of CvT, the
            class token where it has one), in place of the last hidden state, which most models have as a map.
        return_tensors : str or bool, optional
            ``"np"`` or True for arrays, ``"pt"`` and so on for tensors of that library; nested lists when unset.
        image_processor_kwargs : mapping, optional
            Arguments of the image processor, such as ``{"size": 96}``.
        features : list of str, optional
            Return several by their names: ``"stem"``, ``"stage1"`` and so on for the maps, ``"pooled"``.
        batch_size : int, optional
            In place of the pipeline's own.
        timeout, num_workers, max_memory
            As in :class:`ImageClassificationPipeline`.

        Returns
        -------
        nested list or array
            (1, C, H, W) for a map, (1, C) for the pooled features; with `features`, a dict of them by name. A list of
            such for a list of pictures; an iterator over them for any other iterable, read as it goes on.

        Raises
        ------
        ImageError, InputError
            If a picture cannot be fetched or read or an argument is unknown.
        WorkerError
            If the workers that were given a picture died of it.
        """
        given = {
            "pool": pool,
            "return_tensors": return_tensors,
            "image_processor_kwargs": image_processor_kwargs,
            "features": features,
            "timeout": timeout,
            "max_memory": max_memory,
        }
        options = {name: getattr(self, name) if value is None else value for name, value in given.items()}
        return self._call(images if inputs is None else inputs, batch_size, options)

    def _forward(self, model_inputs: Mapping[str, Any]) -> Any:
        """Run the model, with the maps of all stages."""
        return self.model(model_inputs["pixel_values"], output_hidden_states=True, return_dict=True)

    def postprocess(  # type: ignore[override]  # with the options of its own call
        self,
        model_outputs: Any,
        pool: bool | None = None,
        return_tensors: str | bool | None = None,
        features: Sequence[str] | None = None,
    ) -> Any:
        """Return the features of a picture, given what the model gives for it; the options are those of a call."""
        return_tensors = self.return_tensors if return_tensors is None else return_tensors
        kind = parse_tensor_type("np" if return_tensors is True else return_tensors or None)
        maps = self.model.config.stage_names
        features = self.features if features is None else features
        pool = self.pool if pool is None else pool
        names = list(features) if features is not None else [POOLED if pool else LAST]
        for name in features or ():
            if name not in (*maps, POOLED):
                raise InputError(f"expected features from {', '.join((*maps, POOLED))}; got {name!r}")
        arrays = dict(zip(maps, model_outputs.hidden_states, strict=True))
        if LAST in names:
            arrays[LAST] = getattr(model_outputs, LAST, model_outputs.hidden_states[-1])
        if POOLED in names:
            arrays[POOLED] = pooled_features(model_outputs, self.model)
        # Copies: else each keeps the arrays of all stages of the whole batch in memory.
        found: dict[str, Any] = {name: np.array(to_host(arrays[name])) for name in names}
        found = {name: array.tolist() if kind is None else as_tensor(array, kind) for name, array in found.items()}
        return found if features is not None else found[names[0]]

    def is_finite(self, value: Any) -> bool:
        """Say whether all features are finite."""
        return all(array.dtype.kind != "f" or np.isfinite(array).all() for array in _arrays(value))


def _arrays(value: Any) -> Iterator[np.ndarray]:
    """Yield the features of one picture as arrays."""
    for feature in value.values() if isinstance(value, Mapping) else [value]:
        yield np.asarray(feature)


def pooled_features(output: Any, model: BareModel[Any]) -> Any:
    """Return the pooled features (N, C): the logits of a classifier without classes.

    A model that gives none is an `InputError`.
    """
    if "pooler_output" in output:
        return output.pooler_output
    if "logits" in output and model.config.num_labels == 0:
        return output.logits
    raise InputError(
        f"expected a model with pooled features, got a {type(model).__name__}; give the pipeline its name, or load it "
        "with AutoModelForImageClassification and num_labels=0"
    )
