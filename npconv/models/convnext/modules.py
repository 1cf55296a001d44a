"""What other libraries call the modules of a ConvNeXt that have no parameters; see ``npconv/models/naming_modules.py``.

Sources: the modules of facebookresearch/ConvNeXt, timm, torchvision, open_clip, mmpretrain and keras.applications.
"""

from __future__ import annotations

from npconv.models.convnext.names import BLOCK, DOWN, HEAD_NORM, MAP_NORM, OVERLAP_ACT, STEM_NORM
from npconv.models.naming_modules import Modules

STAGE = "{m}.encoder.stages.{i}"
ENCODER = "{m}.encoder"
POOLED = "{m}.pooled"

#: What the head is given where a hidden layer comes before it, where the last norm does, and where that is of maps.
HIDDEN = "pre_classifier.act"
FEATURES = (HIDDEN, HEAD_NORM, POOLED)

FACEBOOK: Modules = {
    "{p}downsample_layers.0": STEM_NORM,
    "{p}downsample_layers.{n}": DOWN,
    "{p}stages.{i}.{j}.act": f"{BLOCK}.act",
    "{p}stages.{i}.{j}.drop_path": f"{BLOCK}.drop_path",
    "{p}stages.{i}.{j}": BLOCK,
    "{p}stages.{i}": STAGE,
}

MMPRETRAIN: Modules = {**FACEBOOK, "{w}backbone": HEAD_NORM, "{w}head": "classifier"}

#: Of timm, up to the head.
_BODY: Modules = {
    "{p}stem": STEM_NORM,
    "{p}stem.1": f"{OVERLAP_ACT}.act",
    "{p}stages.0.downsample": STEM_NORM,
    "{p}stages.{n}.downsample": DOWN,
    "{p}stages.{i}.blocks.{j}.mlp.act": f"{BLOCK}.act",
    "{p}stages.{i}.blocks.{j}.mlp": f"{BLOCK}.pwconv2",
    "{p}stages.{i}.blocks.{j}.drop_path": f"{BLOCK}.drop_path",
    "{p}stages.{i}.blocks.{j}": BLOCK,
    # What a block is given passes through a module.
    "{p}stages.0.blocks.0.shortcut": STEM_NORM,
    "{p}stages.{n}.blocks.0.shortcut": DOWN,
    "{p}stages.{i}.blocks.{j+1}.shortcut": BLOCK,
    "{p}stages.{i}.blocks": STAGE,
    "{p}stages.{i}": STAGE,
    "{p}stages": ENCODER,
    "{p}norm_pre": (MAP_NORM, ENCODER),
    "{p}head.global_pool": POOLED,
    "{p}head.global_pool.pool": POOLED,
    "{p}head.global_pool.flatten": POOLED,
}

_HEAD: Modules = {
    # After the norm, or where that is of maps, after the last layer.
    "{p}head.flatten": (HEAD_NORM, "classifier"),
    "{p}head.pre_logits.act": HIDDEN,
    "{p}head.pre_logits": (HIDDEN, HEAD_NORM),
    "{p}head.drop": FEATURES,
    "{p}head": "classifier",
}

#: The perceptron of a block is one of two modules, in which what is called ``norm`` stands in different places.
_PERCEPTRONS: tuple[Modules, ...] = (
    {
        "{p}stages.{i}.blocks.{j}.mlp.drop1": f"{BLOCK}.act",
        "{p}stages.{i}.blocks.{j}.mlp.norm": f"{BLOCK}.act",
        "{p}stages.{i}.blocks.{j}.mlp.drop2": f"{BLOCK}.pwconv2",
    },
    {
        "{p}stages.{i}.blocks.{j}.mlp.norm": f"{BLOCK}.pwconv1",
        "{p}stages.{i}.blocks.{j}.mlp.drop": f"{BLOCK}.act",
    },
)

TIMM: tuple[Modules, ...] = tuple({**_BODY, **perceptron, **_HEAD} for perceptron in _PERCEPTRONS)

#: After the norm, the projection follows outside of timm's model.
_INSIDE = ("head.flatten", "head.pre_logits", "head.drop", "head.fc", "head")
_PROJECTION: Modules = {
    **{f"{{p}}visual.trunk.{name}": (HEAD_NORM, POOLED) for name in _INSIDE},
    "{p}visual.trunk": (HEAD_NORM, POOLED),
    "{p}visual.head.drop": (HEAD_NORM, POOLED),
    **{f"{{p}}visual.head.mlp.{name}": HIDDEN for name in ("act", "drop1", "norm")},
    **{f"{{p}}visual.{name}": "classifier" for name in ("head.mlp.fc2", "head.mlp.drop2", "head.mlp", "head")},
    "{p}visual": "classifier",
}
OPEN_CLIP: tuple[Modules, ...] = tuple(
    {
        **{theirs.replace("{p}", "{p}visual.trunk."): ours for theirs, ours in {**_BODY, **perceptron}.items()},
        **_PROJECTION,
    }
    for perceptron in _PERCEPTRONS
)

TORCHVISION: Modules = {
    "{p}features.0": STEM_NORM,
    "{p}features.{2n}": DOWN,
    "{p}features.{2i+1}.{j}.block.1": f"{BLOCK}.dwconv",
    "{p}features.{2i+1}.{j}.block.4": f"{BLOCK}.act",
    "{p}features.{2i+1}.{j}.block.6": f"{BLOCK}.pwconv2",
    "{p}features.{2i+1}.{j}.block": f"{BLOCK}.pwconv2",
    "{p}features.{2i+1}.{j}.stochastic_depth": f"{BLOCK}.drop_path",
    "{p}features.{2i+1}.{j}": BLOCK,
    "{p}features.{2i+1}": STAGE,
    "{p}features": ENCODER,
    "{p}avgpool": POOLED,
    "{p}classifier.1": HEAD_NORM,
    "{p}classifier": "classifier",
}

#: The sum at the end of a block is called ``add_5`` there, by what else has been made before: no table can hold it.
KERAS: Modules = {
    "{p}prestem_normalization": "pixel_values",
    "{p}stem": STEM_NORM,
    "{p}downsampling_block_{n-1}": DOWN,
    "{p}stage_{i}_block_{j}_gelu": f"{BLOCK}.act",
    "{p}stage_{i}_block_{j}_layer_scale": f"{BLOCK}.layer_scale",
    "{p}stage_{i}_block_{j}_identity": f"{BLOCK}.drop_path",
    "{p}stage_{i}_block_{j}_stochastic_depth": f"{BLOCK}.drop_path",
    "{p}head_gap": POOLED,
}

MODULES: dict[str, tuple[Modules, ...]] = {
    "timm": TIMM,
    "facebook": (FACEBOOK,),
    "torchvision": (TORCHVISION,),
    "keras": (KERAS,),
    "open_clip": OPEN_CLIP,
    "mmpretrain": (MMPRETRAIN,),
}
