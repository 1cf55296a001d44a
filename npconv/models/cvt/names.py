"""How other libraries name the parameters of CvT, and what names and shapes say of its configuration.

Sources: the state dicts of microsoft/CvT, and transformers for PyTorch and TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from npconv.models.naming import (
    Reading,
    Rule,
    Shape,
    Table,
    batch_norm,
    both,
    by,
    count_blocks,
    head_at,
    read_classes,
    shape_of,
    sides,
)
from npconv.models.naming_tensorflow import as_tensorflow

SIGN = PREFIX = "cvt."
WORDS = ()

STAGE = "cvt.encoder.stages.{i}"
EMBEDDING = f"{STAGE}.embedding.convolution_embeddings"
BLOCK = f"{STAGE}.layers.{{j}}"
ATTENTION = f"{BLOCK}.attention.attention"


def _microsoft() -> tuple[Rule, ...]:
    """Return the rules of the stages."""
    block = "{p}stage{i}.blocks.{j}"
    rules = [
        Rule("{p}stage{i}.cls_token", f"{STAGE}.cls_token"),
        *both("{p}stage{i}.patch_embed.proj", f"{EMBEDDING}.projection"),
        *both("{p}stage{i}.patch_embed.norm", f"{EMBEDDING}.normalization"),
    ]
    for letter, ours in (("q", "query"), ("k", "key"), ("v", "value")):
        convolution = f"{ATTENTION}.convolution_projection_{ours}.convolution_projection"
        rules.append(Rule(f"{block}.attn.conv_proj_{letter}.conv.weight", f"{convolution}.convolution.weight"))
        rules += batch_norm(f"{block}.attn.conv_proj_{letter}.bn", f"{convolution}.normalization")
        rules += both(f"{block}.attn.proj_{letter}", f"{ATTENTION}.projection_{ours}")
    rules += both(f"{block}.attn.proj", f"{BLOCK}.attention.output.dense")
    rules += both(f"{block}.mlp.fc1", f"{BLOCK}.intermediate.dense")
    rules += both(f"{block}.mlp.fc2", f"{BLOCK}.output.dense")
    rules += both(f"{block}.norm1", f"{BLOCK}.layernorm_before")
    rules += both(f"{block}.norm2", f"{BLOCK}.layernorm_after")
    return tuple(rules)


MICROSOFT = Table(
    name="microsoft",
    first="{p}stage0.patch_embed.proj.weight",
    rules=(*_microsoft(), *both("{p}norm", "layernorm"), *both("{p}{head}", "classifier")),
    **head_at("head"),
    numbers={"hidden_act": "quick_gelu"},
)

HUGGING_FACE = Table(
    name="huggingface",
    first="{p}encoder.stages.0.embedding.convolution_embeddings.projection.weight",
    rules=(
        *(replace(rule, theirs="{p}" + rule.ours.removeprefix(PREFIX)) for rule in _microsoft()),
        *both("{w}layernorm", "layernorm"),
        *both("{w}{head}", "classifier"),
    ),
    **head_at("classifier", "{w}"),
    numbers={"hidden_act": "gelu"},
    prefix=PREFIX,
)

TABLES = (HUGGING_FACE, MICROSOFT, as_tensorflow(HUGGING_FACE, "tf_cvt_for_image_classification"))

#: Fields that no shape shows and that the numbers depend on, with examples.
OPEN_FIELDS: dict[str, tuple[list[Any], ...]] = {
    "num_heads": ([1, 3, 6],),
    "patch_stride": ([4, 2, 2],),
    "patch_padding": ([2, 1, 1],),
    "stride_kv": ([2, 2, 2],),
    "padding_kv": ([1, 1, 1],),
}


def read(shapes: Mapping[str, Shape]) -> Reading:
    """Return what names and shapes say of a CvT.

    Raises
    ------
    WeightsError
        If they are those of none: a stage is lacking, a tensor has another number of dimensions.
    """
    found = Reading("cvt", open_fields=dict(OPEN_FIELDS))
    depth = count_blocks(shapes, "cvt.encoder.stages")
    stages = [f"cvt.encoder.stages.{index}" for index in range(len(depth))]
    embedding = "embedding.convolution_embeddings.projection.weight"
    kernels = [shape_of(shapes, f"{stage}.{embedding}", 4) for stage in stages]
    found.fields["num_channels"] = kernels[0][1] if kernels else 3
    found.add("convolutional embeddings and projections", model_type="cvt")
    found.add("blocks of each stage", depth=depth)
    found.add(
        f"embedding kernels {', '.join(map(by, kernels))}",
        embed_dim=[kernel[0] for kernel in kernels],
        patch_sizes=[sides(kernel) for kernel in kernels],
    )
    found.add("class tokens of the stages", cls_token=[f"{stage}.cls_token" in shapes for stage in stages])
    read_classes(found, shapes)
    found.stand_ins = {name: [1] * len(stages) for name in OPEN_FIELDS}
    firsts = [f"{stage}.layers.0" if count else "" for stage, count in zip(stages, depth, strict=True)]
    _read_blocks(found, shapes, firsts)
    found.add("kept, without effect: every LayerNorm has 1e-05", layer_norm_eps=1e-12)
    for name in ("drop_rate", "attention_drop_rate", "drop_path_rate"):
        found.fields[name] = [0.0] * len(stages)
    has_norm = any(name.startswith("layernorm.") for name in shapes)
    found.task = "image_classification" if found.fields["num_labels"] or has_norm else "model"
    return found


def _read_blocks(found: Reading, shapes: Mapping[str, Shape], firsts: list[str]) -> None:
    """Add what the first blocks of the stages say; a stage without blocks, where the text is empty, has the usual."""
    projection = "attention.attention.convolution_projection_query.convolution_projection.convolution.weight"
    convolved = [not first or f"{first}.{projection}" in shapes for first in firsts]
    bias = "attention.attention.projection_query.bias"
    hidden = [shape_of(shapes, f"{first}.intermediate.dense.weight", 2)[0] if first else None for first in firsts]
    ratios = [4.0 if h is None else _ratio(h, w) for h, w in zip(hidden, found.fields["embed_dim"], strict=True)]
    kernels = [
        shape_of(shapes, f"{first}.{projection}", 4)[2] if first and is_there else 3
        for first, is_there in zip(firsts, convolved, strict=True)
    ]
    found.add(f"hidden channels {hidden}", mlp_ratio=ratios)
    found.add("biases of the projections", qkv_bias=[not first or f"{first}.{bias}" in shapes for first in firsts])
    found.add("depthwise kernels, 3 where there is none", kernel_qkv=kernels)
    found.add(
        "there must be as many queries as positions",
        padding_q=[(kernel - 1) // 2 for kernel in kernels],
        stride_q=[1] * len(firsts),
    )
    if all(convolved):
        method = ["dw_bn"] * len(firsts)
        found.add("convolutions and batch norms before the projections", qkv_projection_method=method)
    else:
        found.open_fields["qkv_projection_method"] = (["avg"] * 3, ["linear"] * 3)
        found.stand_ins["qkv_projection_method"] = ["dw_bn" if is_there else "linear" for is_there in convolved]


def _ratio(hidden: int, width: int) -> float:
    """Return the ratio that gives so many hidden channels when multiplied and rounded down."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def unlike_transformers(config: Any) -> str:
    """Return why transformers would compute other numbers; empty if it computes the same."""
    if config.hidden_act != "quick_gelu":
        return ""
    return "transformers computes every CvT with gelu, whatever hidden_act says; its logits differ from these"
