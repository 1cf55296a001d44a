"""The bare models and the image classifiers: how they are called, and compute by the functions of their family.

Their inputs may come by keyword or position, or all of them in a list or a dict.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from operator import index
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

import numpy as np

from npconv.api.base import PreTrainedModel
from npconv.api.loss import image_classification_loss
from npconv.api.outputs import ImageClassifierOutputWithNoAttention, ModelOutput, model_output
from npconv.api.torch_array import for_torch
from npconv.backend import array_module, is_array, to_device
from npconv.errors import InputError
from npconv.forks import whole_to_forks
from npconv.messages import shown
from npconv.models.parameters import match
from npconv.tensors import as_array, as_arrays, library_of

#: Called as ``observer(model, pixel_values, output, training, labels)`` after each forward pass of this thread or task:
#: by :func:`npconv.golden.trace`, else by nobody. The pixel values are in the model's dtype on its device; the output
#: has all its fields, hidden states included.
OBSERVER: ContextVar[Callable[[Any, Any, Any, bool, Any], None] | None] = ContextVar("npconv_observer", default=None)

#: What can be said of hidden states: all, none, or which.
HiddenStates: TypeAlias = bool | int | Sequence[int] | None

#: What a model with a head calls it.
CLASSIFIER = "classifier"

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
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model, by :meth:`forward`, which says what it takes."""
        return self.forward(*args, **kwargs)

    def forward(
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
            Apply dropout and drop path, and let batch norms take the statistics of the batch; as ``train()`` and
            ``eval()`` have said when unset. The stored statistics stay: :func:`npconv.value_and_grad` returns new ones.
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
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        observer = OBSERVER.get()
        every_map = observer is not None or not (wanted is None or wanted is False)
        given = prepare_labels(labels, device=self.device), random_generator(training, rng)
        with whole_to_forks():
            output = self._forward(x, *given, every_map=every_map)
        if observer is not None:
            observer(self, x, output, training, labels)
        output.hidden_states = chosen_states(output.hidden_states, wanted)
        if not is_array(pixel_values) and library_of(pixel_values) == "torch":
            for_torch(output)
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def _forward(self, pixel_values: Any, labels: Any, rng: np.random.Generator | None, *, every_map: bool) -> Any:
        """Run the family's function and return the output with all its fields.

        Without `every_map` nobody asks for other hidden states than the last.
        """
        features, hidden_states = self._compute(pixel_values, rng, every_map=every_map)
        named = self.family.part("model").name_outputs(features, hidden_states)
        if not self.add_pooling_layer and "pooler_output" in named:
            named["pooler_output"] = None
        return model_output(**named, hidden_states=tuple(hidden_states))

    def _compute(self, pixel_values: Any, rng: np.random.Generator | None, *, every_map: bool) -> tuple[Any, list[Any]]:
        """Return what the family's function for the task returns, by this model's engine."""
        if self._fast_engine is None:
            function = getattr(self.family.part("model"), self.task)
            return function(pixel_values, **self.params, config=self.config, rng=rng)
        if rng is not None:
            raise InputError("engine 'fast' is for inference, not training=True; call eval(), or use engine='explicit'")
        return self._fast_engine(pixel_values, every_map=every_map)


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
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the classifier, by :meth:`forward`, which says what it takes."""
        return self.forward(*args, **kwargs)

    def forward(  # type: ignore[override]  # labels come second, as in transformers
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

    @property
    def num_labels(self) -> int:
        """The number of classes."""
        return self.config.num_labels

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute or part; a classifier may be one of other classes, or an ``Identity`` for none."""
        if name != CLASSIFIER or not self._replace_classifier(value):
            super().__setattr__(name, value)

    def _replace_classifier(self, value: Any) -> bool:
        """Have another linear layer as the classifier, or none; False if this one only gets other numbers."""
        state = value.state_dict() if hasattr(value, "state_dict") else value
        is_none, is_linear = type(value).__name__ == "Identity", isinstance(state, Mapping) and "weight" in state
        if not is_linear and not is_none:
            if not self.num_labels:
                raise InputError(f"expected a linear layer for {CLASSIFIER}, got {type(value).__name__}")
            return False
        classes = 0 if is_none else len(state["weight"])
        if classes == self.num_labels:
            return False
        config = copy.deepcopy(self.config)
        config.num_labels = classes
        layer = {} if is_none else {"weight": state["weight"], "bias": np.zeros(classes, np.float32), **state}
        kept = {name: array for name, array in self.state_dict().items() if not name.startswith(f"{CLASSIFIER}.")}
        given = {f"{CLASSIFIER}.{name}": as_array(array) for name, array in layer.items()}
        matched, _ = match({**kept, **given}, self.parameter_shapes(config))
        self.config = config
        self._take_part(CLASSIFIER, {name: matched[f"{CLASSIFIER}.{name}"] for name in layer})
        return True

    def _forward(
        self, pixel_values: Any, labels: Any, rng: np.random.Generator | None, *, every_map: bool
    ) -> ModelOutput:
        """Run the family's classifier, and take the loss where there are labels."""
        logits, hidden_states = self._compute(pixel_values, rng, every_map=every_map)
        loss = None if labels is None else self._loss(logits, labels)
        return ImageClassifierOutputWithNoAttention(loss, logits, tuple(hidden_states))

    def _loss(self, logits: Any, labels: Any) -> Any:
        """Return the mean loss of the batch, an array ()."""
        return image_classification_loss(logits, labels, self.config)


def gather_inputs(inputs: Any, tensors: Sequence[str], **given: Any) -> dict[str, Any]:
    """Return the inputs of a call by name, whichever way they came.

    The first argument of the call, `inputs`, is the pixel values; or a list or tuple of all `tensors`, in their order;
    or a mapping of all inputs by name. What a list or mapping says replaces the other arguments that were `given`. No
    pixel values, too many tensors, or a name that the model does not take are an `InputError`.
    """
    if isinstance(inputs, Mapping):
        unknown = [name for name in inputs if name not in given and name not in tensors]
        if unknown:
            raise InputError(f"expected inputs from {', '.join(dict.fromkeys([*tensors, *given]))}; got {unknown[0]!r}")
        named = dict(inputs)
    elif isinstance(inputs, list | tuple):
        if len(inputs) > len(tensors):
            raise InputError(
                f"expected a list of at most {len(tensors)} inputs ({', '.join(tensors)}), got {len(inputs)}; "
                "stack pictures into one array with numpy.stack"
            )
        named = dict(zip(tensors, inputs, strict=False))
    else:
        named = {"pixel_values": inputs}
    if named.get("pixel_values") is None:
        raise InputError("expected pixel_values, an array (N, C, H, W); an image processor makes it from pictures")
    return {**given, **named}


def chosen_states(states: Sequence[Any], wanted: HiddenStates) -> tuple[Any, ...] | None:
    """Return the hidden states that a call asks for; None for each of the others, or if it asks for none."""
    if shape := getattr(wanted, "shape", ()):
        raise InputError(
            f"expected output_hidden_states to be True, False or a list of places, got an array {shape}; "
            "give labels by name"
        )
    if not wanted:
        return None
    if isinstance(wanted, bool | np.bool_):
        return tuple(states)
    try:
        places = range(len(states))
        given = [index(wanted)] if hasattr(wanted, "__index__") else [index(place) for place in wanted]
    except TypeError:
        raise InputError(
            f"expected output_hidden_states to be True, False or a list of places, got {shown(wanted)}"
        ) from None
    chosen = {places[place] for place in given if -len(places) <= place < len(places)}
    return tuple(state if place in chosen else None for place, state in enumerate(states))


def prepare_pixel_values(pixel_values: Any, *, dtype: np.dtype, device: str) -> Any:
    """Return the pictures in the dtype and on the device of the model.

    What is no array or tensor of floating-point numbers is an `InputError`.
    """
    if not (is_array(pixel_values) and pixel_values.dtype.kind == "f"):
        pixel_values = as_arrays(pixel_values)
    if isinstance(pixel_values, list | tuple):
        try:
            pixel_values = np.stack(pixel_values)
        except (TypeError, ValueError) as error:
            raise InputError(f"expected pixel_values of one shape, an array (N, C, H, W): {error}") from error
    array_module(pixel_values)  # refuses what is no array
    if pixel_values.dtype.kind != "f":
        raise InputError(
            f"expected normalized floating-point pixel_values, got {pixel_values.dtype}; an image processor makes them"
        )
    return to_device(pixel_values, device).astype(dtype, copy=False)


def prepare_labels(labels: Any, *, device: str) -> Any:
    """Return the labels as an array on the device of the model, or None if there are none."""
    if labels is None:
        return None
    labels = as_arrays(labels)
    try:
        return to_device(labels if hasattr(labels, "dtype") else np.asarray(labels), device)
    except ValueError as error:
        raise InputError(f"expected labels of one shape: {error}") from error


def random_generator(training: bool, rng: np.random.Generator | int | None) -> np.random.Generator | None:
    """Return the generator of a training call, None for inference; what is no generator or seed is an `InputError`."""
    if not isinstance(training, bool | np.bool_):
        raise InputError(f"expected training to be True or False, got {shown(training)}")
    if not training:
        return None
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected rng to be a numpy.random.Generator or a seed of at least 0, got {rng!r}") from error
