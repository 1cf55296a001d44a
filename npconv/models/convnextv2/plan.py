"""ConvNeXt V2 as a plan: its block; the rest is that of ConvNeXt, see ``npconv/models/convnext/plan.py``.

With BLOCK for ``encoder.stages.I.layers.J``, ``BLOCK.grn.strength`` and ``BLOCK.grn.relative`` are no modules: they are
the two halves of the factor in GRN.
"""

from __future__ import annotations

from functools import partial

from npconv.models.convnext import plan as convnext
from npconv.models.convnextv2.configuration import ConvNextV2Config
from npconv.models.convnextv2.model import GRN_EPS
from npconv.plan.writing import AFFINE, Steps


def layer(steps: Steps, name: str, x: str, kernel: int, dilation: int, rate: float, config: ConvNextV2Config) -> str:
    """One ConvNeXt V2 block."""
    residual = x
    x = convnext.depthwise(steps, name, x, kernel, dilation)
    x = convnext.norm(steps, f"{name}.layernorm", x, config)
    x = steps.add(f"{name}.pwconv1", "pointwise_conv2d", x, params=AFFINE)
    x = steps.add(f"{name}.act", "activation", x, hidden_act=config.hidden_act)
    strength = steps.add(f"{name}.grn.strength", "grn_strength", x)
    relative = steps.add(f"{name}.grn.relative", "grn_relative", strength, eps=GRN_EPS)
    x = steps.add(f"{name}.grn", "grn_apply", x, relative, params=AFFINE)
    x = steps.add(f"{name}.pwconv2", "pointwise_conv2d", x, params=AFFINE)
    x = steps.drop(f"{name}.drop_path", "drop_path", x, rate)
    steps.also(x, f"{name}.drop_path")
    return steps.add(name, "residual", residual, x)


# Of ConvNeXt, with this block.
model = partial(convnext.model, block=layer)
image_classification = partial(convnext.image_classification, block=layer)
backbone = partial(convnext.backbone, block=layer)
