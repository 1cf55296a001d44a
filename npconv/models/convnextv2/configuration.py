"""The configuration of ConvNeXt V2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from npconv.models.convnext.configuration import StagedConfig


class ConvNextV2Config(StagedConfig):
    """The configuration of a ConvNeXt V2 model; the defaults are V2-T (``facebook/convnextv2-tiny-1k-224``).

    Parameters
    ----------
    num_channels : int
        Channels of the input picture.
    patch_size : int or (int, int)
        Kernel and stride of the stem, as one number or (height, width).
    num_stages : int
        Number of stages; as many as `hidden_sizes` and `depths` have entries.
    hidden_sizes : list of int, optional
        Channels of each stage; (96, 192, 384, 768) when unset.
    depths : list of int, optional
        Blocks of each stage; (3, 3, 9, 3) when unset.
    hidden_act : str or callable
        Activation in the blocks, a name of ``npconv.layers.ACTIVATIONS`` or a function of one array.
    initializer_range : float
        Standard deviation of random weights.
    layer_norm_eps : float
        Epsilon of the final LayerNorm only; the others have `norm_eps`, which is 1e-6 unless set.
    drop_path_rate : float
        Rate of stochastic depth in the last block; it rises linearly from 0 in the first. Acts in training only.
    image_size : int or (int, int)
        Size the model was made for. Pictures of other sizes work as well.
    out_features : list of str, optional
        Stages that the backbone returns, from ``"stem"``, ``"stage1"``, ``"stage2"`` and so on, in this order.
    out_indices : list of int, optional
        The same by number. Without either, the last stage.
    **kwargs
        See :class:`PretrainedConfig`, and :class:`StagedConfig` for fields that transformers lacks.

    Raises
    ------
    ConfigError
        If the fields describe no model.
    """

    model_type = "convnextv2"

    def __init__(
        self,
        /,
        num_channels: int = 3,
        patch_size: int | Sequence[int] = 4,
        num_stages: int = 4,
        hidden_sizes: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        hidden_act: str | Callable[[Any], Any] = "gelu",
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        drop_path_rate: float = 0.0,
        image_size: int | Sequence[int] = 224,
        out_features: list[str] | None = None,
        out_indices: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_channels=num_channels,
            patch_size=patch_size,
            num_stages=num_stages,
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
