"""The golden cases of CvT, and what transformers lacks of it.

Added to transformers' classes are: other activations than GELU (Microsoft trained with quick GELU); the projection
methods ``avg`` and ``linear``, on which transformers raises AttributeError; stages with fewer blocks than their number,
on which it raises IndexError.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from npconv.models import CvtConfig
from weights_tools.goldens.cases import EXTREMES, TINY, ModelCase, OperationCase, block, classifier, loss_cases

THREE_STAGES = {"embed_dim": [4, 6, 12], "num_heads": [1, 2, 3], "depth": [1, 1, 2], "num_labels": 5}
TWO_STAGES = {
    "embed_dim": [6, 10],
    "num_heads": [1, 2],
    "depth": [1, 1],
    "num_labels": 5,
    "cls_token": [False, True],
    "patch_sizes": [7, 3],
    "patch_stride": [4, 2],
    "patch_padding": [2, 1],
}
ONE_STAGE = {
    "embed_dim": [9],
    "num_heads": [3],
    "depth": [1],
    "num_labels": 5,
    "cls_token": [True],
    "patch_sizes": [5],
    "patch_stride": [3],
    "patch_padding": [1],
}
EQUAL_WIDTHS = {**THREE_STAGES, "embed_dim": [6, 6, 6], "num_heads": [1, 2, 3], "depth": [1, 1, 1]}
FOUR_STAGES = {
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

#: Image classifiers: name -> (shape, fields).
CLASSIFIERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "default": ((1, 3, 67, 37), {**THREE_STAGES, "drop_rate": [0.1, 0.1, 0.1]}),
    "quick_gelu": ((1, 3, 19, 26), {**ONE_STAGE, "hidden_act": "quick_gelu"}),
    "no_class_token": ((2, 3, 27, 22), {**TWO_STAGES, "cls_token": [False, False]}),
    "class_token_everywhere": ((2, 3, 27, 22), {**EQUAL_WIDTHS, "cls_token": [True, True, True]}),
    "class_token_not_last": ((1, 3, 27, 22), {**EQUAL_WIDTHS, "cls_token": [True, True, False]}),
    "one_stage": ((1, 3, 19, 26), {**ONE_STAGE, "depth": [2]}),
    "two_stages": ((1, 3, 27, 22), {**TWO_STAGES, "depth": [1, 2]}),
    "all_lists_differ": ((1, 3, 38, 29), FOUR_STAGES),
    "few_blocks": ((1, 3, 27, 22), {**THREE_STAGES, "depth": [2, 1, 1]}),
    "one_pixel": ((2, 3, 7, 7), TWO_STAGES),
    "no_qkv_bias": ((1, 3, 19, 26), {**ONE_STAGE, "qkv_bias": [False]}),
    "average_even": ((1, 3, 27, 28), {**TWO_STAGES, "qkv_projection_method": ["avg", "avg"]}),
    "average_odd": ((1, 3, 19, 23), {**ONE_STAGE, "qkv_projection_method": ["avg"], "padding_kv": [0]}),
    "linear": ((2, 3, 19, 26), {**ONE_STAGE, "qkv_projection_method": ["linear"]}),
    "wide_kernel": ((1, 3, 19, 26), {**ONE_STAGE, "kernel_qkv": [5], "padding_q": [2], "padding_kv": [1]}),
    "kv_stride_1": ((1, 3, 19, 26), {**ONE_STAGE, "stride_kv": [1]}),
    "kv_stride_3": ((1, 3, 19, 26), {**ONE_STAGE, "stride_kv": [3], "padding_kv": [0]}),
    "grayscale": ((2, 1, 19, 26), {**ONE_STAGE, "num_channels": 1}),
    "five_channels": ((1, 5, 19, 26), {**ONE_STAGE, "num_channels": 5}),
    "no_labels": ((1, 3, 19, 26), {**ONE_STAGE, "num_labels": 0}),
    "layer_norm_eps_unused": ((1, 3, 19, 26), {**ONE_STAGE, "layer_norm_eps": 0.5}),
}

#: Of one CvT stage, whose block is looked at.
ONE_BLOCK = {
    "patch_sizes": [7], "patch_stride": [4], "patch_padding": [2], "embed_dim": [6], "num_heads": [3], "depth": [1],
    "mlp_ratio": [2.0], "attention_drop_rate": [0.0], "drop_rate": [0.0], "drop_path_rate": [0.0], "qkv_bias": [True],
    "cls_token": [True], "qkv_projection_method": ["dw_bn"], "kernel_qkv": [3], "padding_kv": [1], "stride_kv": [2],
    "padding_q": [1], "stride_q": [1],
}  # fmt: skip
TRACED = {
    **{name: values * 2 for name, values in ONE_BLOCK.items()},
    "patch_sizes": [7, 3], "patch_stride": [4, 2], "patch_padding": [2, 1], "embed_dim": [4, 6],
    "num_heads": [1, 3], "depth": [1, 2],  # transformers cannot make a stage of fewer blocks than its number
    "cls_token": [False, True], "num_labels": 5,
}  # fmt: skip


def models() -> Iterator[ModelCase]:
    """Yield the golden models."""
    for name, (shape, fields) in CLASSIFIERS.items():
        yield ModelCase(name, "image_classification", shape, fields)
    for name, extremes in EXTREMES.items():
        yield ModelCase(name, "image_classification", (2, 3, 19, 26), ONE_STAGE, **extremes)
    yield ModelCase("model", "model", (2, 3, 27, 22), TWO_STAGES)
    yield ModelCase("model_without_class_token", "model", (1, 3, 19, 26), {**ONE_STAGE, "cls_token": [False]})
    yield from loss_cases((2, 3, 10, 14), ONE_STAGE)


def operations() -> Iterator[OperationCase]:
    """Yield the golden cases of the block and the classifier."""
    first = {**ONE_BLOCK, "hidden_act": "gelu"}
    plain = {**ONE_BLOCK, "cls_token": [False], "hidden_act": "quick_gelu"}
    average = {**first, "qkv_projection_method": ["avg"]}
    tokens, fewer, size = (2, 21, 6), (2, 20, 6), (2, 6, 4, 5)
    for name, fields, shape, std, why in (
        ("class_token", first, tokens, 1.0, "with a class token"),
        ("no_class_token", plain, fewer, 1.0, "without one, quick GELU"),
        ("average", average, tokens, 1.0, "averaged keys and values"),
        ("tiny_variance", first, tokens, TINY, "values of 1e-3: shows eps"),
    ):
        draw = block(CvtConfig(**fields), shape, size, std=std)
        yield OperationCase("cvt_block", name, why, draw, {"config": fields})
    first = {**TRACED, "hidden_act": "gelu"}
    plain = {**TRACED, "cls_token": [False, False], "hidden_act": "quick_gelu"}
    for name, fields, std, why in (
        ("class_token", first, 1.0, "the class token is classified"),
        ("no_class_token", plain, 1.0, "the mean of all tokens is classified"),
        ("tiny_variance", first, TINY, "weights of 1e-3: shows eps"),
    ):
        draw = classifier(CvtConfig(**fields), 2, 3, 33, 46, std=std)
        yield OperationCase("cvt_classifier", name, why, draw, {"config": fields})


def patched(fields: dict[str, Any]) -> list[str]:
    """Return the names of the fields, sorted, whose values transformers does not run."""
    config = CvtConfig(**fields)
    stages = len(config.depth)
    found = {
        "depth": any(blocks <= stage for stage, blocks in enumerate(config.depth)),
        "hidden_act": config.hidden_act != "gelu",
        "qkv_projection_method": any(method != "dw_bn" for method in config.qkv_projection_method[:stages]),
    }
    return [name for name, is_patched in found.items() if is_patched]


def build(task: str, fields: dict[str, Any]) -> Any:
    """Return a CvT of transformers with what it lacks."""
    from transformers.activations import ACT2FN
    from transformers.models.cvt import modeling_cvt

    from weights_tools.goldens import reference

    fields = dict(fields)
    hidden_act = fields.pop("hidden_act", "gelu")
    depth = list(fields.get("depth", CvtConfig().depth))
    longer = [max(blocks, stage + 1) for stage, blocks in enumerate(depth)]
    model = reference.as_it_is("cvt", task, {**fields, "depth": longer})
    stages = model.encoder.stages if task == "model" else model.cvt.encoder.stages
    for stage, blocks in zip(stages, depth, strict=True):
        stage.layers = stage.layers[:blocks]
    for module in model.modules():
        if isinstance(module, modeling_cvt.CvtIntermediate):
            module.activation = ACT2FN[hidden_act]
        if isinstance(module, modeling_cvt.CvtStage):
            _add_projections(module)
    return model


def _add_projections(stage: Any) -> None:
    """Give the attention of a stage its projections ``avg`` or ``linear``, as ``cls_cvt.py`` of microsoft/CvT has them.

    ``avg`` averages keys and values and leaves queries, ``linear`` leaves all three.
    """
    from torch import nn

    config, i = stage.config, stage.stage
    method = config.qkv_projection_method[i]
    window = {"kernel_size": config.kernel_qkv[i], "stride": config.stride_kv[i], "padding": config.padding_kv[i]}
    for layer in stage.layers if method != "dw_bn" else ():
        attention = layer.attention.attention
        attention.convolution_projection_query.convolution_projection = nn.Identity()
        for projection in (attention.convolution_projection_key, attention.convolution_projection_value):
            average = nn.AvgPool2d(**window, ceil_mode=True) if method == "avg" else nn.Identity()
            projection.convolution_projection = average
