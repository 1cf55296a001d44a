"""What an image processor returns: the arrays of several pictures, as one where their shapes allow it."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any, TypeVar

import numpy as np

from npconv.backend import DTYPES, dtype_name, parse_device, parse_dtype
from npconv.errors import InputError
from npconv.tensors import as_tensor, library_of, move_array, move_tensor, parse_tensor_type

Self = TypeVar("Self", bound="BatchFeature")


class BatchFeature(dict[str, Any]):
    """What a processor returns: a dictionary whose keys are attributes too.

    ``model(**inputs)``, ``inputs["pixel_values"]`` and ``inputs.pixel_values`` all work.

    Parameters
    ----------
    data : mapping, optional
        Arrays, tensors or lists by name.
    tensor_type : str, optional
        See :meth:`convert_to_tensors`.
    skip_tensor_conversion : collection of str, optional
        Likewise.
    **more
        Further values by name.
    """

    def __init__(
        self,
        data: Any = None,
        tensor_type: Any = None,
        skip_tensor_conversion: Collection[str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__({} if data is None else data, **more)
        if tensor_type is not None:
            self.convert_to_tensors(tensor_type, skip_tensor_conversion)

    def __getattr__(self, name: str) -> Any:
        """Return the value of a key."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"expected one of {list(self)}, got {name!r}") from None

    @property
    def data(self) -> dict[str, Any]:
        """The values by name: the dictionary itself."""
        return self

    def copy(self: Self) -> Self:
        """Return another one with the same values."""
        return type(self)(self)

    def convert_to_tensors(
        self: Self, tensor_type: Any = None, skip_tensor_conversion: Collection[str] | None = None
    ) -> Self:
        """Make tensors of the values, in place; None and text stay.

        Parameters
        ----------
        tensor_type : str, optional
            ``"np"`` for NumPy, ``"pt"`` for PyTorch, ``"tf"`` for TensorFlow, ``"jax"`` or ``"mlx"``; nothing is done
            when unset.
        skip_tensor_conversion : collection of str, optional
            Names of values that stay as they are.

        Raises
        ------
        InputError
            If the kind is unknown, or a value is no numbers of one shape.
        UnavailableError
            If the library is not installed.
        """
        kind = parse_tensor_type(tensor_type)
        for name, value in self.items():
            if kind is not None and name not in (skip_tensor_conversion or ()):
                self[name] = as_tensor(value, kind)
        return self

    def to(self: Self, *where: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> Self:
        """Move the values to a device, and cast those of floating-point numbers, in place.

        Where there are tensors of torch, they alone are moved, as torch does it; else arrays are, to CuPy or to NumPy.
        Tensors of other libraries stay as they are.

        Parameters
        ----------
        *where
            A device, a dtype, or both.
        device : str, int or torch.device, optional
            As :func:`npconv.backend.parse_device` reads it.
        dtype : str or dtype, optional
            As :func:`npconv.backend.parse_dtype` reads it; of tensors, any that torch has.
        non_blocking : bool
            As in torch.

        Raises
        ------
        InputError
            If an argument is neither a device nor a dtype.
        UnavailableError
            If the device is not there.
        """
        for given in where:
            if given is None:
                continue
            if dtype_name(given) in (*DTYPES, "bfloat16"):
                dtype = given
            else:
                device = given
        if any(library_of(value) == "torch" for value in self.values()):
            move = partial(move_tensor, device=device, dtype=dtype, non_blocking=non_blocking)
        else:
            move = partial(
                move_array,
                device=None if device is None else parse_device(device),
                dtype=None if dtype is None else parse_dtype(dtype),
            )
        for name, value in self.items():
            self[name] = [move(each) for each in value] if isinstance(value, list) else move(value)
        return self


def stack(arrays: list[np.ndarray], return_tensors: str | None = None) -> np.ndarray | list[np.ndarray]:
    """Return arrays of one shape as one array; others as the list they are, unless tensors are asked for."""
    if not arrays:
        raise InputError("expected at least one picture, got none")
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) == 1:
        return np.stack(arrays)
    if return_tensors is not None:
        raise InputError(
            f"expected pictures of one shape for return_tensors={return_tensors!r}, got {shapes[0]} and {shapes[-1]}; "
            "set do_resize=True, or leave return_tensors unset for a list"
        )
    return arrays
