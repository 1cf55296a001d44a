"""Whole layers, blocks and models made of operations, as plans whose inputs are called ``input.0``, ``input.1``.

A case of one of these has more parts than one operation, so that mistakes in how the parts are put together show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from npconv.golden.trace_file import PIXELS
from npconv.models import find_family
from npconv.models.plans import make_plan
from npconv.plan.gradient_steps import GRAD, with_gradients
from npconv.plan.operations_backward import rule_of
from npconv.plan.run import needed_steps
from npconv.plan.step import Plan, Step

#: The families that there are cases of.
FAMILIES = ("convnext", "convnextv2", "cvt")

#: How the names of steps in the first block of a model go on, and the smallest ConvNeXt with one.
FIRST_BLOCK = ".layers.0."
ONE_BLOCK = {"num_stages": 1, "hidden_sizes": [4], "depths": [1]}


def cut(plan: Plan, root: str) -> Plan:
    """Return the part of a plan below a name, with names relative to that, its last step called ``output``."""
    inside = [step for step in plan if step.name == root or step.name.startswith(f"{root}.")]
    names = {step.name: step.name.removeprefix(f"{root}.") for step in inside}
    names[inside[-1].name] = "output"
    for name in (name for step in inside for name in step.inputs):
        if name not in names:
            outside = sum(value.startswith("input.") for value in names.values())
            names[name] = f"input.{outside}"
    steps = [
        replace(
            step,
            name=names[step.name],
            inputs=tuple(names[name] for name in step.inputs),
            params={argument: full.removeprefix(f"{root}.") for argument, full in step.params.items()},
            aliases=(),
        )
        for step in inside
    ]
    return Plan(tuple(steps), ("output",))


def global_response_norm(*, eps: float) -> Plan:
    """GRN of a map (N, C, H, W), with ``weight`` and ``bias``."""
    params = {"weight": "weight", "bias": "bias"}
    steps = (
        Step("strength", "grn_strength", ("input.0",), layout="NCHW"),
        Step("relative", "grn_relative", ("strength",), attributes={"eps": eps}, layout="NCHW"),
        Step("output", "grn_apply", ("input.0", "relative"), params, layout="NCHW"),
    )
    return Plan(steps, ("output",))


def attention(*, num_heads: int, scale: float) -> Plan:
    """Attention of queries (N, T, D) over keys and values (N, S, D), as ``npconv.layers.attention``."""
    heads = {"num_heads": num_heads, "scale": scale}
    steps = (
        Step("scores", "attention_scores", ("input.0", "input.1"), attributes=heads, layout="NhTS"),
        Step("probabilities", "softmax", ("scores",), attributes={"axis": -1}, layout="NhTS"),
        Step("output", "attention_context", ("probabilities", "input.2"), layout="NTD"),
    )
    return Plan(steps, ("output",))


def block(model_type: str) -> Callable[..., Plan]:
    """Return what makes the plan of the first block of a family, from fields of its configuration.

    ConvNeXt and V2 are given ``hidden_act`` alone: every eps is 1e-6, kernel 7, padding 3. CvT, whose block works on
    tokens (N, T, D), is given a whole ``config``; of its ``input.1``, the stage's map, height and width alone matter.
    """

    def make(*, config: Mapping[str, Any] = ONE_BLOCK, **fields: Any) -> Plan:
        plan = make_plan(find_family(model_type).config_class(**config, **fields), "model")
        within = next(step.name for step in plan if FIRST_BLOCK in step.name)
        return cut(plan, within[: within.index(FIRST_BLOCK)] + FIRST_BLOCK.rstrip("."))

    return make


def preprocess(
    *, height: int, width: int, resample: int, crop_height: int, crop_width: int, factor: float, mean: Any, std: Any
) -> Plan:
    """Return a uint8 picture (C, H, W) resized to height x width, cropped, rescaled and normalized."""
    size = {"height": height, "width": width, "resample": resample}
    crop = {"height": crop_height, "width": crop_width}
    steps = (
        Step("resized", "resize", ("input.0",), attributes=size, layout="CHW"),
        Step("cropped", "center_crop", ("resized",), attributes=crop, layout="CHW"),
        Step("rescaled", "rescale", ("cropped",), attributes={"factor": factor}, layout="CHW"),
        Step("output", "normalize", ("rescaled",), attributes={"mean": mean, "std": std}, layout="CHW"),
    )
    return Plan(steps, ("output",))


def classifier(model_type: str) -> Callable[..., Plan]:
    """Return what makes the plan of a whole image classifier of a family from its configuration."""

    def make(*, config: Mapping[str, Any]) -> Plan:
        plan = make_plan(find_family(model_type).config_class(**config), "image_classification")
        return replace(plan, steps=tuple(_taking(step, {PIXELS: "input.0"}) for step in plan))

    return make


#: What makes the plan of each from the attributes of a case.
BLOCKS: dict[str, Callable[..., Plan]] = {
    "global_response_norm": global_response_norm,
    "attention": attention,
    "preprocess": preprocess,
    **{f"{model_type}_block": block(model_type) for model_type in FAMILIES},
    **{f"{model_type}_classifier": classifier(model_type) for model_type in FAMILIES},
}

#: Of those that there are gradients of, the names of their inputs.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "global_response_norm": ("x",),
    "attention": ("query", "key", "value"),
    "convnext_block": ("x",),
    "convnextv2_block": ("x",),
    "cvt_block": ("x", "like"),
}

#: How the operation of a gradient's case ends, and the attribute that names the argument it is the gradient of.
BACKWARD, WRT = "_backward", "wrt"

#: Letters of a result's axes, by how many there are; and the operations that give out a picture (C, H, W).
LAYOUTS = {2: "NC", 3: "NTD", 4: "NCHW"}
PICTURES = ("resize", "center_crop", "rescale", "normalize")


def case_plan(operation: str, inputs: int, params: Mapping[str, Any], attributes: Mapping[str, Any], ndim: int) -> Plan:
    """Return the plan of one case, its result of `ndim` axes: that of a block, or of an operation by itself."""
    if operation.endswith(BACKWARD):
        forward, others = operation.removesuffix(BACKWARD), {**attributes}
        wrt = others.pop(WRT)
        plan = case_plan(forward, inputs - 1, params, others, ndim)
        return gradient(plan, arguments_of(forward)[: inputs - 1], wrt, ndim)
    if operation in BLOCKS:
        return BLOCKS[operation](**attributes)
    names = tuple(f"input.{i}" for i in range(inputs))
    layout = "CHW" if operation in PICTURES else LAYOUTS.get(ndim, "")
    step = Step("output", operation, names, {name: name for name in params}, attributes, layout)
    return Plan((step,), ("output",))


def arguments_of(operation: str) -> tuple[str, ...]:
    """Return the names of the inputs of an operation or block that has gradients; parameters come after them."""
    rule = rule_of(operation)
    return rule.inputs if rule else ARGUMENTS[operation]


def gradient(plan: Plan, arguments: Sequence[str], wrt: str, ndim: int) -> Plan:
    """Return the plan of a gradient of a plan's result, of `ndim` axes.

    The upstream gradient is ``input.0``, and the inputs of the plan, called by `arguments`, come after it. `wrt` is one
    of these, or a parameter.
    """
    later = {f"input.{i}": f"input.{i + 1}" for i in range(len(arguments))}
    forward = replace(plan, steps=tuple(_taking(step, later) for step in plan))
    name = f"input.{arguments.index(wrt) + 1}" if wrt in arguments else wrt
    output, upstream = f"{name}{GRAD}", {f"{plan.outputs[0]}{GRAD}": "input.0"}
    whole = Plan(tuple(_taking(step, upstream) for step in with_gradients(forward, [name])))
    *before, last = needed_steps(whole, (), [output])
    layout = LAYOUTS.get(ndim, "") if wrt in arguments else ""
    return Plan((*before, replace(last, layout=layout)), (output,))


def _taking(step: Step, names: Mapping[str, str]) -> Step:
    """Return a step with other names for some of its inputs."""
    return replace(step, inputs=tuple(names.get(name, name) for name in step.inputs))
