"""Arrays that are made once and used again.

A forward pass needs many arrays that live for a moment: padded maps, gathered windows, hidden values. Making them
anew each time costs more than the page faults show: fresh memory is cold in every cache. Here each has a name and is
kept.
"""

from __future__ import annotations

import math

import numpy as np


class Scratch:
    """Named float32 arrays. A name stands for one use at a time; a smaller shape takes the front of a larger array."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        self._bordered: dict[str, np.ndarray] = {}

    def array(self, name: str, *shape: int) -> np.ndarray:
        """Return an array of this shape with any content."""
        size = math.prod(shape)
        kept = self._arrays.get(name)
        if kept is None or kept.size < size:
            kept = self._arrays[name] = np.empty(size, np.float32)
        return kept[:size].reshape(shape)

    def zero_bordered(self, name: str, *shape: int) -> np.ndarray:
        """Return an array that was zero when it was made: what a user never writes to, such as a border, stays zero."""
        kept = self._bordered.get(name)
        if kept is None or kept.shape != shape:
            kept = self._bordered[name] = np.zeros(shape, np.float32)
        return kept

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in [*self._arrays.values(), *self._bordered.values()])
