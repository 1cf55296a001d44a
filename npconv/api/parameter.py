"""One parameter of a model as users of torch know it, and what is said of parameters beside their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npconv.api.torch_array import TorchArray
from npconv.errors import InputError
from npconv.messages import shown
from npconv.models.parameters import is_buffer


class Marks:
    """What is said of a model beside its numbers; the model and its bare model have it in common."""

    def __init__(self) -> None:
        self.training = False
        #: Names of the parameters that are marked as not to be trained.
        self.frozen: set[str] = set()


class Parameter(TorchArray):
    """An array of a model, as it lies there, with what a tensor has beside.

    What is written to it, the model computes with; what is computed with it has no marks.
    """

    _marks: Marks | None = None
    _name = ""

    @classmethod
    def of(cls, array: np.ndarray, marks: Marks, name: str) -> Parameter:
        """Return the parameter of this name, which has its memory in common with `array`."""
        parameter = array.view(cls)
        parameter._marks, parameter._name = marks, name
        return parameter

    @property
    def requires_grad(self) -> bool:
        """Whether the parameter is marked as one to be trained: others have gradient 0 in ``value_and_grad``."""
        return self._marks is not None and not is_buffer(self._name) and self._name not in self._marks.frozen

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._marks is not None:
            mark(self._marks, [self._name], value)

    def requires_grad_(self, requires_grad: bool = True) -> Parameter:
        """Set the mark, and return the parameter."""
        self.requires_grad = requires_grad
        return self

    @property
    def grad(self) -> None:
        """None: a call keeps no gradients."""

    def numel(self) -> int:
        """Return the number of elements."""
        return int(self.size)

    nelement = numel

    def element_size(self) -> int:
        """Return the bytes of an element."""
        return self.itemsize

    def dim(self) -> int:
        """Return the number of axes."""
        return self.ndim

    def numpy(self) -> np.ndarray:
        """Return the same array as a plain one."""
        return self.view(np.ndarray)

    def clone(self) -> Parameter:
        """Return a copy, which is no parameter of the model."""
        return self.copy()

    def detach(self) -> Parameter:
        """Return the parameter as it is: it has no history."""
        return self

    def cpu(self) -> Parameter:
        """Return the parameter as it is: it is there."""
        return self


def mark(marks: Marks, names: Sequence[str], requires_grad: bool) -> None:
    """Mark parameters as to be trained, or not to be."""
    if not isinstance(requires_grad, bool):
        raise InputError(f"expected requires_grad to be True or False, got {shown(requires_grad)}")
    if requires_grad:
        marks.frozen.difference_update(names)
    else:
        marks.frozen.update(names)
