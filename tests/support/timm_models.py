"""timm without torchvision, and weights that show mistakes: for the tests that have timm to ask."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest


class _Anything(type):
    """Classes that have every attribute, as an enumeration or a base class may be asked for."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _EmptyModule(ModuleType):
    """A module in which every name is a class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _EmptyTorchvision:
    """Finds every module of torchvision, as an empty one."""

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if _is_torchvision(name) else None

    def create_module(self, spec):
        return _EmptyModule(spec.name)

    def exec_module(self, module):
        pass


def _is_torchvision(name: str) -> bool:
    return name.partition(".")[0] == "torchvision"


def import_timm() -> Any:
    """Return timm; where torchvision is not installed, with an empty one, of which these models use nothing."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    if importlib.util.find_spec("torchvision") is not None:
        return importlib.import_module("timm")
    finder = _EmptyTorchvision()
    sys.meta_path.append(finder)
    try:
        return importlib.import_module("timm")
    finally:  # nothing else must take it for the real one
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _is_torchvision(name)]:
            del sys.modules[name]


def randomize(torch: Any, model: Any) -> Any:
    """Give every tensor values that show a mistake: norms and scales near 1, not 0 or 1."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point():
                fan = tensor[0].numel() if tensor.ndim > 1 else 1
                tensor.normal_(0, fan**-0.5 if tensor.ndim > 1 else 0.3)
                if tensor.ndim == 1 and name.endswith("weight"):
                    tensor.add_(1)
    return model.double().eval()
