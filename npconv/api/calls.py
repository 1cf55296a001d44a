"""The ways to call a model: by keyword or position, or with all inputs in a list or a dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npconv.backend import array_module, to_device
from npconv.errors import InputError


def gather_inputs(inputs: Any, tensors: Sequence[str], **given: Any) -> dict[str, Any]:
    """Return the inputs of a call by name, whichever way they came.

    Parameters
    ----------
    inputs : array, sequence or mapping
        The first argument of the call: the pixel values; or a list or tuple of all tensors in their order; or a
        mapping of all inputs by name.
    tensors : sequence of str
        Names of the tensors, in order.
    **given
        The other arguments of the call. What a list or mapping says replaces them.

    Raises
    ------
    InputError
        If there are no pixel values, too many tensors, or a name that the model does not take.
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


def prepare_pixel_values(pixel_values: Any, *, dtype: np.dtype, device: str) -> Any:
    """Return the pictures in the dtype and on the device of the model.

    Raises
    ------
    InputError
        If they are no array of floating-point numbers.
    """
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
    try:
        return to_device(labels if hasattr(labels, "dtype") else np.asarray(labels), device)
    except ValueError as error:
        raise InputError(f"expected labels of one shape: {error}") from error


def random_generator(training: bool, rng: np.random.Generator | int | None) -> np.random.Generator | None:
    """Return the generator of a training call, or None for inference.

    Raises
    ------
    InputError
        If `rng` is neither a generator nor a seed.
    """
    if not training:
        return None
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected rng to be a numpy.random.Generator or a seed of at least 0, got {rng!r}") from error
