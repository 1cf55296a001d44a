"""Correct ports that fold something into other weights, or record it elsewhere: edits of a `Port`.

Each changes the port and returns the kind of island that every wrong array must be of, by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from npconv.golden.trace_file import PIXELS
from npconv.plan.step import Step
from tests.golden.unlisted.port import Port, single

Fold = Callable[[Port], dict[str, str]]

LINEAR = ("pointwise_conv2d", "linear", "conv2d")


def takers(port: Port, name: str) -> list[Step]:
    """The steps that take an array."""
    return [step for step in port.steps.values() if name in step.inputs]


def of(port: Port, operation: str) -> list[Step]:
    """The steps of an operation."""
    return [step for step in port.steps.values() if step.operation == operation]


def into(port: Port, step: Step, factor: np.ndarray, offset: np.ndarray) -> None:
    """Let a linear step without padding take x where its array was `factor` x + `offset`, a number for each channel."""
    weight, bias = step.params["weight"], step.params["bias"]
    w = port.params[weight].astype(np.float64)
    columns = (1, -1) + (1,) * (w.ndim - 2)
    shift = (w * offset.reshape(columns)).reshape(len(w), -1).sum(axis=1)
    port.params[weight] = single((w * factor.reshape(columns)).astype(np.float32))
    port.params[bias] = single((port.params[bias] + shift).astype(np.float32))


def layer_norm(port: Port) -> dict[str, str]:
    """LayerNorm's weight and bias are in the weights after it."""
    kinds = {}
    for step in of(port, "layer_norm"):
        after = takers(port, step.name)
        if [s.operation in LINEAR and not s.attributes.get("padding") for s in after] == [True]:
            weight, bias = (port.params[step.params[name]] for name in ("weight", "bias"))
            into(port, after[0], weight, bias)
            port.params[step.params["weight"]], port.params[step.params["bias"]] = weight * 0 + 1, bias * 0
            kinds[step.name] = "folded"
    return kinds


def layer_scale(port: Port) -> dict[str, str]:
    """The layer scale is in the weights before it."""
    kinds = {}
    for step in of(port, "layer_scale"):
        before = port.steps[step.inputs[0]]
        scale = port.params[step.params["layer_scale_parameter"]]
        for name in before.params.values():
            port.params[name] = port.params[name] * scale.reshape(-1, *[1] * (port.params[name].ndim - 1))
        port.params[step.params["layer_scale_parameter"]] = scale * 0 + 1
        kinds[before.name] = "folded"
    return kinds


def batch_norm(port: Port) -> dict[str, str]:
    """The batch norm is in the depthwise convolution before it."""
    kinds = {}
    for step in of(port, "batch_norm"):
        before = port.steps[step.inputs[0]]
        own = {name: port.params[full].astype(np.float64) for name, full in step.params.items()}
        scale = own["weight"] / np.sqrt(own["running_var"] + step.attributes["eps"])
        weight = before.params["weight"]
        port.params[weight] = (port.params[weight] * scale.reshape(-1, 1, 1, 1)).astype(np.float32)
        port.params[f"{weight}.folded_bias"] = (own["bias"] - own["running_mean"] * scale).astype(np.float32)
        params = {**before.params, "bias": f"{weight}.folded_bias"}
        port.steps[before.name] = replace(before, params=params)
        port.steps[step.name] = replace(step, params={}, attributes={})
        port.functions[step.name] = lambda x: x
        kinds[before.name] = "folded"
    return kinds


def attention_scale(port: Port) -> dict[str, str]:
    """The scale of the scores is in the query's projection."""
    kinds = {}
    for step in of(port, "attention_scores"):
        query = port.steps[step.inputs[0]]
        for name in query.params.values():
            port.params[name] = port.params[name] * np.float32(step.attributes["scale"])
        port.steps[step.name] = replace(step, attributes={**step.attributes, "scale": 1.0})
        kinds[query.name] = "factor"
    return kinds


def response_bias(port: Port) -> dict[str, str]:
    """GRN's bias is in that of the weights after it."""
    kinds = {}
    for step in of(port, "grn_apply"):
        [after] = takers(port, step.name)
        bias = port.params[step.params["bias"]]
        into(port, after, np.ones(bias.size), bias.ravel())
        port.params[step.params["bias"]] = bias * 0
        kinds[step.name] = "folded"
    return kinds


def pixels(port: Port) -> dict[str, str]:
    """The first convolution takes pictures that are not normalized."""
    std, mean = np.array([0.229, 0.224, 0.225]), np.array([0.485, 0.456, 0.406])
    for step in takers(port, PIXELS):
        if "weight" in step.params:
            into(port, step, 1 / std, -mean / std)
    return {PIXELS: "channels"}


def not_normalized(start: np.ndarray) -> np.ndarray:
    """The pixel values that :func:`pixels` takes."""
    std, mean = (np.array(n).reshape(1, 3, 1, 1) for n in ([0.229, 0.224, 0.225], [0.485, 0.456, 0.406]))
    return (start * std + mean).astype(np.float32)


def recorded_before(port: Port) -> dict[str, str]:
    """A hook gives out what activations take."""
    return {step.name: "elsewhere" for step in of(port, "activation")}


def recorded_after(port: Port) -> dict[str, str]:
    """The activation is computed in one piece with the weights before it, and recorded as these."""
    return {step.inputs[0]: "elsewhere" for step in of(port, "activation")}


#: Each, and the families that have what it folds.
CONVNEXT = ("convnext", "convnextv2", "dinov3_convnext")
FOLDS: dict[str, tuple[Fold, tuple[str, ...]]] = {
    "LayerNorm in the weights after it": (layer_norm, (*CONVNEXT, "cvt")),
    "layer scale in the weights before it": (layer_scale, ("convnext", "dinov3_convnext")),
    "batch norm in the convolution before it": (batch_norm, ("cvt",)),
    "attention scale in the query": (attention_scale, ("cvt",)),
    "the bias of GRN in the weights after it": (response_bias, ("convnextv2",)),
    "normalization in the stem": (pixels, CONVNEXT),
    "activation recorded before": (recorded_before, (*CONVNEXT, "cvt")),
    "activation recorded after": (recorded_after, (*CONVNEXT, "cvt")),
}
