"""Tensors of torch, TensorFlow, JAX and MLX: taken as arrays, made of arrays.

A library is imported here only where its tensors are asked for. A tensor in hand says by its type where it comes from.
"""

from __future__ import annotations

import importlib
from enum import Enum
from types import ModuleType
from typing import Any

import numpy as np

from npconv.backend import dtype_name, is_array, to_device, to_host
from npconv.errors import InputError, NotInstalledError, UnavailableError
from npconv.messages import quoted, shown


class TensorType(str, Enum):
    """What ``return_tensors`` may be, as in transformers."""

    PYTORCH = "pt"
    TENSORFLOW = "tf"
    NUMPY = "np"
    JAX = "jax"
    MLX = "mlx"


#: Kind of tensor -> the module that makes one of an array, its function for that, and the package that holds both.
MAKERS = {
    TensorType.PYTORCH: ("torch", "from_numpy", "torch"),
    TensorType.TENSORFLOW: ("tensorflow", "constant", "tensorflow"),
    TensorType.JAX: ("jax.numpy", "asarray", "jax"),
    TensorType.MLX: ("mlx.core", "array", "mlx"),
}

#: The packages that types of tensors stand in -> the library that they belong to.
LIBRARIES = {
    "torch": "torch",
    "tensorflow": "tensorflow",
    "keras": "keras",
    "jax": "jax",
    "jaxlib": "jax",
    "mlx": "mlx",
}

#: What is told from a tensor at once: a nested list may hold millions of them.
NO_TENSORS = (np.ndarray, np.generic, float, int, str, bytes, type(None))


def parse_tensor_type(given: Any) -> TensorType | None:
    """Return which tensors ``return_tensors`` asks for, if any; an unknown kind is an `InputError`."""
    value = getattr(given, "value", given)
    kinds = [kind.value for kind in TensorType]
    if value is None:
        return None
    if not (isinstance(value, str) and value in kinds):
        raise InputError(
            f"expected return_tensors to be one of {', '.join(map(repr, kinds))}, or unset; got {shown(given)}"
        )
    return TensorType(value)


def check_tensor_type(given: Any) -> None:
    """Refuse a kind of tensors that is unknown (`InputError`), or whose library is missing (`UnavailableError`)."""
    kind = parse_tensor_type(given)
    if kind not in (None, TensorType.NUMPY):
        load_library(kind)


def load_library(kind: TensorType) -> ModuleType:
    """Return the module that makes tensors of some kind; an `UnavailableError` says which package it needs."""
    module, _, package = MAKERS[kind]
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: of a shared library that does not fit this machine
        raise NotInstalledError(
            f"return_tensors={kind.value!r} needs the package {package}: pip install {package}, or use 'np'"
        ) from error


def library_of(x: Any) -> str | None:
    """Return the library whose tensor `x` is, without importing it; None for anything else."""
    if isinstance(x, NO_TENSORS):
        return None
    packages = (kind.__module__.partition(".")[0] for kind in type(x).__mro__)  # subclasses stand anywhere
    library = next((LIBRARIES[package] for package in packages if package in LIBRARIES), None)
    return library if hasattr(x, "shape") and hasattr(x, "dtype") else None


def as_array(x: Any) -> Any:
    """Return a tensor of another library as a NumPy array, anything else as it is.

    A tensor on a GPU comes to the CPU, one that is tracked for gradients is let go, and bfloat16, which NumPy lacks,
    becomes float32, of NumPy arrays as well. A tensor on the CPU and its array may share their memory.

    Raises
    ------
    InputError
        If the tensor holds no values, or not as a plain block of numbers.
    """
    library = library_of(x)
    try:
        if library == "torch":
            x = _in_float32(x.detach().cpu(), "float").numpy()
        elif library == "mlx":
            x = np.asarray(_in_float32(x, "astype", importlib.import_module("mlx.core").float32))
        elif library is not None:
            x = np.asarray(x)
    except Exception as error:  # each library has its own
        reason = quoted(str(error).partition("\n")[0])
        raise InputError(f"expected a tensor that NumPy can take, got {type(x).__name__}: {reason}") from error
    if not isinstance(x, np.ndarray):
        return x
    x = np.asarray(x)  # of the class that layers know
    return _in_float32(x, "astype", np.float32) if x.dtype.isbuiltin == 2 else x  # a dtype that ml_dtypes adds


def as_arrays(x: Any) -> Any:
    """Return a tensor as an array, lists of tensors as lists of arrays, anything else as it is."""
    return type(x)(as_arrays(item) for item in x) if type(x) in (list, tuple) else as_array(x)


def as_tensor(x: Any, kind: TensorType) -> Any:
    """Return an array, tensor, number or list of these as one tensor of some kind; None and text as they are.

    Raises
    ------
    InputError
        If the arrays of a list differ in their shapes, or hold no numbers.
    UnavailableError
        If the library is not installed.
    """
    library = None if kind == TensorType.NUMPY else load_library(kind)
    if x is None or isinstance(x, str | bytes) or (library is not None and library_of(x) == MAKERS[kind][2]):
        return x
    array = _one_array(x)
    if array.dtype.kind == "U":
        return x
    # torch warns of arrays that are read-only.
    return array if library is None else getattr(library, MAKERS[kind][1])(np.require(array, requirements=["C", "W"]))


def move_tensor(x: Any, device: Any, dtype: Any, non_blocking: bool) -> Any:
    """Return a tensor of torch on a device, and one of floating-point numbers in a dtype; anything else as it is.

    A device that torch cannot use is an `UnavailableError`, a dtype that it lacks an `InputError`.
    """
    if library_of(x) != "torch":
        return x
    options: dict[str, Any] = {"non_blocking": non_blocking}
    if device is not None:
        options["device"] = "cpu" if device == -1 else device
    if dtype is not None and x.is_floating_point():
        options["dtype"] = getattr(importlib.import_module("torch"), dtype_name(dtype), None)
        if options["dtype"] is None:
            raise InputError(f"expected a dtype of torch, such as 'float16', got {shown(dtype)}")
    try:
        return x.to(**options)
    except (RuntimeError, AssertionError, TypeError) as error:  # some of them where torch was built without the device
        reason = quoted(str(error).partition("\n")[0])
        raise UnavailableError(f"torch cannot use the device {shown(device)}: {reason}; use 'cpu'") from error


def move_array(x: Any, device: str | None, dtype: np.dtype | None) -> Any:
    """Return an array on a device, and one of floating-point numbers in a dtype; anything else as it is."""
    if not is_array(x):
        return x
    x = x if device is None else to_device(x, device)
    return x.astype(dtype, copy=False) if dtype is not None and x.dtype.kind == "f" else x


def _one_array(x: Any) -> np.ndarray:
    """Return an array, a tensor, or a list of these as one NumPy array."""
    x = as_arrays(x)
    try:
        array = to_host(x) if is_array(x) else np.asarray(x)
    except ValueError as error:
        raise InputError(f"expected arrays of one shape for one tensor, got a list of several ({error})") from error
    if array.dtype.kind not in "biufcU":
        raise InputError(f"expected numbers to make a tensor of, got {shown(x)}")
    return array


def _in_float32(x: Any, method: str, *arguments: Any) -> Any:
    """Return an array or tensor in float32 if its dtype is one that NumPy lacks, by a method of its own."""
    name = dtype_name(x.dtype)
    return getattr(x, method)(*arguments) if name == "bfloat16" or name.startswith("float8") else x
