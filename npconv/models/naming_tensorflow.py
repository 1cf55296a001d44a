"""The dialect of transformers for TensorFlow: the names of Hugging Face as variables, kernels transposed.

``convnext.encoder.stages.0.layers.1.dwconv.weight`` is the variable
``tf_conv_next_for_image_classification/convnext/encoder/stages.0/layers.1/dwconv/kernel:0`` there, of shape
(H, W, 1, C). The first part is the name of the model object, which Keras counts (``..._1``) and a safetensors file has
not; the group that an HDF5 file of Keras puts before it is taken away where the file is read. The tables follow from
those of Hugging Face by a few words.

The code computes what that for PyTorch does, with the same epsilons: the strided convolutions have explicit padding or
none, only the depthwise one of stride 1 pads to the same size. In float64 it is up to 2e-7 off (transformers 4.57):
its GELU takes the square root of two in float32, and the global response normalization computes in float32.
"""

from __future__ import annotations

from dataclasses import replace

from npconv.models.naming import Implied, Rule, Table

#: Parts of a name that go together with the number after them.
_LISTS = ("stages", "layers", "downsampling_layer", "hidden_states_norms")

#: The layer that a tensor belongs to -> their word for its weight, and the layout.
_WEIGHTS = {
    **dict.fromkeys(("patch_embeddings", "downsampling_layer.1", "projection"), ("kernel", "hwio")),
    **dict.fromkeys(("dwconv", "convolution"), ("{depthwise}", "@depthwise")),
    **dict.fromkeys(("pwconv1", "pwconv2", "dense", "classifier"), ("kernel", "io")),
    **dict.fromkeys(("projection_query", "projection_key", "projection_value"), ("kernel", "io")),
}

_STATISTICS = {"running_mean": "moving_mean", "running_var": "moving_variance"}

#: Layers whose own words stay as they are.
_AS_IT_IS = ("grn",)


def _components(name: str) -> list[str]:
    """Split a name at its dots, numbers left with the list that they count."""
    parts: list[str] = []
    for part in name.split("."):
        if parts and parts[-1] in _LISTS:
            parts[-1] += f".{part}"
        else:
            parts.append(part)
    return parts


def _as_variable(rule: Rule) -> Rule | None:
    """Return the rule for TensorFlow that goes with one of Hugging Face; None where it stores no such tensor."""
    prefix, name = rule.theirs[:3], rule.theirs[3:]
    *layers, word = _components(name)
    if word == "num_batches_tracked":
        return None
    # Made before its layer has a scope, so that it has no path. The code always writes stage 2, the last one of every
    # published model; a model of other than three stages does not come through.
    if word == "cls_token":
        return replace(rule, theirs="{scope}cvt.encoder.stages.{i}.cls_token{end}")
    layer, layout = layers[-1], "same"
    if word in _STATISTICS:
        word = _STATISTICS[word]
    elif word == "weight" and layer in _WEIGHTS:
        word, layout = _WEIGHTS[layer]
    elif layer not in _WEIGHTS and layer not in _AS_IT_IS:
        word = {"weight": "gamma", "bias": "beta"}.get(word, word)
    return replace(rule, theirs=prefix + "/".join([*layers, word]) + "{end}", layout=layout)


def _spelled(theirs: str) -> str:
    """Return a name of Hugging Face as it is usually spelled."""
    for word, spelling in (("{scale}", "weight"), ("{shift}", "bias"), ("{head}", "classifier")):
        theirs = theirs.replace(word, spelling)
    return theirs


def as_tensorflow(table: Table, model: str) -> Table:
    """Return the table for TensorFlow that goes with one of Hugging Face; `model` is the first part of its names."""
    plain = [replace(rule, theirs=_spelled(rule.theirs)) for rule in table.rules if "{word}" not in rule.theirs]
    first = _as_variable(Rule(table.first, ""))
    assert first is not None
    return replace(
        table,
        name="tensorflow",
        first=first.theirs,
        rules=tuple(variable for rule in plain if (variable := _as_variable(rule))),
        spellings={"{end}": (":0", ""), "{depthwise}": ("kernel", "depthwise_kernel"), "{scope}": ("", "{w}")},
        open_spellings={},
        layouts={"@depthwise": ("hw1c", "hwc1")},
        implied=tuple(
            Implied(rule.ours, 0, droppable=True) for rule in plain if rule.ours.endswith("num_batches_tracked")
        ),
        prefix=f"{model}/{{m}}/",
    )
