"""A part of a model by its name, as ``model.classifier`` or ``model.convnext.encoder.stages[0]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from npconv.api.loading import check_dtypes
from npconv.api.module import Module
from npconv.backend import array_module
from npconv.errors import InputError
from npconv.messages import hint, quoted
from npconv.models.parameters import flatten, match
from npconv.models.tree import rows, summary
from npconv.tensors import as_array


class Part(Module):
    """A part of a model by its name, such as ``model.classifier``: its arrays and further parts, nothing copied.

    Names are attributes, and places in lists are indices: ``model.convnext.encoder.stages[0].layers[1].dwconv.weight``.
    """

    def __init__(self, model: Any, path: Sequence[str]) -> None:
        set_here = super().__setattr__
        set_here("_model", model)
        set_here("_path", tuple(path))
        set_here("_marks", model._marks)
        set_here("_prefix", model._prefix + "".join(f"{name}." for name in path))

    @property
    def training(self) -> bool:
        """The mode of the whole model."""
        mode: bool = self._model.training
        return mode

    @training.setter
    def training(self, mode: bool) -> None:
        self._model.training = mode

    def _tree(self) -> Any:
        return node_at(self._model._tree(), self._path)

    def _child(self, key: str) -> Part:
        return Part(self._model, [*self._path, key])

    def _assign(self, tensors: Mapping[str, Any]) -> None:
        self._model._assign({".".join([*self._path, name]): tensor for name, tensor in tensors.items()})

    def _convert(self, dtype: np.dtype | None, device: str | None) -> None:
        self._model._convert_arrays(self._path, dtype, device)

    def __getattr__(self, name: str) -> Any:
        """Return an array or a further part. A layer without bias has the bias None."""
        if name.startswith("_"):  # copy and pickle look for such before there is a tree
            raise AttributeError(name)
        tree = self._tree()
        if isinstance(tree, Mapping):
            if name in tree:
                return self._get(name)
            if name == "bias" and "weight" in tree:
                return None
            if name in ("in_features", "out_features") and self._is_linear():
                return tree["weight"].shape[name == "in_features"]
        raise AttributeError(f"{self._title()} has no attribute {quoted(name)}{hint(name, map(str, tree))}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Copy other numbers into a parameter, or into all of a further part (a mapping of arrays by name)."""
        if isinstance(getattr(type(self), name, None), property):
            super().__setattr__(name, value)
        else:
            set_part(self, name, value)

    def __call__(self, x: Any) -> Any:
        """Compute a linear layer, such as the classifier, of features (..., C); no other part can be called."""
        if not self._is_linear():
            family = self._model.family.model_type
            raise InputError(f"expected a linear layer to be called, got {self._title()}; see npconv.models.{family}")
        from npconv.layers import linear  # only here: few call one

        return linear(as_array(x), **self._tree())

    def _is_linear(self) -> bool:
        """Tell whether this is a linear layer."""
        tree = self._tree()
        return isinstance(tree, Mapping) and "weight" in tree and tree["weight"].ndim == 2 and len(tree) <= 2

    def __getitem__(self, index: int | slice) -> Any:
        tree = self._tree()
        if not isinstance(tree, list):
            raise TypeError(f"{self._title()} has names, not places; take an attribute")
        if isinstance(index, slice):
            return [self[place] for place in range(len(tree))[index]]
        return self._get(str(range(len(tree))[index]))

    def __len__(self) -> int:
        return len(self._tree())

    def __iter__(self) -> Iterator[Any]:
        tree = self._tree()
        return (self._get(str(key)) for key in (range(len(tree)) if isinstance(tree, list) else tree))

    def __dir__(self) -> list[str]:
        tree = self._tree()
        return sorted([*super().__dir__(), *(tree if isinstance(tree, Mapping) else ())])

    def _title(self) -> str:
        """Return the part as it is written in Python."""
        places = "".join(f"[{name}]" if name.isdigit() else f".{name}" for name in self._path)
        return f"{type(self._model).__name__}{places}"

    def __repr__(self) -> str:
        return "\n".join([self._title(), *rows(self._tree())])


def node_at(tree: Any, path: Sequence[str]) -> Any:
    """Return what stands at a path in a tree."""
    for name in path:
        tree = tree[int(name)] if isinstance(tree, list) else tree[name]
    return tree


def set_part(module: Module, name: str, value: Any) -> None:
    """Copy numbers into what has this name: an array into a parameter, a mapping or another part into a part."""
    tree = module._tree()
    if not isinstance(tree, Mapping) or name not in tree:
        raise AttributeError(f"{type(module).__name__} has no part {quoted(name)} to set{hint(name, map(str, tree))}")
    if not isinstance(tree[name], Mapping | list):
        tensor = as_array(value)
        array_module(tensor)  # refuses what is no array
        matched, _ = match({name: tensor}, {name: tree[name].shape})
        check_dtypes(matched)
        module._assign(matched)
        return
    state = value.state_dict() if hasattr(value, "state_dict") else value
    arrays = flatten(state) if isinstance(state, Mapping) else {}
    part = module._get(name)
    if {key: tuple(getattr(array, "shape", ())) for key, array in arrays.items()} != part._shapes():
        came = summary(state) if arrays else type(value).__name__
        raise InputError(
            f"expected for {name} arrays {summary(tree[name])}, got {came}; another number of classes is "
            "from_pretrained(num_labels=, ignore_mismatched_sizes=True), and no head the bare model"
        )
    part.load_state_dict(arrays)
