"""What training changes in a model, as one vector that the model computes with.

An optimizer, an average and a checkpoint then each are a few lines over a vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from npconv.api.part import node_at
from npconv.backend import Array, array_module, to_host
from npconv.models.parameters import flatten
from npconv.training.groups import Group


class Part(NamedTuple):
    """A part of the vector that is trained alike."""

    place: slice
    depth: int
    decays: bool


def places_of(
    groups: Sequence[Group], statistics: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, slice], list[Part], int]:
    """Return where each array has its place in a vector, the parts of it, and how much of it is trained."""
    places: dict[str, slice] = {}
    parts: list[Part] = []
    stop = 0
    for group in [*groups, Group(statistics, 0, False)]:
        start = stop
        for name in group.names:
            places[name] = slice(stop, stop := stop + math.prod(shapes[name]))
        parts.append(Part(slice(start, stop), group.depth, group.decays))
    trained = parts.pop().place.start
    return places, parts, trained


class Weights:
    """The trained parameters of a model and its stored statistics (of batch norms), one after the other.

    Parameters
    ----------
    model : a model of npconv
        With ``engine="explicit"``. From now on it computes with views of the vector.
    groups : sequence of Group
        The parameters that are trained, as :func:`npconv.training.groups.parameter_groups` gives them.

    Attributes
    ----------
    vector : array (P + S,)
        P numbers of parameters, group by group, then S numbers of statistics.
    trained : int
        P.
    parts : list of Part
        The groups as parts of the vector.
    """

    def __init__(self, model: Any, groups: Sequence[Group]) -> None:
        arrays = flatten(model.params)
        buffers = dict(model.named_buffers())
        statistics = tuple(name for name, buffer in buffers.items() if buffer.dtype.kind == "f")
        self._counters = [(buffer, int(buffer)) for name, buffer in buffers.items() if name not in statistics]
        shapes = {name: array.shape for name, array in arrays.items()}
        self._places, self.parts, self.trained = places_of(groups, statistics, shapes)
        self._names = tuple(name for group in groups for name in group.names)
        first = next(iter(arrays.values()))
        size = max((place.stop for place in self._places.values()), default=0)
        self.vector = array_module(first).empty(size, first.dtype)
        for name, place in self._places.items():
            view = self.vector[place].reshape(arrays[name].shape)
            view[...] = arrays[name]
            *stem, leaf = name.split(".")
            node_at(model.params, stem)[leaf] = view

    def gather(self, gradients: Mapping[str, Array]) -> Array:
        """Return gradients by the names of parameters as a vector (P,)."""
        gathered = array_module(self.vector).empty(self.trained, self.vector.dtype)
        for name in self._names:
            gathered[self._places[name]] = gradients[name].reshape(-1)
        return gathered

    def renew(self, statistics: Mapping[str, Array]) -> None:
        """Put new stored statistics, by their names, in the place of the old ones."""
        for name, array in statistics.items():
            if name in self._places:
                self.vector[self._places[name]] = array.reshape(-1)

    def count_batches(self, steps: int) -> None:
        """Let the stored counters of batches, on which nothing depends, be of so many steps of training more."""
        for counter, start in self._counters:
            counter[...] = start + steps

    def to_host(self, vector: Array) -> np.ndarray:
        """Return a vector of such weights as an array of NumPy."""
        return np.asarray(to_host(vector))

    def from_host(self, array: np.ndarray) -> Array:
        """Return an array of NumPy as such a vector, a copy."""
        return array_module(self.vector).array(array, self.vector.dtype)
