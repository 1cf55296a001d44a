"""Traces of small random models for the tests of comparing: the truth, a port in float32, and ports with mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from npconv import ConvNextV2Config, ConvNextV2ForImageClassification, CvtConfig, CvtForImageClassification
from npconv.golden.mistakes.catalogue import Mistake
from npconv.golden.trace_file import Trace
from npconv.golden.tracing import hash_array
from npconv.layers import gelu_tanh
from npconv.models.plans import make_plan
from npconv.plan.run import run_plan
from npconv.plan.step import Plan, Step

P = "convnextv2."
BLOCK = f"{P}encoder.stages.1.layers.0"


def tanh(x: Any, *, hidden_act: str) -> Any:
    """The tanh form of GELU."""
    return gelu_tanh(x)


def sum_for_mean(strength: Any, *, eps: float) -> Any:
    """GRN divided by the sum over channels."""
    return strength / (strength.sum(axis=1, keepdims=True) + eps)


TANH = Mistake("gelu-tanh", "tanh GELU", "activation", tanh, "candle#900")
SUM = Mistake("grn-sum", "the sum of the channels for their mean", "grn_relative", sum_for_mean, "ConvNeXt-V2#14")


@cache
def small(family: str) -> Any:
    """A random classifier of two stages in which no parameter is 0 or 1."""
    if family == "cvt":
        sizes = {"embed_dim": [6, 8], "num_heads": [1, 2], "depth": [1, 2], "mlp_ratio": [2.0, 2.0]}
        convs = {"patch_sizes": [7, 3], "patch_stride": [4, 2], "patch_padding": [2, 1], "cls_token": [False, True]}
        pairs = {name: [value, value] for name, value in PAIRED.items()}
        model: Any = CvtForImageClassification(CvtConfig(**sizes, **convs, **pairs, initializer_range=0.5), seed=3)
    else:
        sizes = {"num_stages": 2, "hidden_sizes": [6, 10], "depths": [1, 2]}
        model = ConvNextV2ForImageClassification(ConvNextV2Config(**sizes, initializer_range=0.5, num_labels=5), seed=3)
    rng = np.random.default_rng(5)
    params = {
        name: value * rng.uniform(0.6, 1.4, value.shape).astype(np.float32)
        + (0 if name.endswith("running_var") else rng.normal(0, 0.1, value.shape).astype(np.float32))
        if value.dtype.kind == "f"
        else value
        for name, value in model.state_dict().items()
    }
    return type(model)(model.config, params)


PAIRED = {
    "attention_drop_rate": 0.0,
    "drop_rate": 0.0,
    "drop_path_rate": 0.0,
    "qkv_bias": True,
    "qkv_projection_method": "dw_bn",
    "kernel_qkv": 3,
    "padding_kv": 1,
    "stride_kv": 2,
    "padding_q": 1,
    "stride_q": 1,
}


def pixels(family: str) -> np.ndarray:
    """Two small pictures that are not square."""
    height, width = (32, 48) if family == "cvt" else (40, 56)
    return np.random.default_rng(7).normal(size=(2, 3, height, width)).astype(np.float32)


def run(
    family: str = "convnextv2",
    dtype: str = "float32",
    function_of: Callable[[Step], Callable[..., Any]] | None = None,
    change: Callable[[Step, np.ndarray], np.ndarray] | None = None,
    only: set[str] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of a model, run step by step; `change` alters a result, and what follows is of the altered one."""
    model = small(family)
    plan = make_plan(model.config, "image_classification")
    params = {
        name: value.astype(dtype) if value.dtype.kind == "f" else value for name, value in model.state_dict().items()
    }
    arrays = {"pixel_values": pixels(family).astype(dtype)}
    if change is None:
        found = {step.name: array for step, array in run_plan(plan, arrays, params, function_of)}
    else:
        for step in plan:
            [(_, made)] = run_plan(plan, arrays, params, function_of, only=[step.name])
            arrays[step.name] = change(step, made)
        found = dict(arrays)
    found = {"pixel_values": arrays["pixel_values"], **found}
    return {name: array for name, array in found.items() if only is None or name in only}


def make_trace(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any] | None = None, params: Any = None) -> Trace:
    """A trace of arrays."""
    trace = Trace(about, params)
    for name, array in arrays.items():
        trace.add(name, array)
    return trace


@cache
def golden(family: str = "convnextv2") -> Trace:
    """The truth in float64, with steps, weights and the noise of float32."""
    model = small(family)
    plan: Plan = make_plan(model.config, "image_classification")
    truth, single = run(family, "float64"), run(family)
    noise = {name: {"explicit": float(np.abs(single[name] - truth[name]).max())} for name in truth}
    about = {
        "family": family,
        "dtype": "float64",
        "input": hash_array(pixels(family)),
        "noise": noise,
        "steps": json.loads(json.dumps(plan.to_json())),
        "layouts": {"pixel_values": "NCHW", **{step.name: step.layout for step in plan}},
        "aliases": {alias: step.name for step in plan for alias in step.aliases},
    }
    return make_trace(truth, about, model.state_dict())


def port(family: str = "convnextv2", mistake: Mistake | None = None, only: set[str] | None = None) -> Trace:
    """A port in float32 that makes a mistake wherever it can, and says nothing of itself but its input."""
    plan = make_plan(small(family).config, "image_classification")
    from npconv.plan.operations import OPERATIONS

    def function_of(step: Step) -> Callable[..., Any]:
        wrong = mistake is not None and mistake.at(step, plan) is not None
        return mistake.function if wrong and mistake else OPERATIONS[step.operation]

    return make_trace(run(family, "float32", function_of, only=only), {"input": hash_array(pixels(family))})
