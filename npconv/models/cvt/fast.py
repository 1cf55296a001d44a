"""The fast engine of CvT: the trunk, from pixel values to the maps of all stages and the class token, and the heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npconv.errors import ConfigError
from npconv.fast.bottleneck import Bottleneck, fold_bottleneck
from npconv.fast.engine import Engine, Scratch, own, small_shares
from npconv.fast.products import PatchProduct, as_column, fold_patches, groups, normalize_map
from npconv.layers.conv import check_window
from npconv.models import cvt
from npconv.models.cvt.configuration import CvtConfig
from npconv.models.cvt.fast_attention import ConvolutionalAttention, fold_attention


def fold_trunk(config: CvtConfig, encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of a :class:`CvtTrunk` for the parameter tree, which may be of any floating dtype."""
    return {"stages": [_fold_stage(config, index, **params) for index, params in enumerate(encoder["stages"])]}


def _fold_stage(
    config: CvtConfig,
    stage_index: int,
    embedding: Mapping[str, Any],
    layers: Sequence[Mapping[str, Any]] = (),
    cls_token: Any = None,
) -> dict[str, Any]:
    """Fold a stage."""
    inner = embedding["convolution_embeddings"]
    folded = {
        "patches": fold_patches(**inner["projection"]),
        "scale": as_column(inner["normalization"]["weight"]),
        "shift": as_column(inner["normalization"]["bias"]),
        "blocks": [_fold_block(layer, config, stage_index) for layer in layers],
    }
    return folded if cls_token is None else {**folded, "cls_token": as_column(cls_token)}


def _fold_block(params: Mapping[str, Any], config: CvtConfig, stage_index: int) -> dict[str, Any]:
    """Fold a block, but not its first norm: the padding behind it is zero after the shift, not before."""
    return {
        "scale": as_column(params["layernorm_before"]["weight"]),
        "shift": as_column(params["layernorm_before"]["bias"]),
        "attention": fold_attention(params["attention"], config, stage_index),
        "perceptron": fold_bottleneck(
            layernorm=params["layernorm_after"],
            pwconv1=params["intermediate"]["dense"],
            pwconv2=params["output"]["dense"],
            hidden_act=config.hidden_act,
        ),
    }


class Block:
    """One block: attention over the normalized tokens, then the multilayer perceptron."""

    def __init__(
        self,
        scale: np.ndarray,
        shift: np.ndarray,
        attention: Mapping[str, Any],
        perceptron: Mapping[str, Any],
        *,
        config: CvtConfig,
        stage_index: int,
    ) -> None:
        self.scale, self.shift = scale, shift
        self.attention = ConvolutionalAttention(**attention, config=config, stage_index=stage_index)
        self.perceptron = Bottleneck(**perceptron, hidden_act=config.hidden_act, norm_eps=cvt.LAYER_NORM_EPS)

    def __call__(self, x: np.ndarray, size: tuple[int, int], scratch: Scratch) -> None:
        """Apply the block in place to the tokens x (D, N, T), contiguous."""
        normed = scratch.array("normed tokens", *x.shape)
        flat, eps = (len(x), -1), cvt.LAYER_NORM_EPS
        normalize_map(x.reshape(flat), normed.reshape(flat), scratch, eps=eps, scale=self.scale, shift=self.shift)
        self.attention(normed, size, x, scratch)
        self.perceptron(x, x, scratch)


class Stage:
    """One stage: the convolutional embedding, the class token, the blocks."""

    def __init__(
        self,
        patches: Mapping[str, Any],
        scale: np.ndarray,
        shift: np.ndarray,
        blocks: Sequence[Mapping[str, Any]] = (),
        cls_token: np.ndarray | None = None,
        *,
        config: CvtConfig,
        stage_index: int,
    ) -> None:
        _check_queries(config, stage_index)
        stride, padding = config.patch_stride[stage_index], config.patch_padding[stage_index]
        self.patches = PatchProduct(**patches, stride=(stride, stride), padding=(padding, padding))
        self.scale, self.shift, self.cls_token = scale, shift, cls_token
        self.blocks = [Block(**block, config=config, stage_index=stage_index) for block in blocks]
        self.number, self.embed_dim = stage_index, config.embed_dim[stage_index]

    def __call__(self, x: np.ndarray, scratch: Scratch, *, is_result: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the map (D, N, H', W') and the class tokens (D, N) for a map x (C, N, H, W).

        They are new where `is_result` says that a pass returns them.
        """
        batch, height, width = x.shape[1:]
        check_window("convolutional embedding", (height, width), self.patches.kernel, self.patches.padding)
        size = self.patches.output_size(height, width)
        positions = size[0] * size[1]
        tokens = positions + (self.cls_token is not None)
        out = scratch.map_array(self.number, self.embed_dim, batch, tokens, is_result=is_result)
        for part in groups(batch, self.embed_dim * tokens):
            count = part.stop - part.start
            embedded = scratch.array("embedded", self.embed_dim, count * positions)
            self.patches(x[:, part], embedded, scratch)
            normalize_map(embedded, embedded, scratch, eps=cvt.LAYER_NORM_EPS, scale=self.scale, shift=self.shift)
            # A single group may work in the result itself; a part of it would not be contiguous.
            work = out if count == batch else scratch.array("stage", self.embed_dim, count, tokens)
            self._place(embedded.reshape(self.embed_dim, count, positions), work, scratch)
            for block in self.blocks:
                block(work, size, scratch)
            if work is not out:
                out[:, part] = work
        feature_map = out[:, :, :positions].reshape(self.embed_dim, batch, *size)
        return feature_map, None if self.cls_token is None else out[:, :, positions]

    def _place(self, embedded: np.ndarray, work: np.ndarray, scratch: Scratch) -> None:
        """Store the embedded positions (D, N, P), and the class token behind them, in the tokens `work` (D, N, T)."""
        positions = embedded.shape[2]

        def some_rows(rows: tuple[int, int], scratch: Scratch) -> None:
            part = slice(*rows)
            work[part, :, :positions] = embedded[part]
            if self.cls_token is not None:
                work[part, :, positions] = self.cls_token[part]

        scratch.map(some_rows, small_shares(len(work), scratch))


class CvtTrunk:
    """All stages of CvT, folded.

    Parameters
    ----------
    config : CvtConfig
    stages : sequence of mapping
        Their arrays, of :func:`fold_trunk`.

    Raises
    ------
    ConfigError
        If queries are not taken at every position.
    """

    def __init__(self, config: CvtConfig, stages: Sequence[Mapping[str, Any]]) -> None:
        self.config = config
        self.stages = [Stage(**folded, config=config, stage_index=index) for index, folded in enumerate(stages)]

    @np.errstate(over="ignore", under="ignore", invalid="ignore")  # beyond any use, the formulas saturate rightly
    def __call__(
        self, pixel_values: np.ndarray, scratch: Scratch, *, every_map: bool = True
    ) -> tuple[np.ndarray | None, list[np.ndarray]]:
        """Return the class token (N, 1, D) or None, and each stage's map (N, D, H, W), in new arrays.

        Parameters
        ----------
        pixel_values : array (N, C, H, W), float32
        scratch : Scratch
        every_map : bool, optional
            Without, only the map of the last stage is returned.
        """
        cvt.check_pixel_values(pixel_values, self.config)
        x, cls_token = pixel_values.transpose(1, 0, 2, 3), None
        maps = []
        for stage in self.stages:
            is_result = every_map or stage is self.stages[-1]
            x, cls_token = stage(x, scratch, is_result=is_result)
            if is_result:
                maps.append(x.transpose(1, 0, 2, 3))
        return None if cls_token is None else cls_token.T[:, None], maps


def _check_queries(config: CvtConfig, stage_index: int) -> None:
    """Refuse queries at fewer positions than the residual has: the explicit engine can only fail later."""
    if config.qkv_projection_method[stage_index] != "dw_bn":
        return
    kernel, stride, padding = (values[stage_index] for values in (config.kernel_qkv, config.stride_q, config.padding_q))
    if stride != 1 or 2 * padding != kernel - 1:
        raise ConfigError(
            f"engine 'fast' expects stride_q 1 and padding_q half of kernel_qkv - 1, got {stride} and {padding} for "
            f"{kernel} in stage {stage_index}; use engine='explicit'"
        )


def fold(config: CvtConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of an engine, for the parameter tree of a bare model or classifier.

    As :func:`npconv.models.convnext.fast.fold`.
    """
    heads = {name: params[name] for name in ("layernorm", "classifier") if name in params}
    return {"trunk": fold_trunk(config, params.get("cvt", params)["encoder"]), **own(heads)}


class CvtEngine(Engine):
    """Bare model or classifier, whichever the parameters are of."""

    def __init__(
        self,
        config: CvtConfig,
        trunk: Mapping[str, Any],
        layernorm: Any = None,
        classifier: Any = None,
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__(threads)
        self.config = config
        self.trunk = CvtTrunk(config, **trunk)
        self.layernorm, self.classifier = layernorm, classifier

    def _check(self, pixel_values: np.ndarray) -> None:
        cvt.check_pixel_values(pixel_values, self.config)

    def _run(self, pixel_values: np.ndarray, scratch: Scratch, every_map: bool) -> tuple[Any, list[np.ndarray]]:
        """Return the class token or logits, and the hidden states."""
        cls_token, hidden_states = self.trunk(pixel_values, scratch, every_map=every_map)
        if self.layernorm is None:
            return cls_token, hidden_states
        logits = cvt.classify(cls_token, hidden_states[-1], self.layernorm, self.classifier, config=self.config)
        return logits, hidden_states


def make_engine(config: CvtConfig, folded: Mapping[str, Any], threads: int | None = None) -> CvtEngine:
    """Return the engine that works with the arrays of :func:`fold`.

    As :func:`npconv.models.convnext.fast.make_engine`.
    """
    return CvtEngine(config, **folded, threads=threads)
