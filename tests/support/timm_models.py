"""timm without torchvision, and weights that show mistakes: for the tests that have timm to ask."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest

#: Options of timm, and what says in npconv what no shape shows.
OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "overlap": ({"stem_type": "overlap"}, {}),
    "overlap_tiered": ({"stem_type": "overlap_tiered", "dims": (40, 12, 16, 20)}, {}),
    "overlap_act": ({"stem_type": "overlap_act", "act_layer": "silu"}, {"hidden_act": "silu"}),
    "norm first": ({"head_norm_first": True, "norm_eps": 1e-3}, {"norm_eps": 1e-3}),
    "hidden head": ({"head_hidden_size": 11, "act_layer": "relu"}, {"hidden_act": "relu"}),
    "hidden head, no classes": ({"head_hidden_size": 11, "num_classes": 0}, {}),
    "norm first, no classes": ({"head_norm_first": True, "num_classes": 0}, {}),
    "kernels": ({"kernel_sizes": (3, 5, 7, 9)}, {}),
    "RMS norm": ({"norm_layer": "rmsnorm2d", "norm_eps": 1e-2}, {"norm_eps": 1e-2, "norm_type": "rms_norm"}),
    "simple norm": (
        {"norm_layer": "simplenorm", "conv_mlp": True, "stem_type": "overlap_act", "head_norm_first": True},
        {"norm_type": "simple_norm"},
    ),
    "maximum": ({"global_pool": "max"}, {"pooling": "max"}),
    "average and maximum": ({"global_pool": "avgmax", "head_hidden_size": 11}, {"pooling": "avgmax"}),
    "both": ({"global_pool": "catavgmax", "head_norm_first": True}, {}),
    "both, told": ({"global_pool": "fastcatavgmax", "head_norm_first": True}, {"pooling": "catavgmax"}),
    "stride 16": ({"output_stride": 16}, {"output_stride": 16}),
    "stride 8": ({"output_stride": 8, "kernel_sizes": (7, 5, 3, 9)}, {"output_stride": 8}),
    "stride 8 of patches of 16": ({"output_stride": 8, "patch_size": 16}, {"output_stride": 8}),
    "stride 8, RMS norm": (
        {"output_stride": 8, "stem_type": "overlap", "norm_layer": "rmsnorm"},
        {"output_stride": 8, "norm_type": "rms_norm"},
    ),
    "quick GELU": ({"act_layer": "quick_gelu", "conv_mlp": True}, {"hidden_act": "quick_gelu"}),
    "all": (
        {
            "stem_type": "overlap",
            "head_norm_first": True,
            "kernel_sizes": 5,
            "norm_eps": 1e-2,
            "act_layer": "gelu_tanh",
        },
        {"norm_eps": 1e-2, "hidden_act": "gelu_new"},
    ),
}


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
