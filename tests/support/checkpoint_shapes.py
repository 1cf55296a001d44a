"""Checkpoints as people have them, each made from one small model.

Where an issue of another project describes the shape, it is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import npconv
from npconv.convert import dialects, translate
from support.families import MODULES

Tensors = dict[str, np.ndarray]

SIZES = {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 2, 1, 1], "num_labels": 5}
CONFIGS = {
    # The epsilon that all but the code of Hugging Face computes with.
    "convnext": npconv.ConvNextConfig(**SIZES, layer_norm_eps=1e-6),
    "convnextv2": npconv.ConvNextV2Config(**SIZES, layer_norm_eps=1e-6),
}


def state(family: str = "convnext", seed: int = 0) -> Tensors:
    """Return parameters in Hugging Face names, in float64; norms near 1."""
    rng = np.random.default_rng(seed)
    shapes = MODULES[family].image_classification_shapes(CONFIGS[family])
    return {
        name: rng.normal(1 if "norm" in name and name.endswith("weight") else 0, 0.3, shape)
        for name, shape in shapes.items()
    }


def named(dialect: str, prefix: str = "", family: str = "convnext", seed: int = 0) -> Tensors:
    """Return the model in the names of another library."""
    ours = state(family, seed)
    return translate.from_hugging_face(ours, dialects.dialect(dialect, ours, prefix=prefix))


def stage_norms(name: str) -> Tensors:
    """Return trained norms of the maps of all stages, called so."""
    rng = np.random.default_rng(9)
    return {
        f"{name.format(stage, stage + 1)}.{word}": rng.normal(1, 0.3, size)
        for stage, size in enumerate(SIZES["hidden_sizes"])
        for word in ("weight", "bias")
    }


def renamed(tensors: Tensors, *pairs: tuple[str, str]) -> Tensors:
    """Return tensors with some parts of the names replaced, given as regular expressions."""
    for old, new in pairs:
        tensors = {re.sub(old, new, name): tensor for name, tensor in tensors.items()}
    return tensors


def without(tensors: Tensors, pattern: str) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if re.search(pattern, name) is None}


def zeros(*names: str, shape: tuple[int, ...] = (3, 4)) -> Tensors:
    return {name: np.arange(np.prod(shape), dtype=float).reshape(shape) + 0.5 for name in names}


def number(*names: str) -> Tensors:
    return {name: np.array(77.3) for name in names}


def as_mmpretrain(family: str = "convnext", flat: bool = True) -> Tensors:
    """Return the classifier of mmpretrain: Facebook's names with words of its own."""
    made = renamed(
        named("facebook", "backbone.", family),
        ("dwconv", "depthwise_conv"),
        ("pwconv", "pointwise_conv"),
        (r"backbone\.norm\.", "backbone.norm3."),
        (r"backbone\.head\.", "head.fc."),
    )
    one_row = {name: t.reshape(-1) if "grn" in name else t for name, t in made.items()}
    return (
        one_row
        if flat
        else {n: t[..., None, None] if "pointwise" in n and t.ndim == 2 else t for n, t in one_row.items()}
    )


def as_keras(by_class: bool = False, top: bool = True, root: str = "") -> Tensors:
    """Return the model as keras.applications writes it, by the names of layers or by those of their classes."""
    layers = {
        "embeddings.patch_embeddings": ("stem_conv", "stem", "sequential/layers/conv2d"),
        "embeddings.layernorm": ("stem_layernorm", "stem", "sequential/layers/layer_normalization"),
        "layernorm": ("head_layernorm", "", "layer_normalization_5"),
        "classifier": ("head_dense", "", "dense_10"),
    }
    for stage in (1, 2, 3):
        for place, word, kind in ((0, "layernorm", "layer_normalization"), (1, "conv", "conv2d")):
            group = f"downsampling_block_{stage - 1}"
            layers[f"encoder.stages.{stage}.downsampling_layer.{place}"] = (
                f"downsampling_{word}_{stage - 1}",
                group,
                f"sequential_{stage}/layers/{kind}",
            )
    places = [(stage, block) for stage, depth in enumerate(SIZES["depths"]) for block in range(depth)]
    for count, (stage, block) in enumerate(places):
        after = f"_{count}" if count else ""
        for ours, word, kind in (
            ("dwconv", "depthwise_conv", f"conv2d{after}"),
            ("layernorm", "layernorm", f"layer_normalization{after}"),
            ("pwconv1", "pointwise_conv_1", f"dense_{2 * count}" if count else "dense"),
            ("pwconv2", "pointwise_conv_2", f"dense_{2 * count + 1}"),
            ("layer_scale_parameter", "layer_scale", f"layer_scale{after}"),
        ):
            layers[f"encoder.stages.{stage}.layers.{block}.{ours}"] = (f"stage_{stage}_block_{block}_{word}", "", kind)
    made = {}
    for name, tensor in state().items():
        module, _, word = name.removeprefix("convnext.").rpartition(".")
        if word == "layer_scale_parameter":
            module, word = f"{module}.{word}", "weight"
        if not top and module == "classifier":
            continue
        layer, group, kind = layers[module]
        is_norm = "norm" in layer or layer.endswith("scale")
        variable = {"weight": "gamma" if is_norm else "kernel", "bias": "beta" if is_norm else "bias"}[word]
        if tensor.ndim == 4:
            tensor = tensor.transpose(2, 3, 1, 0)
        elif tensor.ndim == 2:
            tensor = tensor.T
        if by_class:
            made[f"{root}layers/{kind}/vars/{int(word == 'bias')}"] = tensor
            continue
        if layer.endswith("layer_scale"):
            variable = f"variable_{len(made)}"
        if not top and layer == "head_layernorm":
            made[f"{root}layer_normalization_1/layer_normalization_1/{variable}:0"] = tensor
            continue
        first = f"convnext_tiny_{group or layer}"
        inner = f"{first}/convnext_tiny_{layer}" if group else f"convnext_tiny_{layer}"
        made[f"{root}{first}/{inner}/{variable}:0"] = tensor
    return made


def int8(tensors: Tensors) -> Tensors:
    """Return the model with weights in 8 bits and their scales beside them."""
    made: Tensors = {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            made[name] = tensor
            continue
        scale = np.abs(tensor).max() / 127
        made |= {name: np.round(tensor / scale).astype(np.int8), f"{name}_scale": np.array([scale])}
    return made


@dataclass(frozen=True)
class Shape:
    """One shape: what is in the file, and what becomes of it."""

    name: str
    make: Callable[[], Tensors]
    #: Words of the line that refuses it, and what its options give: see `compare`.
    refused: str = ""
    gives: str = "logits"
    family: str = "convnext"
    options: dict[str, Any] = field(default_factory=dict)
    #: Words of a note or a warning.
    says: str = ""
    #: Of the models in the file.
    seeds: tuple[int, ...] = (0,)


TIMM = "timm"
SHAPES = [
    Shape("metrics beside the weights", lambda: named(TIMM) | number("best_acc1", "loss", "epoch"), says="best_acc1"),
    Shape(
        "n_averaged of an AveragedModel", lambda: named(TIMM, "module.") | {"n_averaged": np.array(3)}, says="n_aver"
    ),
    Shape(
        "states of torchmetrics (Lightning#4666)",
        lambda: named(TIMM, "model.") | zeros("val_acc.confmat", shape=(5, 5)) | zeros("train_f1.tp", shape=(5,)),
        says="a metric: 'train_f1.tp', 'val_acc.confmat'",
    ),
    Shape(
        "student and teacher (dinov2#235)",
        lambda: named(TIMM, "teacher.backbone.", seed=3) | named(TIMM, "student.backbone."),
        refused="2 models.*'student.backbone.', 'teacher.backbone.'",
        seeds=(0, 3),
    ),
    Shape(
        "query and key encoders (MoCo)",
        lambda: (
            named("facebook", "module.encoder_q.")
            | named("facebook", "module.encoder_k.", seed=3)
            | zeros("module.queue")
        ),
        refused="2 models.*encoder_k.*encoder_q",
        seeds=(0, 3),
    ),
    Shape(
        "model and EMA",
        lambda: named(TIMM, "model.") | named(TIMM, "model_ema.module.", seed=3),
        refused="2 models",
        seeds=(0, 3),
    ),
    Shape(
        "EMA beside names without prefix",
        lambda: named(TIMM) | named(TIMM, "ema.", seed=3),
        refused="2 models.*--leave 'ema",
        seeds=(0, 3),
    ),
    Shape(
        "modelTeacher and modelStudent (unbiased-teacher#29)",
        lambda: named("facebook", "modelTeacher.") | named("facebook", "modelStudent.", seed=3),
        refused="2 models.*'modelStudent.', 'modelTeacher.'",
        seeds=(0, 3),
    ),
    Shape(
        "an ensemble of folds",
        lambda: named(TIMM, "models.0.") | named(TIMM, "models.1.", seed=3) | named(TIMM, "models.2.", seed=4),
        refused="3 models",
        seeds=(0, 3, 4),
    ),
    Shape(
        "class weights of a loss",
        lambda: named(TIMM, "model.") | zeros("criterion.weight", shape=(5,)),
        says="of a loss",
    ),
    Shape(
        "pos_weight of a loss (Lightning#2617)", lambda: named(TIMM) | number("criterion.pos_weight"), says="of a loss"
    ),
    Shape(
        "a dropout before timm's classifier",
        lambda: renamed(named(TIMM), (r"head\.fc\.", "head.fc.1.")),
        says="'head.fc.1' is the last of several modules.*Dropout",
    ),
    Shape(
        "a dropout before Facebook's classifier",
        lambda: renamed(named("facebook"), (r"^head\.", "head.1.")),
        says="'head.1' is the last of several modules",
    ),
    Shape(
        "a dropout in torchvision's classifier",
        lambda: renamed(named("torchvision"), (r"classifier\.2\.", "classifier.3.")),
        says="'classifier.3' is the last of several modules",
    ),
    Shape(
        "a dropout before Hugging Face's classifier",
        lambda: renamed(state(), (r"^classifier\.", "classifier.1.")),
        options={"layer_norm_eps": 1e-6},
        says="'classifier.1' is the last of several modules",
    ),
    Shape(
        "a head of two linear layers",
        lambda: (
            renamed(named(TIMM), (r"head\.fc\.", "head.fc.3."))
            | zeros("head.fc.0.weight", "head.fc.0.bias", shape=(10, 10))
        ),
        refused=r"'head.fc.0.bias'.*several layers.*--leave 'head.fc.\*'",
        gives="pooled",
    ),
    Shape(
        "the last norm twice, as DINOv3 has it",
        lambda: (
            without(named("facebook"), "^head")
            | renamed({n: t for n, t in named("facebook").items() if n.startswith("norm.")}, ("norm", "norms.3"))
        ),
        gives="dinov3",
        says="same tensor under a second name: 'norms.3.bias', 'norms.3.weight'",
    ),
    Shape(
        "one network under two names",
        lambda: named(TIMM, "model.") | named(TIMM, "classifier_net."),
        says="same tensor under a second name",
    ),
    Shape("mmpretrain", as_mmpretrain),
    Shape("mmpretrain with 1x1 convolutions", lambda: as_mmpretrain(flat=False)),
    Shape("mmpretrain's V2", lambda: as_mmpretrain("convnextv2"), family="convnextv2"),
    Shape(
        "mmpretrain's V2 with 1x1 convolutions", lambda: as_mmpretrain("convnextv2", flat=False), family="convnextv2"
    ),
    Shape(
        "mmpretrain without a head (ConvNeXt#126)",
        lambda: without(as_mmpretrain(), r"head\.fc"),
        gives="pooled",
        says="last norm: a guess, the norm of the last stage comes after the pooling",
    ),
    Shape(
        "a segmenter of mmpretrain's names with one norm",
        lambda: without(as_mmpretrain(), r"head\.fc") | zeros("decode_head.conv_seg.weight"),
        gives="last map",
        says="out_features \\['stage4'\\]",
    ),
    Shape(
        "a segmenter with trained norms (ConvNeXt#133)",
        lambda: (
            without(named("facebook", "backbone."), r"backbone\.(norm|head)\.")
            | stage_norms("backbone.norm{0}")
            | zeros("decode_head.conv_seg.weight", "auxiliary_head.convs.0.conv.weight")
        ),
        gives="maps",
        says="of a larger network: 'auxiliary_head.*'decode_head",
    ),
    Shape(
        "a detector with mmpretrain's names (mmdetection#7799)",
        lambda: (
            without(as_mmpretrain(), r"norm3|^head")
            | stage_norms("backbone.norm{0}")
            | zeros("neck.fpn_convs.0.conv.weight", "roi_head.bbox_head.fc_cls.weight", "rpn_head.rpn_conv.weight")
        ),
        gives="maps",
    ),
    Shape(
        "a detector of Detectron2",
        lambda: (
            without(named("facebook", "backbone.bottom_up."), r"bottom_up\.(norm|head)\.")
            | stage_norms("backbone.bottom_up.norm{0}")
            | zeros(
                "backbone.fpn_lateral2.weight",
                "proposal_generator.rpn_head.conv.weight",
                "roi_heads.box_head.fc1.weight",
            )
            | zeros("pixel_mean", "pixel_std", shape=(3, 1, 1))
        ),
        gives="maps",
        says="how another library prepares pictures.*'pixel_mean', 'pixel_std'",
    ),
    Shape(
        "UperNet of Hugging Face",
        lambda: (
            renamed(without(state(), r"^classifier|^convnext\.layernorm"), ("^convnext", "backbone"))
            | stage_norms("backbone.hidden_states_norms.stage{1}")
            | zeros("decode_head.classifier.weight")
        ),
        gives="maps",
    ),
    Shape(
        "timm's features_only",
        lambda: without(renamed(named(TIMM), (r"^(stem|stages)\.", r"\1_")), "^head"),
        gives="stages",
        says="convnext.layernorm.weight: 1 where the file has none",
    ),
    Shape(
        "segmentation_models_pytorch",
        lambda: (
            without(renamed(named(TIMM), (r"^(stem|stages)\.", r"encoder.model.\1_")), "^head")
            | zeros("decoder.blocks.0.conv1.0.weight", "segmentation_head.0.weight")
        ),
        gives="stages",
    ),
    Shape("torch.compile (timm#1566)", lambda: named(TIMM, "_orig_mod.")),
    Shape("torch.compile inside DDP (timm#2003)", lambda: named(TIMM, "module._orig_mod.")),
    Shape("DDP inside torch.compile", lambda: named(TIMM, "_orig_mod.module.")),
    Shape("torch.compile inside Lightning (Lightning#20233)", lambda: named(TIMM, "model._orig_mod.")),
    Shape("torch.compile of the stages only", lambda: renamed(named(TIMM), (r"^(stages\.\d)\.", r"\1._orig_mod."))),
    Shape(
        "activation checkpoints",
        lambda: renamed(named(TIMM, "net."), (r"(blocks\.\d)\.", r"\1._checkpoint_wrapped_module.")),
    ),
    Shape(
        "FSDP", lambda: renamed(named(TIMM, "_fsdp_wrapped_module."), (r"(stages\.\d)\.", r"\1._fsdp_wrapped_module."))
    ),
    Shape("FSDP's flat parameters", lambda: {"_fsdp_wrapped_module._flat_param": np.zeros(99)}, refused="FSDP"),
    Shape("timm inside transformers", lambda: named(TIMM, "timm_model.")),
    Shape("keras.applications, .h5", as_keras),
    Shape("keras.applications, model.save in .h5", lambda: as_keras(root="model_weights/")),
    Shape("keras.applications, .weights.h5 and .keras", lambda: as_keras(by_class=True)),
    Shape("keras.applications without the top", lambda: as_keras(top=False), gives="pooled"),
    Shape(
        "keras.applications with an optimizer",
        lambda: as_keras(by_class=True) | zeros("optimizer/vars/0", "optimizer/vars/2"),
    ),
    Shape(
        "keras.applications inside another model",
        lambda: (
            as_keras(by_class=True, top=False, root="layers/functional/") | zeros("layers/dense/vars/0", shape=(10, 3))
        ),
        refused=r"'layers/dense/vars/0'.*--prefix layers/functional/",
        gives="pooled",
    ),
    Shape(
        "a projection head of DINO (dino#66)",
        lambda: (
            without(named("facebook", "module.backbone."), r"backbone\.head")
            | zeros("module.head.mlp.0.weight", "module.head.last_layer.weight_g", "module.head.last_layer.weight_v")
        ),
        gives="pooled",
        says="of a larger network: 'module.head.last_layer.weight_g'.*'module.head.mlp.0.weight'",
    ),
    Shape(
        "an average by mmcv's hook (O2SFormer#23)",
        lambda: as_mmpretrain() | {f"ema_{n.replace('.', '_')}": t * 2 for n, t in as_mmpretrain().items()},
        says="second copy under names without dots",
    ),
    Shape(
        "an average with dots left out (ldcast#12)",
        lambda: (
            named(TIMM, "model.")
            | {f"model_ema.{n.replace('.', '')}": t * 2 for n, t in named(TIMM).items()}
            | number("model_ema.decay", "model_ema.num_updates")
        ),
        says="second copy under names without dots",
    ),
    Shape(
        "two networks of different kinds (GenConViT#13)",
        lambda: named(TIMM, "backbone.") | zeros("embedder.layers.0.blocks.0.attn.qkv.weight", "fc.weight"),
        refused="'embedder.layers.0.blocks.0.attn.qkv.weight'.*--prefix backbone.",
    ),
    Shape(
        "a classifier of someone's own",
        lambda: named(TIMM) | zeros("my_fc.weight"),
        refused=r"'my_fc.weight'.*--leave 'my_fc.\*'",
    ),
    Shape(
        "an online finetuner (AAVAE#2)",
        lambda: named(TIMM, "encoder.") | zeros("online_finetuner.weight"),
        says="larger network",
    ),
    Shape(
        "a learned temperature",
        lambda: named(TIMM, "model.") | number("temperature"),
        refused="'temperature'.*--prefix model",
    ),
    Shape(
        "a layer that no model has",
        lambda: named(TIMM) | zeros("stages.0.blocks.0.attn.qkv.weight"),
        refused="another architecture",
    ),
    Shape(
        "a loss in the blocks",
        lambda: named(TIMM) | zeros("stages.0.blocks.0.criterion.weight"),
        refused="another architecture",
    ),
    Shape(
        "a copy in the blocks",
        lambda: named(TIMM) | {"stages.0.blocks.0.second.weight": named(TIMM)["head.fc.weight"]},
        refused="another architecture",
    ),
    Shape(
        "a neck before the classifier",
        lambda: named(TIMM, "model.") | zeros("neck.weight"),
        refused="'neck.weight'.*, which may stand between the model and its classifier; --prefix model.",
    ),
    Shape(
        "a number of a loss",
        lambda: named(TIMM) | number("criterion.step"),
        says="a number that training kept: 'criterion.step'",
    ),
    Shape(
        "two numbers of a loss",
        lambda: named(TIMM) | zeros("criterion.step", shape=(2,)),
        says="of a loss: 'criterion.step'",
    ),
    Shape(
        "two numbers that may be anything",
        lambda: named(TIMM, "model.") | zeros("last_step", shape=(2,)),
        refused="'last_step'.*--prefix model",
    ),
    Shape("a loss of a long name", lambda: named(TIMM) | zeros(f"criterion.{'x' * 190}"), says="of a loss: 'criterion"),
    Shape(
        "a loss of a longer name",
        lambda: named(TIMM, "model.") | zeros(f"criterion.{'x' * 191}"),
        refused="no place for tensor 'criterion.*--prefix model",
    ),
    Shape(
        "a slip in a name",
        lambda: named(TIMM) | zeros("stages.1.blocks.0.conv_dw.wieght", shape=(3,)),
        refused=r"\(nearest: 'stages\.1\.blocks\.0\.conv_dw\.weight'\)",
    ),
    Shape(
        "a scale in the blocks",
        lambda: named(TIMM) | number("stages.0.blocks.0.act.scale"),
        refused="another architecture",
    ),
    Shape(
        "LoRA",
        lambda: zeros("base_model.model.stages.0.blocks.0.mlp.fc1.lora_A.weight"),
        refused=r"\(LoRA\).*merge_and_unload",
    ),
    Shape(
        "a model wrapped by peft",
        lambda: renamed(named(TIMM, "base_model.model."), (r"(head\.fc)\.", r"\1.modules_to_save.default.")),
        refused="wrapped by peft.*merge_and_unload",
    ),
    Shape("8 bits with scales", lambda: int8(named(TIMM)), refused="quantised weights.*before quantisation"),
    Shape("packed in 4 bits", lambda: named(TIMM) | zeros("head.fc.qweight"), refused="quantised weights"),
    Shape(
        "weight norm",
        lambda: renamed(named(TIMM), (r"head\.fc\.weight", "head.fc.weight_v")) | zeros("head.fc.weight_g"),
        refused="remove_weight_norm",
    ),
    Shape(
        "parametrizations",
        lambda: named(TIMM) | zeros("head.fc.parametrizations.weight.original0"),
        refused="remove_parametrizations",
    ),
    Shape(
        "pruned",
        lambda: renamed(named(TIMM), (r"head\.fc\.weight", "head.fc.weight_orig")) | zeros("head.fc.weight_mask"),
        refused="prune.remove",
    ),
]
