"""How other libraries name the parameters of ConvNeXt V2, and what names and shapes say of its configuration.

The names are those of ConvNeXt, with global response normalization in the place of the layer scale. Sources: as there,
and the state dicts of facebookresearch/ConvNeXt-V2 (with its ``remap_checkpoint_keys`` for the sparse ones).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from npconv.models.convnext import names as convnext
from npconv.models.convnext.names import BLOCK, DOWN, DOWN_NORM, STEM, STEM_NORM
from npconv.models.naming import Reading, Rule, Shape, Table, both
from npconv.models.naming_tensorflow import as_tensorflow

SIGN = PREFIX = "convnextv2."
WORDS = ()


def _with_grn(table: Table, scale: str, shift: str, layout: str = "same") -> Table:
    """Return a table of ConvNeXt with global response normalization, called so, in the place of the layer scale."""
    kept = (rule for rule in table.rules if not rule.ours.endswith("layer_scale_parameter"))
    grn = (Rule(scale, f"{BLOCK}.grn.weight", layout), Rule(shift, f"{BLOCK}.grn.bias", layout))
    return replace(table, rules=(*kept, *grn))


def _encoder_only(table: Table) -> Table:
    """Return the table of the files that end with the last stage, as pre-training writes them."""
    return convnext.without_head(table, f"{table.name}-encoder", implied=convnext.NO_HEAD_NORM)


_OURS = "{p}encoder.stages.{i}.layers.{j}.grn"
HUGGING_FACE = replace(
    _with_grn(convnext.HUGGING_FACE, f"{_OURS}.{{scale}}", f"{_OURS}.{{shift}}"),
    spellings={**convnext.HUGGING_FACE.spellings, "{scale}": ("weight", "gamma"), "{shift}": ("bias", "beta")},
)
TENSORFLOW = as_tensorflow(
    _with_grn(convnext.TRANSFORMERS, f"{_OURS}.weight", f"{_OURS}.bias"), "tf_conv_next_v2_for_image_classification"
)
FACEBOOK = _with_grn(convnext.FACEBOOK, "{p}stages.{i}.{j}.grn.gamma", "{p}stages.{i}.{j}.grn.beta")
TIMM = tuple(
    replace(
        _with_grn(
            table, "{p}stages.{i}.blocks.{j}.mlp.grn.weight", "{p}stages.{i}.blocks.{j}.mlp.grn.bias", layout="vector"
        ),
        exceptions=(),
        licence=f"{table.licence}; those that come from ConvNeXt V2 are CC-BY-NC",
    )
    for table in convnext.TIMM
)

# One row, where Facebook has four axes.
MMPRETRAIN = convnext.as_mmpretrain(
    _with_grn(convnext.FACEBOOK, "{p}stages.{i}.{j}.grn.gamma", "{p}stages.{i}.{j}.grn.beta", layout="vector")
)

# Pre-training as it runs, on sparse tensors. The decoder is left behind.
FCMAE = Table(
    name="fcmae",
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
    implied=convnext.NO_HEAD_NORM,
    skipped=("{w}decoder.*", "{w}mask_token", "{w}proj.*", "{w}pred.*"),
    prefix="encoder.",
)

TABLES = (
    *map(convnext.open_clip, TIMM),
    _encoder_only(TIMM[0]),
    *TIMM,
    *map(convnext.features_only, TIMM),
    _encoder_only(FACEBOOK),
    FACEBOOK,
    convnext.without_head(FACEBOOK, "facebook-backbone", *convnext.STAGE_NORMS),
    *MMPRETRAIN,
    FCMAE,
    HUGGING_FACE,
    TENSORFLOW,
)


def read(shapes: Mapping[str, Shape]) -> Reading:
    """Return what names and shapes say of a ConvNeXt V2.

    Raises
    ------
    WeightsError
        If they are those of none: a stage is lacking, a tensor has another number of dimensions.
    """
    found = Reading("convnextv2")
    found.add("global response normalization", model_type="convnextv2")
    convnext.read_stages(found, shapes)
    convnext.read_backbone(found, shapes)
    return found
