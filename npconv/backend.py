"""Which array library an array belongs to, and what a dtype or device is called that a caller names in any way.

The layers are written once and take NumPy arrays or CuPy arrays. They reach the library of the array in hand through
:func:`array_module` and never convert between the two: moving data to or from a device is always a visible call,
:func:`to_device` or :func:`to_host`.
"""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from npconv.errors import InputError, NotInstalledError, NpconvWarning, UnavailableError
from npconv.messages import shown

#: A NumPy array, or a CuPy array: they have the same methods.
Array: TypeAlias = np.ndarray

#: Where training gets its random numbers; None in inference. A text, as NumPy's random numbers take a while to load.
Rng: TypeAlias = "np.random.Generator | None"

#: Array library -> the module that holds its special functions (``erf``).
SPECIAL_FUNCTIONS = {"numpy": "scipy.special", "cupy": "cupyx.scipy.special"}

_NUMPY = (np.ndarray, np.generic)

DEVICES = {"cpu": "numpy", "cuda": "cupy"}

#: Devices of torch for which there is no array library here.
OTHER_DEVICES = ("hpu", "mps", "mtia", "npu", "tpu", "vulkan", "xla", "xpu")

#: What models run in.
DTYPES = ("float16", "float32", "float64")


class Device(str):
    """``"cpu"`` or ``"cuda"``: a text, with the ``type`` of a ``torch.device``, and equal to one."""

    @property
    def type(self) -> str:
        """The kind of device."""
        return str(self)

    def __eq__(self, other: object) -> bool:
        return str(self) == (other if isinstance(other, str) else str(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


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
        raise NotInstalledError("device 'cuda' needs CuPy: pip install cupy-cuda12x, or use device='cpu'") from error
    try:
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own CUDARuntimeError, a type known only once CuPy is there
        raise UnavailableError(f"device 'cuda': CuPy finds no usable CUDA device ({error}); use 'cpu'") from error
    return cupy


def device_of(x: Array) -> str:
    """Return the device that an array is on."""
    library = array_module(x).__name__
    return next(device for device, name in DEVICES.items() if name == library)


def to_device(x: Array, device: str) -> Array:
    """Return `x` as an array on `device`; no copy is made of an array that is there already."""
    return to_host(x) if device == "cpu" else device_module(device).asarray(x)


def to_host(x: Any) -> np.ndarray:
    """Return `x` as a NumPy array; a NumPy array is returned as it is."""
    return x if array_module(x) is np else x.get()


def is_array(x: Any) -> bool:
    """Say whether `x` is an array that :func:`array_module` knows."""
    return isinstance(x, _NUMPY) or type(x).__module__.partition(".")[0] in SPECIAL_FUNCTIONS


def dtype_name(dtype: Any) -> str:
    """Return what a dtype is called: of NumPy, torch, TensorFlow, JAX or MLX, or its name, such as ``"torch.half"``.

    What is no dtype has some other name.
    """
    if isinstance(dtype, str) and dtype.rpartition(".")[2] == "float":  # NumPy calls float64 so
        return "float32"
    try:
        return np.dtype(dtype).name
    except Exception:  # a dtype of another library, or anything at all
        name = getattr(dtype, "name", dtype)
        name = (name if isinstance(name, str) else shown(name)).rpartition(".")[2]
    return {"half": "float16", "double": "float64"}.get(name, name)


def parse_dtype(dtype: Any) -> np.dtype:
    """Return the dtype in which a model runs: float16, float32 or float64; float32 if none is given.

    Parameters
    ----------
    dtype : str or dtype, optional
        Of NumPy, torch, TensorFlow, JAX or MLX, or its name.

    Raises
    ------
    InputError
        If it is another dtype, or none.

    Warns
    -----
    NpconvWarning
        If it is bfloat16, which NumPy lacks: float32 takes its place.
    """
    name = "float32" if dtype is None else dtype_name(dtype)
    if name == "bfloat16":
        warn_bfloat16(stacklevel=4)
        name = "float32"
    if name not in DTYPES:
        raise InputError(f"expected dtype to be one of {', '.join(DTYPES)}; got {shown(dtype)}")
    return np.dtype(name)


def warn_bfloat16(stacklevel: int) -> None:
    """Say that what is asked for in bfloat16, or stored so, is computed in float32."""
    warnings.warn(
        "NumPy has no bfloat16: npconv computes in float32, which holds all its values; dtype='float32' asks for that",
        NpconvWarning,
        stacklevel=stacklevel,
    )


def parse_device(device: Any) -> str:
    """Return the name of a device: ``"cpu"`` or ``"cuda"``; whether it is there, :func:`device_module` finds out.

    Parameters
    ----------
    device : str, int or torch.device, optional
        ``"cpu"``, ``"cuda"``, ``"cuda:0"``; the number of a GPU, of which -1 is the CPU. The CPU if none is given.

    Raises
    ------
    InputError
        If it is no device.
    UnavailableError
        If it is a GPU but the first, or a device for which there is no array library.
    """
    if device is None:
        return "cpu"
    if isinstance(device, str):
        kind, _, number = device.partition(":")
    elif isinstance(device, int) and not isinstance(device, bool):
        kind, number = ("cpu", "") if device == -1 else ("cuda", str(device))
    else:  # as torch describes one
        kind, number = str(getattr(device, "type", "")), str(getattr(device, "index", None) or 0)
    if kind in OTHER_DEVICES:
        raise UnavailableError(f"device {shown(device)}: npconv computes on 'cpu' or, by CuPy, on 'cuda'; use 'cpu'")
    if kind not in DEVICES or not (number == "" or number.isdecimal()):
        raise InputError(f"expected device 'cpu', 'cuda' or the number of a GPU, got {shown(device)}")
    if number.strip("0"):
        raise UnavailableError(
            f"device {shown(device)}: npconv uses the first device of its kind only; set CUDA_VISIBLE_DEVICES={number} "
            "before Python starts, and use 'cuda'"
        )
    return kind
