"""Which array library an array belongs to.

The layers are written once and take NumPy arrays or CuPy arrays. They reach the library of the array in hand through
:func:`array_module` and never convert between the two: moving data to or from a device is always a visible call,
:func:`to_device` or :func:`to_host`.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from npconv.errors import InputError, UnavailableError

#: A NumPy array, or a CuPy array: they have the same methods.
Array: TypeAlias = np.ndarray

#: Array library -> the module that holds its special functions (``erf``).
SPECIAL_FUNCTIONS = {"numpy": "scipy.special", "cupy": "cupyx.scipy.special"}

_NUMPY = (np.ndarray, np.generic)

DEVICES = {"cpu": "numpy", "cuda": "cupy"}


def array_module(x: Any) -> ModuleType:
    """Return the array library that `x` belongs to: ``numpy`` or ``cupy``.

    Raises
    ------
    InputError
        If `x` is an array of neither (a list, a tensor of another framework).
    """
    if isinstance(x, _NUMPY):
        return np
    library = type(x).__module__.partition(".")[0]
    if library not in SPECIAL_FUNCTIONS:
        name = f"{type(x).__module__}.{type(x).__name__}".removeprefix("builtins.")
        raise InputError(f"expected a NumPy or CuPy array, got {name}; convert with numpy.asarray")
    return importlib.import_module(library)


def special_functions(x: Array) -> ModuleType:
    """Return the module with the special functions (``erf``) for arrays like `x`."""
    return importlib.import_module(SPECIAL_FUNCTIONS[array_module(x).__name__])


def accumulation_dtype(x: Array) -> np.dtype:
    """Return the dtype in which sums over `x` are taken: float32 for float16, else the dtype of `x` itself.

    Raises
    ------
    InputError
        If `x` is no floating-point array.
    """
    array_module(x)  # refuses what is no array
    if x.dtype.kind != "f":
        raise InputError(f"expected a floating-point array, got {x.dtype}; convert with .astype('float32')")
    return np.dtype("float32") if x.dtype.itemsize < 4 else x.dtype


def widen(x: Array) -> Array:
    """Return `x` in the dtype in which sums over it are taken: float16 as float32, anything else as it is.

    Raises
    ------
    InputError
        If `x` is no floating-point array.
    """
    dtype = accumulation_dtype(x)
    return x if x.dtype is dtype else x.astype(dtype, copy=False)


def device_module(device: str) -> ModuleType:
    """Return the array library of a device: ``"cpu"`` is NumPy, ``"cuda"`` is CuPy.

    Raises
    ------
    InputError
        If the device has another name.
    UnavailableError
        If CuPy is not installed or finds no CUDA device.
    """
    if not isinstance(device, str) or device not in DEVICES:
        raise InputError(f"expected device 'cpu' or 'cuda', got {device!r}")
    if device == "cpu":
        return np
    try:
        cupy = importlib.import_module(DEVICES[device])
    except ImportError as error:
        raise UnavailableError("device 'cuda' needs CuPy: pip install cupy-cuda12x, or use device='cpu'") from error
    try:
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own CUDARuntimeError, a type known only once CuPy is there
        raise UnavailableError(f"device 'cuda': CuPy finds no usable CUDA device ({error}); use 'cpu'") from error
    return cupy


def to_device(x: Array, device: str) -> Array:
    """Return `x` as an array on `device`; no copy is made of an array that is there already."""
    return to_host(x) if device == "cpu" else device_module(device).asarray(x)


def to_host(x: Any) -> np.ndarray:
    """Return `x` as a NumPy array; a NumPy array is returned as it is."""
    return x if array_module(x) is np else x.get()
