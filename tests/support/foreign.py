"""Stand-ins for the tensors of other libraries, as strict as these are, for tests where none is installed."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest


class TorchTensor:
    """A tensor of torch: NumPy takes it from the CPU only, untracked, and not in bfloat16."""

    __module__ = "torch"

    def __init__(self, array: Any, *, device="cpu", requires_grad=False, dtype=None) -> None:
        self.array, self.device, self.requires_grad = np.asarray(array), device, requires_grad
        self.dtype = f"torch.{self.array.dtype}" if dtype is None else dtype
        self.shape = self.array.shape

    def _as(self, **changed: Any) -> TorchTensor:
        now = {"device": self.device, "requires_grad": self.requires_grad, "dtype": self.dtype, **changed}
        return TorchTensor(self.array, **now)

    def detach(self) -> TorchTensor:
        return self._as(requires_grad=False)

    def cpu(self) -> TorchTensor:
        return self._as(device="cpu")

    def float(self) -> TorchTensor:
        return self._as(dtype="torch.float32")

    def is_floating_point(self) -> bool:
        return "float" in self.dtype

    def numpy(self) -> np.ndarray:
        if (self.device, self.requires_grad) != ("cpu", False) or self.dtype == "torch.bfloat16":
            raise TypeError(f"can't convert a tensor on {self.device} in {self.dtype} to numpy")
        return self.array

    def to(self, device=None, dtype=None, non_blocking=False) -> TorchTensor:
        if device not in (None, "cpu", 0):
            raise RuntimeError(f"Invalid device string: {device!r}\nand more")
        changed = {} if dtype is None else {"dtype": dtype}
        return self._as(device=self.device if device is None else device, **changed)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("torch refuses where numpy() does; npconv asks numpy()")


class OfSubclass(TorchTensor):
    """A tensor of a library on top of torch."""

    __module__ = "vision.tensors"


class JaxArray:
    """An array of JAX, which gives itself to NumPy."""

    __module__ = "jaxlib._jax"

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return self.array


class Traced(JaxArray):
    """An array without values, while JAX traces a function."""

    __module__ = "jax._src.interpreters"

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("the array conversion was called on a traced array\nSee the documentation")


def make_torch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Put a module in the place of torch and return it."""
    torch = ModuleType("torch")
    torch.from_numpy = TorchTensor
    torch.float16, torch.float32, torch.bfloat16 = "torch.float16", "torch.float32", "torch.bfloat16"
    monkeypatch.setitem(sys.modules, "torch", torch)
    return torch
