"""The fast engine of DINOv3's ConvNeXt: the trunk of ConvNeXt under other names, and the heads of this family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from npconv.fast.engine import Engine, Scratch, own
from npconv.models import convnext
from npconv.models.convnext.fast import ConvNextTrunk, fold_trunk
from npconv.models.dinov3_convnext.configuration import DINOv3ConvNextConfig
from npconv.models.dinov3_convnext.model import choose_features, summarize

#: What ConvNeXt calls the parameters of a block.
BLOCK_NAMES = {
    "depthwise_conv": "dwconv",
    "layer_norm": "layernorm",
    "pointwise_conv1": "pwconv1",
    "pointwise_conv2": "pwconv2",
    "gamma": "layer_scale_parameter",
}


def fold(config: DINOv3ConvNextConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of the engine for the parameter tree, which may be of any floating dtype."""
    folded: dict[str, Any] = {"trunk": fold_trunk(config, *as_convnext(params["stages"]))}
    return {**folded, "layer_norm": own(params["layer_norm"])} if "layer_norm" in params else folded


def as_convnext(stages: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters of the stages as ConvNeXt names them: its embeddings and its encoder."""
    convolution, norm = stages[0]["downsample_layers"]
    blocks = [
        [{BLOCK_NAMES[name]: value for name, value in layer.items()} for layer in stage.get("layers", ())]
        for stage in stages
    ]
    downsampling = [(), *(stage["downsample_layers"] for stage in stages[1:])]
    pairs = zip(downsampling, blocks, strict=True)
    encoder = {"stages": [{"downsampling_layer": layers, "layers": block} for layers, block in pairs]}
    return {"patch_embeddings": convolution, "layernorm": norm}, encoder


class DINOv3ConvNextEngine(Engine):
    """Bare model or backbone, whichever the parameters are of."""

    def __init__(
        self,
        config: DINOv3ConvNextConfig,
        trunk: Mapping[str, Any],
        layer_norm: Mapping[str, Any] | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__(threads)
        self.config = config
        self.trunk = ConvNextTrunk(config, **trunk, grn_eps=0.0)
        self.layer_norm = layer_norm

    def _check(self, pixel_values: np.ndarray) -> None:
        convnext.check_pixel_values(pixel_values, self.config)

    def _run(self, pixel_values: np.ndarray, scratch: Scratch, every_map: bool) -> tuple[Any, list[np.ndarray]]:
        """Return the tokens or feature maps, and the hidden states."""
        every_map = every_map or self.layer_norm is None  # a backbone
        maps = self.trunk(pixel_values, scratch, every_map=every_map)
        # The first of all is that after the stem, within the first stage here.
        hidden_states = [pixel_values, *maps[1:]] if every_map else maps
        if self.layer_norm is None:
            return choose_features(hidden_states, config=self.config), hidden_states
        return summarize(maps[-1], self.layer_norm, config=self.config), hidden_states


def make_engine(
    config: DINOv3ConvNextConfig, folded: Mapping[str, Any], threads: int | None = None
) -> DINOv3ConvNextEngine:
    """Return the engine that works with the arrays of :func:`fold`; as in ConvNeXt."""
    return DINOv3ConvNextEngine(config, **folded, threads=threads)
