"""The parameters of a model, and what computes with them: as they came, or folded for the fast engine."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from npconv.api.loading import count_not_finite, decoded
from npconv.api.module import Module
from npconv.api.parameter import Marks
from npconv.api.part import Part, node_at, set_part
from npconv.backend import Device, device_of, to_device, to_host
from npconv.errors import InputError, NpconvWarning
from npconv.fast.engine import Engine
from npconv.files.dtypes import DeferredArray
from npconv.forks import kept_property, whole_to_forks
from npconv.messages import hint, quoted, shown
from npconv.models import Family, PretrainedConfig
from npconv.models.parameters import Shapes, count_parameters, flatten, is_buffer, map_tree, nest
from npconv.models.tree import rows

#: Why a part of a model is not converted.
ONE_FOR_ALL = "engine 'fast' has one dtype and device for all parts; convert the whole model"


class ParameterHolder(Module):
    """Base of the model classes, for what concerns the parameters."""

    family: ClassVar[Family]
    task: ClassVar[str]
    base_model_prefix: ClassVar[str]
    #: The class of the bare model in one with a head; a bare model has none.
    bare_class: ClassVar[Any] = None
    config: PretrainedConfig
    engine: str
    name_or_path: str
    _part_names: frozenset[str]
    _threads: int | None
    _fast_engine: Engine | None
    #: Of the fast engine: the bare model, once it has been asked for.
    _kept_bare: Any = None

    @classmethod
    def parameter_shapes(cls, config: Any) -> Shapes:
        """Return the shape of every parameter by its name in a checkpoint, without making any array."""
        shapes: Shapes = getattr(cls.family.part("model"), f"{cls.task}_shapes")(config)
        return shapes

    def _hold(
        self,
        tensors: Mapping[str, Any],
        dtype: np.dtype,
        device: str,
        threads: int | None,
        folded: Mapping[str, Any] | None,
    ) -> None:
        """Take copies of the tensors of a new model, or make the fast engine of them."""
        self._marks, self._prefix = Marks(), ""
        self._part_names = frozenset(name.partition(".")[0] for name in tensors)
        self._threads, self._fast_engine = threads, None
        if self.engine == "fast":
            self._fold({name: _on_host(tensor) for name, tensor in tensors.items()}, folded)
        else:
            self.params = map_tree(lambda tensor: _placed(tensor, dtype, device), nest(tensors))

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the parameters, and so of every intermediate array."""
        return np.dtype("float32") if self._fast_engine is not None else _first_array(self.params).dtype

    @property
    def device(self) -> Device:
        """Where the parameters are: ``"cpu"`` or ``"cuda"``, a text that has a ``type`` as well."""
        return Device("cpu" if self._fast_engine is not None else device_of(_first_array(self.params)))

    @property
    def training(self) -> bool:
        """Whether a call that does not say ``training=`` applies dropout and drop path. False to begin with."""
        return self._marks.training

    @training.setter
    def training(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise InputError(f"expected training mode to be True or False, got {shown(mode)}")
        self._marks.training = mode

    @property
    def base_model(self) -> Any:
        """The bare model in one with a head, with the same arrays; else the model itself."""
        return self._bare() if self.base_model_prefix in self._part_names else self

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of trained parameters (stored batch-norm statistics do not count).

        Parameters
        ----------
        only_trainable : bool
            Leave out those that are marked with ``requires_grad = False``.
        exclude_embeddings : bool
            Changes nothing here: tables of embeddings are what no such model has.
        """
        shapes = self.parameter_shapes(self.config)
        if only_trainable:
            shapes = {name: shapes[name] for name in self._trained_names()}
        return count_parameters(shapes)

    def _trained_names(self) -> list[str]:
        """Return the names of the parameters that are not marked with ``requires_grad = False``."""
        names = self.parameter_shapes(self.config)
        return [name for name in names if not is_buffer(name) and self._prefix + name not in self._marks.frozen]

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Return the bytes of the parameters, and of the stored statistics unless told otherwise."""
        arrays = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(int(array.nbytes) for array in arrays)

    @kept_property
    def params(self) -> dict[str, Any]:
        """The parameters as they came, of any dtype: the fast engine, which has folded copies, leaves them so."""
        return map_tree(_read_only, nest(self._tensors))

    @property
    def not_finite(self) -> dict[str, int]:
        """Names of parameters with NaN or infinities, and how many."""
        return count_not_finite(flatten(self.params))

    def _tree(self) -> dict[str, Any]:
        return self.params

    def _shapes(self) -> Shapes:
        return self.parameter_shapes(self.config)

    def _base_prefix(self) -> str:
        return f"{self.base_model_prefix}."

    def _child(self, key: str) -> Any:
        return self.base_model if key == self.base_model_prefix else Part(self, [key])

    def _fold(self, tensors: dict[str, Any], folded: Mapping[str, Any] | None = None) -> None:
        """Make the fast engine of these parameters."""
        self._tensors = tensors
        fast = self.family.part("fast")
        with whole_to_forks():
            folded = fast.fold(self.config, nest(tensors)) if folded is None else folded
        self._fast_engine = fast.make_engine(self.config, folded, self._threads)
        self.__dict__.pop("params", None)  # of the earlier ones
        if self._kept_bare is not None:
            self._kept_bare._fold(self._tensors_of_bare())

    def _assign(self, tensors: Mapping[str, Any]) -> None:
        if self._fast_engine is None:
            for name, array in flatten(self.params).items():
                if name in tensors:
                    array[...] = to_device(decoded(tensors[name]), self.device)
            return
        if self._prefix:
            raise InputError(
                "expected the whole model: engine 'fast' folds all parameters at once; give it all, or use "
                "engine='explicit'"
            )
        placed = {name: _placed(tensor, self.dtype, "cpu") for name, tensor in tensors.items()}
        self._fold(self._tensors | placed)

    def _take_part(self, name: str, layer: Mapping[str, Any]) -> None:
        """Have a layer, of any shape, in the place of the one of this name; an empty one for none."""
        dtype, device = self.dtype, self.device
        if self._fast_engine is not None:
            others = {key: array for key, array in self._tensors.items() if not key.startswith(f"{name}.")}
            self._fold(others | {f"{name}.{key}": _on_host(array) for key, array in layer.items()})
        else:
            self.params.pop(name, None)
            if layer:
                self.params[name] = map_tree(lambda tensor: _placed(tensor, dtype, device), layer)
        self._part_names = frozenset(key for key in [*self._part_names - {name}, *([name] if layer else ())])

    def _convert(self, dtype: np.dtype | None, device: str | None) -> None:
        if self._fast_engine is None:
            self._convert_arrays((), dtype, device)
            return
        if (dtype is None or dtype == np.float32) and device in (None, "cpu"):
            return
        if self._prefix:
            raise InputError(ONE_FOR_ALL)
        dtype, device = self.dtype if dtype is None else dtype, device or "cpu"
        params = map_tree(lambda tensor: _placed(tensor, dtype, device), nest(self._tensors))
        warnings.warn(
            f"engine 'fast' runs in float32 on the CPU: in {dtype} on {device!r} the model is explicit from now on",
            NpconvWarning,
            stacklevel=4,
        )
        if self._kept_bare is not None:
            self._kept_bare._become_explicit(params[self.base_model_prefix])
            self._kept_bare = None
        self._become_explicit(params)

    def _become_explicit(self, params: dict[str, Any]) -> None:
        """Go on with the explicit engine."""
        self._fast_engine, self.engine, self.params = None, "explicit", params
        del self._tensors

    def _convert_arrays(self, path: Sequence[str], dtype: np.dtype | None, device: str | None) -> None:
        """Put converted arrays in the place of those at a path of the tree."""
        if self._fast_engine is not None:
            raise InputError(ONE_FOR_ALL)
        tree = node_at(self.params, path)
        placed = {
            name: _placed(array, array.dtype if dtype is None else dtype, device or self.device, copy=False)
            for name, array in flatten(tree).items()
        }
        for name, array in placed.items():
            *stem, leaf = name.split(".")
            node_at(tree, stem)[leaf] = array

    def _bare(self) -> Any:
        """Return the bare model, which has arrays and marks in common with this one."""
        if self._kept_bare is not None:
            return self._kept_bare
        kind: Any = self.bare_class
        if self._fast_engine is not None:
            bare = kind(self.config, self._tensors_of_bare(), engine="fast", threads=self._threads)
            self._kept_bare = bare
        else:
            bare = kind.__new__(kind)
            bare.__dict__.update(self.__dict__, params=self.params[self.base_model_prefix])
            bare._part_names = frozenset(bare.params)
        bare._marks, bare._prefix = self._marks, f"{self._prefix}{self.base_model_prefix}."
        bare.name_or_path = self.name_or_path
        return bare

    def _tensors_of_bare(self) -> dict[str, Any]:
        """Return what the fast engine of the bare model is made of."""
        prefix = f"{self.base_model_prefix}."
        return {name.removeprefix(prefix): a for name, a in self._tensors.items() if name.startswith(prefix)}

    def __getattr__(self, name: str) -> Any:
        """Return a part of the model by its name in the checkpoint, such as ``model.classifier``."""
        names = self.__dict__.get("_part_names", ())  # not there yet while a copy is being made
        if name == self.base_model_prefix and names:
            return self.base_model
        if name in names:
            return self._get(name)
        raise AttributeError(f"{type(self).__name__} has no attribute {quoted(name)}{hint(name, names)}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; what has the name of a part gets other numbers, as by :meth:`load_state_dict`."""
        if name in self.__dict__.get("_part_names", ()):
            set_part(self, name, value)
        else:
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *self._part_names])

    def __repr__(self) -> str:
        about = (
            f"{type(self).__name__}({self.num_parameters():,} parameters, dtype={self.dtype}, device={self.device!r}, "
            f"engine={self.engine!r})"
        )
        return "\n".join([about, *rows(self.params if self._fast_engine is None else nest(self._tensors))])


def _read_only(tensor: Any) -> np.ndarray:
    """Return a tensor as an array that cannot be written to, since that would have no effect."""
    array = np.asarray(decoded(tensor)).view()
    array.flags.writeable = False
    return array


def _placed(tensor: Any, dtype: np.dtype, device: str, *, copy: bool = True) -> Any:
    """Return a tensor as an array on a device, in a dtype if it holds floating-point numbers."""
    wanted = dtype if tensor.dtype.kind == "f" else tensor.dtype
    array = np.asarray(tensor) if isinstance(tensor, np.generic) else decoded(tensor)
    return to_device(array.astype(wanted, copy=copy), device)


def _first_array(tree: Any) -> Any:
    """Return the first array of a tree."""
    while isinstance(tree, Mapping | list):
        tree = next(iter(tree.values() if isinstance(tree, Mapping) else tree))
    return tree


def _on_host(tensor: Any) -> Any:
    """Return a tensor without the device, copied if it could change; one stored otherwise than NumPy can stays so."""
    if isinstance(tensor, DeferredArray):
        return tensor
    array = np.asarray(to_host(tensor))
    return array.copy() if array.flags.writeable else array
