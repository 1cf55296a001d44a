"""Stand-ins for arrays that turn a habit into an error.

``readonly`` makes a NumPy array that cannot be written to. ``DeviceArray`` and the module ``device_stub`` stand for a
device array library such as CuPy, more strictly than CuPy itself: nothing crosses the border between host and device
but ``asarray`` (to the device) and ``.get()`` (to the host). The functions are those that CuPy has, with the arguments
that CuPy takes (fewer, where the project has no use for them); the values come from NumPy, so results are identical.
"""

from __future__ import annotations

import operator
from types import ModuleType
from typing import Any

import numpy as np
import scipy.special

#: Elementwise functions of ``cupy`` that the stand-in offers under the same name.
ELEMENTWISE = [
    *("abs", "add", "divide", "equal", "exp", "expm1", "isfinite", "isnan", "log", "log1p", "logaddexp", "maximum"),
    *("minimum", "multiply", "negative", "sqrt", "square", "subtract", "tanh"),
]


def readonly(array: Any) -> np.ndarray:
    """Return a copy of `array` that cannot be written to."""
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


def strided(array: np.ndarray) -> np.ndarray:
    """Return a copy of `array` with its last axis outermost in memory, and a gap after each value."""
    if not array.ndim:
        return array.copy()
    roomy = np.zeros([2 * length for length in reversed(array.shape)], array.dtype)
    copy = roomy[(slice(None, None, 2),) * array.ndim].T
    copy[...] = array
    return copy


class Ledger:
    """What happened on the device: how often data crossed the border, and which dtypes were computed."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.to_device = 0
        self.to_host = 0
        self.synchronised = 0
        self.computed: set[str] = set()


LEDGER = Ledger()


class DeviceArray:
    """An array on a device that does not exist. Operands are other ``DeviceArray``s and Python numbers only."""

    __slots__ = ("_data",)
    __module__ = "device_stub"
    __array_ufunc__ = None  # NumPy's operators give up at once, and the reflected operator below refuses
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: np.ndarray) -> None:
        self._data = data

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    @property
    def nbytes(self) -> int:
        return self._data.nbytes

    @property
    def T(self) -> DeviceArray:  # noqa: N802  the name is the array libraries'
        return _wrap(self._data.T)

    def get(self) -> np.ndarray:
        LEDGER.to_host += 1
        return self._data.copy()

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError("implicit conversion of a DeviceArray to a NumPy array; use .get()")

    def __array_function__(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} on a DeviceArray; use the function of its own library")

    def __iter__(self) -> Any:
        raise TypeError("iteration over a DeviceArray: one transfer an element")

    def __len__(self) -> int:
        return len(self._data)

    def _value(self) -> Any:
        """Return the only element, as ``bool(x)`` and ``float(x)`` do on a device: the host waits for it."""
        if self.ndim:
            raise TypeError(f"only a DeviceArray of shape () converts to a Python number, not {self.shape}")
        LEDGER.synchronised += 1
        return self._data.item()

    def __bool__(self) -> bool:
        return bool(self._value())

    def __int__(self) -> int:
        return int(self._value())

    def __float__(self) -> float:
        return float(self._value())

    def item(self) -> Any:
        LEDGER.synchronised += 1
        return self._data.item()  # as CuPy's: of one element, whatever the shape

    def __getitem__(self, key: Any) -> DeviceArray:
        return _wrap(self._data[_key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._data[_key(key)] = _operand(value)

    def astype(self, dtype: Any, *, copy: bool = True) -> DeviceArray:
        return _wrap(self._data.astype(dtype, copy=copy))

    def copy(self) -> DeviceArray:
        return _wrap(self._data.copy())

    def reshape(self, *shape: Any) -> DeviceArray:
        return _wrap(self._data.reshape(*shape))

    def transpose(self, *axes: Any) -> DeviceArray:
        return _wrap(self._data.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> DeviceArray:
        return _wrap(self._data.swapaxes(axis1, axis2))

    def squeeze(self, axis: Any = None) -> DeviceArray:
        return _wrap(self._data.squeeze(axis))

    def ravel(self) -> DeviceArray:
        return _wrap(self._data.ravel())

    def mean(self, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> DeviceArray:
        return _wrap(self._data.mean(axis=axis, dtype=dtype, keepdims=keepdims))

    def sum(self, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> DeviceArray:
        return _wrap(self._data.sum(axis=axis, dtype=dtype, keepdims=keepdims))

    def max(self, axis: Any = None, *, keepdims: bool = False) -> DeviceArray:
        return _wrap(self._data.max(axis=axis, keepdims=keepdims))

    def min(self, axis: Any = None, *, keepdims: bool = False) -> DeviceArray:
        return _wrap(self._data.min(axis=axis, keepdims=keepdims))

    def any(self, axis: Any = None, *, keepdims: bool = False) -> DeviceArray:
        return _wrap(self._data.any(axis=axis, keepdims=keepdims))

    def all(self, axis: Any = None, *, keepdims: bool = False) -> DeviceArray:
        return _wrap(self._data.all(axis=axis, keepdims=keepdims))

    def argmax(self, axis: Any = None) -> DeviceArray:
        return _wrap(self._data.argmax(axis=axis))


def _wrap(result: Any) -> DeviceArray:
    """Return the result of a computation as a device array: of shape () where NumPy gives a scalar."""
    data = np.asarray(result)
    LEDGER.computed.add(data.dtype.name)
    return DeviceArray(data)


def _data(x: Any) -> np.ndarray:
    """Return the data of a device array, and refuse everything else."""
    if not isinstance(x, DeviceArray):
        raise TypeError(f"device_stub: expected a DeviceArray, got {type(x).__module__}.{type(x).__name__}")
    return x._data


def _operand(x: Any) -> Any:
    """Return what an operator works on: the data of a device array, or a plain Python number."""
    return x if type(x) in (bool, int, float) else _data(x)


def _key(key: Any) -> Any:
    """Return an index for the data: whole numbers, slices and device arrays, alone or in a tuple."""
    if isinstance(key, tuple):
        return tuple(_key(part) for part in key)
    return key if key is None or key is ... or type(key) in (int, slice) else _data(key)


def _add_operators() -> None:
    """Give ``DeviceArray`` the operators of an array."""

    def forward(function: Any) -> Any:
        return lambda self, other: _wrap(function(self._data, _operand(other)))

    def reflected(function: Any) -> Any:
        return lambda self, other: _wrap(function(_operand(other), self._data))

    def in_place(function: Any) -> Any:
        def method(self: DeviceArray, other: Any) -> DeviceArray:
            self._data = function(self._data, _operand(other))
            return self

        return method

    def unary(function: Any) -> Any:
        return lambda self: _wrap(function(self._data))

    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
        function = getattr(operator, f"__{name}__")
        setattr(DeviceArray, f"__{name}__", forward(function))
        setattr(DeviceArray, f"__r{name}__", reflected(function))
        if name != "matmul":
            setattr(DeviceArray, f"__i{name}__", in_place(getattr(operator, f"__i{name}__")))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(DeviceArray, f"__{name}__", forward(getattr(operator, f"__{name}__")))
    for name in ("neg", "pos", "abs", "invert"):
        setattr(DeviceArray, f"__{name}__", unary(getattr(operator, f"__{name}__")))


_add_operators()


def asarray(a: Any, dtype: Any = None) -> DeviceArray:
    """Move host data to the device. Data that is there already stays; a list that hides device arrays is refused."""
    if isinstance(a, DeviceArray):
        return a if dtype is None else a.astype(dtype, copy=False)
    data = np.array(a, dtype=dtype)
    if data.dtype.kind not in "biuf":
        raise ValueError(f"device_stub: unsupported dtype {data.dtype}")
    LEDGER.to_device += 1
    return DeviceArray(data)


def asnumpy(a: Any) -> np.ndarray:
    return a.get() if isinstance(a, DeviceArray) else np.asarray(a)


def zeros(shape: Any, dtype: Any = float) -> DeviceArray:
    return _wrap(np.zeros(shape, dtype))


def ones(shape: Any, dtype: Any = float) -> DeviceArray:
    return _wrap(np.ones(shape, dtype))


def full(shape: Any, fill_value: Any, dtype: Any = None) -> DeviceArray:
    return _wrap(np.full(shape, _operand(fill_value), dtype))


def zeros_like(a: Any, dtype: Any = None) -> DeviceArray:
    return _wrap(np.zeros_like(_data(a), dtype))


def empty_like(a: Any, dtype: Any = None) -> DeviceArray:
    return _wrap(np.empty_like(_data(a), dtype))


def full_like(a: Any, fill_value: Any, dtype: Any = None) -> DeviceArray:
    return _wrap(np.full_like(_data(a), _operand(fill_value), dtype))


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None) -> DeviceArray:
    return _wrap(np.arange(start, stop, step, dtype) if stop is not None else np.arange(0, start, step, dtype))


def pad(array: Any, pad_width: Any, mode: str = "constant") -> DeviceArray:
    return _wrap(np.pad(_data(array), pad_width, mode=mode))


def concatenate(tup: Any, axis: int = 0) -> DeviceArray:
    return _wrap(np.concatenate([_data(a) for a in tup], axis=axis))


def stack(tup: Any, axis: int = 0) -> DeviceArray:
    return _wrap(np.stack([_data(a) for a in tup], axis=axis))


def broadcast_to(array: Any, shape: Any) -> DeviceArray:
    return _wrap(np.broadcast_to(_data(array), shape))


def expand_dims(a: Any, axis: Any) -> DeviceArray:
    return _wrap(np.expand_dims(_data(a), axis))


def moveaxis(a: Any, source: Any, destination: Any) -> DeviceArray:
    return _wrap(np.moveaxis(_data(a), source, destination))


def matmul(x1: Any, x2: Any) -> DeviceArray:
    return _wrap(np.matmul(_data(x1), _data(x2)))


def einsum(subscripts: str, *operands: Any) -> DeviceArray:
    return _wrap(np.einsum(subscripts, *[_data(operand) for operand in operands]))


def where(condition: Any, x: Any, y: Any) -> DeviceArray:
    return _wrap(np.where(_data(condition), _operand(x), _operand(y)))


def clip(a: Any, a_min: Any, a_max: Any) -> DeviceArray:
    return _wrap(np.clip(_data(a), _operand(a_min), _operand(a_max)))


def take_along_axis(a: Any, indices: Any, axis: int) -> DeviceArray:
    return _wrap(np.take_along_axis(_data(a), _data(indices), axis))


def sliding_window_view(x: Any, window_shape: Any, axis: Any = None) -> DeviceArray:
    return _wrap(np.lib.stride_tricks.sliding_window_view(_data(x), window_shape, axis=axis))


def _elementwise(function: Any) -> Any:
    """Return a function of device arrays and Python numbers from one of NumPy's or SciPy's ufuncs."""
    return lambda *arguments: _wrap(function(*[_operand(argument) for argument in arguments]))


def _namespace(name: str, **members: Any) -> ModuleType:
    """Return a module that holds `members`."""
    module = ModuleType(name)
    vars(module).update(members)
    return module


def make_device_stub() -> ModuleType:
    """Return the module ``device_stub``, with a ledger that starts empty."""
    LEDGER.clear()
    functions = [
        *(asarray, asnumpy, zeros, ones, full, zeros_like, empty_like, full_like, arange, pad, concatenate, stack),
        *(broadcast_to, expand_dims, moveaxis, matmul, einsum, where, clip, take_along_axis),
    ]
    stride_tricks = _namespace("device_stub.lib.stride_tricks", sliding_window_view=sliding_window_view)
    return _namespace(
        "device_stub",
        **{function.__name__: function for function in functions},
        **{name: _elementwise(getattr(np, name)) for name in ELEMENTWISE},
        lib=_namespace("device_stub.lib", stride_tricks=stride_tricks),
        special=_namespace(
            "device_stub.special", **{name: _elementwise(getattr(scipy.special, name)) for name in ("erf", "expit")}
        ),
        cuda=_namespace("device_stub.cuda", runtime=_namespace("device_stub.cuda.runtime", getDeviceCount=lambda: 1)),
        ndarray=DeviceArray,
        ledger=LEDGER,
    )
