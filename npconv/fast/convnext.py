"""The fast trunk of ConvNeXt and ConvNeXt V2: from pixel values to the maps of all stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npconv.fast.bottleneck import Bottleneck
from npconv.fast.depthwise import DepthwiseProduct
from npconv.fast.patches import PatchProduct
from npconv.fast.products import normalize_channels
from npconv.fast.scratch import Scratch
from npconv.models import convnext, convnextv2
from npconv.models.staged_config import StagedConfig

#: Values of a map that are worked on together: pictures are taken in groups, so that a stage's map stays in the cache.
GROUP_VALUES = 400_000


class Block:
    """One block: depthwise convolution, then the bottleneck."""

    def __init__(self, params: Mapping[str, Any], config: StagedConfig) -> None:
        pointwise = {name: value for name, value in params.items() if name != "dwconv"}
        self.depthwise = DepthwiseProduct(params["dwconv"]["weight"], padding=3)
        self.bias = np.array(params["dwconv"]["bias"], np.float32).reshape(-1, 1)
        self.bottleneck = Bottleneck(
            **pointwise, hidden_act=config.hidden_act, norm_eps=convnext.LAYER_NORM_EPS, grn_eps=convnextv2.GRN_EPS
        )

    def __call__(self, x: np.ndarray, scratch: Scratch) -> None:
        """Apply the block in place to x (C, N, H, W), contiguous."""
        channels, batch = x.shape[:2]
        d = scratch.array("depthwise", *x.shape)
        self.depthwise(x, d, scratch)
        flat = d.reshape(channels, -1)
        flat += self.bias
        self.bottleneck(x.reshape(channels, batch, -1), d.reshape(channels, batch, -1), scratch)


class Downsampling:
    """LayerNorm, then a convolution over patches. The norm's weight and bias go into the convolution."""

    def __init__(self, norm: Mapping[str, Any], conv: Mapping[str, Any]) -> None:
        weight, bias = (np.asarray(conv[name], np.float64) for name in ("weight", "bias"))
        scale, shift = (np.asarray(norm[name], np.float64) for name in ("weight", "bias"))
        bias = bias + np.einsum("ocuv,c->o", weight, shift)
        self.patches = PatchProduct(weight * scale[:, None, None], bias, stride=(2, 2))

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result."""
        return self.patches.output_size(height, width)

    def __call__(self, x: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        """Store the smaller map of x (C, N, H, W) in the matrix out (C', N * H' * W')."""
        normed = scratch.array("normed map", *x.shape)
        np.copyto(normed, x)
        flat = normed.reshape(len(x), -1)
        normalize_channels(flat, scratch.array("square", *flat.shape), convnext.LAYER_NORM_EPS)
        self.patches(normed, out, scratch)


class Stem:
    """Patch embedding, then LayerNorm."""

    def __init__(self, config: StagedConfig, patch_embeddings: Mapping[str, Any], layernorm: Mapping[str, Any]) -> None:
        weight, bias = (np.asarray(patch_embeddings[name], np.float64) for name in ("weight", "bias"))
        self.patches = PatchProduct(weight, bias, stride=config.patch_shape)
        self.scale, self.shift = (np.array(layernorm[name], np.float32)[:, None] for name in ("weight", "bias"))

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result."""
        return self.patches.output_size(height, width)

    def __call__(self, x: np.ndarray, out: np.ndarray, scratch: Scratch) -> None:
        """Store the map of pixel values x (C, N, H, W) in the matrix out (C', N * H' * W')."""
        self.patches(x, out, scratch)
        normalize_channels(out, scratch.array("square", *out.shape), convnext.LAYER_NORM_EPS)
        out *= self.scale
        out += self.shift


class ConvNextTrunk:
    """Stem and stages of ConvNeXt or V2, folded.

    Parameters
    ----------
    config : ConvNextConfig or ConvNextV2Config
    embeddings, encoder : mapping
        The parameter tree, of any floating dtype.
    """

    def __init__(self, config: StagedConfig, embeddings: Mapping[str, Any], encoder: Mapping[str, Any]) -> None:
        self.config = config
        self.stages: list[tuple[Stem | Downsampling | None, list[Block]]] = []
        self.stem = Stem(config, **embeddings)
        for params in encoder["stages"]:
            layers: Sequence[Mapping[str, Any]] = params.get("layers", ())
            entry = Downsampling(*params["downsampling_layer"]) if "downsampling_layer" in params else None
            self.stages.append((entry, [Block(layer, config) for layer in layers]))

    @np.errstate(over="ignore", under="ignore", invalid="ignore")  # beyond any use, the formulas saturate rightly
    def __call__(self, pixel_values: np.ndarray, scratch: Scratch) -> list[np.ndarray]:
        """Return the stem's map and each stage's, as (N, C, H, W) views of new channels-first arrays.

        Parameters
        ----------
        pixel_values : array (N, C, H, W), float32
        """
        convnext.check_pixel_values(pixel_values, self.config)
        x = _enter(self.stem, pixel_values.transpose(1, 0, 2, 3), self.config.hidden_sizes[0], [], scratch)
        maps = [x]
        for (entry, blocks), channels in zip(self.stages, self.config.hidden_sizes, strict=True):
            x = _enter(entry, x, channels, blocks, scratch)
            maps.append(x)
        return [m.transpose(1, 0, 2, 3) for m in maps]


def _enter(
    entry: Stem | Downsampling | None, x: np.ndarray, channels: int, blocks: Sequence[Block], scratch: Scratch
) -> np.ndarray:
    """Run one stage on x (C, N, H, W), a group of pictures at a time; return a new array (C', N, H', W')."""
    batch, height, width = x.shape[1:]
    out_height, out_width = (height, width) if entry is None else entry.output_size(height, width)
    out = np.empty((channels, batch, out_height, out_width), np.float32)
    group = max(1, GROUP_VALUES // (channels * out_height * out_width))
    for first in range(0, batch, group):
        part = slice(first, min(first + group, batch))
        count = part.stop - part.start
        # A single group may work in the result itself; a part of it would not be contiguous.
        work = out if count == batch else scratch.array("stage", channels, count, out_height, out_width)
        if entry is None:
            np.copyto(work, x[:, part])
        else:
            entry(x[:, part], work.reshape(channels, -1), scratch)
        for block in blocks:
            block(work, scratch)
        if work is not out:
            out[:, part] = work
    return out
