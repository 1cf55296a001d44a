"""What people type on a model, and on a part of it, as on a ``torch.nn.Module``: parts, modes, dtypes, weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from npconv.api.loading import check_dtypes
from npconv.api.parameter import Marks, Parameter, mark
from npconv.backend import array_module, device_of, is_array, parse_device, parse_dtype
from npconv.errors import InputError
from npconv.messages import hint, quoted
from npconv.models.parameters import LoadReport, Shapes, flatten, is_buffer, match
from npconv.models.tree import Tree
from npconv.tensors import as_array

Self = TypeVar("Self", bound="Module")


class IncompatibleKeys(NamedTuple):
    """What :meth:`Module.load_state_dict` had no value for, and no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of a model and of its parts."""

    _marks: Marks
    #: What comes before the names here in those of the whole model.
    _prefix: str
    #: Whether a call that does not say ``training=`` applies dropout and drop path. It is the mode of the whole model.
    training: bool

    def _tree(self) -> Any:
        """Return the arrays, a dict or list."""
        raise NotImplementedError

    def _child(self, key: str) -> Any:
        """Return the part of this name."""
        raise NotImplementedError

    def _assign(self, tensors: Mapping[str, Any]) -> None:
        """Put arrays, which fit, in the place of those of the same names."""
        raise NotImplementedError

    def _convert(self, dtype: np.dtype | None, device: str | None) -> None:
        """Have the arrays in another dtype or on another device."""
        raise NotImplementedError

    def _shapes(self) -> Shapes:
        """Return the shape of every array by its name."""
        return {name: array.shape for name, array in flatten(self._tree()).items()}

    def _get(self, name: str) -> Any:
        """Return what stands at a name of the tree: a part, or an array with its marks."""
        tree = self._tree()
        value = tree[int(name)] if isinstance(tree, list) else tree[name]
        return self._child(name) if isinstance(value, Mapping | list) else self._parameter(name, value)

    def _parameter(self, name: str, array: Any) -> Any:
        """Return an array with its marks; one of CuPy as it is."""
        return Parameter.of(array, self._marks, self._prefix + name) if isinstance(array, np.ndarray) else array

    def train(self: Self, mode: bool = True) -> Self:
        """Have calls apply dropout and drop path from now on."""
        self.training = mode
        return self

    def eval(self: Self) -> Self:
        """Have calls be inference from now on, as they are in a new model."""
        return self.train(False)

    def to(
        self: Self,
        *args: Any,
        device: Any = None,
        dtype: Any = None,
        non_blocking: bool = False,
        memory_format: Any = None,
    ) -> Self:
        """Take the arrays to another device or dtype, or both, in place; return the model or part.

        Parameters
        ----------
        *args
            A device, a dtype, both, or an array that has both.
        device, dtype
            As for making a model. A model of the fast engine becomes explicit, with a warning, if the engine has no
            such dtype or device.
        non_blocking, memory_format
            Change nothing here.
        """
        dtype, device = _wanted(args, dtype, device)
        self._convert(None if dtype is None else parse_dtype(dtype), None if device is None else parse_device(device))
        return self

    def cpu(self: Self) -> Self:
        """Take the arrays to the CPU."""
        return self.to(device="cpu")

    def cuda(self: Self, device: Any = None) -> Self:
        """Take the arrays to the GPU."""
        return self.to(device="cuda" if device is None else device)

    def float(self: Self) -> Self:
        """Have the arrays in float32."""
        return self.to(dtype="float32")

    def half(self: Self) -> Self:
        """Have the arrays in float16."""
        return self.to(dtype="float16")

    def double(self: Self) -> Self:
        """Have the arrays in float64."""
        return self.to(dtype="float64")

    def bfloat16(self: Self) -> Self:
        """Have the arrays in float32, since NumPy has no bfloat16; a warning says so."""
        return self.to(dtype="bfloat16")

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Mark all parameters as to be trained, or not to be: then ``npconv.value_and_grad`` gives 0 for them."""
        names = [self._prefix + name for name in self._shapes() if not is_buffer(name)]
        mark(self._marks, names, requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing: a call keeps no gradients that would have to go."""

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Any]]:
        """Yield the trained parameters by name: arrays that the model computes with, not copies."""
        yield from self._named_arrays(prefix, recurse, buffers=False)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """Yield the trained parameters."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Any]]:
        """Yield the stored statistics of batch norms by name."""
        yield from self._named_arrays(prefix, recurse, buffers=True)

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        """Yield the stored statistics of batch norms."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def _named_arrays(self, prefix: str, recurse: bool, *, buffers: bool) -> Iterator[tuple[str, Any]]:
        """Yield parameters or statistics; without `recurse`, those that belong to no further part."""
        for name, array in flatten(self._tree()).items():
            if is_buffer(name) == buffers and (recurse or "." not in name):
                yield _joined(prefix, name), self._parameter(name, array)

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """Yield the parts that this one has, by name."""
        tree = self._tree()
        for key, value in enumerate(tree) if isinstance(tree, list) else tree.items():
            if isinstance(value, Mapping | list):
                yield str(key), self._child(str(key))

    def children(self) -> Iterator[Any]:
        """Yield the parts that this one has."""
        for _, child in self.named_children():
            yield child

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Yield this part and all within it, by name; what has no parameters is no part."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(_joined(prefix, name))

    def modules(self) -> Iterator[Any]:
        """Yield this part and all within it."""
        for _, module in self.named_modules():
            yield module

    def apply(self: Self, function: Callable[[Any], Any]) -> Self:
        """Call a function with each part, the innermost first, and with this one; return this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def get_submodule(self, target: str) -> Any:
        """Return a part by its dotted name; the empty name is this one."""
        found: Any = self
        for name in target.split(".") if target else ():
            try:
                found = found._get(name)
            except (AttributeError, IndexError, KeyError, ValueError):
                found = None
            if not isinstance(found, Module):
                raise AttributeError(f"expected a part of the model, got {quoted(target)}; named_modules() has all")
        return found

    def get_parameter(self, target: str) -> Any:
        """Return a parameter by its dotted name."""
        found = dict(self.named_parameters())
        if target not in found:
            raise AttributeError(f"expected a parameter's name, got {quoted(target)}{hint(target, found)}")
        return found[target]

    def state_dict(self) -> dict[str, Any]:
        """Return all parameters and stored statistics by their names in a checkpoint, not copied."""
        return Tree({name: self._parameter(name, array) for name, array in flatten(self._tree()).items()})

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Put other numbers in the place of the parameters.

        Parameters
        ----------
        state_dict : mapping of str to array or tensor
            By the names of :meth:`state_dict`; taken to the model's dtype and device. The fast engine folds them anew.
        strict : bool
            Refuse names that are missing or too many. A wrong shape is always an error.
        assign : bool
            Changes nothing here: the numbers are copied.

        Returns
        -------
        IncompatibleKeys
            ``missing_keys`` and ``unexpected_keys``; empty lists if `strict`.

        Raises
        ------
        InputError, WeightsError
            If these are no arrays, or do not fit; then the model is as before.
        """
        matched, report = self._matched(state_dict, strict)
        self._assign(matched)
        return IncompatibleKeys(list(report.missing), list(report.unexpected))

    def _matched(self, state_dict: Any, strict: bool) -> tuple[dict[str, Any], LoadReport]:
        """Return the arrays of a state dict by the names here, and what was missing and too much."""
        if not isinstance(state_dict, Mapping):
            raise InputError(f"expected arrays by name, as of state_dict(), got {type(state_dict).__name__}")
        tensors = {name: as_array(value) for name, value in state_dict.items()}
        for tensor in tensors.values():
            array_module(tensor)  # refuses what is no array
        matched, report = match(tensors, self._shapes(), prefix=self._base_prefix(), strict=strict)
        check_dtypes(matched)
        return matched, report

    def _base_prefix(self) -> str:
        """Return what may be added to or taken from the names in a state dict."""
        return ""


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _wanted(args: Sequence[Any], dtype: Any, device: Any) -> tuple[Any, Any]:
    """Return the dtype and device that the arguments of :meth:`Module.to` ask for; None where they ask for none."""
    for arg in args:
        if _is_dtype(arg):
            dtype = arg
        elif hasattr(arg, "shape") and hasattr(arg, "dtype"):
            dtype, device = arg.dtype, device_of(arg) if is_array(arg) else arg.device
        elif arg is not None and not isinstance(arg, bool):  # which is non_blocking
            device = arg
    return dtype, device


def _is_dtype(value: Any) -> bool:
    """Tell whether an argument is a dtype rather than a device: of NumPy, of another library, or the name of one."""
    if isinstance(value, str):
        return value.removeprefix("torch.") in ("bfloat16", "float", "double", "half") or "float" in value
    return isinstance(value, np.dtype | type) or type(value).__name__.lower() == "dtype"
