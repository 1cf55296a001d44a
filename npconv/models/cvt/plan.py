"""CvT as a plan: ``npconv/models/cvt/model.py`` with a name for every array.

Each name is that of the module of the Hugging Face model that gives the array out. These are no modules, with STAGE for
``encoder.stages.I``, BLOCK for ``STAGE.layers.J`` and ATTENTION for ``BLOCK.attention.attention``:

- ``STAGE.tokens``: the map as tokens, after the class token; ``STAGE.class_token``: split off after the blocks;
- ``ATTENTION.map``: what the convolutions take; ``ATTENTION.class_token``: what skips them; ``ATTENTION.query``,
  ``.key``, ``.value``: both joined, what the linear projections take; ``ATTENTION.scores``: before the softmax;
- ``BLOCK.attention_residual``: the sum after the attention (that after the perceptron is ``BLOCK.output`` and BLOCK);
- ``tokens``: the last map as tokens, where there is no class token; ``pooled``: what the classifier takes.

The probabilities are ``ATTENTION.dropout``: the module that is given them, and gives them out. ``BLOCK.drop_path``,
which is called twice, stands for no step.

In training there are also ``BLOCK.attention.drop_path`` and ``BLOCK.output.drop_path``, ``ATTENTION.softmax`` before
the dropout, a step ``NAME.mask`` before each ``NAME`` that drops, and under the names of the stored statistics the new
ones.
"""

from __future__ import annotations

from typing import Any

from npconv.models.cvt.configuration import CvtConfig
from npconv.models.cvt.model import BATCH_NORM_EPS, LAYER_NORM_EPS
from npconv.plan.step import Plan
from npconv.plan.writing import AFFINE, Steps

STATISTICS = ("running_mean", "running_var")


def convolutional_embedding(steps: Steps, stage: str, x: str, config: CvtConfig, i: int) -> str:
    """Embed overlapping patches; return the map."""
    embedding = f"{stage}.embedding"
    name, norm = f"{embedding}.convolution_embeddings", f"{embedding}.convolution_embeddings.normalization"
    stride, padding = config.patch_stride[i], config.patch_padding[i]
    x = steps.add(f"{name}.projection", "conv2d", x, params=AFFINE, stride=stride, padding=padding)
    x = steps.add(name, "layer_norm", x, params=AFFINE, of=norm, eps=LAYER_NORM_EPS, axis=1)
    steps.add(norm, "map_tokens", x, layout="NTD")  # in the Hugging Face model, the norm's own output is tokens
    x = steps.drop(f"{embedding}.dropout", "dropout", x, config.drop_rate[i])
    steps.also(x, f"{embedding}.dropout", embedding)
    return x


def batch_norm(steps: Steps, name: str, x: str) -> str:
    """Normalize by the stored statistics; in training by those of the batch, and renew the stored ones."""
    if not steps.training:
        return steps.add(name, "batch_norm", x, params=(*AFFINE, *STATISTICS), eps=BATCH_NORM_EPS)
    for statistic in (*STATISTICS, "num_batches_tracked"):
        renewed = f"{name}.{statistic}"
        steps.add(renewed, statistic, x, params=[statistic], of=name, layout="C" * (statistic in STATISTICS))
    return steps.add(name, "batch_norm_training", x, params=AFFINE, eps=BATCH_NORM_EPS)


def convolutional_projection(steps: Steps, name: str, x: str, method: str, window: dict[str, Any]) -> str:
    """Let each position look around before the linear projection."""
    look = f"{name}.convolution_projection"
    if method == "dw_bn":
        convolution = {"stride": window["stride"], "padding": window["padding"]}
        x = steps.add(f"{look}.convolution", "depthwise_conv2d", x, params=["weight"], **convolution)
        x = batch_norm(steps, f"{look}.normalization", x)
        steps.also(x, look)
    elif method == "avg":
        x = steps.add(look, "average_pool2d", x, **window, ceil_mode=True)
    return steps.add(f"{name}.linear_projection", "map_tokens", x, layout="NTD", aliases=[name])


def self_attention(steps: Steps, name: str, x: str, like: str, config: CvtConfig, i: int) -> str:
    """Attention with convolutional projections; the class token skips the convolutions."""
    method, kernel_size = config.qkv_projection_method[i], config.kernel_qkv[i]
    window_q = {"kernel_size": kernel_size, "stride": config.stride_q[i], "padding": config.padding_q[i]}
    window_kv = {"kernel_size": kernel_size, "stride": config.stride_kv[i], "padding": config.padding_kv[i]}
    looks = {
        "query": ("linear" if method == "avg" else method, window_q),
        "key": (method, window_kv),
        "value": (method, window_kv),
    }
    positions = steps.add(f"{name}.map", "positions_map", x, like, layout="NCHW")
    if config.cls_token[i]:
        cls_token = steps.add(f"{name}.class_token", "class_token", x, like)
    tokens = {
        part: convolutional_projection(steps, f"{name}.convolution_projection_{part}", positions, look, window)
        for part, (look, window) in looks.items()
    }
    projected = []
    for part in looks:
        if config.cls_token[i]:
            joined = steps.add(f"{name}.{part}", "join_class_token", cls_token, tokens[part])
        else:
            joined = steps.add(f"{name}.{part}", "join_nothing", tokens[part], x)
        params = AFFINE if config.qkv_bias[i] else ["weight"]
        projected.append(steps.add(f"{name}.projection_{part}", "linear", joined, params=params))
    query, key, value = projected
    scale = config.embed_dim[i] ** -0.5  # of the whole embedding, not of one head
    scores = steps.add(
        f"{name}.scores", "attention_scores", query, key, layout="NhTS", num_heads=config.num_heads[i], scale=scale
    )
    rate = config.attention_drop_rate[i]
    probabilities = steps.add(f"{name}.{'softmax' if steps.drops(rate) else 'dropout'}", "softmax", scores, axis=-1)
    probabilities = steps.drop(f"{name}.dropout", "dropout", probabilities, rate)
    return steps.add(name, "attention_context", probabilities, value, layout="NTD")


def layer(steps: Steps, block: str, x: str, like: str, config: CvtConfig, i: int) -> str:
    """One block over the tokens of a map with the height and width of `like`."""
    norm: dict[str, Any] = {"params": AFFINE, "eps": LAYER_NORM_EPS, "axis": -1}

    residual, attention, output = x, f"{block}.attention", f"{block}.attention.output"
    x = steps.add(f"{block}.layernorm_before", "layer_norm", x, **norm)
    x = self_attention(steps, f"{attention}.attention", x, like, config, i)
    x = steps.add(f"{output}.dense", "linear", x, params=AFFINE)
    x = steps.drop(f"{output}.dropout", "dropout", x, config.drop_rate[i])
    steps.also(x, f"{output}.dropout", output, attention)
    x = steps.drop(f"{attention}.drop_path", "drop_path", x, config.layer_drop_path_rate(i))
    x = steps.add(f"{block}.attention_residual", "residual", residual, x)

    residual, intermediate, output = x, f"{block}.intermediate", f"{block}.output"
    x = steps.add(f"{block}.layernorm_after", "layer_norm", x, **norm)
    x = steps.add(f"{intermediate}.dense", "linear", x, params=AFFINE)
    x = steps.add(f"{intermediate}.activation", "activation", x, hidden_act=config.hidden_act, aliases=[intermediate])
    x = steps.add(f"{output}.dense", "linear", x, params=AFFINE)
    x = steps.drop(f"{output}.dropout", "dropout", x, config.drop_rate[i])
    steps.also(x, f"{output}.dropout")
    x = steps.drop(f"{output}.drop_path", "drop_path", x, config.layer_drop_path_rate(i))
    return steps.add(output, "residual", residual, x, aliases=[block])


def stage(steps: Steps, name: str, x: str, config: CvtConfig, i: int) -> tuple[str, str | None]:
    """One stage; return its map and its class token or None."""
    embedded = convolutional_embedding(steps, name, x, config, i)
    params = ["cls_token"] if config.cls_token[i] else []
    x = steps.add(f"{name}.tokens", "tokens", embedded, params=params, of=name, layout="NTD")
    for j in range(config.depth[i]):
        x = layer(steps, f"{name}.layers.{j}", x, embedded, config, i)
    feature_map = steps.add(name, "positions_map", x, embedded, layout="NCHW")
    cls_token = steps.add(f"{name}.class_token", "class_token", x, embedded) if config.cls_token[i] else None
    return feature_map, cls_token


def encode(steps: Steps, prefix: str, config: CvtConfig) -> tuple[str | None, list[str]]:
    """Run all stages; return the last one's class token or None, and each stage's map."""
    x, cls_token, hidden_states = "pixel_values", None, []
    for i in range(len(config.depth)):
        x, cls_token = stage(steps, f"{prefix}encoder.stages.{i}", x, config, i)
        hidden_states.append(x)
    steps.also(x, f"{prefix}encoder")
    return cls_token, hidden_states


def model(config: CvtConfig, *, training: bool) -> Plan:
    """Return the plan of the bare model; its output is the class token, or without one the last map."""
    steps = Steps(training)
    cls_token, hidden_states = encode(steps, "", config)
    return steps.plan([cls_token or hidden_states[-1]], hidden_states)


def image_classification(config: CvtConfig, *, training: bool) -> Plan:
    """Return the plan of the classifier."""
    steps = Steps(training)
    cls_token, hidden_states = encode(steps, "cvt.", config)
    steps.also(hidden_states[-1], "cvt")  # the first output of the bare model within
    x = cls_token or steps.add("tokens", "map_tokens", hidden_states[-1], layout="NTD")
    x = steps.add("layernorm", "layer_norm", x, params=AFFINE, eps=LAYER_NORM_EPS, axis=-1)
    x = steps.add("pooled", "token_mean", x, layout="ND")
    if config.num_labels == 0:
        steps.also(x, "classifier")
    else:
        x = steps.add("classifier", "linear", x, params=AFFINE, layout="NK")
    return steps.plan([x], hidden_states)
