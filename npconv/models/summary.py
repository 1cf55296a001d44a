"""What a model is made of, layer by layer: output shapes, parameters and multiply-adds, without any array.

The table is the plan of the model with the rules of ``npconv/plan/shapes.py`` and ``costs.py``: a row for each layer of
the papers. The steps that a layer is cut into make one row, and steps without parameters that only lay numbers out
otherwise or add them make none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from npconv.errors import InputError
from npconv.layers.letters import Shape
from npconv.models import PretrainedConfig, family_of
from npconv.models.parameters import count_parameters
from npconv.plan.costs import multiply_adds
from npconv.plan.shapes import as_pair, result_shapes
from npconv.plan.step import Plan, Step


class LayerRow(NamedTuple):
    """One layer of a model, for one picture."""

    #: The path of the module, as in a checkpoint: ``"convnext.encoder.stages.0.layers.2.dwconv"``. What is no module is
    #: called by its function, after the module it is in.
    name: str
    #: ``"depthwise 7x7"``.
    kind: str
    #: What the kind leaves open: ``"eps 1e-06"``, ``"stride 2"``, ``"gelu"``; may be empty.
    setting: str
    #: Of a map (C, H, W), of tokens (T, D), of pooled features or logits (C,).
    output_shape: tuple[int, ...]
    #: Trained ones; stored batch-norm statistics do not count.
    parameters: int
    #: As ``npconv/plan/costs.py`` counts them.
    multiply_adds: int


#: The steps that a layer is cut into, by the operation of the last one.
PARTS = {"grn_apply": ("grn_strength", "grn_relative"), "attention_context": ("attention_scores", "softmax")}

#: What each operation that makes a row is called there.
KINDS = {
    "conv2d": "conv {kernel}",
    "depthwise_conv2d": "depthwise {kernel}",
    "pointwise_conv2d": "conv 1x1",
    "linear": "linear",
    "layer_norm": "layer norm",
    "rms_norm": "RMS norm",
    "simple_norm": "simple norm",
    "batch_norm": "batch norm",
    "grn_apply": "response norm",
    "activation": "activation",
    "layer_scale": "layer scale",
    "tokens": "class token",
    "attention_context": "attention",
    "average_pool2d": "average {kernel}",
    "global_average_pool": "average",
    "global_max_pool": "maximum",
    "halfway": "mean of both",
    "join_features": "both joined",
    "token_mean": "average",
}

#: Functions that are no modules: what their row is called, and how they work.
FUNCTIONS = {
    "global_average_pool": ("global_average_pool", "over H and W"),
    "global_max_pool": ("global_max_pool", "over H and W"),
    "halfway": ("halfway", "average and maximum"),
    "join_features": ("join_features", "average and maximum"),
    "token_mean": ("mean", "over T"),
}


def layer_table(config: PretrainedConfig, height: int, width: int) -> list[LayerRow]:
    """Return the layers of a model in the order in which a picture of so many pixels passes them.

    The model is its classifier, or its bare model if it has no classifier.

    Raises
    ------
    ConfigError
        If the configuration is of no family.
    InputError
        If the model cannot run on a picture of this size, or at all.
    """
    if height < 1 or width < 1:
        raise InputError(f"expected a picture of at least 1 x 1 pixels, got {height} x {width}")
    family = family_of(config)
    params: dict[str, Shape] = getattr(family.part("model"), f"{family.main_task}_shapes")(config)
    plan: Plan = getattr(family.part("plan"), family.main_task)(config, training=False)
    shapes = result_shapes(plan, (1, config.num_channels, height, width), params)
    rows = []
    for step in plan:
        if not _makes_a_row(step, plan):
            continue
        parts = _parts_of(step, plan)
        weights = {full: params[full] for part in parts for full in part.params.values()}
        kernel = next(iter(weights.values()))[2:] if weights else as_pair(step.attributes.get("kernel_size", 0))
        kind = KINDS[step.operation].format(kernel="x".join(map(str, kernel)))
        setting = _setting(step, {name: value for part in parts for name, value in part.attributes.items()}, shapes)
        costs = sum(multiply_adds(part, shapes, params) for part in parts)
        rows.append(LayerRow(_name(step), kind, setting, shapes[step.name][1:], count_parameters(weights), costs))
    return rows


def _makes_a_row(step: Step, plan: Plan) -> bool:
    """Tell whether a step is a layer, or the last part of one."""
    if step.operation == "tokens":
        return bool(step.params)  # a class token
    if step.operation == "token_mean":
        source = plan[step.inputs[0]]
        source = plan[source.inputs[0]] if source.operation == "layer_norm" else source
        return source.operation != "class_token"  # which is its own mean
    return step.operation in KINDS


def _parts_of(step: Step, plan: Plan) -> list[Step]:
    """Return the steps that a layer was cut into, of which this is the last."""
    parts, sought = [step], PARTS.get(step.operation, ())
    for part in parts if sought else ():
        parts += [plan[name] for name in part.inputs if plan[name].operation in sought]
    return parts


def _name(step: Step) -> str:
    """Return the path of the module, or of the parameter, or of the function if there is neither."""
    if step.operation in FUNCTIONS:
        module, _, _ = step.name.rpartition(".")
        return f"{module}.{FUNCTIONS[step.operation][0]}".removeprefix(".")
    if not step.params:
        return step.name
    first = next(iter(step.params.values()))
    return first.removesuffix(".weight")


def _setting(step: Step, settings: Mapping[str, Any], shapes: Mapping[str, Shape]) -> str:
    """Return in words what the kind of a layer leaves open."""
    if step.operation in FUNCTIONS:
        return FUNCTIONS[step.operation][1]
    if "eps" in settings:
        return f"eps {settings['eps']:g}"
    if "hidden_act" in settings:
        return _name_of(settings["hidden_act"])
    if "num_heads" in settings:
        width = shapes[step.name][-1]
        is_usual = settings["scale"] == width**-0.5
        return f"heads {settings['num_heads']} scale {f'{width}**-0.5' if is_usual else settings['scale']}"
    if "stride" in settings:
        stride, padding = as_pair(settings["stride"]), settings["padding"]
        words = f"stride {stride[0]}" if stride[0] == stride[1] else f"stride {stride[0]}x{stride[1]}"
        dilation = settings.get("dilation", 1)
        said = ((words, stride != (1, 1)), (f"padding {padding}", padding > 0), (f"dilation {dilation}", dilation > 1))
        return " ".join(text for text, is_unusual in said if is_unusual)
    return "prepended" if step.operation == "tokens" else ""


def _name_of(hidden_act: Any) -> str:
    """Return what to call an activation, given by name or as a function."""
    return hidden_act if isinstance(hidden_act, str) else getattr(hidden_act, "__name__", type(hidden_act).__name__)
