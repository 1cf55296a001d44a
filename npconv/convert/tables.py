"""The dialects as data: their names, our names (those of Hugging Face) and the layout between them.

In a name ``{i}`` is a stage, ``{n}`` a stage that is not the first, ``{j}`` a block; see ``names.py``. ``{p}`` is what
stands before every name of a file (``convnext.``, ``module.``, ``visual.trunk.``), ``{w}`` the same without the model's
own name, ``{m}`` the family: convnext, convnextv2 or cvt. Other words in braces are spellings that a table lists. A
layout that begins with ``@`` is one of several, which the shapes in the file decide.

Sources: the state dicts of facebookresearch/ConvNeXt and ConvNeXt-V2 (with ``remap_checkpoint_keys`` for the sparse
ones), timm, torchvision, microsoft/CvT, open_clip, and transformers for PyTorch and TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Rule:
    """One kind of tensor: their name, our name, the layout."""

    theirs: str
    ours: str
    layout: str = "same"


@dataclass(frozen=True)
class Implied:
    """A parameter of ours that a dialect does not store, and its constant value."""

    ours: str
    value: int
    #: Whether it may be left out whatever its value, because no output depends on it.
    droppable: bool = False


@dataclass(frozen=True)
class Refused:
    """A tensor that files of our models have; without it, one is of something that they cannot do."""

    lacking: str
    option: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """One dialect."""

    name: str
    families: tuple[str, ...]
    #: The tensor that every file of the dialect has.
    first: str
    rules: tuple[Rule, ...]
    spellings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    layouts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    implied: tuple[Implied, ...] = ()
    #: Tensors of the file that belong to something else: a text tower, a decoder.
    skipped: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()
    #: Of the final LayerNorm.
    layer_norm_eps: float = 1e-6
    #: Whether timm's code computes: its options set the activation, and one epsilon for every LayerNorm.
    of_timm: bool = False
    hidden_act: str = "gelu"


STEM = "{m}.embeddings.patch_embeddings"
OVERLAP = "{m}.embeddings.overlap_embeddings"
OVERLAP_ACT = "{m}.embeddings.overlap_act_embeddings"
STEM_NORM = "{m}.embeddings.layernorm"
DOWN_NORM = "{m}.encoder.stages.{n}.downsampling_layer.0"
DOWN = "{m}.encoder.stages.{n}.downsampling_layer.1"
BLOCK = "{m}.encoder.stages.{i}.layers.{j}"
HEAD_NORM = "{m}.layernorm"
MAP_NORM = "{m}.layernorm_before_pooling"

CVT_STAGE = "cvt.encoder.stages.{i}"
CVT_STEM = f"{CVT_STAGE}.embedding.convolution_embeddings"
CVT_BLOCK = f"{CVT_STAGE}.layers.{{j}}"
CVT_INNER = f"{CVT_BLOCK}.attention.attention"

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def both(theirs: str, ours: str, weight: str = "same", bias: str = "same") -> tuple[Rule, Rule]:
    """Return the rules of a weight and a bias."""
    return Rule(f"{theirs}.weight", f"{ours}.weight", weight), Rule(f"{theirs}.bias", f"{ours}.bias", bias)


def batch_norm(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Return the rules of a batch norm."""
    return *both(theirs, ours), *(Rule(f"{theirs}.{name}", f"{ours}.{name}") for name in STATISTICS)


def encoder_only(table: Table, name: str, *after: str) -> Table:
    """Return the table of the files that end with the last stage, as pre-training writes them.

    `after` are beginnings of the names of what the complete model has after it.
    """
    rules = tuple(rule for rule in table.rules if not rule.theirs.startswith(after))
    return replace(table, name=name, families=("convnextv2",), rules=rules, implied=NO_HEAD_NORM)


#: The final LayerNorm is no part of pre-training; fine-tuning begins with these.
NO_HEAD_NORM = (Implied(f"{HEAD_NORM}.weight", 1), Implied(f"{HEAD_NORM}.bias", 0))

CONVNEXTS = ("convnext", "convnextv2")

# With and without prefix, and a backbone's norms: what transformers writes.
HUGGING_FACE = Table(
    name="huggingface",
    families=CONVNEXTS,
    first="{p}embeddings.patch_embeddings.weight",
    rules=(
        *both("{p}embeddings.patch_embeddings", STEM),
        *both("{p}embeddings.layernorm", STEM_NORM),
        *both("{p}encoder.stages.{n}.downsampling_layer.0", DOWN_NORM),
        *both("{p}encoder.stages.{n}.downsampling_layer.1", DOWN),
        *both("{p}encoder.stages.{i}.layers.{j}.dwconv", f"{BLOCK}.dwconv"),
        *both("{p}encoder.stages.{i}.layers.{j}.layernorm", f"{BLOCK}.layernorm"),
        *both("{p}encoder.stages.{i}.layers.{j}.pwconv1", f"{BLOCK}.pwconv1"),
        Rule("{p}encoder.stages.{i}.layers.{j}.grn.{scale}", f"{BLOCK}.grn.weight"),
        Rule("{p}encoder.stages.{i}.layers.{j}.grn.{shift}", f"{BLOCK}.grn.bias"),
        *both("{p}encoder.stages.{i}.layers.{j}.pwconv2", f"{BLOCK}.pwconv2"),
        Rule("{p}encoder.stages.{i}.layers.{j}.layer_scale_parameter", f"{BLOCK}.layer_scale_parameter"),
        *both("{p}layernorm", HEAD_NORM),
        *both("{p}hidden_states_norms.{word}", "hidden_states_norms.{word}"),
        *both("{w}classifier", "classifier"),
    ),
    spellings={"{scale}": ("weight", "gamma"), "{shift}": ("bias", "beta")},
    layer_norm_eps=1e-12,
)

# With npconv's own names for what transformers lacks; see ``npconv/models/convnext/variants.py``.
NPCONV = replace(
    HUGGING_FACE,
    first="{p}embeddings.layernorm.weight",
    rules=(
        *HUGGING_FACE.rules,
        *both("{p}embeddings.overlap_embeddings.0", f"{OVERLAP}.0"),
        *both("{p}embeddings.overlap_embeddings.1", f"{OVERLAP}.1"),
        *both("{p}embeddings.overlap_act_embeddings.0", f"{OVERLAP_ACT}.0"),
        *both("{p}embeddings.overlap_act_embeddings.1", f"{OVERLAP_ACT}.1"),
        *both("{p}layernorm_before_pooling", MAP_NORM),
        *both("{w}pre_classifier", "pre_classifier"),
    ),
)

FACEBOOK = Table(
    name="facebook",
    families=CONVNEXTS,
    first="{p}downsample_layers.0.0.weight",
    rules=(
        *both("{p}downsample_layers.0.0", STEM),
        *both("{p}downsample_layers.0.1", STEM_NORM),
        *both("{p}downsample_layers.{n}.0", DOWN_NORM),
        *both("{p}downsample_layers.{n}.1", DOWN),
        *both("{p}stages.{i}.{j}.dwconv", f"{BLOCK}.dwconv"),
        *both("{p}stages.{i}.{j}.norm", f"{BLOCK}.layernorm"),
        *both("{p}stages.{i}.{j}.pwconv1", f"{BLOCK}.pwconv1"),
        Rule("{p}stages.{i}.{j}.grn.gamma", f"{BLOCK}.grn.weight"),
        Rule("{p}stages.{i}.{j}.grn.beta", f"{BLOCK}.grn.bias"),
        *both("{p}stages.{i}.{j}.pwconv2", f"{BLOCK}.pwconv2"),
        Rule("{p}stages.{i}.{j}.gamma", f"{BLOCK}.layer_scale_parameter"),
        *both("{p}norm", HEAD_NORM),
        *both("{p}head", "classifier"),
    ),
)

# Pre-training as it runs, on sparse tensors. The decoder is left behind.
FCMAE = Table(
    name="fcmae",
    families=("convnextv2",),
    first="{p}downsample_layers.0.0.weight",
    rules=(
        *both("{p}downsample_layers.0.0", STEM),
        *both("{p}downsample_layers.0.1", STEM_NORM),
        *both("{p}downsample_layers.{n}.0.ln", DOWN_NORM),
        Rule("{p}downsample_layers.{n}.1.kernel", f"{DOWN}.weight", "sparse"),
        Rule("{p}downsample_layers.{n}.1.bias", f"{DOWN}.bias", "@conv bias"),
        Rule("{p}stages.{i}.{j}.dwconv.kernel", f"{BLOCK}.dwconv.weight", "sparse depthwise"),
        Rule("{p}stages.{i}.{j}.dwconv.bias", f"{BLOCK}.dwconv.bias", "@depthwise bias"),
        *both("{p}stages.{i}.{j}.norm.ln", f"{BLOCK}.layernorm"),
        *both("{p}stages.{i}.{j}.pwconv1.linear", f"{BLOCK}.pwconv1"),
        Rule("{p}stages.{i}.{j}.grn.gamma", f"{BLOCK}.grn.weight", "@grn"),
        Rule("{p}stages.{i}.{j}.grn.beta", f"{BLOCK}.grn.bias", "@grn"),
        *both("{p}stages.{i}.{j}.pwconv2.linear", f"{BLOCK}.pwconv2"),
    ),
    layouts={"@conv bias": ("row", "same"), "@depthwise bias": ("row", "same"), "@grn": ("grn row", "same")},
    implied=NO_HEAD_NORM,
    skipped=("{w}decoder.*", "{w}mask_token", "{w}proj.*", "{w}pred.*"),
)


def timm(convolutions: dict[str, str], norm: str) -> Table:
    """Return the table of timm for one kind of stem, from the names of its convolutions and its norm."""
    return Table(
        name="timm",
        families=CONVNEXTS,
        first="{p}stem.0.weight",
        rules=(
            *(rule for theirs, ours in convolutions.items() for rule in both(f"{{p}}{theirs}", ours)),
            *both(f"{{p}}{norm}", STEM_NORM),
            *both("{p}stages.{n}.downsample.0", DOWN_NORM),
            *both("{p}stages.{n}.downsample.1", DOWN),
            *both("{p}stages.{i}.blocks.{j}.conv_dw", f"{BLOCK}.dwconv"),
            *both("{p}stages.{i}.blocks.{j}.norm", f"{BLOCK}.layernorm"),
            *both("{p}stages.{i}.blocks.{j}.mlp.fc1", f"{BLOCK}.pwconv1", "@mlp"),
            Rule("{p}stages.{i}.blocks.{j}.mlp.grn.weight", f"{BLOCK}.grn.weight", "vector"),
            Rule("{p}stages.{i}.blocks.{j}.mlp.grn.bias", f"{BLOCK}.grn.bias", "vector"),
            *both("{p}stages.{i}.blocks.{j}.mlp.fc2", f"{BLOCK}.pwconv2", "@mlp"),
            Rule("{p}stages.{i}.blocks.{j}.gamma", f"{BLOCK}.layer_scale_parameter"),
            *both("{p}head.norm", HEAD_NORM),
            *both("{p}norm_pre", MAP_NORM),
            *both("{p}head.pre_logits.fc", "pre_classifier", "@head"),
            *both("{p}head.fc", "classifier", "@head"),
        ),
        layouts={"@mlp": ("linear", "1x1"), "@head": ("linear", "1x1")},
        refused=(
            Refused("{p}stem.0.bias", "conv_bias=False", "convolutions without bias"),
            Refused(f"{{p}}{norm}.bias", "norm_layer='rmsnorm2d' or 'simplenorm'", "norms without mean and bias"),
        ),
        of_timm=True,
    )


TIMM = timm({"stem.0": STEM}, "stem.1")
TIMM_OVERLAP = timm({"stem.0": f"{OVERLAP}.0", "stem.1": f"{OVERLAP}.1"}, "stem.2")
TIMM_OVERLAP_ACT = timm({"stem.0": f"{OVERLAP_ACT}.0", "stem.2": f"{OVERLAP_ACT}.1"}, "stem.3")


def open_clip(trunk: Table) -> Table:
    """Return the table of the picture tower of a CLIP model: timm inside, and a projection of its own after it."""
    inside = [rule for rule in trunk.rules if rule.ours.startswith("{m}.")]
    return replace(
        trunk,
        name="open_clip",
        first="{p}visual.trunk.stem.0.weight",
        rules=(
            *(replace(rule, theirs=rule.theirs.replace("{p}", "{p}visual.trunk.")) for rule in inside),
            *both("{p}visual.head.mlp.fc1", "pre_classifier"),
            *both("{p}visual.head.{projection}", "classifier"),
        ),
        spellings={"{projection}": ("proj", "mlp.fc2")},
        implied=(Implied("classifier.bias", 0),),
        skipped=(
            *("{p}text.*", "{p}transformer.*", "{p}token_embedding.*", "{p}ln_final.*"),
            *("{p}positional_embedding", "{p}text_projection", "{p}logit_scale", "{p}logit_bias", "{p}attn_mask"),
        ),
        refused=tuple(replace(sign, lacking=sign.lacking.replace("{p}", "{p}visual.trunk.")) for sign in trunk.refused),
    )


TORCHVISION = Table(
    name="torchvision",
    families=("convnext",),
    first="{p}features.0.0.weight",
    rules=(
        *both("{p}features.0.0", STEM),
        *both("{p}features.0.1", STEM_NORM),
        *both("{p}features.{2n}.0", DOWN_NORM),
        *both("{p}features.{2n}.1", DOWN),
        *both("{p}features.{2i+1}.{j}.block.0", f"{BLOCK}.dwconv"),
        *both("{p}features.{2i+1}.{j}.block.2", f"{BLOCK}.layernorm"),
        *both("{p}features.{2i+1}.{j}.block.3", f"{BLOCK}.pwconv1"),
        *both("{p}features.{2i+1}.{j}.block.5", f"{BLOCK}.pwconv2"),
        Rule("{p}features.{2i+1}.{j}.layer_scale", f"{BLOCK}.layer_scale_parameter", "column"),
        *both("{p}classifier.0", HEAD_NORM),
        *both("{p}classifier.2", "classifier"),
    ),
)


def cvt_rules(stage: str, names: dict[str, str]) -> tuple[Rule, ...]:
    """Return the rules of CvT from the names of its parts; `stage` stands before those of the embedding."""
    block = f"{stage}.{names['blocks']}.{{j}}"
    rules: list[Rule] = [Rule(f"{stage}.cls_token", f"{CVT_STAGE}.cls_token")]
    rules += both(f"{stage}.{names['projection']}", f"{CVT_STEM}.projection")
    rules += both(f"{stage}.{names['normalization']}", f"{CVT_STEM}.normalization")
    for letter in "qkv":
        ours = {"q": "query", "k": "key", "v": "value"}[letter]
        convolution = f"{CVT_INNER}.convolution_projection_{ours}.convolution_projection"
        rules.append(Rule(f"{block}.{names['conv_' + letter]}.weight", f"{convolution}.convolution.weight"))
        rules += batch_norm(f"{block}.{names['bn_' + letter]}", f"{convolution}.normalization")
        rules += both(f"{block}.{names[letter]}", f"{CVT_INNER}.projection_{ours}")
    rules += both(f"{block}.{names['attention']}", f"{CVT_BLOCK}.attention.output.dense")
    rules += both(f"{block}.{names['fc1']}", f"{CVT_BLOCK}.intermediate.dense")
    rules += both(f"{block}.{names['fc2']}", f"{CVT_BLOCK}.output.dense")
    rules += both(f"{block}.{names['norm1']}", f"{CVT_BLOCK}.layernorm_before")
    rules += both(f"{block}.{names['norm2']}", f"{CVT_BLOCK}.layernorm_after")
    return tuple(rules)


CVT_HUGGING_FACE_NAMES = {
    "blocks": "layers",
    "projection": "embedding.convolution_embeddings.projection",
    "normalization": "embedding.convolution_embeddings.normalization",
    "conv_q": "attention.attention.convolution_projection_query.convolution_projection.convolution",
    "conv_k": "attention.attention.convolution_projection_key.convolution_projection.convolution",
    "conv_v": "attention.attention.convolution_projection_value.convolution_projection.convolution",
    "bn_q": "attention.attention.convolution_projection_query.convolution_projection.normalization",
    "bn_k": "attention.attention.convolution_projection_key.convolution_projection.normalization",
    "bn_v": "attention.attention.convolution_projection_value.convolution_projection.normalization",
    "q": "attention.attention.projection_query",
    "k": "attention.attention.projection_key",
    "v": "attention.attention.projection_value",
    "attention": "attention.output.dense",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
}

CVT_MICROSOFT_NAMES = {
    "blocks": "blocks",
    "projection": "patch_embed.proj",
    "normalization": "patch_embed.norm",
    **{f"conv_{letter}": f"attn.conv_proj_{letter}.conv" for letter in "qkv"},
    **{f"bn_{letter}": f"attn.conv_proj_{letter}.bn" for letter in "qkv"},
    **{letter: f"attn.proj_{letter}" for letter in "qkv"},
    "attention": "attn.proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "norm1": "norm1",
    "norm2": "norm2",
}

CVT_HUGGING_FACE = Table(
    name="huggingface",
    families=("cvt",),
    first="{p}encoder.stages.0.embedding.convolution_embeddings.projection.weight",
    rules=(
        *cvt_rules("{p}encoder.stages.{i}", CVT_HUGGING_FACE_NAMES),
        *both("{w}layernorm", "layernorm"),
        *both("{w}classifier", "classifier"),
    ),
    layer_norm_eps=1e-12,
)

MICROSOFT = Table(
    name="microsoft",
    families=("cvt",),
    first="{p}stage0.patch_embed.proj.weight",
    rules=(
        *cvt_rules("{p}stage{i}", CVT_MICROSOFT_NAMES),
        *both("{p}norm", "layernorm"),
        *both("{p}head", "classifier"),
    ),
    layer_norm_eps=1e-12,  # without effect in CvT
    hidden_act="quick_gelu",
)
