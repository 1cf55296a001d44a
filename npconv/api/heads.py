"""The three kinds of model class: bare model, image classifier, backbone. They call the functions of their family.

Their inputs may come by keyword or position, or all of them in a list or a dict.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Generic, Literal, TypeVar, overload

import numpy as np

from npconv.api.base import PreTrainedModel
from npconv.api.inputs import (
    HiddenStates,
    chosen_states,
    gather_inputs,
    prepare_labels,
    prepare_pixel_values,
    random_generator,
)
from npconv.api.loss import image_classification_loss
from npconv.api.outputs import BackboneOutput, ImageClassifierOutputWithNoAttention, ModelOutput, model_output
from npconv.api.torch_array import for_torch
from npconv.errors import ConfigError, InputError
from npconv.forks import whole_to_forks
from npconv.tensors import library_of

#: Called as ``observer(model, pixel_values, output, training)`` after each forward pass of this thread or task: by
#: :func:`npconv.golden.trace`, else by nobody. The pixel values are in the model's dtype on its device; the output has
#: all its fields, hidden states included.
OBSERVER: ContextVar[Callable[[Any, Any, Any, bool], None] | None] = ContextVar("npconv_observer", default=None)

#: What a class of models gives out.
Output = TypeVar("Output", bound=ModelOutput)


class BareModel(PreTrainedModel, Generic[Output]):
    """Base of the models without a head."""

    task = "model"

    @overload
    def __call__(
        self,
        pixel_values: Any = None,
        output_hidden_states: HiddenStates = None,
        *,
        return_dict: Literal[False],
        training: bool | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> tuple[Any, ...]: ...
    @overload
    def __call__(
        self,
        pixel_values: Any = None,
        output_hidden_states: HiddenStates = None,
        return_dict: Literal[True] | None = None,
        training: bool | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> Output: ...
    @overload
    def __call__(
        self,
        pixel_values: Any = None,
        output_hidden_states: HiddenStates = None,
        return_dict: bool | None = None,
        training: bool | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> Output | tuple[Any, ...]: ...
    def __call__(
        self,
        pixel_values: Any = None,
        output_hidden_states: HiddenStates = None,
        return_dict: bool | None = None,
        training: bool | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> Any:
        """Run the model.

        Parameters
        ----------
        pixel_values : array or tensor (N, C, H, W)
            Normalized pictures, floating-point; taken to the model's dtype and device. A list ``[pixel_values]`` or a
            dict with all inputs by name stands for the inputs as well.
        output_hidden_states : bool, int or list of int, optional
            Return the map of every stage; of a list of places, or one that is not 0, those alone, with None for the
            others (places count from the end too, those that are not there count for nothing);
            ``config.output_hidden_states`` when unset.
        return_dict : bool, optional
            Return an output object (True) or a tuple of its fields; ``config.return_dict`` when unset.
        training : bool, optional
            Apply dropout and drop path; as ``train()`` and ``eval()`` have said when unset. Batch norm keeps using its
            stored statistics.
        rng : numpy.random.Generator or int, optional
            Where training draws its random numbers from, or a seed of it.

        Returns
        -------
        ModelOutput or tuple

        Raises
        ------
        InputError
            If the inputs do not fit the model.
        """
        inputs = gather_inputs(
            pixel_values,
            ["pixel_values"],
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
            training=training,
            rng=rng,
        )
        return self._run(**inputs)

    def _run(
        self,
        pixel_values: Any,
        output_hidden_states: HiddenStates,
        return_dict: bool | None,
        training: bool | None,
        rng: np.random.Generator | int | None,
        labels: Any = None,
    ) -> Any:
        """Run the model on inputs that are sorted out, and return what was asked for."""
        training = self.training if training is None else training
        x = prepare_pixel_values(pixel_values, dtype=self.dtype, device=self.device)
        with whole_to_forks():
            output = self._forward(x, prepare_labels(labels, device=self.device), random_generator(training, rng))
        if (observer := OBSERVER.get()) is not None:
            observer(self, x, output, training)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        output.hidden_states = chosen_states(output.hidden_states, wanted)
        if library_of(pixel_values) == "torch":
            for_torch(output)
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model: the same as calling it."""
        return self(*args, **kwargs)

    def _forward(self, pixel_values: Any, labels: Any, rng: np.random.Generator | None) -> Any:
        """Run the family's function and return the output with all its fields."""
        features, hidden_states = self._compute(pixel_values, rng)
        named = self.family.part("model").name_outputs(features, hidden_states)
        if not self.add_pooling_layer and "pooler_output" in named:
            named["pooler_output"] = None
        return model_output(**named, hidden_states=tuple(hidden_states))

    def _compute(self, pixel_values: Any, rng: np.random.Generator | None) -> tuple[Any, list[Any]]:
        """Return what the family's function for the task returns, by this model's engine."""
        if self._fast_engine is None:
            function = getattr(self.family.part("model"), self.task)
            return function(pixel_values, **self.params, config=self.config, rng=rng)
        if rng is not None:
            raise InputError("engine 'fast' is for inference, not training=True; call eval(), or use engine='explicit'")
        return self._fast_engine(pixel_values)


class ImageClassifier(BareModel[ImageClassifierOutputWithNoAttention]):
    """Base of the models with an image-classification head."""

    task = "image_classification"

    @overload  # type: ignore[override]  # labels come second, as in transformers
    def __call__(
        self,
        pixel_values: Any = None,
        labels: Any = None,
        output_hidden_states: HiddenStates = None,
        *,
        return_dict: Literal[False],
        training: bool | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> tuple[Any, ...]: ...
    @overload
    def __call__(
        self,
        pixel_values: Any = None,
        labels: Any = None,
        output_hidden_states: HiddenStates = None,
        return_dict: Literal[True] | None = None,
        training: bool | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> ImageClassifierOutputWithNoAttention: ...
    @overload
    def __call__(
        self,
        pixel_values: Any = None,
        labels: Any = None,
        output_hidden_states: HiddenStates = None,
        return_dict: bool | None = None,
        training: bool | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> ImageClassifierOutputWithNoAttention | tuple[Any, ...]: ...
    def __call__(
        self,
        pixel_values: Any = None,
        labels: Any = None,
        output_hidden_states: HiddenStates = None,
        return_dict: bool | None = None,
        training: bool | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> Any:
        """Run the classifier.

        Parameters
        ----------
        pixel_values : array or tensor (N, C, H, W)
            Normalized pictures, floating-point; taken to the model's dtype and device. A list
            ``[pixel_values, labels]`` or a dict with all inputs by name stands for the inputs as well.
        labels : array or tensor, optional
            Adds the loss to the output; see :func:`npconv.api.loss.image_classification_loss`.
        output_hidden_states, return_dict, training, rng
            As in the bare model.

        Returns
        -------
        ImageClassifierOutputWithNoAttention or tuple

        Raises
        ------
        InputError
            If the inputs do not fit the model.
        """
        inputs = gather_inputs(
            pixel_values,
            ["pixel_values", "labels"],
            labels=labels,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
            training=training,
            rng=rng,
        )
        return self._run(**inputs)

    def _forward(self, pixel_values: Any, labels: Any, rng: np.random.Generator | None) -> ModelOutput:
        """Run the family's classifier, and take the loss where there are labels."""
        logits, hidden_states = self._compute(pixel_values, rng)
        loss = None if labels is None else self._loss(logits, labels)
        return ImageClassifierOutputWithNoAttention(loss, logits, tuple(hidden_states))

    def _loss(self, logits: Any, labels: Any) -> Any:
        """Return the mean loss of the batch, an array ()."""
        return image_classification_loss(logits, labels, self.config)


class Backbone(BareModel[BackboneOutput]):
    """Base of the models that return the maps of chosen stages."""

    task = "backbone"
    never_published = "hidden_states_norms."
    config: Any
    _checked_stages: Sequence[str] = ()

    @property
    def stage_names(self) -> list[str]:
        """Names of all stages, the stem first."""
        return self.config.stage_names

    @property
    def out_features(self) -> list[str]:
        """Names of the returned stages. Others can be chosen among those that the model has the norms of."""
        return self.config.out_features

    @out_features.setter
    def out_features(self, names: list[str]) -> None:
        self._choose(out_features=names)

    @property
    def out_indices(self) -> list[int]:
        """Numbers of the returned stages; 0 is the stem."""
        return self.config.out_indices

    @out_indices.setter
    def out_indices(self, indices: list[int]) -> None:
        self._choose(out_indices=indices)

    def _choose(self, **stages: Any) -> None:
        """Choose other stages in the configuration; a ConfigError if the model cannot return them."""
        chosen = copy.deepcopy(self.config)
        chosen.update(stages)
        self._check_stages(chosen)
        self.config.update(stages)

    def _check_stages(self, config: Any) -> None:
        """Refuse a configuration that chooses stages of which the model lacks the norms."""
        there = self.state_dict() if self._fast_engine is None else self._tensors
        if lacking := self.parameter_shapes(config).keys() - there.keys():
            raise ConfigError(
                f"this backbone cannot return {config.out_features}: it has no {min(lacking)}; load it with "
                f"from_pretrained(MODEL, out_features={config.out_features})"
            )

    @property
    def num_features(self) -> list[int]:
        """Channels of every stage's map, the stem's first."""
        return list(self.config.feature_sizes.values())

    @property
    def channels(self) -> list[int]:
        """Channels of the returned maps."""
        return [self.config.feature_sizes[name] for name in self.out_features]

    @property
    def out_feature_channels(self) -> dict[str, int]:
        """Channels of every stage's map by its name."""
        return dict(self.config.feature_sizes)

    def forward_with_filtered_kwargs(self, *args: Any, **kwargs: Any) -> Any:
        """Run the backbone with those of the arguments that it takes; others are left out."""
        taken = ("pixel_values", "output_hidden_states", "return_dict", "training", "rng")
        return self(*args, **{name: value for name, value in kwargs.items() if name in taken})

    def _forward(self, pixel_values: Any, labels: Any, rng: np.random.Generator | None) -> ModelOutput:
        """Run the family's backbone."""
        if self.config.out_features != self._checked_stages:  # anyone may set them in the configuration
            self._check_stages(self.config)
            self._checked_stages = list(self.config.out_features)
        feature_maps, hidden_states = self._compute(pixel_values, rng)
        return BackboneOutput(tuple(feature_maps), tuple(hidden_states))
