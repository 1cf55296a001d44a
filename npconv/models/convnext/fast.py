"""The fast engine of ConvNeXt, and of V2 but for its epsilon: the trunk, from pixel values to the maps; the heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from npconv.fast.bottleneck import Bottleneck, FoldedActivation, fold_bottleneck
from npconv.fast.depthwise import DepthwiseProduct, DilatedDepthwise
from npconv.fast.engine import Engine, Scratch, own, shares
from npconv.fast.products import PatchProduct, as_column, fold_patches, groups, normalize_map
from npconv.models import convnext
from npconv.models.backbone import BackboneConfig
from npconv.models.convnext.configuration import StagedConfig


def fold_trunk(config: BackboneConfig, embeddings: Mapping[str, Any], encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of a :class:`ConvNextTrunk` for the parameter tree, which may be of any floating dtype."""
    stages = [
        _fold_stage(config, dilation, **params)
        for params, dilation in zip(encoder["stages"], config.stage_dilations, strict=True)
    ]
    fold_stem = _fold_stem if config.stem_type == "patch" else _fold_overlapping_stem
    return {"stem": fold_stem(config, **embeddings), "stages": stages}


def _fold_stem(
    config: BackboneConfig, patch_embeddings: Mapping[str, Any], layernorm: Mapping[str, Any]
) -> dict[str, Any]:
    """Fold the stem: nothing comes behind its norm that could take weight and bias."""
    return {"patches": fold_patches(**patch_embeddings), **_fold_last_norm(layernorm)}


def _fold_overlapping_stem(
    config: BackboneConfig,
    overlap_embeddings: Sequence[Mapping[str, Any]] = (),
    overlap_act_embeddings: Sequence[Mapping[str, Any]] = (),
    *,
    layernorm: Mapping[str, Any],
) -> dict[str, Any]:
    """Fold an overlapping stem; the scale of an activation between its convolutions goes into both."""
    between = FoldedActivation(config.hidden_act if config.stem_type == "overlap_act" else "linear")
    first, second = overlap_act_embeddings if config.stem_type == "overlap_act" else overlap_embeddings
    (weight1, bias1), (weight2, bias2) = (
        [np.asarray(conv[name], np.float64) for name in ("weight", "bias")] for conv in (first, second)
    )
    return {
        "first": fold_patches(weight1 * between.before, bias1 * between.before),
        "second": fold_patches(weight2 / between.after, bias2),
        **_fold_last_norm(layernorm),
    }


def _fold_last_norm(layernorm: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return weight and bias of a norm that nothing after it can take."""
    bias = layernorm.get("bias", np.zeros(layernorm["weight"].shape))
    return {"scale": as_column(layernorm["weight"]), "shift": as_column(bias)}


def _fold_stage(
    config: BackboneConfig,
    dilation: int,
    downsampling_layer: Any = None,
    layers: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Fold a stage. The first has no downsampling."""
    blocks = [_fold_block(config, **layer) for layer in layers]
    if not downsampling_layer:
        return {"blocks": blocks}
    norm, conv = downsampling_layer
    if dilation > 1:  # the map gets zeros around, which are not to be shifted
        return {"downsampling": {**fold_patches(**conv), **_fold_last_norm(norm)}, "blocks": blocks}
    return {"downsampling": _fold_downsampling(norm, conv), "blocks": blocks}


def _fold_downsampling(norm: Mapping[str, Any], conv: Mapping[str, Any]) -> dict[str, Any]:
    """Fold the norm's weight and bias into the convolution."""
    weight, bias = (np.asarray(conv[name], np.float64) for name in ("weight", "bias"))
    scale = np.asarray(norm["weight"], np.float64)
    if "bias" in norm:
        bias = bias + np.einsum("ocuv,c->o", weight, np.asarray(norm["bias"], np.float64))
    return fold_patches(weight * scale[:, None, None], bias)


def _fold_block(config: BackboneConfig, dwconv: Mapping[str, Any], **pointwise: Any) -> dict[str, Any]:
    """Fold a block."""
    return {
        "depthwise": np.array(dwconv["weight"], np.float32, order="C"),
        "bias": as_column(dwconv["bias"]),
        "bottleneck": fold_bottleneck(**pointwise, hidden_act=config.hidden_act),
    }


def _normalizer(
    config: BackboneConfig, scale: np.ndarray | None = None, shift: np.ndarray | None = None
) -> Callable[[np.ndarray, np.ndarray, Scratch], None]:
    """Return what normalizes a whole map as a model does."""
    return partial(normalize_map, eps=config.norm_eps, norm_type=config.norm_type, scale=scale, shift=shift)


class Block:
    """One block: depthwise convolution, then the bottleneck."""

    def __init__(
        self,
        depthwise: np.ndarray,
        bias: np.ndarray,
        bottleneck: Mapping[str, Any],
        *,
        config: BackboneConfig,
        dilation: int,
        grn_eps: float,
    ) -> None:
        self.depthwise: DepthwiseProduct | DilatedDepthwise = (
            DepthwiseProduct(depthwise, bias, padding=depthwise.shape[2] // 2)
            if dilation == 1
            else DilatedDepthwise(depthwise, bias, dilation=dilation)
        )
        numbers = {"norm_eps": config.norm_eps, "norm_type": config.norm_type, "grn_eps": grn_eps}
        self.bottleneck = Bottleneck(**bottleneck, hidden_act=config.hidden_act, **numbers)

    def __call__(self, x: np.ndarray, scratch: Scratch) -> None:
        """Apply the block in place to x (C, N, H, W), contiguous."""
        channels, batch = x.shape[:2]
        d = scratch.array("depthwise", *x.shape)
        self.depthwise(x, d, scratch)
        self.bottleneck(x.reshape(channels, batch, -1), d.reshape(channels, batch, -1), scratch)


class Downsampling:
    """LayerNorm, then a convolution over patches; the map is halved but where the blocks are dilated."""

    def __init__(
        self, weight: np.ndarray, bias: np.ndarray, *, config: BackboneConfig, dilation: int, **affine: np.ndarray
    ) -> None:
        if dilation == 1:
            self.patches = PatchProduct(weight, bias, stride=(2, 2))
        elif dilation == 2:
            self.patches = PatchProduct(weight, bias, stride=(1, 1), at_end=1)
        else:
            self.patches = PatchProduct(weight, bias, stride=(1, 1), padding=(1, 1), dilation=2)
        self.normalize = _normalizer(config, **affine)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result."""
        return self.patches.output_size(height, width)

    def __call__(self, x: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        """Store the smaller map of x (C, N, H, W) in the matrix out (C', N * H' * W')."""
        normed = scratch.array("normed map", *x.shape)
        flat = (len(x), -1)
        self.normalize(x.reshape(flat), normed.reshape(flat), scratch)
        self.patches(normed, out, scratch)


class Stem:
    """Patch embedding, then LayerNorm."""

    def __init__(
        self, patches: Mapping[str, Any], scale: np.ndarray, shift: np.ndarray, *, config: BackboneConfig
    ) -> None:
        self.patches = PatchProduct(**patches, stride=config.patch_shape)
        self.normalize = _normalizer(config, scale, shift)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result."""
        return self.patches.output_size(height, width)

    def __call__(self, x: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        """Store the map of pixel values x (C, N, H, W) in the matrix out (C', N * H' * W')."""
        self.patches(x, out, scratch)
        self.normalize(out, out, scratch)


class OverlappingStem:
    """Two convolutions, with or without an activation between them, then LayerNorm."""

    def __init__(
        self,
        first: Mapping[str, Any],
        second: Mapping[str, Any],
        scale: np.ndarray,
        shift: np.ndarray,
        *,
        config: BackboneConfig,
    ) -> None:
        self.first = PatchProduct(**first, stride=(2, 2), padding=(1, 1))
        self.second = PatchProduct(**second, stride=(2, 2), padding=(1, 1))
        self.activation = FoldedActivation(config.hidden_act) if config.stem_type == "overlap_act" else None
        self.normalize = _normalizer(config, scale, shift)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result."""
        return self.second.output_size(*self.first.output_size(height, width))

    def __call__(self, x: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        """Store the map of pixel values x (C, N, H, W) in the matrix out (C', N * H' * W')."""
        batch, height, width = x.shape[1:]
        size = self.first.output_size(height, width)
        between = scratch.array("stem map", len(self.first.weight), batch, *size)
        flat = between.reshape(len(between), -1)
        self.first(x, flat, scratch)
        if (activation := self.activation) is not None:

            def some_rows(rows: tuple[int, int], scratch: Scratch) -> None:
                activation.apply(flat[slice(*rows)], scratch)

            scratch.map(some_rows, shares(len(flat), scratch))
        self.second(between, out, scratch)
        self.normalize(out, out, scratch)


class ConvNextTrunk:
    """Stem and stages of ConvNeXt or V2, with the arrays of :func:`fold_trunk`; `grn_eps` is of V2."""

    def __init__(
        self,
        config: BackboneConfig,
        stem: Mapping[str, Any],
        stages: Sequence[Mapping[str, Any]],
        *,
        grn_eps: float,
    ) -> None:
        self.config = config
        self.stem = (Stem if config.stem_type == "patch" else OverlappingStem)(**stem, config=config)
        self.stages: list[tuple[Downsampling | None, list[Block]]] = []
        for folded, dilation in zip(stages, config.stage_dilations, strict=True):
            known = {"config": config, "dilation": dilation}
            entry = Downsampling(**folded["downsampling"], **known) if "downsampling" in folded else None
            blocks = [Block(**block, **known, grn_eps=grn_eps) for block in folded.get("blocks", ())]
            self.stages.append((entry, blocks))

    @np.errstate(over="ignore", under="ignore", invalid="ignore")  # beyond any use, the formulas saturate rightly
    def __call__(self, pixel_values: np.ndarray, scratch: Scratch, *, every_map: bool = True) -> list[np.ndarray]:
        """Return the stem's map and each stage's, as (N, C, H, W) views of new channels-first arrays.

        Parameters
        ----------
        pixel_values : array (N, C, H, W), float32
        scratch : Scratch
        every_map : bool, optional
            Without, only that of the last stage is returned.
        """
        convnext.check_pixel_values(pixel_values, self.config)
        sizes = self.config.hidden_sizes
        x, maps = pixel_values.transpose(1, 0, 2, 3), []
        for number, (entry, blocks) in enumerate([(self.stem, []), *self.stages]):
            channels, is_result = sizes[max(number - 1, 0)], every_map or number == len(sizes)
            out_size = x.shape[2:] if entry is None else entry.output_size(*x.shape[2:])
            if entry is None and not is_result:
                out = x  # nobody needs the map that comes in
            else:
                out = scratch.map_array(number, channels, x.shape[1], *out_size, is_result=is_result)
            _run_stage(entry, x, out, blocks, scratch)
            x = out
            if is_result:
                maps.append(out.transpose(1, 0, 2, 3))
        return maps


def _run_stage(
    entry: Stem | OverlappingStem | Downsampling | None,
    x: np.ndarray,
    out: np.ndarray,
    blocks: Sequence[Block],
    scratch: Scratch,
) -> None:
    """Run one stage on x (C, N, H, W), a group of pictures at a time, into out (C', N, H', W'), which may be x."""
    channels, batch, height, width = out.shape
    for part in groups(batch, channels * height * width):
        count = part.stop - part.start
        # A single group may work in the result itself; a part of it would not be contiguous.
        work = out if count == batch else scratch.array("stage", channels, count, height, width)
        if entry is not None:
            entry(x[:, part], work.reshape(channels, -1), scratch)
        elif work is not x:
            np.copyto(work, x[:, part])
        for block in blocks:
            block(work, scratch)
        if work is not out:
            out[:, part] = work


#: The parameters of the heads, which the explicit layers use.
HEADS = ("layernorm", "layernorm_before_pooling", "pre_classifier", "classifier", "hidden_states_norms")


def fold(config: BackboneConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of an engine: what does not depend on the input, worked out once, in float64.

    Parameters
    ----------
    config : BackboneConfig
    params : dict
        The parameter tree of a bare model, classifier or backbone; arrays of any floating dtype.

    Returns
    -------
    dict
        A tree of new float32 arrays, for :func:`make_engine`; what `params` hold may change afterwards.
    """
    base = params.get(config.model_type, params)
    heads = {name: tree[name] for tree in (base, params) for name in HEADS if name in tree}
    return {"trunk": fold_trunk(config, base["embeddings"], base["encoder"]), **own(heads)}


class ConvNextEngine(Engine):
    """Bare model, classifier or backbone, whichever the parameters are of."""

    def __init__(
        self,
        config: StagedConfig,
        trunk: Mapping[str, Any],
        layernorm: Any = None,
        layernorm_before_pooling: Any = None,
        pre_classifier: Any = None,
        classifier: Any = None,
        hidden_states_norms: Any = None,
        *,
        threads: int | None = None,
        grn_eps: float = 0.0,
    ) -> None:
        super().__init__(threads)
        self.config = config
        self.trunk = ConvNextTrunk(config, **trunk, grn_eps=grn_eps)
        self.layernorm, self.layernorm_before_pooling = layernorm, layernorm_before_pooling
        self.pre_classifier, self.classifier = pre_classifier, classifier
        self.hidden_states_norms = hidden_states_norms

    def _check(self, pixel_values: np.ndarray) -> None:
        convnext.check_pixel_values(pixel_values, self.config)

    def _run(self, pixel_values: np.ndarray, scratch: Scratch, every_map: bool) -> tuple[Any, list[np.ndarray]]:
        """Return the pooled features, logits or feature maps, and the hidden states."""
        is_backbone = self.hidden_states_norms is not None
        hidden_states = self.trunk(pixel_values, scratch, every_map=every_map or is_backbone)
        if is_backbone:
            return convnext.choose_features(hidden_states, self.hidden_states_norms, config=self.config), hidden_states
        pooled = convnext.summarize(
            hidden_states[-1], self.layernorm, self.layernorm_before_pooling, config=self.config
        )
        if self.classifier is None and self.pre_classifier is None:  # a bare model, or a classifier without classes
            return pooled, hidden_states
        return convnext.classify(pooled, self.classifier, self.pre_classifier, config=self.config), hidden_states


def make_engine(
    config: StagedConfig, folded: Mapping[str, Any], threads: int | None = None, *, grn_eps: float = 0.0
) -> ConvNextEngine:
    """Return the engine that works with the arrays of :func:`fold`, which it never writes to.

    Parameters
    ----------
    config : StagedConfig
        With which they were folded.
    folded : dict
    threads : int, optional
        All cores that this process may use when unset. More than one needs the BLAS held to one thread: see
        ``npconv.fast.engine``.
    grn_eps : float
        Of V2.

    Raises
    ------
    ConfigError, InputError
        If an option is not covered, which the message names, or `threads` cannot be a number of threads.
    """
    return ConvNextEngine(config, **folded, threads=threads, grn_eps=grn_eps)
