"""The dialect of ``keras.applications``, whose published weights are in it: layers with names, kernels transposed.

The names are those that ``npconv.convert.respelling`` makes of what Keras writes: ``convnext_tiny/stem_conv/kernel``,
the first part being the name of the model. Its code computes what Facebook's does. In float64 its LayerNorm is 3e-7
off (Keras 3.15 on PyTorch). A model may begin with layers that take pixels from 0 to 255 to ImageNet's mean and
deviation; they have no weights, and an image processor does this here.
"""

from __future__ import annotations

from collections.abc import Mapping

from npconv.models.naming import Rule, Table

#: Ends of the names of layers with a kernel -> its layout.
_KERNELS = {"depthwise_conv": "hw1c", "pointwise_conv_1": "io", "pointwise_conv_2": "io", "dense": "io"}


def as_keras(layers: Mapping[str, str]) -> Table:
    """Return the table for layers, our name -> that of the layer."""
    rules = []
    for ours, layer in layers.items():
        if layer.endswith("layer_scale"):
            rules.append(Rule(f"{{p}}{layer}/gamma", ours))
            continue
        is_norm = "layernorm" in layer
        layout = next((layout for end, layout in _KERNELS.items() if layer.endswith(end)), "hwio")
        weight, bias = ("gamma", "beta") if is_norm else ("kernel", "bias")
        rules.append(Rule(f"{{p}}{layer}/{weight}", f"{ours}.weight", "same" if is_norm else layout))
        rules.append(Rule(f"{{p}}{layer}/{bias}", f"{ours}.bias"))
    return Table(name="keras", first="{p}stem_conv/kernel", rules=tuple(rules))
