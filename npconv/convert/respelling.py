"""Names that no table can list, as the tables have them.

PyTorch writes the names of wrappers *between* those of modules: ``stages.0._orig_mod.blocks...``. Keras writes the
layers of ``keras.applications`` in several ways:

- into a ``.h5``, by their names, each once or twice and in groups: ``model_weights/convnext_tiny_stem/
  convnext_tiny_stem/convnext_tiny_stem_conv/kernel``; the variable of a layer scale is called by chance;
- into a ``.weights.h5`` and what is in a ``.keras``, by their classes and how many of these came before:
  ``layers/conv2d_3/vars/0``, the same for all sizes.

Both become ``convnext_tiny/stem_conv/kernel``, without the model's name where the file has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from npconv.convert.strangers import MOST_NAMES
from npconv.errors import WeightsError
from npconv.messages import LONGEST_NAME

#: What may stand before all names; what comes after it and is one of `_BETWEEN` is taken away.
_BEFORE = re.compile(r"(?:(?:module|model|net|network|_orig_mod|_fsdp_wrapped_module|_forward_module)\.)*")
_BETWEEN = re.compile(r"(?<=[.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")

_KERAS_LAYER = re.compile(
    r"(?:(?P<model>.*?)_)?(?P<layer>stem_(?:conv|layernorm)|downsampling_(?:conv|layernorm)_\d+|head_(?:layernorm|dense)"
    r"|stage_\d+_block_\d+_(?:depthwise_conv|layernorm|pointwise_conv_[12]|layer_scale))"
)
_KERAS_NORM = re.compile(r"layer_normalization(_\d+)?")

_VARIABLE = re.compile(
    r"(?P<root>.*?)layers/(?:sequential(?:_(?P<group>\d+))?/layers/)?"
    r"(?P<kind>conv2d|dense|layer_normalization|layer_scale)(?:_(?P<number>\d+))?/vars/(?P<place>[01])"
)


def respelled(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors by names that the tables know, where these are of a kind that they cannot list.

    Raises
    ------
    WeightsError
        If the layers of a Keras file do not say which stage they are of.
    """
    if len(tensors) > MOST_NAMES:
        return dict(tensors)
    names = _by_layer(tensors) or _by_class(tensors) or {name: _unwrapped(name) for name in tensors}
    if len(set(names.values())) < len(tensors):
        return dict(tensors)
    return {names[name]: tensor for name, tensor in tensors.items()}


def _unwrapped(name: str) -> str:
    """Return a name without the wrappers between those of modules."""
    end = _BEFORE.match(name).end()  # type: ignore[union-attr]  # it matches at least nothing
    return name[:end] + _BETWEEN.sub("", name[end:])


def _by_layer(tensors: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of a file that has those of the layers; nothing if it has not."""
    if not any("stem_conv/kernel" in name for name in tensors):
        return {}
    names, norms = {}, {}
    model = ""
    for name in tensors:
        *layers, variable = name.removesuffix(":0").split("/")
        found = _KERAS_LAYER.fullmatch(layers[-1]) if layers and len(name) <= LONGEST_NAME else None
        if found is not None:
            model = f"{found['model']}/" if found["model"] else ""
            names[name] = f"{model}{found['layer']}/{'gamma' if found['layer'].endswith('scale') else variable}"
        else:
            names[name] = name
            if layers and _KERAS_NORM.fullmatch(layers[-1]):
                norms[name] = variable
    # Without its top, the last norm of the model has no name of its own.
    if len(norms) == 2 and not any("head_layernorm" in name for name in names.values()):
        names |= {name: f"{model}head_layernorm/{variable}" for name, variable in norms.items()}
    return names


def _by_class(tensors: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of a file that has those of the classes of layers; nothing if it is none of a ConvNeXt."""
    stem = next((name for name in tensors if name.endswith("layers/sequential/layers/conv2d/vars/0")), None)
    if stem is None:
        return {}
    root = stem.removesuffix("layers/sequential/layers/conv2d/vars/0")
    kernels = {name: tuple(tensors[name].shape) for name in islice(tensors, MOST_NAMES) if name.endswith("/vars/0")}
    widths = [kernels[stem][-1]]
    while (name := f"{root}layers/sequential_{len(widths)}/layers/conv2d/vars/0") in kernels:
        widths.append(kernels[name][-1])
    blocks: list[int] = []
    while (name := f"{root}layers/conv2d{_counted(len(blocks))}/vars/0") in kernels:
        blocks.append(kernels[name][-1])
    if blocks != [width for width in widths for _ in range(blocks.count(width))] or len(set(widths)) < len(widths):
        raise WeightsError(
            f"the blocks of this Keras file have {blocks} channels, which does not say of which stage they are; "
            "save it with model.save(...h5), which keeps the names"
        )
    places = [(stage, block) for stage, width in enumerate(widths) for block in range(blocks.count(width))]
    names = {}
    for name in tensors:
        found = _VARIABLE.fullmatch(name) if len(name) <= LONGEST_NAME else None
        inner = found is not None and found["root"] == root and _layer(found, places)
        names[name] = f"{root}{inner}" if inner else name
    return names


def _counted(number: int) -> str:
    """Return what Keras writes after the name of a class."""
    return f"_{number}" if number else ""


def _layer(found: re.Match[str], places: list[tuple[int, int]]) -> str:
    """Return the name of a variable by its layer; empty if it is of none."""
    kind, number, place = found["kind"], int(found["number"] or 0), int(found["place"])
    variables = ("gamma", "beta") if kind.startswith("layer_") else ("kernel", "bias")
    if "sequential" in found.group():
        group = int(found["group"] or 0)
        part = "conv" if kind == "conv2d" else "layernorm"
        return f"{f'downsampling_{part}_{group - 1}' if group else f'stem_{part}'}/{variables[place]}"
    index = number // 2 if kind == "dense" else number
    if index == len(places):
        layer = {"dense": "head_dense", "layer_normalization": "head_layernorm"}.get(kind, "")
        return f"{layer}/{variables[place]}" if layer and (kind != "dense" or number == 2 * index) else ""
    if index > len(places):
        return ""
    stage, block = places[index]
    word = {
        "conv2d": "depthwise_conv",
        "layer_normalization": "layernorm",
        "dense": f"pointwise_conv_{1 + number % 2}",
        "layer_scale": "layer_scale",
    }[kind]
    return f"stage_{stage}_block_{block}_{word}/{variables[place]}"
