"""What programs that know PyTorch do with arrays: with outputs, where the inputs were its tensors, and with parameters.

Arrays come back, as always. But ``torch.topk(logits, 5)``, ``logits.softmax(-1)`` and ``features.detach().cpu()`` stand
in the line after the call in most programs, so these arrays say to PyTorch how they become tensors of it, and leave
to it what NumPy has no word for. Some words mean one thing to NumPy and another to PyTorch: ``max(1)``, ``std()``. Such
a method is PyTorch's, as the program that calls it was written for that; ``np.std(logits)`` is NumPy's. A program that
has not imported PyTorch has NumPy's methods alone.

Source: "Extending torch Python API", the protocol ``__torch_function__``.
"""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np

from npconv.api.outputs import ModelOutput
from npconv.backend import Device
from npconv.errors import InputError, UnavailableError
from npconv.messages import quoted
from npconv.tensors import as_array

#: Arguments by which a method is known to be NumPy's.
NUMPY_ARGUMENTS = {"axis", "ddof", "dtype", "initial", "keepdims", "kind", "order", "out", "where"}


class Size(int):
    """The number of elements, and as a method of PyTorch's the shape or a part of it."""

    _shape: tuple[int, ...] = ()

    def __call__(self, dim: int | None = None) -> Any:
        """Return the shape, or its length along an axis."""
        return self._shape if dim is None else self._shape[dim]


def as_tensors(given: Any) -> Any:
    """Return what is given to a function of PyTorch with tensors in the place of these arrays; the memory is shared."""
    if isinstance(given, TorchArray):
        array = given.view(np.ndarray)
        can_be_shared = array.flags.writeable and min(array.strides, default=0) >= 0
        return importlib.import_module("torch").from_numpy(array if can_be_shared else array.copy())
    if type(given) in (list, tuple):
        return type(given)(map(as_tensors, given))
    return given


def as_plain(given: Any) -> Any:
    """Return what is given to a function of NumPy with plain arrays in the place of these."""
    if isinstance(given, TorchArray):
        return given.view(np.ndarray)
    return type(given)(map(as_plain, given)) if type(given) in (list, tuple) else given


def numpy_first(name: str) -> Callable[..., Any]:
    """Return the method of NumPy that is PyTorch's where its arguments are PyTorch's: ``argmax(dim=1)``."""
    method = getattr(np.ndarray, name)

    @wraps(method)
    def either(self: TorchArray, *args: Any, **kwargs: Any) -> Any:
        if "dim" in kwargs or "keepdim" in kwargs:
            return getattr(as_tensors(self), name)(*args, **kwargs)
        try:
            return method(self, *args, **kwargs)
        except (TypeError, ValueError):  # flatten(2), mean([2, 3]), argsort(descending=True): NumPy takes none of these
            if "torch" not in sys.modules:
                raise
            return getattr(as_tensors(self), name)(*args, **kwargs)

    return either


def torch_first(name: str) -> Callable[..., Any]:
    """Return the method of PyTorch that is NumPy's where its arguments are NumPy's: ``max(axis=1)``."""
    method = getattr(np.ndarray, name)

    @wraps(method)
    def either(self: TorchArray, *args: Any, **kwargs: Any) -> Any:
        if "torch" not in sys.modules or NUMPY_ARGUMENTS & kwargs.keys():
            return method(self, *args, **kwargs)
        return getattr(as_tensors(self), name)(*args, **kwargs)

    return either


class TorchArray(np.ndarray):
    """A NumPy array, with the methods of a tensor beside NumPy's, and in the place of those that mean another thing."""

    argmax, argmin, argsort = numpy_first("argmax"), numpy_first("argmin"), numpy_first("argsort")
    mean, sum, prod, cumsum = numpy_first("mean"), numpy_first("sum"), numpy_first("prod"), numpy_first("cumsum")
    all, any, flatten, squeeze = numpy_first("all"), numpy_first("any"), numpy_first("flatten"), numpy_first("squeeze")
    max, min, std, var = torch_first("max"), torch_first("min"), torch_first("std"), torch_first("var")
    sort, repeat, nonzero = torch_first("sort"), torch_first("repeat"), torch_first("nonzero")

    def view(self, *args: Any, **kwargs: Any) -> Any:
        """Return the same memory in another dtype or class, as NumPy does; or in another shape, as PyTorch does."""
        is_shape = bool(args) and isinstance(args[0], int | tuple | list)
        return self.reshape(*args) if is_shape else super().view(*args, **kwargs)

    def transpose(self, *axes: Any) -> Any:
        """Return another order of the axes; two of them change places, as in PyTorch."""
        if len(axes) == 2 and all(isinstance(axis, int) for axis in axes):
            return self.swapaxes(*axes)
        return super().transpose(*axes)

    @property
    def size(self) -> Size:
        """The number of elements; called, the shape."""
        size = Size(super().size)
        size._shape = self.shape
        return size

    @property
    def data(self) -> Any:  # programs that know PyTorch do not mean the buffer
        """The array itself; other numbers can be set."""
        return self

    @data.setter
    def data(self, value: Any) -> None:
        array = as_array(value)
        if np.shape(array) != self.shape or not self.flags.writeable:
            can = "numbers of shape" if self.flags.writeable else "load_state_dict to change weights of shape"
            raise InputError(f"expected {can} {self.shape}, got data of shape {np.shape(array)}")
        self[...] = array

    @property
    def device(self) -> Device:  # type: ignore[override]  # a text all the same
        """Where the array is."""
        return Device("cpu")

    def backward(self, *args: Any, **kwargs: Any) -> None:
        """Say where gradients come from."""
        raise UnavailableError(
            "a loss does not know what made it: npconv.value_and_grad(model)(pixel_values, labels=labels) returns it "
            "with its gradients"
        )

    def __getattr__(self, name: str) -> Any:
        """Return a method of tensors; what Python and NumPy ask for by such names is not one."""
        if name.startswith("__") or "torch" not in sys.modules:
            raise AttributeError(f"an array has no attribute {quoted(name)}; import torch for the methods of a tensor")
        if name.endswith("_") and not self.flags.writeable:
            raise AttributeError(f"the array is read-only, so that it has no {name}; load_state_dict changes weights")
        return getattr(as_tensors(self), name)

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __index__(self) -> int:
        return operator.index(self.item())

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Be a tensor in what ``torch.save`` writes, which ``torch.load`` reads."""
        return as_tensors(self).__reduce_ex__(protocol) if "torch" in sys.modules else super().__reduce_ex__(protocol)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Call a function of NumPy with plain arrays, whose methods are those that it knows."""
        plain = {name: as_plain(value) for name, value in kwargs.items()}
        return super().__array_function__(func, types, as_plain(tuple(args)), plain)

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch that was given one of these arrays."""
        return function(*as_tensors(tuple(args)), **{name: as_tensors(value) for name, value in (kwargs or {}).items()})


def for_torch(output: ModelOutput) -> None:
    """Have all arrays of an output such."""
    for name, value in list(output.items()):
        several = tuple(map(_view, value)) if isinstance(value, tuple) else _view(value)
        setattr(output, name, several)


def _view(array: Any) -> Any:
    """Return an array or number of NumPy as an array for PyTorch; another value as it is."""
    return np.asarray(array).view(TorchArray) if isinstance(array, np.ndarray | np.generic) else array
