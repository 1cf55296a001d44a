"""How other libraries name the parameters of ConvNeXt, and what names and shapes say of its configuration.

Sources: the state dicts of facebookresearch/ConvNeXt, timm, torchvision, open_clip, and transformers for PyTorch and
TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from npconv.models.naming import (
    Implied,
    Reading,
    Refused,
    Rule,
    Shape,
    Table,
    Unusual,
    both,
    by,
    count_blocks,
    head_at,
    read_classes,
    shape_of,
    sides,
)
from npconv.models.naming_keras import as_keras
from npconv.models.naming_tensorflow import as_tensorflow

SIGN = PREFIX = "convnext."
WORDS = ()

STEM = "{m}.embeddings.patch_embeddings"
OVERLAP = "{m}.embeddings.overlap_embeddings"
OVERLAP_ACT = "{m}.embeddings.overlap_act_embeddings"
STEM_NORM = "{m}.embeddings.layernorm"
DOWN_NORM = "{m}.encoder.stages.{n}.downsampling_layer.0"
DOWN = "{m}.encoder.stages.{n}.downsampling_layer.1"
BLOCK = "{m}.encoder.stages.{i}.layers.{j}"
SCALE = f"{BLOCK}.layer_scale_parameter"
HEAD_NORM = "{m}.layernorm"
MAP_NORM = "{m}.layernorm_before_pooling"

#: What comes after the last stage.
AFTER_THE_STAGES = (HEAD_NORM, MAP_NORM, "classifier", "pre_classifier")

#: The final LayerNorm of files that end with the last stage.
NO_HEAD_NORM = (Implied(f"{HEAD_NORM}.weight", 1), Implied(f"{HEAD_NORM}.bias", 0))

#: What is trained together, by our name -> the names of Facebook, timm and torchvision. Each has a weight and a bias,
#: but the layer scale, which is a tensor itself.
LAYERS = {
    STEM: ("downsample_layers.0.0", "", "features.0.0"),
    STEM_NORM: ("downsample_layers.0.1", "", "features.0.1"),
    DOWN_NORM: ("downsample_layers.{n}.0", "stages.{n}.downsample.0", "features.{2n}.0"),
    DOWN: ("downsample_layers.{n}.1", "stages.{n}.downsample.1", "features.{2n}.1"),
    f"{BLOCK}.dwconv": ("stages.{i}.{j}.dwconv", "stages.{i}.blocks.{j}.conv_dw", "features.{2i+1}.{j}.block.0"),
    f"{BLOCK}.layernorm": ("stages.{i}.{j}.norm", "stages.{i}.blocks.{j}.norm", "features.{2i+1}.{j}.block.2"),
    f"{BLOCK}.pwconv1": ("stages.{i}.{j}.pwconv1", "stages.{i}.blocks.{j}.mlp.fc1", "features.{2i+1}.{j}.block.3"),
    f"{BLOCK}.pwconv2": ("stages.{i}.{j}.pwconv2", "stages.{i}.blocks.{j}.mlp.fc2", "features.{2i+1}.{j}.block.5"),
    SCALE: ("stages.{i}.{j}.gamma", "stages.{i}.blocks.{j}.gamma", "features.{2i+1}.{j}.layer_scale"),
    HEAD_NORM: ("norm", "head.norm", "classifier.0"),
    "classifier": ("{head}", "{head}", "{head}"),
}


def _rules(names: Mapping[str, str], layouts: Mapping[str, str] | None = None) -> tuple[Rule, ...]:
    """Return the rules of some layers, our name -> theirs, with the layouts of those that are not as ours."""
    rules: list[Rule] = []
    for ours, theirs in names.items():
        named = (f"{{p}}{theirs}", ours, (layouts or {}).get(ours, "same"))
        rules += [Rule(*named)] if ours == SCALE else both(*named)
    return tuple(rules)


def _ours(*names: str) -> tuple[Rule, ...]:
    """Return the rules of layers of the bare model that are called as here."""
    return _rules({name: name.removeprefix("{m}.") for name in names})


# With and without prefix, and a backbone's norms: what transformers writes.
TRANSFORMERS = Table(
    name="huggingface",
    first="{p}embeddings.patch_embeddings.weight",
    rules=(
        *_ours(*(name for name in LAYERS if name != "classifier")),
        *both("{p}hidden_states_norms.{word}", "hidden_states_norms.{word}"),
        *both("{w}{head}", "classifier"),
    ),
    numbers={"hidden_act": "gelu", "layer_norm_eps": 1e-12},
    prefix="{m}.",
    **head_at("classifier", "{w}"),
)

# With npconv's own names for what transformers lacks; see ``variants.py``.
HUGGING_FACE = replace(
    TRANSFORMERS,
    first="{p}embeddings.layernorm.weight",
    rules=(
        *TRANSFORMERS.rules,
        *_ours(f"{OVERLAP}.0", f"{OVERLAP}.1", f"{OVERLAP_ACT}.0", f"{OVERLAP_ACT}.1", MAP_NORM),
        *both("{w}pre_classifier", "pre_classifier"),
    ),
)

FACEBOOK = Table(
    name="facebook",
    first="{p}downsample_layers.0.0.weight",
    rules=_rules({ours: theirs for ours, (theirs, _, _) in LAYERS.items()}),
    **head_at("head"),
)

#: After which stage a norm comes in files of detectors and segmenters.
STAGE_NORMS = both("{p}norm{i}", "hidden_states_norms.stage{i+1}")


def without_head(table: Table, name: str, *more: Rule, **changes: Any) -> Table:
    """Return the table of the files that end with the last stage, with `more` rules."""
    rules = (rule for rule in table.rules if not rule.ours.startswith(AFTER_THE_STAGES))
    return replace(table, name=name, rules=(*rules, *more), **{"spellings": {}, "open_spellings": {}, **changes})


#: What stands beside a backbone in files of detectors and segmenters.
DOWNSTREAM = tuple(
    f"{{w}}{part}.*"
    for part in ("decode_head", "auxiliary_head", "neck", "rpn_head", "roi_head", "bbox_head", "mask_head")
)


def as_mmpretrain(facebook: Table) -> tuple[Table, Table]:
    """Return the tables of mmpretrain for those of Facebook: of classifiers, and with the norms of a backbone."""
    blocks = without_head(facebook, "mmpretrain", prefix="backbone.")
    renamed = {"dwconv": "depthwise_conv", "pwconv1": "pointwise_conv1", "pwconv2": "pointwise_conv2"}
    rules = [
        replace(rule, theirs=re.sub("dwconv|pwconv[12]", lambda found: renamed[found.group()], rule.theirs))
        for rule in blocks.rules
    ]
    pointwise = (f"{BLOCK}.pwconv1.weight", f"{BLOCK}.pwconv2.weight")
    rules = [replace(rule, layout="@mlp") if rule.ours in pointwise else rule for rule in rules]
    layouts = {"@mlp": ("linear", "1x1"), **blocks.layouts}
    head = (*both("{p}norm{last}", HEAD_NORM), *both("{w}{head}", "classifier"))
    classifier = replace(
        blocks,
        rules=(*rules, *head),
        layouts=layouts,
        spellings={"{last}": ("3",), "{head}": ("head.fc",)},
        without_classifier="the norm of the last stage comes after the pooling, as mmpretrain has it unless "
        "gap_before_final_norm=False",
        open_spellings={"{last}": r"{p}norm(\d{1,2})\.weight", "{head}": r"{w}(head\.fc\.\d{1,2})\.weight"},
    )
    backbone = replace(
        blocks, name="mmpretrain-backbone", rules=(*rules, *STAGE_NORMS), layouts=layouts, skipped=DOWNSTREAM
    )
    return classifier, backbone


#: timm writes the pointwise layers of atto, femto, pico and nano as 1x1 convolutions: these begin with 40 to 80
#: channels, the small ones of its tests with fewer. Of the others it does so where the norm is before the pooling, and
#: where the norms have no bias.
_1X1_WIDTHS = range(40, 81)


def _as_timm_writes(tensors: Mapping[str, Any], model_type: str) -> dict[str, str]:
    """Return how timm writes the pointwise layers, and open_clip its projection."""
    stem_norm = tensors.get(f"{model_type}.embeddings.layernorm.weight")
    is_small = stem_norm is not None and int(stem_norm.shape[0]) in _1X1_WIDTHS
    is_rms = stem_norm is not None and f"{model_type}.embeddings.layernorm.bias" not in tensors
    is_1x1 = is_small or is_rms or f"{model_type}.layernorm_before_pooling.weight" in tensors
    projection = {"{projection}": "mlp.fc2"} if "pre_classifier.weight" in tensors else {}
    return {"@mlp": "1x1", **projection} if is_1x1 else projection


#: The options of timm's test models: the last one has SiLU.
_TEST: dict[str, Any] = {"norm_eps": 1e-5, "hidden_act": "gelu_pytorch_tanh"}

#: What timm calls its models, and what each of them has that no shape shows and the others have not.
TIMM_ARCHITECTURES: dict[str, dict[str, Any]] = {
    **{f"convnext_{size}{end}": {} for size in ("atto", "femto", "pico", "nano") for end in ("", "_ols")},
    **{f"convnext_{size}": {} for size in ("tiny", "tiny_hnf", "small", "base", "large", "large_mlp", "xlarge")},
    **{f"convnextv2_{size}": {} for size in ("atto", "femto", "pico", "nano", "tiny", "small")},
    **{f"convnextv2_{size}": {} for size in ("base", "large", "huge")},
    "convnext_xxlarge": {"norm_eps": 1e-5},
    "convnext_zepto_rms": {"norm_type": "simple_norm"},
    "convnext_zepto_rms_ols": {"norm_type": "simple_norm"},
    "convnext_atto_rms": {"norm_type": "rms_norm"},
    "test_convnext": _TEST,
    "test_convnext2": _TEST,
    "test_convnext3": {**_TEST, "hidden_act": "silu"},
}


def _unusual(name: str, depths: list[int], widths: list[int], kernels: list[int] | None = None) -> Unusual:
    """Return a model of timm that shapes show; without kernels where all have the usual side."""
    numbers = TIMM_ARCHITECTURES[name]
    shape = {"depths": depths, "hidden_sizes": widths, "kernel_sizes": kernels}
    return Unusual(f"timm's {name}", shape, numbers, tuple(name for name in ("norm_type",) if name in numbers))


_TIMM_UNUSUAL = (
    _unusual("convnext_xxlarge", [3, 4, 30, 3], [384, 768, 1536, 3072]),
    _unusual("convnext_zepto_rms", [2, 2, 4, 2], [32, 64, 128, 256]),
    _unusual("convnext_atto_rms", [2, 2, 6, 2], [40, 80, 160, 320]),
    _unusual("test_convnext", [1, 2, 4, 2], [24, 32, 48, 64]),
    _unusual("test_convnext2", [1] * 4, [32, 64, 96, 128]),
    _unusual("test_convnext3", [1] * 4, [32, 64, 96, 128], [7, 5, 5, 3]),
)


def timm(stem: dict[str, str]) -> Table:
    """Return the table of timm for one kind of stem: its convolutions and its norm, our name -> theirs."""
    body = {ours: theirs for ours, (_, theirs, _) in LAYERS.items() if ours not in (STEM, STEM_NORM)}
    mlp, head = (f"{BLOCK}.pwconv1", f"{BLOCK}.pwconv2"), ("pre_classifier", "classifier")
    return Table(
        name="timm",
        first="{p}stem.0.weight",
        rules=_rules(
            {**stem, **body, MAP_NORM: "norm_pre", "pre_classifier": "head.pre_logits.fc"},
            {**dict.fromkeys(mlp, "@mlp"), **dict.fromkeys(head, "@head")},
        ),
        layouts={"@mlp": ("linear", "1x1"), "@head": ("linear", "1x1")},
        refused=(
            Refused("conv_bias=False", "convolutions without bias", lacking="{p}stem.0.bias"),
            Refused(
                "patch_size=2",
                "a first stage that begins with a downsampling",
                present="{p}stages.0.downsample.1.weight",
                instead="with patch_size=4",
            ),
        ),
        # After a patch of 8 this is reached before the fourth stage (8 * 2 * 2); after a patch of 7 (28) it is not.
        output_stride=32,
        numbers={"hidden_act": "gelu", "norm_eps": 1e-6, "layer_norm_eps": 1e-6},
        are_options=True,
        exceptions=_TIMM_UNUSUAL,
        architectures=TIMM_ARCHITECTURES,
        follows={"layer_norm_eps": "norm_eps"},
        written=_as_timm_writes,
        licence="timm publishes weights under several licences: see the card of the model on the hub",
        **head_at("head.fc"),
    )


#: One table for each kind of stem: of patches, of two convolutions, of two with an activation between them.
TIMM = (
    timm({STEM: "stem.0", STEM_NORM: "stem.1"}),
    timm({f"{OVERLAP}.0": "stem.0", f"{OVERLAP}.1": "stem.1", STEM_NORM: "stem.2"}),
    timm({f"{OVERLAP_ACT}.0": "stem.0", f"{OVERLAP_ACT}.1": "stem.2", STEM_NORM: "stem.3"}),
)


#: What CLIP was trained with.
CLIP_PICTURES: dict[str, Any] = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "crop_pct": 1.0,
}


def features_only(table: Table) -> Table:
    """Return the table of timm's ``features_only`` models: lists of modules are written into one name, no head."""

    def flat(name: str) -> str:
        return re.sub(r"(stem|stages)\.", r"\1_", name)

    return without_head(
        replace(
            table,
            first=flat(table.first),
            rules=tuple(replace(rule, theirs=flat(rule.theirs)) for rule in table.rules),
            refused=tuple(
                replace(sign, lacking=flat(sign.lacking), present=flat(sign.present)) for sign in table.refused
            ),
        ),
        "timm-features",
        implied=NO_HEAD_NORM,
    )


def open_clip(trunk: Table) -> Table:
    """Return the table of the picture tower of a CLIP model: timm inside, and a projection of its own after it."""

    def inside(name: str) -> str:
        return name.replace("{p}", "{p}visual.trunk.")

    return replace(
        trunk,
        name="open_clip",
        projects=True,
        first=inside(trunk.first),
        rules=(
            *(replace(rule, theirs=inside(rule.theirs)) for rule in trunk.rules if rule.ours.startswith("{m}.")),
            *both("{p}visual.head.mlp.fc1", "pre_classifier"),
            *both("{p}visual.head.{projection}", "classifier"),
        ),
        spellings={**trunk.spellings, "{projection}": ("proj", "mlp.fc2")},
        implied=(Implied("classifier.bias", 0),),
        skipped=(
            *("{p}text.*", "{p}transformer.*", "{p}token_embedding.*", "{p}ln_final.*"),
            *("{p}positional_embedding", "{p}text_projection", "{p}logit_scale", "{p}logit_bias", "{p}attn_mask"),
        ),
        refused=tuple(
            replace(sign, lacking=inside(sign.lacking), present=inside(sign.present)) for sign in trunk.refused
        ),
        preprocessing=CLIP_PICTURES,
    )


TORCHVISION = Table(
    name="torchvision",
    first="{p}features.0.0.weight",
    rules=_rules({ours: theirs for ours, (_, _, theirs) in LAYERS.items()}, {SCALE: "column"}),
    **head_at("classifier.2", inside="classifier"),
    licence="torchvision's repository is BSD 3-Clause; it says that weights may have terms of their data set",
)


#: Our names -> those of the layers of keras.applications, which writes them as ``npconv.convert.respelling`` says.
KERAS_LAYERS = {
    STEM: "stem_conv",
    STEM_NORM: "stem_layernorm",
    DOWN_NORM: "downsampling_layernorm_{n-1}",
    DOWN: "downsampling_conv_{n-1}",
    f"{BLOCK}.dwconv": "stage_{i}_block_{j}_depthwise_conv",
    f"{BLOCK}.layernorm": "stage_{i}_block_{j}_layernorm",
    f"{BLOCK}.pwconv1": "stage_{i}_block_{j}_pointwise_conv_1",
    f"{BLOCK}.pwconv2": "stage_{i}_block_{j}_pointwise_conv_2",
    SCALE: "stage_{i}_block_{j}_layer_scale",
    HEAD_NORM: "head_layernorm",
    "classifier": "head_dense",
}

TABLES = (
    *map(open_clip, TIMM),
    *TIMM,
    *map(features_only, TIMM),
    without_head(TIMM[0], "timm-encoder", implied=NO_HEAD_NORM),
    FACEBOOK,
    without_head(FACEBOOK, "facebook-backbone", *STAGE_NORMS),
    without_head(FACEBOOK, "facebook-encoder", implied=NO_HEAD_NORM),
    *as_mmpretrain(FACEBOOK),
    TORCHVISION,
    as_keras(KERAS_LAYERS),
    HUGGING_FACE,
    as_tensorflow(TRANSFORMERS, "tf_conv_next_for_image_classification"),
)


def read(shapes: Mapping[str, Shape]) -> Reading:
    """Return what names and shapes say of a ConvNeXt.

    Raises
    ------
    WeightsError
        If they are those of none: a stage is lacking, a tensor has another number of dimensions.
    """
    found = Reading("convnext")
    found.add("no global response normalization", model_type="convnext")
    read_stages(found, shapes)
    scaled = any(name.endswith(".layer_scale_parameter") for name in shapes) or not sum(found.fields["depths"])
    found.add("a layer scale" if scaled else "no layer scale", layer_scale_init_value=1e-6 if scaled else 0.0)
    read_backbone(found, shapes)
    return found


def read_stages(found: Reading, shapes: Mapping[str, Shape]) -> None:
    """Add what stem, stages and head say; the same in ConvNeXt V2."""
    model = found.family
    stem, kernels = _stem(shapes, f"{model}.embeddings")
    depths = count_blocks(shapes, f"{model}.encoder.stages") or [0]
    widths = [kernels[-1][0]]
    for index in range(1, len(depths)):
        widths.append(shape_of(shapes, f"{model}.encoder.stages.{index}.downsampling_layer.1.weight", 4)[0])
    found.fields["num_stages"] = len(depths)
    found.add("blocks of each stage", depths=depths)
    found.add("stem and downsampling kernels", hidden_sizes=widths)
    _read_stem(found, stem, kernels)
    read_classes(found, shapes)
    firsts = [shapes.get(f"{model}.encoder.stages.{i}.layers.0.dwconv.weight", ()) for i in range(len(depths))]
    kernel_sizes = [shape[2] if len(shape) == 4 else 7 for shape in firsts]  # 7 where a stage has no block
    if any(side != 7 for side in kernel_sizes):
        found.add("depthwise kernels of the first block of each stage", kernel_sizes=kernel_sizes)
    _read_norms(found, shapes)
    if f"{model}.layernorm_before_pooling.weight" in shapes:
        found.add("the last LayerNorm is before the pooling", head_norm_first=True)
        if shapes.get("classifier.weight", ())[1:] == (2 * widths[-1],):
            found.add("a classifier of twice as many channels as the last map", pooling="catavgmax")
    if "pre_classifier.weight" in shapes:
        hidden = shape_of(shapes, "pre_classifier.weight", 2)
        found.add(f"a hidden layer {by(hidden)} before the classifier", head_hidden_size=hidden[0])
    has_head = found.fields["num_labels"] or "head_hidden_size" in found.fields
    found.task = "image_classification" if has_head else "model"


def _read_norms(found: Reading, shapes: Mapping[str, Shape]) -> None:
    """Say that the kind of norm is open where none has a bias: which of two it is, no shape shows."""
    ends = ("norm.bias", "norm_before_pooling.bias", "downsampling_layer.0.bias")
    if any(name.endswith(ends) for name in shapes):
        found.fields["norm_type"] = "layer_norm"
    else:
        found.open_fields["norm_type"] = ("rms_norm", "simple_norm")
        found.stand_ins["norm_type"] = "rms_norm"


def _stem(shapes: Mapping[str, Shape], embeddings: str) -> tuple[str, list[Shape]]:
    """Return what the convolutions of a stem are called, and their kernels."""
    for stem in ("overlap_embeddings", "overlap_act_embeddings"):
        if f"{embeddings}.{stem}.0.weight" in shapes:
            return stem, [shape_of(shapes, f"{embeddings}.{stem}.{number}.weight", 4) for number in (0, 1)]
    return "patch_embeddings", [shape_of(shapes, f"{embeddings}.patch_embeddings.weight", 4)]


def _read_stem(found: Reading, stem: str, kernels: list[Shape]) -> None:
    """Add what the kernels of the stem say."""
    channels = kernels[0][1]
    if stem == "patch_embeddings":
        found.add(f"stem kernel {by(kernels[0])}", num_channels=channels, patch_size=sides(kernels[0]))
        return
    tiered = "overlap" if kernels[0][0] == kernels[1][0] else "overlap_tiered"
    stem_type = "overlap_act" if stem == "overlap_act_embeddings" else tiered
    found.fields["patch_size"] = 4
    found.add(f"stem kernels {by(kernels[0])} and {by(kernels[1])}", num_channels=channels, stem_type=stem_type)


def read_backbone(found: Reading, shapes: Mapping[str, Shape]) -> None:
    """Add what the norms of a backbone say; the same in ConvNeXt V2."""
    norms = {name.split(".")[1] for name in shapes if name.startswith("hidden_states_norms.")}
    if norms:
        stages = ["stem", *(f"stage{number}" for number in range(1, found.fields["num_stages"] + 1))]
        chosen = [stage for stage in stages if stage in norms]
        found.add("norms of these stages, as a backbone has them", out_features=chosen)
        found.task = "backbone"
