"""How other libraries name the parameters of DINOv3's ConvNeXt, and what names and shapes say of its configuration.

In Facebook's and timm's names it looks like a ConvNeXt without a classifier. What tells them apart is the name of the
model, or in Facebook's files the last norm, which stands there a second time.

Sources: transformers (its files, its loaded models, its converter) and timm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from npconv.models.convnext import names as convnext
from npconv.models.naming import Reading, Rule, Shape, Table, both, by, count_blocks, shape_of

SIGN, PREFIX = "stages.", ""
WORDS = ("dinov3",)

BLOCK = "stages.{i}.layers.{j}"

#: What begins with the one in ConvNeXt begins with the other here. The longer one stands before what it begins with.
OURS = {
    convnext.STEM: "stages.0.downsample_layers.0",
    convnext.STEM_NORM: "stages.0.downsample_layers.1",
    convnext.DOWN_NORM: "stages.{n}.downsample_layers.0",
    convnext.DOWN: "stages.{n}.downsample_layers.1",
    f"{convnext.BLOCK}.dwconv": f"{BLOCK}.depthwise_conv",
    f"{convnext.BLOCK}.layernorm": f"{BLOCK}.layer_norm",
    f"{convnext.BLOCK}.pwconv1": f"{BLOCK}.pointwise_conv1",
    f"{convnext.BLOCK}.pwconv2": f"{BLOCK}.pointwise_conv2",
    f"{convnext.BLOCK}.layer_scale_parameter": f"{BLOCK}.gamma",
    convnext.HEAD_NORM: "layer_norm",
}


def renamed(ours: str) -> str | None:
    """Return our name of what ConvNeXt has under a name; None for what this family has not."""
    for theirs, here in OURS.items():
        if ours in (theirs, f"{theirs}.weight", f"{theirs}.bias"):
            return here + ours.removeprefix(theirs)
    return None


def _without_head(table: Table, **changes: Any) -> Table:
    """Return a table of ConvNeXt for the parameters of this family."""
    rules = tuple(replace(rule, ours=ours) for rule in table.rules if (ours := renamed(rule.ours)) is not None)
    numbers = {"hidden_act": "gelu", "layer_norm_eps": 1e-6}
    return replace(table, rules=rules, numbers=numbers, exceptions=(), follows={}, **changes)


#: In a loaded model, ``model.`` stands before all but the last norm.
HUGGING_FACE = Table(
    name="huggingface",
    first="{p}{model}stages.0.downsample_layers.0.weight",
    rules=(
        *both("{p}{model}stages.{i}.downsample_layers.0", "stages.{i}.downsample_layers.0"),
        *both("{p}{model}stages.{i}.downsample_layers.1", "stages.{i}.downsample_layers.1"),
        *both(f"{{p}}{{model}}{BLOCK}.depthwise_conv", f"{BLOCK}.depthwise_conv"),
        *both(f"{{p}}{{model}}{BLOCK}.layer_norm", f"{BLOCK}.layer_norm"),
        *both(f"{{p}}{{model}}{BLOCK}.pointwise_conv1", f"{BLOCK}.pointwise_conv1"),
        *both(f"{{p}}{{model}}{BLOCK}.pointwise_conv2", f"{BLOCK}.pointwise_conv2"),
        Rule(f"{{p}}{{model}}{BLOCK}.gamma", f"{BLOCK}.gamma"),
        *both("{p}layer_norm", "layer_norm"),
    ),
    spellings={"{model}": ("", "model.")},
)

# The last norm stands there a second time.
_FACEBOOK = _without_head(convnext.FACEBOOK)
_FACEBOOK = replace(_FACEBOOK, rules=(*_FACEBOOK.rules, *both("{p}norms.{n}", "layer_norm")))

TABLES = (
    _without_head(convnext.TIMM[0], licence="the DINOv3 license, as timm's cards say"),
    _FACEBOOK,
    HUGGING_FACE,
)


def read(shapes: Mapping[str, Shape]) -> Reading:
    """Return what names and shapes say of a ConvNeXt of DINOv3.

    Raises
    ------
    WeightsError
        If they are those of none: a stage is lacking, a tensor has another number of dimensions.
    """
    found = Reading("dinov3_convnext")
    found.add("parameters named as in DINOv3", model_type="dinov3_convnext")
    depths = count_blocks(shapes, "stages") or [0]
    kernels = [
        shape_of(shapes, f"stages.{index}.downsample_layers.{1 if index else 0}.weight", 4)
        for index in range(len(depths))
    ]
    found.add("blocks of each stage", depths=depths)
    found.add("stem and downsampling kernels", hidden_sizes=[kernel[0] for kernel in kernels])
    found.add(f"stem kernel {by(kernels[0])}", num_channels=kernels[0][1])
    found.task = "model" if "layer_norm.weight" in shapes else "backbone"
    return found


def unlike_transformers(config: Any) -> str:
    """Return why transformers would compute other numbers: it computes the same."""
    return ""
