"""The table of golden cases: tiny models that together reach every branch of the three families.

Widths, sizes and depths are distinct wherever that is possible, so that swapped axes are seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One golden file.

    Attributes
    ----------
    name : str
        Of the file, without its ending.
    family, task : str
        Which model: see ``weights_tools.goldens.reference.build``.
    shape : tuple of int
        Of the pictures, (N, C, H, W).
    fields : dict
        Of the configuration; all others have their defaults.
    labels : dict of str to (problem_type, labels)
        Losses to compute, by name. ``problem_type`` None: inferred from the labels.
    input_scale, input_offset, weight_scale : float
        See ``weights_tools.goldens.draw``.
    """

    name: str
    family: str
    task: str
    shape: tuple[int, ...]
    fields: dict[str, Any]
    labels: dict[str, tuple[str | None, list[Any]]] = field(default_factory=dict)
    input_scale: float = 1.0
    input_offset: float = 0.0
    weight_scale: float = 1.0


#: Of the losses.
REGRESSION = "regression"
SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"

#: Standard deviation at which maps have a variance near 1e-6, the smaller of the epsilons.
TINY = 2.0**-10

FOUR_STAGES = {"num_stages": 4, "hidden_sizes": [6, 10, 14, 18], "depths": [1, 1, 2, 1], "num_labels": 5}
TWO_STAGES = {"num_stages": 2, "hidden_sizes": [4, 6], "depths": [1, 1], "num_labels": 5}
FIVE_STAGES = {"num_stages": 5, "hidden_sizes": [4, 6, 8, 10, 12], "depths": [1, 1, 1, 1, 1], "num_labels": 5}

#: Cases of ConvNeXt and V2 alike: name -> (shape, what differs from TWO_STAGES).
STAGED: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
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
    "gelu_tanh": ((1, 3, 13, 18), {"hidden_act": "gelu_new"}),
    "quick_gelu": ((1, 3, 13, 18), {"hidden_act": "quick_gelu"}),
    "relu": ((1, 3, 13, 18), {"hidden_act": "relu"}),
    "selu": ((1, 3, 13, 18), {"hidden_act": "selu"}),
    "silu": ((1, 3, 13, 18), {"hidden_act": "silu"}),
    "mish": ((1, 3, 13, 18), {"hidden_act": "mish"}),
    "hardswish": ((1, 3, 13, 18), {"hidden_act": "hardswish"}),
    "linear": ((1, 3, 13, 18), {"hidden_act": "linear"}),
}

#: Backbones: which stages they return.
BACKBONES: dict[str, dict[str, Any]] = {
    "last_stage": {},
    "some_stages": {"out_features": ["stem", "stage2", "stage3"]},
    "by_index": {"out_indices": [1, -1]},
}

#: Settings of the pictures and weights that show the epsilons, the mean and the absence of variation.
EXTREMES: dict[str, dict[str, Any]] = {
    "tiny_variance": {"input_scale": TINY, "weight_scale": TINY},
    "large_mean": {"input_offset": 30.0},
    "constant_picture": {"input_scale": 0.0, "input_offset": 0.75},
}

#: Losses: name -> (num_labels, problem_type, labels of two pictures).
LOSSES: dict[str, tuple[int, str | None, list[Any]]] = {
    "one_column": (1, None, [0.75, -1.5]),
    "regression": (3, REGRESSION, [[0.5, -1.25, 2.0], [1.5, 0.25, -0.75]]),
    "single_label": (4, None, [3, 1]),
    "single_label_ignored": (4, SINGLE_LABEL, [-100, 2]),
    "multi_label": (4, None, [[1.0, 0.0, 0.25, 1.0], [0.0, 0.0, 1.0, 1.0]]),
    "multi_label_named": (1, MULTI_LABEL, [[1.0], [0.0]]),
}

THREE_CVT = {"embed_dim": [4, 6, 12], "num_heads": [1, 2, 3], "depth": [1, 1, 2], "num_labels": 5}
TWO_CVT = {
    "embed_dim": [6, 10],
    "num_heads": [1, 2],
    "depth": [1, 1],
    "num_labels": 5,
    "cls_token": [False, True],
    "patch_sizes": [7, 3],
    "patch_stride": [4, 2],
    "patch_padding": [2, 1],
}
ONE_CVT = {
    "embed_dim": [9],
    "num_heads": [3],
    "depth": [1],
    "num_labels": 5,
    "cls_token": [True],
    "patch_sizes": [5],
    "patch_stride": [3],
    "patch_padding": [1],
}
EQUAL_WIDTHS = {**THREE_CVT, "embed_dim": [6, 6, 6], "num_heads": [1, 2, 3], "depth": [1, 1, 1]}
FOUR_CVT = {
    "embed_dim": [4, 6, 8, 10],
    "num_heads": [1, 3, 4, 2],
    "depth": [1, 1, 1, 1],
    "num_labels": 5,
    "mlp_ratio": [1.5, 2.7, 4.0, 3.0],
    "attention_drop_rate": [0.1, 0.2, 0.3, 0.4],
    "drop_rate": [0.4, 0.3, 0.2, 0.1],
    "drop_path_rate": [0.1, 0.2, 0.3, 0.4],
    "qkv_bias": [True, False, True, False],
    "cls_token": [False, False, False, True],
    "qkv_projection_method": ["dw_bn", "avg", "linear", "dw_bn"],
    "patch_sizes": [4, 3, 2, 3],
    "patch_stride": [3, 2, 1, 2],
    "patch_padding": [0, 1, 1, 2],
    "kernel_qkv": [3, 3, 3, 1],
    "padding_q": [1, 1, 1, 0],
    "padding_kv": [1, 1, 1, 0],
    "stride_kv": [2, 2, 2, 3],
    "stride_q": [1, 1, 1, 1],
}

#: Image classifiers of CvT: name -> (shape, fields).
CVT: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "default": ((1, 3, 67, 37), {**THREE_CVT, "drop_rate": [0.1, 0.1, 0.1]}),
    "quick_gelu": ((1, 3, 19, 26), {**ONE_CVT, "hidden_act": "quick_gelu"}),
    "no_class_token": ((2, 3, 27, 22), {**TWO_CVT, "cls_token": [False, False]}),
    "class_token_everywhere": ((2, 3, 27, 22), {**EQUAL_WIDTHS, "cls_token": [True, True, True]}),
    "class_token_not_last": ((1, 3, 27, 22), {**EQUAL_WIDTHS, "cls_token": [True, True, False]}),
    "one_stage": ((1, 3, 19, 26), {**ONE_CVT, "depth": [2]}),
    "two_stages": ((1, 3, 27, 22), {**TWO_CVT, "depth": [1, 2]}),
    "all_lists_differ": ((1, 3, 38, 29), FOUR_CVT),
    "few_blocks": ((1, 3, 27, 22), {**THREE_CVT, "depth": [2, 1, 1]}),
    "one_pixel": ((2, 3, 7, 7), TWO_CVT),
    "no_qkv_bias": ((1, 3, 19, 26), {**ONE_CVT, "qkv_bias": [False]}),
    "average_even": ((1, 3, 27, 28), {**TWO_CVT, "qkv_projection_method": ["avg", "avg"]}),
    "average_odd": ((1, 3, 19, 23), {**ONE_CVT, "qkv_projection_method": ["avg"], "padding_kv": [0]}),
    "linear": ((2, 3, 19, 26), {**ONE_CVT, "qkv_projection_method": ["linear"]}),
    "wide_kernel": ((1, 3, 19, 26), {**ONE_CVT, "kernel_qkv": [5], "padding_q": [2], "padding_kv": [1]}),
    "kv_stride_1": ((1, 3, 19, 26), {**ONE_CVT, "stride_kv": [1]}),
    "kv_stride_3": ((1, 3, 19, 26), {**ONE_CVT, "stride_kv": [3], "padding_kv": [0]}),
    "grayscale": ((2, 1, 19, 26), {**ONE_CVT, "num_channels": 1}),
    "five_channels": ((1, 5, 19, 26), {**ONE_CVT, "num_channels": 5}),
    "no_labels": ((1, 3, 19, 26), {**ONE_CVT, "num_labels": 0}),
    "layer_norm_eps_unused": ((1, 3, 19, 26), {**ONE_CVT, "layer_norm_eps": 0.5}),
}


def all_cases() -> list[Case]:
    """Return every case, in the order of the files' names."""
    cases = [*_staged_cases("convnext"), *_staged_cases("convnextv2"), *_layer_scale_cases(), *_cvt_cases()]
    return sorted(cases, key=lambda case: case.name)


def _staged_cases(family: str) -> Iterator[Case]:
    """Yield the cases of ConvNeXt or V2."""
    shape = (2, 3, 25, 18)
    three = {"num_stages": 3, "hidden_sizes": [4, 6, 8], "depths": [1, 1, 1]}
    for name, (own_shape, changes) in STAGED.items():
        yield Case(f"{family}-{name}", family, "image_classification", own_shape, {**TWO_STAGES, **changes})
    for name, extremes in EXTREMES.items():
        yield Case(f"{family}-{name}", family, "image_classification", shape, TWO_STAGES, **extremes)
    for name, fields in BACKBONES.items():
        yield Case(f"{family}-backbone_{name}", family, "backbone", shape, {**three, **fields})
    yield Case(f"{family}-model", family, "model", shape, TWO_STAGES)
    yield from _loss_cases(family, (2, 3, 9, 14), TWO_STAGES)


def _layer_scale_cases() -> Iterator[Case]:
    """Yield the cases that V2 has not."""
    for name, value in (("zero", 0.0), ("negative", -1.0)):
        fields = {**TWO_STAGES, "layer_scale_init_value": value}
        yield Case(f"convnext-layer_scale_{name}", "convnext", "image_classification", (1, 3, 25, 18), fields)


def _cvt_cases() -> Iterator[Case]:
    """Yield the cases of CvT."""
    for name, (shape, fields) in CVT.items():
        yield Case(f"cvt-{name}", "cvt", "image_classification", shape, fields)
    for name, extremes in EXTREMES.items():
        yield Case(f"cvt-{name}", "cvt", "image_classification", (2, 3, 19, 26), ONE_CVT, **extremes)
    yield Case("cvt-model", "cvt", "model", (2, 3, 27, 22), TWO_CVT)
    yield Case("cvt-model_without_class_token", "cvt", "model", (1, 3, 19, 26), {**ONE_CVT, "cls_token": [False]})
    yield from _loss_cases("cvt", (2, 3, 10, 14), ONE_CVT)


def _loss_cases(family: str, shape: tuple[int, ...], fields: dict[str, Any]) -> Iterator[Case]:
    """Yield one case for each number of labels, with all losses of that number."""
    for columns in sorted({num_labels for num_labels, _, _ in LOSSES.values()}):
        losses = {name: (kind, labels) for name, (number, kind, labels) in LOSSES.items() if number == columns}
        own_fields = {**fields, "num_labels": columns}
        yield Case(f"{family}-loss_{columns}_labels", family, "image_classification", shape, own_fields, losses)
