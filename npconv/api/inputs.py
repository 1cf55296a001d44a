"""What a call of a model is given, sorted out: by position, name, list or dict; arrays or tensors of any library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any, TypeAlias

import numpy as np

from npconv.backend import array_module, to_device
from npconv.errors import InputError
from npconv.messages import shown
from npconv.tensors import as_arrays

#: What can be said of hidden states: all, none, or which.
HiddenStates: TypeAlias = bool | int | Sequence[int] | None


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
    if not training:
        return None
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected rng to be a numpy.random.Generator or a seed of at least 0, got {rng!r}") from error
