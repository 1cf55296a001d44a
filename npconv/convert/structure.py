"""What the names and shapes of a model's parameters say about it, in the names of Hugging Face."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npconv.convert.dialect import family_of
from npconv.convert.patterns import Pattern
from npconv.errors import ConfigError, WeightsError
from npconv.messages import listed, quoted
from npconv.models import convnext, convnextv2, cvt
from npconv.models.configuration import PretrainedConfig
from npconv.models.cvt.configuration import CvtConfig


class LackingError(WeightsError):
    """Tensors that do not make a model because one is not there.

    Parameters
    ----------
    name : str
        The first that is lacking, by our name.
    message : str
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


Shape = tuple[int, ...]
Shapes = dict[str, Shape]

MODULES = {"convnext": convnext, "convnextv2": convnextv2, "cvt": cvt}
CONFIGS: dict[str, type[PretrainedConfig]] = {
    "convnext": convnext.ConvNextConfig,
    "convnextv2": convnextv2.ConvNextV2Config,
    "cvt": CvtConfig,
}

_LAYER = "{m}.encoder.stages.{i}.layers.{j}."
_PROJECTION = "attention.attention.convolution_projection_query.convolution_projection.convolution.weight"
_EMBEDDING = "embedding.convolution_embeddings.projection.weight"

#: Fields of a CvT that no shape shows and that its numbers depend on.
CVT_OPEN_FIELDS = ("num_heads", "patch_stride", "patch_padding", "stride_kv", "padding_kv")

_LONGEST_NAME = 200
_MOST_NAMES = 2000


@dataclass
class Structure:
    """What the shapes determine.

    `fields` are those of the configuration, `reasons` a sentence for each. `task` is image_classification, model or
    backbone; `open_fields` are arguments that the shapes leave open and that have no default.
    """

    family: str
    task: str
    fields: dict[str, Any]
    reasons: list[str]
    open_fields: list[str] = field(default_factory=list)
    #: Whether the projections of each stage of a CvT begin with a convolution.
    convolved: list[bool] = field(default_factory=list)

    def config(self, **more: Any) -> Any:
        """Return the configuration."""
        return CONFIGS[self.family](**{**self.fields, **more})

    def shapes(self) -> Shapes:
        """Return the shape of every parameter, by our names: what is open has no influence on it."""
        fields: dict[str, Any] = {}
        if self.family == "cvt":
            stages = len(self.fields["depth"])
            fields = {name: [1] * stages for name in CVT_OPEN_FIELDS}
            fields["qkv_projection_method"] = ["dw_bn" if there else "linear" for there in self.convolved]
        config = self.config(**fields)
        module: Any = MODULES[self.family]
        if self.task == "image_classification":
            return module.image_classification_shapes(config)
        shapes = module.model_shapes(config) if self.task == "model" else module.backbone_shapes(config)
        own = "hidden_states_norms."
        return {name if name.startswith(own) else f"{self.family}.{name}": shape for name, shape in shapes.items()}


def structure(tensors: Mapping[str, Any]) -> Structure:
    """Return what names and shapes determine.

    Raises
    ------
    WeightsError
        If they are those of no model: a stage or block is lacking, a tensor has another number of dimensions.
    """
    if not tensors:
        raise WeightsError("expected the parameters of a model, got no tensor")
    family = family_of(tensors)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        return _cvt(shapes) if family == "cvt" else _convnext(shapes, family)
    except ConfigError as error:
        raise WeightsError(f"the shapes describe no model: {error}") from error


def _shape(shapes: Mapping[str, Shape], name: str, rank: int) -> Shape:
    """Return the shape of a tensor that must be there, with so many dimensions."""
    if name not in shapes:
        raise LackingError(name, f"the file lacks {quoted(name)}{_nearest(name, shapes)}; is it complete?")
    if len(shapes[name]) != rank or 0 in shapes[name]:
        raise WeightsError(f"expected {quoted(name)} to have {rank} dimensions, none of them 0; got {shapes[name]}")
    return shapes[name]


def _count(shapes: Mapping[str, Shape], family: str) -> list[int]:
    """Return the number of blocks of each stage; a block that is lacking is found by the check of all names."""
    layer = Pattern(_LAYER.replace("{m}", family) + "{word}")
    depths: dict[int, int] = {}
    for name in shapes:
        values = layer.match(".".join(name.split(".")[:7]))  # the numbers and one word after them
        if values is not None:
            index = int(values["i"])
            depths[index] = max(depths.get(index, 0), int(values["j"]) + 1)
        elif name.startswith(f"{family}.encoder.stages."):
            part = name.split(".")[3]
            if part.isdecimal() and len(part) < 6:
                depths.setdefault(int(part), 0)
    return [depths.get(index, 0) for index in range(max(depths, default=-1) + 1)]


def _classes(shapes: Mapping[str, Shape]) -> tuple[int, str]:
    """Return the number of classes and the sentence for it."""
    if "classifier.weight" not in shapes:
        return 0, "num_labels 0: there is no classifier"
    shape = _shape(shapes, "classifier.weight", 2)
    return shape[0], f"num_labels {shape[0]}: classifier {_by(shape)}"


def _by(shape: Shape) -> str:
    """Return a shape as in 96x3x4x4."""
    return "x".join(map(str, shape))


def _side(kernel: Shape) -> int | list[int]:
    """Return a kernel's sides, one number if they are equal."""
    return kernel[0] if kernel[0] == kernel[1] else list(kernel)


def _convnext(shapes: Mapping[str, Shape], family: str) -> Structure:
    """Return the structure of a ConvNeXt or V2."""
    width, stem, why_stem = _stem(shapes, f"{family}.embeddings")
    depths = _count(shapes, family) or [0]
    widths = [width]
    for index in range(1, len(depths)):
        widths.append(_shape(shapes, f"{family}.encoder.stages.{index}.downsampling_layer.1.weight", 4)[0])
    classes, why_classes = _classes(shapes)
    fields: dict[str, Any] = {
        **stem,
        "num_stages": len(depths),
        "hidden_sizes": widths,
        "depths": depths,
        "num_labels": classes,
    }
    has_grn = "global response normalization" if family == "convnextv2" else "no global response normalization"
    reasons = [
        f"model_type {family}: {has_grn}",
        f"depths {depths}: blocks of each stage",
        f"hidden_sizes {widths}: stem and downsampling kernels",
        why_stem,
        why_classes,
    ]
    for name, value, why in (*_kernels(shapes, family, depths), *_head(shapes, family)):
        fields[name] = value
        reasons.append(f"{name} {value}: {why}")
    if family == "convnext":
        scaled = any(name.endswith(".layer_scale_parameter") for name in shapes) or not sum(depths)
        fields["layer_scale_init_value"] = 1e-6 if scaled else 0.0
        reasons.append(f"layer_scale_init_value {1e-6 if scaled else 0.0:g}: {'a' if scaled else 'no'} layer scale")
    norms = [name.split(".")[1] for name in shapes if name.startswith("hidden_states_norms.")]
    if norms:
        stages = ["stem", *(f"stage{number}" for number in range(1, len(depths) + 1))]
        fields["out_features"] = [stage for stage in stages if stage in norms]
        reasons.append(f"out_features {fields['out_features']}: norms of these stages, as a backbone has them")
    has_head = classes or "head_hidden_size" in fields
    return Structure(family, "backbone" if norms else "image_classification" if has_head else "model", fields, reasons)


def _stem(shapes: Mapping[str, Shape], embeddings: str) -> tuple[int, dict[str, Any], str]:
    """Return the channels that a stem gives out, the fields that it determines and the sentence for them."""
    names = ("overlap_embeddings", "overlap_act_embeddings")
    name = next((name for name in names if f"{embeddings}.{name}.0.weight" in shapes), None)
    if name is None:
        kernel = _shape(shapes, f"{embeddings}.patch_embeddings.weight", 4)
        patch = _side(kernel[2:])
        why = f"num_channels {kernel[1]}, patch_size {patch}: stem kernel {_by(kernel)}"
        return kernel[0], {"num_channels": kernel[1], "patch_size": patch}, why
    first, second = (_shape(shapes, f"{embeddings}.{name}.{number}.weight", 4) for number in (0, 1))
    kind = "overlap" if first[0] == second[0] else "overlap_tiered"
    kind = "overlap_act" if name == "overlap_act_embeddings" else kind
    why = f"num_channels {first[1]}, stem_type {kind}: stem kernels {_by(first)} and {_by(second)}"
    return second[0], {"num_channels": first[1], "patch_size": 4, "stem_type": kind}, why


def _kernels(shapes: Mapping[str, Shape], family: str, depths: list[int]) -> list[tuple[str, Any, str]]:
    """Return the sides of the depthwise kernels with a reason, if they are not all 7; 7 where a stage has no block."""
    firsts = [shapes.get(f"{family}.encoder.stages.{i}.layers.0.dwconv.weight", ()) for i in range(len(depths))]
    sides = [shape[2] if len(shape) == 4 else 7 for shape in firsts]
    if all(side == 7 for side in sides):
        return []
    return [("kernel_sizes", sides, "depthwise kernels of the first block of each stage")]


def _head(shapes: Mapping[str, Shape], family: str) -> list[tuple[str, Any, str]]:
    """Return the fields of a head that is not the usual one, each with a reason."""
    fields: list[tuple[str, Any, str]] = []
    if f"{family}.layernorm_before_pooling.weight" in shapes:
        fields.append(("head_norm_first", True, "the last LayerNorm is before the pooling"))
    if "pre_classifier.weight" in shapes:
        shape = _shape(shapes, "pre_classifier.weight", 2)
        fields.append(("head_hidden_size", shape[0], f"a hidden layer {_by(shape)} before the classifier"))
    return fields


def _cvt(shapes: Mapping[str, Shape]) -> Structure:
    """Return the structure of a CvT."""
    depth = _count(shapes, "cvt")
    stages = [f"cvt.encoder.stages.{index}" for index in range(len(depth))]
    kernels = [_shape(shapes, f"{stage}.{_EMBEDDING}", 4) for stage in stages]
    classes, why_classes = _classes(shapes)
    fields: dict[str, Any] = {
        "num_channels": kernels[0][1] if kernels else 3,
        "patch_sizes": [_side(kernel[2:]) for kernel in kernels],
        "embed_dim": [kernel[0] for kernel in kernels],
        "depth": depth,
        "cls_token": [f"{stage}.cls_token" in shapes for stage in stages],
        "num_labels": classes,
    }
    has_norm = any(name.startswith("layernorm.") for name in shapes)
    task = "image_classification" if classes or has_norm else "model"
    reasons = [
        "model_type cvt: convolutional embeddings and projections",
        f"depth {depth}: blocks of each stage",
        f"embed_dim {fields['embed_dim']}, patch_sizes {fields['patch_sizes']}: embedding kernels "
        + ", ".join(map(_by, kernels)),
        f"cls_token {fields['cls_token']}: class tokens of the stages",
        why_classes,
    ]
    found = Structure("cvt", task, fields, reasons, list(CVT_OPEN_FIELDS))
    _add_blocks(found, shapes, stages)
    for name, default in (("drop_rate", 0.0), ("attention_drop_rate", 0.0), ("drop_path_rate", 0.0)):
        fields[name] = [default] * len(stages)
    return found


def _add_blocks(found: Structure, shapes: Mapping[str, Shape], stages: list[str]) -> None:
    """Add the fields that the blocks of a CvT determine; a stage without blocks has the usual ones."""
    fields, widths = found.fields, found.fields["embed_dim"]
    firsts = [f"{stage}.layers.0" if depth else None for stage, depth in zip(stages, fields["depth"], strict=True)]
    hidden = [_shape(shapes, f"{first}.intermediate.dense.weight", 2)[0] if first else None for first in firsts]
    fields["mlp_ratio"] = [4.0 if h is None else _ratio(h, width) for h, width in zip(hidden, widths, strict=True)]
    bias = "attention.attention.projection_query.bias"
    fields["qkv_bias"] = [first is None or f"{first}.{bias}" in shapes for first in firsts]
    convolved = [first is None or f"{first}.{_PROJECTION}" in shapes for first in firsts]
    kernels = [
        _shape(shapes, f"{first}.{_PROJECTION}", 4)[2] if first and is_there else 3
        for first, is_there in zip(firsts, convolved, strict=True)
    ]
    found.convolved = convolved
    fields["kernel_qkv"] = kernels
    fields["padding_q"] = [(kernel - 1) // 2 for kernel in kernels]
    fields["stride_q"] = [1] * len(stages)
    found.reasons += [
        f"mlp_ratio {fields['mlp_ratio']}: hidden channels {hidden}",
        f"qkv_bias {fields['qkv_bias']}: biases of the projections",
        f"kernel_qkv {kernels}: depthwise kernels, 3 where there is none",
        f"padding_q {fields['padding_q']}, stride_q 1: there must be as many queries as positions",
    ]
    if all(convolved):
        fields["qkv_projection_method"] = ["dw_bn"] * len(stages)
        found.reasons.append("qkv_projection_method dw_bn: convolutions and batch norms before the projections")
    else:
        found.open_fields.append("qkv_projection_method")


def _ratio(hidden: int, width: int) -> float:
    """Return the ratio that gives so many hidden channels when multiplied and rounded down."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else float(np.nextafter(ratio, np.inf))


def check_complete(tensors: Mapping[str, Any], found: Structure) -> Shapes:
    """Return the expected shapes if every parameter is there once, in its shape, and nothing else.

    Raises
    ------
    WeightsError
        Otherwise; names the tensors and the most similar ones.
    """
    expected = expected_shapes(tensors, found)
    missing = [name for name in expected if name not in tensors]
    left_over = [name for name in tensors if name not in expected]
    wrong = [n for n in expected if n in tensors and tuple(tensors[n].shape) != expected[n]]
    problems = []
    if missing:
        problems.append("the file lacks " + listed([f"{n} {expected[n]}{_nearest(n, left_over)}" for n in missing]))
    if left_over:
        shown = [f"{quoted(n)} {tuple(tensors[n].shape)}{_nearest(n, missing or expected)}" for n in left_over[:4]]
        problems.append("the model has no place for " + listed(shown))
    if wrong:
        shown = [f"{n} has shape {tuple(tensors[n].shape)}, expected {expected[n]}" for n in wrong]
        problems.append(listed(shown))
    if problems:
        message = f"the tensors do not make a {found.family} model: {'; '.join(problems)}"
        raise LackingError(missing[0], message) if missing else WeightsError(message)
    return expected


def expected_shapes(tensors: Mapping[str, Any], found: Structure) -> Shapes:
    """Return the expected shapes; as many blocks as there are tensors at most, whatever number a name holds."""
    depths = found.fields["depth" if found.family == "cvt" else "depths"]
    if sum(depths) > len(tensors) or len(depths) > len(tensors):
        raise WeightsError(f"the names number blocks up to {max(depths)}, but there are only {len(tensors)} tensors")
    try:
        return found.shapes()
    except ConfigError as error:
        raise WeightsError(f"the shapes describe no model: {error}") from error


def _nearest(name: str, candidates: Any) -> str:
    """Return the most similar name for a message."""
    short = [other for other in list(candidates)[:_MOST_NAMES] if len(other) <= _LONGEST_NAME]
    near = difflib.get_close_matches(name, short, 1) if len(name) <= _LONGEST_NAME else []
    return f" (nearest: {quoted(near[0])})" if near else ""
