"""The configuration of CvT. The model itself is in ``model.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npconv.errors import ConfigError
from npconv.messages import shown
from npconv.models.checks import (
    check_activation,
    check_bool,
    check_depths,
    check_float,
    check_int,
    check_list,
    check_size,
)
from npconv.models.configuration import PretrainedConfig

#: A wrong file must not ask for terabytes of zeros; no published model has more than 2.
LARGEST_PADDING = 256

QKV_PROJECTION_METHODS = ("dw_bn", "avg", "linear")


class CvtConfig(PretrainedConfig):
    """The configuration of a CvT model; the defaults are CvT-13 (``microsoft/cvt-13``).

    Each list has one entry for each stage; `depth` says how many stages there are, and further entries of the other
    lists (except `embed_dim` and `cls_token`) are not used.

    Parameters
    ----------
    num_channels : int
        Channels of the input picture.
    patch_sizes, patch_stride, patch_padding : list of int
        Kernel, stride and padding of the convolution that embeds each stage's input.
    embed_dim : list of int
        Channels of a token.
    num_heads : list of int
        Attention heads; must divide `embed_dim`.
    depth : list of int
        Blocks of each stage.
    mlp_ratio : list of float, optional
        Hidden channels of the blocks' multilayer perceptron, as a multiple of `embed_dim`; (4, 4, 4) when unset.
    attention_drop_rate, drop_rate : list of float
        Dropout of attention probabilities; of embeddings and of each branch's output. Act in training only.
    drop_path_rate : list of float
        Stochastic depth; see :meth:`layer_drop_path_rate`. Acts in training only.
    qkv_bias : list of bool
        Whether the linear layers of query, key and value have a bias.
    cls_token : list of bool
        Whether a stage prepends a class token. Its width is ``embed_dim[-1]``, so the stage must have that width.
    qkv_projection_method : list of str
        ``"dw_bn"``: depthwise convolution and batch norm. ``"avg"``: average pooling of keys and values.
        ``"linear"``: neither.
    kernel_qkv, padding_kv, stride_kv, padding_q, stride_q : list of int
        Window of these convolutions or averages.
    initializer_range : float
        Standard deviation of random weights.
    layer_norm_eps : float
        Kept, without effect: every LayerNorm has 1e-5, as in transformers.
    hidden_act : str or callable
        Activation of the multilayer perceptron; npconv's own field. ``"quick_gelu"`` is what Microsoft trained.
    image_size : int or (int, int)
        Size the model was made for; npconv's own field. Pictures of other sizes work as well.
    mlp_ratios : list of float, optional
        `mlp_ratio` as the documentation of transformers spells it, where the code has no effect of it.
    **kwargs
        See :class:`PretrainedConfig`.

    Raises
    ------
    ConfigError
        If the fields describe no model.
    """

    model_type = "cvt"

    def __init__(
        self,
        /,
        num_channels: int = 3,
        patch_sizes: Sequence[int] = (7, 3, 3),
        patch_stride: Sequence[int] = (4, 2, 2),
        patch_padding: Sequence[int] = (2, 1, 1),
        embed_dim: Sequence[int] = (64, 192, 384),
        num_heads: Sequence[int] = (1, 3, 6),
        depth: Sequence[int] = (1, 2, 10),
        mlp_ratio: Sequence[float] | None = None,
        attention_drop_rate: Sequence[float] = (0.0, 0.0, 0.0),
        drop_rate: Sequence[float] = (0.0, 0.0, 0.0),
        drop_path_rate: Sequence[float] = (0.0, 0.0, 0.1),
        qkv_bias: Sequence[bool] = (True, True, True),
        cls_token: Sequence[bool] = (False, False, True),
        qkv_projection_method: Sequence[str] = ("dw_bn", "dw_bn", "dw_bn"),
        kernel_qkv: Sequence[int] = (3, 3, 3),
        padding_kv: Sequence[int] = (1, 1, 1),
        stride_kv: Sequence[int] = (2, 2, 2),
        padding_q: Sequence[int] = (1, 1, 1),
        stride_q: Sequence[int] = (1, 1, 1),
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        hidden_act: str | Callable[[Any], Any] = "gelu",
        image_size: int | Sequence[int] = 224,
        *,
        mlp_ratios: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_channels = check_int("num_channels", num_channels, minimum=1)
        self.depth = check_depths("depth", depth)
        self.patch_sizes = self._per_stage("patch_sizes", patch_sizes, check_size)
        self.patch_stride = self._per_stage("patch_stride", patch_stride, _check_positive)
        self.patch_padding = self._per_stage("patch_padding", patch_padding, _check_padding)
        self.embed_dim = self._per_stage("embed_dim", embed_dim, _check_positive, exactly=True)
        self.num_heads = self._per_stage("num_heads", num_heads, _check_positive)
        self.mlp_ratio = self._check_ratios(mlp_ratio, mlp_ratios)
        self.attention_drop_rate = self._per_stage("attention_drop_rate", attention_drop_rate, _check_rate)
        self.drop_rate = self._per_stage("drop_rate", drop_rate, _check_rate)
        self.drop_path_rate = self._per_stage("drop_path_rate", drop_path_rate, _check_rate)
        self.qkv_bias = self._per_stage("qkv_bias", qkv_bias, check_bool)
        self.cls_token = self._per_stage("cls_token", cls_token, check_bool, exactly=True)
        self.qkv_projection_method = self._per_stage("qkv_projection_method", qkv_projection_method, _check_method)
        self.kernel_qkv = self._per_stage("kernel_qkv", kernel_qkv, _check_positive)
        self.padding_kv = self._per_stage("padding_kv", padding_kv, _check_padding)
        self.stride_kv = self._per_stage("stride_kv", stride_kv, _check_positive)
        self.padding_q = self._per_stage("padding_q", padding_q, _check_padding)
        self.stride_q = self._per_stage("stride_q", stride_q, _check_positive)
        self.initializer_range = check_float("initializer_range", initializer_range, minimum=0)
        self.layer_norm_eps = check_float("layer_norm_eps", layer_norm_eps, minimum=0)
        self.hidden_act = check_activation(hidden_act)
        self.image_size = check_size("image_size", image_size)
        self._check_widths()

    @property
    def stage_names(self) -> list[str]:
        """Names of the maps of the stages."""
        return [f"stage{number}" for number in range(1, len(self.depth) + 1)]

    def layer_drop_path_rate(self, stage_index: int) -> float:
        """Return the rate of stochastic depth in the blocks of a stage.

        transformers spreads ``drop_path_rate[stage]`` linearly over the blocks of a stage, from 0 on, and then gives
        all of them the entry whose number is the stage's. The same rate comes out here; where a stage has too few
        blocks for that entry (an IndexError there), its last entry is taken.
        """
        rates = np.linspace(0, self.drop_path_rate[stage_index], self.depth[stage_index])
        return float(rates[min(stage_index, len(rates) - 1)])

    def hidden_channels(self, stage_index: int) -> int:
        """Return the hidden channels of a stage's multilayer perceptron."""
        return int(self.embed_dim[stage_index] * self.mlp_ratio[stage_index])

    def _per_stage(
        self, name: str, values: Any, check: Callable[[str, Any], Any], *, exactly: bool = False
    ) -> list[Any]:
        """Return a list field with an entry for each stage, or say what was expected."""
        entries, stages = check_list(name, values, check), len(self.depth)
        if len(entries) < stages or (exactly and len(entries) != stages):
            raise ConfigError(f"expected {name} to have {stages} entries, as many as depth, got {len(entries)}")
        return entries

    def _check_ratios(self, mlp_ratio: Any, mlp_ratios: Any) -> list[float]:
        """Return the one list that came by either name, or say that two came."""
        if mlp_ratios is None:
            return self._per_stage("mlp_ratio", (4.0, 4.0, 4.0) if mlp_ratio is None else mlp_ratio, _check_ratio)
        ratios = self._per_stage("mlp_ratios", mlp_ratios, _check_ratio)
        stages = len(self.depth)
        if mlp_ratio is not None and self._per_stage("mlp_ratio", mlp_ratio, _check_ratio)[:stages] != ratios[:stages]:
            raise ConfigError(
                f"mlp_ratio {shown(mlp_ratio)} and mlp_ratios {shown(mlp_ratios)} are the same field and differ; give "
                "one of them, mlp_ratio if it is that of a file"
            )
        return ratios

    def _check_widths(self) -> None:
        """Refuse widths that do not go together."""
        for i, (width, heads) in enumerate(zip(self.embed_dim, self.num_heads, strict=False)):
            if width % heads:
                raise ConfigError(f"expected num_heads[{i}] to divide embed_dim[{i}] = {width}, got {heads}")
            if self.hidden_channels(i) < 1:
                raise ConfigError(f"expected mlp_ratio[{i}] to give a hidden channel at least, got {self.mlp_ratio[i]}")
            if self.cls_token[i] and width != self.embed_dim[-1]:
                raise ConfigError(
                    f"cls_token[{i}] is true, but a class token has the width of the last stage ({self.embed_dim[-1]}) "
                    f"and stage {i} has {width}; set cls_token[{i}] to false"
                )


def _check_positive(name: str, value: Any) -> int:
    """Return an integer of at least 1."""
    return check_int(name, value, minimum=1)


def _check_padding(name: str, value: Any) -> int:
    """Return an integer of at least 0 that does not make a picture of zeros."""
    return check_int(name, value, minimum=0, maximum=LARGEST_PADDING)


def _check_rate(name: str, value: Any) -> float:
    """Return a probability."""
    return check_float(name, value, minimum=0, maximum=1)


def _check_ratio(name: str, value: Any) -> float:
    """Return a multiple of the embedding."""
    return check_float(name, value, minimum=0, maximum=1000)


def _check_method(name: str, value: Any) -> str:
    """Return the name of a projection method."""
    if value not in QKV_PROJECTION_METHODS:
        raise ConfigError(f"expected {name} to be one of {', '.join(QKV_PROJECTION_METHODS)}; got {shown(value)}")
    return value
