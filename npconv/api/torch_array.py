"""What a model gives back to those who call it with tensors of PyTorch: arrays that go on where tensors did.

Arrays come back, as always. But ``torch.topk(logits, 5)``, ``logits.softmax(-1)`` and ``features.detach().cpu()`` stand
in the line after the call in most programs, so these arrays say to PyTorch how they become tensors of it, and leave
to it what NumPy has no word for.

Source: "Extending torch Python API", the protocol ``__torch_function__``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np

from npconv.api.outputs import ModelOutput


def as_tensors(given: Any) -> Any:
    """Return what is given to a function of PyTorch with tensors in the place of these arrays; the memory is shared."""
    if isinstance(given, TorchArray):
        return importlib.import_module("torch").from_numpy(given.view(np.ndarray))
    if type(given) in (list, tuple):
        return type(given)(map(as_tensors, given))
    return given


def torch_way(name: str) -> Callable[..., Any]:
    """Return the method of NumPy that is PyTorch's where its arguments are PyTorch's: ``argmax(dim=1)``."""
    method = getattr(np.ndarray, name)

    @wraps(method)
    def either(self: TorchArray, *args: Any, **kwargs: Any) -> Any:
        if "dim" in kwargs or "keepdim" in kwargs:
            return getattr(as_tensors(self), name)(*args, **kwargs)
        try:
            return method(self, *args, **kwargs)
        except (TypeError, ValueError):  # flatten(2), transpose(1, 2), mean([2, 3]): NumPy takes none of these
            return getattr(as_tensors(self), name)(*args, **kwargs)

    return either


class TorchArray(np.ndarray):
    """A NumPy array in all; what NumPy lacks or refuses, PyTorch does, and answers with a tensor."""

    argmax, argmin, max, min = torch_way("argmax"), torch_way("argmin"), torch_way("max"), torch_way("min")
    mean, sum, std, var = torch_way("mean"), torch_way("sum"), torch_way("std"), torch_way("var")
    flatten, transpose, squeeze = torch_way("flatten"), torch_way("transpose"), torch_way("squeeze")

    def __getattr__(self, name: str) -> Any:
        """Return a method of tensors; what Python and NumPy ask for by such names is not one."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(as_tensors(self), name)

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
    """Return an array of NumPy as one for PyTorch; another value as it is."""
    return array.view(TorchArray) if isinstance(array, np.ndarray) else array
