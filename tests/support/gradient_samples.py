"""Golden traces with gradients of small random models, and ports of them in float32, right and with mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from npconv.golden.trace_file import Trace
from npconv.golden.truth import record
from npconv.plan.gradient_steps import is_gradient, is_share
from npconv.plan.operations import OPERATIONS
from npconv.plan.run import run_plan
from npconv.plan.step import Step
from support.compare_samples import pixels, small

LABELS = [1, 0]

#: How names end that no module of a port has.
NO_MODULES = (
    *(".strength", ".relative", ".pooled", "tokens", ".query", ".key", ".value", ".scores", ".map", ".class_token"),
    *(".attention_residual", "loss"),
)


@cache
def golden(family: str = "convnextv2") -> Trace:
    """Return the golden trace of a classifier, with gradients."""
    return record(small(family), pixels(family), gradients=True, labels=LABELS)


def of_modules(name: str) -> bool:
    """Tell whether a port that records what its modules give out, and the gradients of that, has a tensor."""
    return not name.removesuffix(".grad").endswith(NO_MODULES)


def of_parameters(name: str) -> bool:
    """Tell whether a tensor is one of the gradients of parameters."""
    return is_gradient(name) and name.removesuffix(".grad") in golden().params


def forwards(name: str) -> bool:
    """Tell whether a tensor is none of the gradients."""
    return not is_gradient(name)


def port(
    family: str = "convnextv2",
    wrong: Mapping[str, Callable[..., Any]] | None = None,
    keep: Callable[[str], bool] = of_modules,
) -> dict[str, np.ndarray]:
    """Return what a port in float32 records; `wrong` are what it does in the place of operations or of single steps."""
    trace, given = golden(family), wrong or {}
    plan = trace.plan
    assert plan is not None
    params = {name: np.asarray(array, np.float32) for name, array in trace.params.items() if array.dtype.kind == "f"}
    start = {name: _single(array) for name, array in trace.items() if name not in plan}

    def function_of(step: Step) -> Callable[..., Any]:
        return given.get(step.name) or given.get(step.operation) or OPERATIONS[step.operation]

    mine = {"pixel_values": start["pixel_values"]}
    for step, array in run_plan(plan, start, params, function_of):
        if keep(step.name) and not is_share(step.name):
            mine[step.name] = array
    return mine


def _single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def layer_norm_without_means(grad_y: Any, x: Any, *, wrt: str, **settings: Any) -> Any:
    """The gradient of LayerNorm as if its mean and variance were given numbers."""
    if wrt != "x":
        return OPERATIONS["layer_norm_backward"](grad_y, x, wrt=wrt, **settings)
    axis, weight = settings["axis"], settings["weight"]
    shape = [-1 if place == axis % x.ndim else 1 for place in range(x.ndim)]
    return grad_y * weight.reshape(shape) / np.sqrt(x.var(axis=axis, keepdims=True) + np.float32(settings["eps"]))


def summed_loss(grad_y: Any, logits: Any, labels: Any, **settings: Any) -> Any:
    """The gradient of a loss that is summed over the pictures."""
    return OPERATIONS["cross_entropy_backward"](grad_y * np.float32(len(logits)), logits, labels, **settings)
