"""The ConvNeXt of DINOv3 as a plan: ``npconv/models/dinov3_convnext/model.py``, a name for every array.

Each name is that of the module of the Hugging Face model that gives the array out, without the ``model.`` that stands
before it there, which is another name of the step. These are no modules:

- ``BLOCK.layer_scale``, with BLOCK for ``stages.I.layers.J``: after its multiplication;
- ``BLOCK.drop_path.mask``, in training: what each sample is multiplied by;
- ``positions``, ``tokens``: the positions of the last map, with its mean before them.

Maps are channels first here. In the Hugging Face model, the modules of a block from ``layer_norm`` to
``pointwise_conv2`` have the channels last.
"""

from __future__ import annotations

from typing import Any

from npconv.models.dinov3_convnext.configuration import DINOv3ConvNextConfig
from npconv.models.dinov3_convnext.model import PATCH_SIZE
from npconv.plan.step import Plan
from npconv.plan.writing import AFFINE, Steps


def add(steps: Steps, name: str, operation: str, *inputs: str, **more: Any) -> str:
    """Add what a module does."""
    return steps.add(name, operation, *inputs, aliases=[f"model.{name}"], **more)


def layer(steps: Steps, name: str, x: str, rate: float, config: DINOv3ConvNextConfig) -> str:
    """One block."""
    residual = x
    x = add(steps, f"{name}.depthwise_conv", "depthwise_conv2d", x, params=AFFINE, stride=1, padding=3)
    x = add(steps, f"{name}.layer_norm", "layer_norm", x, params=AFFINE, eps=config.layer_norm_eps, axis=1)
    x = add(steps, f"{name}.pointwise_conv1", "pointwise_conv2d", x, params=AFFINE)
    x = add(steps, f"{name}.activation_fn", "activation", x, hidden_act=config.hidden_act)
    x = add(steps, f"{name}.pointwise_conv2", "pointwise_conv2d", x, params=AFFINE)
    gamma = {"layer_scale_parameter": "gamma"}
    x = steps.add(f"{name}.layer_scale", "layer_scale", x, params=gamma, of=name)
    x = steps.drop(f"{name}.drop_path", "drop_path", x, rate)
    steps.also(x, f"model.{name}.drop_path")
    return add(steps, name, "residual", residual, x)


def downsample(steps: Steps, stage: str, x: str, config: DINOv3ConvNextConfig, *, is_first: bool) -> str:
    """Cut the picture into patches, or halve the map: a convolution, and a norm after or before it."""
    eps, place = config.layer_norm_eps, f"{stage}.downsample_layers"
    if is_first:
        x = add(steps, f"{place}.0", "conv2d", x, params=AFFINE, stride=PATCH_SIZE, padding=0)
        return add(steps, f"{place}.1", "layer_norm", x, params=AFFINE, eps=eps, axis=1)
    x = add(steps, f"{place}.0", "layer_norm", x, params=AFFINE, eps=eps, axis=1)
    return add(steps, f"{place}.1", "conv2d", x, params=AFFINE, stride=2, padding=0)


def encode(steps: Steps, config: DINOv3ConvNextConfig) -> list[str]:
    """Run all stages; return the picture and each stage's map."""
    hidden_states = ["pixel_values"]
    for i, rates in enumerate(config.drop_path_rates()):
        stage = f"stages.{i}"
        x = downsample(steps, stage, hidden_states[-1], config, is_first=i == 0)
        for j, rate in enumerate(rates):
            x = layer(steps, f"{stage}.layers.{j}", x, rate, config)
        steps.also(x, stage, f"model.{stage}")
        hidden_states.append(x)
    steps.also(hidden_states[-1], "model")
    return hidden_states


def model(config: DINOv3ConvNextConfig, *, training: bool) -> Plan:
    """Return the plan of the bare model."""
    steps = Steps(training)
    hidden_states = encode(steps, config)
    last = hidden_states[-1]
    mean = steps.add("pool", "global_average_pool", last, layout="NC")
    positions = steps.add("positions", "map_tokens", last, layout="NTD")
    x = steps.add("tokens", "join_class_token", mean, positions, layout="NTD")
    x = steps.add("layer_norm", "layer_norm", x, params=AFFINE, eps=config.layer_norm_eps, axis=-1)
    return steps.plan([x], hidden_states)


def backbone(config: DINOv3ConvNextConfig, *, training: bool) -> Plan:
    """Return the plan of the backbone."""
    steps = Steps(training)
    hidden_states = encode(steps, config)
    named = dict(zip(config.stage_names, hidden_states, strict=True))
    return steps.plan([named[name] for name in config.out_features], hidden_states)
