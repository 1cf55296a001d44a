"""ConvNeXt as a plan: ``model.py`` with a name for every array. ConvNeXt V2 has another block and the rest from here.

Each name is that of the module of the Hugging Face model that gives the array out. These are no modules, with BLOCK for
``encoder.stages.I.layers.J``:

- ``BLOCK.layer_scale``: after its multiplication, where there is one;
- ``BLOCK.drop_path.mask``, in training: what each sample is multiplied by;
- ``pooled``: the average before the last LayerNorm, or after it.

In models of timm only (``variants.py``):

- ``embeddings.overlap_act_embeddings.act``: the activation between the convolutions of the stem;
- ``pre_classifier.act``: that of the hidden layer before the classifier;
- ``downsampling_layer.padded``: a normalized map with zeros at its end, before a stage that does not halve it;
- ``averaged`` and ``maximum``: of which ``pooled`` is made.

Maps are channels first here. In the Hugging Face model, the modules of a block from ``layernorm`` to ``pwconv2`` have
the channels last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npconv.models.convnext.configuration import ConvNextConfig, StagedConfig
from npconv.models.convnext.variants import HEAD_ACT
from npconv.plan.step import Plan
from npconv.plan.writing import AFFINE, Steps


def norm(steps: Steps, name: str, x: str, config: StagedConfig, **more: Any) -> str:
    """Normalize a map, or with another `eps` and `axis` what is made of it."""
    params = AFFINE if config.norm_type == "layer_norm" else ["weight"]
    return steps.add(name, config.norm_type, x, params=params, **{"eps": config.norm_eps, "axis": 1, **more})


def stem(steps: Steps, prefix: str, config: StagedConfig) -> str:
    """Cut the picture into patches and embed each."""
    name = f"{prefix}embeddings"
    x = steps.add(
        f"{name}.patch_embeddings", "conv2d", "pixel_values", params=AFFINE, stride=config.patch_size, padding=0
    )
    return norm(steps, f"{name}.layernorm", x, config, aliases=[name])


def overlapping_stem(steps: Steps, prefix: str, config: StagedConfig) -> str:
    """Convolve twice in place of patches, with or without an activation between."""
    name, is_activated = f"{prefix}embeddings", config.stem_type == "overlap_act"
    convolutions = f"{name}.{'overlap_act' if is_activated else 'overlap'}_embeddings"
    x = steps.add(f"{convolutions}.0", "conv2d", "pixel_values", params=AFFINE, stride=2, padding=1)
    if is_activated:
        x = steps.add(f"{convolutions}.act", "activation", x, hidden_act=config.hidden_act)
    x = steps.add(f"{convolutions}.1", "conv2d", x, params=AFFINE, stride=2, padding=1)
    return norm(steps, f"{name}.layernorm", x, config, aliases=[name])


def downsample(steps: Steps, stage: str, x: str, dilation: int, config: StagedConfig) -> str:
    """Widen the channels, and halve the map but where the blocks are dilated."""
    name = f"{stage}.downsampling_layer"
    x = norm(steps, f"{name}.0", x, config)
    if dilation == 1:
        return steps.add(f"{name}.1", "conv2d", x, params=AFFINE, stride=2, padding=0)
    if dilation == 2:
        x = steps.add(f"{name}.padded", "pad_end", x)
        return steps.add(f"{name}.1", "conv2d", x, params=AFFINE, stride=1, padding=0)
    return steps.add(f"{name}.1", "conv2d", x, params=AFFINE, stride=1, padding=1, dilation=2)


def depthwise(steps: Steps, name: str, x: str, kernel: int, dilation: int) -> str:
    """Convolve each channel with its own kernel; the size of the map stays."""
    apart: dict[str, Any] = {} if dilation == 1 else {"dilation": dilation}
    around = kernel // 2 * dilation
    return steps.add(f"{name}.dwconv", "depthwise_conv2d", x, params=AFFINE, stride=1, padding=around, **apart)


def layer(steps: Steps, name: str, x: str, kernel: int, dilation: int, rate: float, config: ConvNextConfig) -> str:
    """One ConvNeXt block."""
    residual = x
    x = depthwise(steps, name, x, kernel, dilation)
    x = norm(steps, f"{name}.layernorm", x, config)
    x = steps.add(f"{name}.pwconv1", "pointwise_conv2d", x, params=AFFINE)
    x = steps.add(f"{name}.act", "activation", x, hidden_act=config.hidden_act)
    x = steps.add(f"{name}.pwconv2", "pointwise_conv2d", x, params=AFFINE)
    if config.layer_scale_init_value > 0:
        x = steps.add(f"{name}.layer_scale", "layer_scale", x, params=["layer_scale_parameter"], of=name)
    x = steps.drop(f"{name}.drop_path", "drop_path", x, rate)
    steps.also(x, f"{name}.drop_path")
    return steps.add(name, "residual", residual, x)


#: What adds a block: :func:`layer`, or that of V2.
Block = Callable[..., str]


def encode(steps: Steps, prefix: str, config: StagedConfig, block: Block = layer) -> list[str]:
    """Run the stem and all stages; return the stem's output and each stage's."""
    x = (stem if config.stem_type == "patch" else overlapping_stem)(steps, prefix, config)
    hidden_states = [x]
    stages = zip(config.drop_path_rates(), config.stage_kernel_sizes, config.stage_dilations, strict=True)
    for i, (rates, kernel, dilation) in enumerate(stages):
        stage = f"{prefix}encoder.stages.{i}"
        if i > 0:
            x = downsample(steps, stage, x, dilation, config)
        for j, rate in enumerate(rates):
            x = block(steps, f"{stage}.layers.{j}", x, kernel, dilation, rate, config)
        steps.also(x, stage)
        hidden_states.append(x)
    steps.also(x, f"{prefix}encoder")
    return hidden_states


def pool_positions(steps: Steps, prefix: str, x: str, config: StagedConfig) -> str:
    """Make one number of each map, or two."""
    single = {"avg": "global_average_pool", "max": "global_max_pool"}
    if config.pooling in single:
        return steps.add(f"{prefix}pooled", single[config.pooling], x, layout="NC")
    maximum = steps.add(f"{prefix}maximum", "global_max_pool", x, layout="NC")
    average = steps.add(f"{prefix}averaged", "global_average_pool", x, layout="NC")
    joined = "halfway" if config.pooling == "avgmax" else "join_features"
    return steps.add(f"{prefix}pooled", joined, average, maximum, layout="NC")


def pool(steps: Steps, prefix: str, x: str, config: StagedConfig) -> str:
    """Average the last map over its positions, then normalize."""
    x = pool_positions(steps, prefix, x, config)
    return norm(steps, f"{prefix}layernorm", x, config, eps=config.layer_norm_eps, axis=-1)


def normalize_and_pool(steps: Steps, prefix: str, x: str, config: StagedConfig) -> str:
    """Normalize the last map, then average it over its positions."""
    x = norm(steps, f"{prefix}layernorm_before_pooling", x, config, eps=config.layer_norm_eps)
    return pool_positions(steps, prefix, x, config)


def summarize(steps: Steps, prefix: str, x: str, config: StagedConfig) -> str:
    """Make one vector of the last map."""
    return (normalize_and_pool if config.head_norm_first else pool)(steps, prefix, x, config)


def model(config: StagedConfig, block: Block = layer, *, training: bool) -> Plan:
    """Return the plan of the bare model."""
    steps = Steps(training)
    hidden_states = encode(steps, "", config, block)
    pooled = summarize(steps, "", hidden_states[-1], config)
    return steps.plan([pooled], hidden_states)


def image_classification(config: StagedConfig, block: Block = layer, *, training: bool) -> Plan:
    """Return the plan of the classifier."""
    steps, name = Steps(training), config.model_type
    hidden_states = encode(steps, f"{name}.", config, block)
    steps.also(hidden_states[-1], name)  # the first output of the bare model within
    x = summarize(steps, f"{name}.", hidden_states[-1], config)
    if config.head_hidden_size is not None:
        x = steps.add("pre_classifier", "linear", x, params=AFFINE)
        x = steps.add("pre_classifier.act", "activation", x, hidden_act=HEAD_ACT)
    if config.num_labels == 0:
        steps.also(x, "classifier")
    else:
        x = steps.add("classifier", "linear", x, params=AFFINE, layout="NK")
    return steps.plan([x], hidden_states)


def backbone(config: StagedConfig, block: Block = layer, *, training: bool) -> Plan:
    """Return the plan of the backbone."""
    steps = Steps(training)
    hidden_states = encode(steps, "", config, block)
    named = dict(zip(config.stage_names, hidden_states, strict=True))
    feature_maps = [norm(steps, f"hidden_states_norms.{name}", named[name], config) for name in config.out_features]
    return steps.plan(feature_maps, hidden_states)
