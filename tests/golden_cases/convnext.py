"""The golden cases of ConvNeXt, and those that it shares with V2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from npconv.models import find_family
from weights_tools.goldens.cases import EXTREMES, TINY, ModelCase, OperationCase, block, classifier, loss_cases

FOUR_STAGES = {"num_stages": 4, "hidden_sizes": [6, 10, 14, 18], "depths": [1, 1, 2, 1], "num_labels": 5}
THREE_STAGES = {"num_stages": 3, "hidden_sizes": [4, 6, 8], "depths": [1, 1, 1]}
TWO_STAGES = {"num_stages": 2, "hidden_sizes": [4, 6], "depths": [1, 1], "num_labels": 5}
FIVE_STAGES = {"num_stages": 5, "hidden_sizes": [4, 6, 8, 10, 12], "depths": [1, 1, 1, 1, 1], "num_labels": 5}

#: Image classifiers: name -> (shape, what differs from TWO_STAGES).
CLASSIFIERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "default": ((1, 3, 67, 37), {**FOUR_STAGES, "drop_path_rate": 0.3}),
    "one_stage": ((1, 3, 21, 30), {"num_stages": 1, "hidden_sizes": [7], "depths": [2]}),
    "three_stages": ((1, 3, 19, 34), {"num_stages": 3, "hidden_sizes": [6, 10, 14], "depths": [2, 1, 1]}),
    "five_stages": ((1, 3, 32, 34), {**FIVE_STAGES, "patch_size": 2}),
    "stages_without_blocks": ((1, 3, 34, 45), {**FOUR_STAGES, "hidden_sizes": [4, 6, 8, 10], "depths": [0, 1, 0, 1]}),
    "smallest_picture": ((2, 3, 8, 8), {"depths": [1, 2]}),
    "patch_size_pair": ((1, 3, 23, 31), {"patch_size": [3, 5]}),
    "patch_size_2": ((1, 3, 13, 18), {"patch_size": 2}),
    "grayscale": ((2, 1, 25, 18), {"num_channels": 1}),
    "five_channels": ((1, 5, 25, 18), {"num_channels": 5}),
    "no_labels": ((2, 3, 25, 18), {"num_labels": 0}),
    "final_eps": ((2, 3, 25, 18), {"layer_norm_eps": 0.05}),
}

#: Every activation, in ConvNeXt alone: that V2 applies the same functions is tested without files of its own.
ACTIVATIONS = {"gelu_tanh": "gelu_new"} | {
    name: name for name in ("quick_gelu", "relu", "selu", "silu", "mish", "hardswish", "linear")
}

#: Backbones: which stages they return.
BACKBONES: dict[str, dict[str, Any]] = {
    "last_stage": {},
    "some_stages": {"out_features": ["stem", "stage2", "stage3"]},
    "by_index": {"out_indices": [1, -1]},
}

#: The classifier whose trace and whose golden cases npconv ships.
TRACED = {"num_stages": 2, "hidden_sizes": [4, 6], "depths": [1, 2], "num_labels": 5}


def models() -> Iterator[ModelCase]:
    """Yield the golden models."""
    yield from staged_models()
    for name, hidden_act in ACTIVATIONS.items():
        yield ModelCase(name, "image_classification", (1, 3, 13, 18), {**TWO_STAGES, "hidden_act": hidden_act})
    for name, value in (("zero", 0.0), ("negative", -1.0)):
        fields = {**TWO_STAGES, "layer_scale_init_value": value}
        yield ModelCase(f"layer_scale_{name}", "image_classification", (1, 3, 25, 18), fields)


def staged_models() -> Iterator[ModelCase]:
    """Yield the golden models that ConvNeXt and V2 both have."""
    shape = (2, 3, 25, 18)
    for name, (own_shape, changes) in CLASSIFIERS.items():
        yield ModelCase(name, "image_classification", own_shape, {**TWO_STAGES, **changes})
    for name, extremes in EXTREMES.items():
        yield ModelCase(name, "image_classification", shape, TWO_STAGES, **extremes)
    for name, fields in BACKBONES.items():
        yield ModelCase(f"backbone_{name}", "backbone", shape, {**THREE_STAGES, **fields})
    yield ModelCase("model", "model", shape, TWO_STAGES)
    yield from loss_cases((2, 3, 9, 14), TWO_STAGES)


def operations() -> Iterator[OperationCase]:
    """Yield the golden cases of the block and the classifier."""
    yield from staged_operations("convnext")


def staged_operations(model_type: str) -> Iterator[OperationCase]:
    """Yield the golden cases of the block and the classifier of ConvNeXt or V2."""
    make = find_family(model_type).config_class
    config, shape, gelu = make(num_stages=1, hidden_sizes=[5], depths=[1]), (2, 5, 6, 9), {"hidden_act": "gelu"}
    operation = f"{model_type}_block"
    yield OperationCase(operation, "block", "two samples", block(config, shape), gelu)
    yield OperationCase(operation, "tiny_variance", "values of 1e-3: shows eps", block(config, shape, std=TINY), gelu)
    yield OperationCase(operation, "small_map", "a map smaller than the kernel", block(config, (1, 5, 3, 2)), gelu)
    fields = {**TRACED, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
    for name, std, why in (("two_stages", 1.0, "odd sizes"), ("tiny_variance", TINY, "weights of 1e-3: shows eps")):
        draw = classifier(make(**fields), 2, 3, 37, 42, std=std)
        yield OperationCase(f"{model_type}_classifier", name, why, draw, {"config": fields})
