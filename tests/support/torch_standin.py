"""A stand-in for PyTorch: the little that code around a model types, over NumPy.

It is as strict as PyTorch where that matters: a function of ``torch`` takes tensors only and refuses an array, and a
tensor is no array. What PyTorch has and the stand-in lacks is an ``AttributeError``.
"""

from __future__ import annotations

import importlib.machinery
from types import ModuleType
from typing import Any

import numpy as np


class dtype:  # noqa: N801  the name is PyTorch's
    """A dtype of tensors; it has no conversion to a dtype of NumPy, as in PyTorch."""

    __module__ = "torch"

    def __init__(self, name: str) -> None:
        self._name = name
        self.is_floating_point = "float" in name

    def __repr__(self) -> str:
        return f"torch.{self._name}"


NAMES = ("float16", "bfloat16", "float32", "float64", "uint8", "int32", "int64", "bool")
DTYPES = {name: dtype(name) for name in NAMES}


class device:  # noqa: N801
    """Where a tensor is: ``torch.device("cuda:0")`` has a type and an index."""

    __module__ = "torch"

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        kind, _, number = str(type).partition(":")
        self.type = kind
        self.index = int(number) if number else index

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type={self.type!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class Size(tuple):
    """A shape that prints as PyTorch's."""

    __module__ = "torch"

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"


class Tensor:
    """A tensor on the CPU."""

    __module__ = "torch"
    __array_ufunc__ = None
    requires_grad = False
    is_cuda = False

    def __init__(self, data: Any) -> None:
        self._data = np.asarray(data._data if isinstance(data, Tensor) else data)
        if self._data.dtype == np.float64 and isinstance(data, list | tuple):
            self._data = self._data.astype(np.float32)

    def __repr__(self) -> str:
        return f"tensor({self._data.tolist()})"

    @property
    def shape(self) -> Size:
        return Size(self._data.shape)

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def dtype(self) -> dtype:
        return DTYPES[self._data.dtype.name]

    @property
    def device(self) -> device:
        return device("cpu")

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self._data.ndim

    def numel(self) -> int:
        return self._data.size

    def item(self) -> Any:
        return self._data.item()

    def tolist(self) -> Any:
        return self._data.tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        return self._data

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def contiguous(self) -> Tensor:
        return self

    def clone(self) -> Tensor:
        return Tensor(self._data.copy())

    def to(self, *args: Any, dtype: Any = None, **kwargs: Any) -> Tensor:
        for arg in args:
            if isinstance(arg, np.dtype):
                raise TypeError("to() received an invalid combination of arguments")
            dtype = arg if type(arg).__name__ == "dtype" else dtype
        return self if dtype is None else Tensor(self._data.astype(repr(dtype).removeprefix("torch.")))

    def float(self) -> Tensor:
        return Tensor(self._data.astype(np.float32))

    def half(self) -> Tensor:
        return Tensor(self._data.astype(np.float16))

    def unsqueeze(self, dim: int) -> Tensor:
        return Tensor(np.expand_dims(self._data, dim))

    def squeeze(self, dim: int | None = None) -> Tensor:
        return Tensor(self._data.squeeze(dim))

    def permute(self, *dims: int) -> Tensor:
        return Tensor(self._data.transpose(dims))

    def reshape(self, *shape: Any) -> Tensor:
        return Tensor(self._data.reshape(*shape))

    def mean(self, dim: Any = None) -> Tensor:
        return Tensor(self._data.mean(tuple(dim) if isinstance(dim, list) else dim))

    def flatten(self, start_dim: int = 0) -> Tensor:
        return Tensor(self._data.reshape(*self._data.shape[:start_dim], -1))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        return Tensor(self._data.swapaxes(dim0, dim1))

    def argmax(self, dim: int | None = None) -> Tensor:
        return Tensor(self._data.argmax(dim))

    def softmax(self, dim: int) -> Tensor:
        shifted = np.exp(self._data - self._data.max(dim, keepdims=True))
        return Tensor(shifted / shifted.sum(dim, keepdims=True))

    def topk(self, k: int, dim: int = -1) -> tuple[Tensor, Tensor]:
        order = np.argsort(-self._data, axis=dim).take(range(k), axis=dim)
        return Tensor(np.take_along_axis(self._data, order, dim)), Tensor(order)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._data if dtype is None else self._data.astype(dtype)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, key: Any) -> Tensor:
        return Tensor(self._data[key._data if isinstance(key, Tensor) else key])

    def __iter__(self) -> Any:
        return (Tensor(part) for part in self._data)

    def __int__(self) -> int:
        return int(self._data.item())

    def __float__(self) -> Any:
        return float(self._data.item())

    def __sub__(self, other: Any) -> Tensor:
        return Tensor(self._data - _operand(other))

    def __mul__(self, other: Any) -> Tensor:
        return Tensor(self._data * _operand(other))

    def __truediv__(self, other: Any) -> Tensor:
        return Tensor(self._data / _operand(other))

    def __eq__(self, other: object) -> Any:
        return Tensor(self._data == _operand(other))

    __hash__ = object.__hash__


def _operand(x: Any) -> Any:
    """Return what an operator works on: the data of a tensor, or a number."""
    return x if isinstance(x, int | float) else tensor_only(x)._data


def tensor_only(x: Any) -> Tensor:
    """Return a tensor, also of what says that it takes part; refuse all else as the functions of PyTorch do."""
    if hasattr(type(x), "__torch_function__"):
        return Tensor(x.view(np.ndarray))
    if not isinstance(x, Tensor):
        raise TypeError(f"argument 'input' must be Tensor, not {type(x).__name__}")
    return x


class NoGrad:
    """``torch.no_grad()`` and ``torch.inference_mode()``: a context, and a decorator."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: Any) -> None:
        return None

    def __call__(self, function: Any) -> Any:
        return function


class Dataset:
    """``torch.utils.data.Dataset``."""

    __module__ = "torch.utils.data"


def cosine_similarity(x1: Any, x2: Any, dim: int = 1) -> Tensor:
    """Return the cosines of the angles between two tensors along a dimension."""
    a, b = tensor_only(x1)._data, tensor_only(x2)._data
    return Tensor((a * b).sum(dim) / (np.linalg.norm(a, axis=dim) * np.linalg.norm(b, axis=dim)))


def _module(name: str, **members: Any) -> ModuleType:
    """Return a module that importlib takes for an installed one."""
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(members)
    return module


def _functions() -> dict[str, Any]:
    """Return the functions of ``torch`` that make tensors or work on them."""
    random = np.random.default_rng(0)
    return {
        "tensor": lambda data, dtype=None: Tensor(data).to(dtype),
        "as_tensor": lambda data, dtype=None: Tensor(data).to(dtype),
        "from_numpy": lambda array: Tensor(array),
        "from_dlpack": lambda array: Tensor(np.from_dlpack(array)),
        "zeros": lambda *shape: Tensor(np.zeros(shape[0] if isinstance(shape[0], tuple) else shape, np.float32)),
        "rand": lambda *shape: Tensor(random.random(shape, np.float32)),
        "randn": lambda *shape: Tensor(
            random.standard_normal(shape[0] if isinstance(shape[0], tuple) else shape, np.float32)
        ),
        "stack": lambda tensors, dim=0: Tensor(np.stack([tensor_only(x)._data for x in tensors], dim)),
        "cat": lambda tensors, dim=0: Tensor(np.concatenate([tensor_only(x)._data for x in tensors], dim)),
        "softmax": lambda input, dim: tensor_only(input).softmax(dim),
        "argmax": lambda input, dim=None: tensor_only(input).argmax(dim),
        "topk": lambda input, k, dim=-1: tensor_only(input).topk(k, dim),
        "mean": lambda input, dim=None: tensor_only(input).mean(dim),
        "is_tensor": lambda x: isinstance(x, Tensor),
        "manual_seed": lambda seed: None,
        "set_grad_enabled": lambda mode: NoGrad(),
    }


def make_torch() -> dict[str, ModuleType]:
    """Return the stand-in's modules by name, ``torch`` the first."""
    functional = _module(
        "torch.nn.functional",
        cosine_similarity=cosine_similarity,
        softmax=lambda input, dim: tensor_only(input).softmax(dim),
    )
    nn = _module("torch.nn", functional=functional)
    data = _module("torch.utils.data", Dataset=Dataset)
    cuda = _module("torch.cuda", is_available=lambda: False, device_count=lambda: 0)
    torch = _module(
        "torch",
        **DTYPES,
        **_functions(),
        **{"half": DTYPES["float16"], "float": DTYPES["float32"], "long": DTYPES["int64"]},
        **{"dtype": dtype, "device": device, "Size": Size, "Tensor": Tensor},
        **{"no_grad": NoGrad, "inference_mode": NoGrad, "FloatTensor": Tensor, "__version__": "2.13.0"},
        **{"nn": nn, "cuda": cuda, "utils": _module("torch.utils", data=data)},
    )
    submodules = {"nn": nn, "nn.functional": functional, "cuda": cuda, "utils": torch.utils, "utils.data": data}
    return {"torch": torch, **{f"torch.{name}": module for name, module in submodules.items()}}
