"""The configuration of DINOv3's ConvNeXt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npconv.models.backbone import BackboneConfig
from npconv.models.checks import check_float


class DINOv3ConvNextConfig(BackboneConfig):
    """The configuration of a ConvNeXt of DINOv3; the defaults are the tiny one.

    (``facebook/dinov3-convnext-tiny-pretrain-lvd1689m``.)

    Parameters
    ----------
    layer_norm_eps : float
        Epsilon of every LayerNorm.
    layer_scale_init_value : float
        First value of the layer scale, which every block has.
    **kwargs
        The other fields are those of :class:`npconv.models.backbone.BackboneConfig`. The hidden state that is called
        ``"stem"`` is the picture itself.
    """

    model_type = "dinov3_convnext"

    # What the parts of ConvNeXt ask of a configuration and is the same in all of this family.
    patch_shape = (4, 4)
    stem_type = "patch"
    norm_type = "layer_norm"

    def __init__(
        self,
        /,
        num_channels: int = 3,
        hidden_sizes: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        hidden_act: str | Callable[[Any], Any] = "gelu",
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-6,
        layer_scale_init_value: float = 1e-6,
        drop_path_rate: float = 0.0,
        image_size: int | Sequence[int] = 224,
        out_features: list[str] | None = None,
        out_indices: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_channels=num_channels,
            hidden_sizes=hidden_sizes,
            depths=depths,
            hidden_act=hidden_act,
            initializer_range=initializer_range,
            layer_norm_eps=layer_norm_eps,
            drop_path_rate=drop_path_rate,
            image_size=image_size,
            out_features=out_features,
            out_indices=out_indices,
            **kwargs,
        )
        self.layer_scale_init_value = check_float("layer_scale_init_value", layer_scale_init_value, minimum=-np.inf)

    @property
    def num_stages(self) -> int:
        """Number of stages."""
        return len(self.hidden_sizes)

    @property
    def stage_dilations(self) -> list[int]:
        """Every stage but the first halves the map."""
        return [1] * self.num_stages

    @property
    def norm_eps(self) -> float:
        """Epsilon of the LayerNorms before the last: the same."""
        return self.layer_norm_eps

    @property
    def feature_sizes(self) -> dict[str, int]:
        """Channels of the picture and of each stage's map, by stage name."""
        return dict(zip(self.stage_names, [self.num_channels, *self.hidden_sizes], strict=True))

    @property
    def least_picture(self) -> tuple[int, int]:
        """Height and width of the smallest picture that leaves a position in the last stage."""
        side = 4 * 2 ** (len(self.hidden_sizes) - 1)
        return side, side

    @property
    def first_values(self) -> dict[str, float]:
        """The layer scale begins small."""
        return {".gamma": self.layer_scale_init_value}
