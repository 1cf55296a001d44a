"""The configuration of ConvNeXt, and what that of ConvNeXt V2 shares with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from npconv.errors import ConfigError
from npconv.layers import NORMS
from npconv.messages import shown
from npconv.models.backbone import BackboneConfig
from npconv.models.checks import check_bool, check_choice, check_float, check_int, check_list, check_size

Self = TypeVar("Self", bound="StagedConfig")

#: How a picture becomes the first map: by patches, as in the papers, or by two overlapping convolutions, as in timm.
STEM_TYPES = ("patch", "overlap", "overlap_tiered", "overlap_act")

#: Fields for models of timm: see :attr:`PretrainedConfig.added_fields`.
ADDED_FIELDS: dict[str, Any] = {
    "stem_type": "patch",
    "kernel_sizes": 7,
    "norm_eps": 1e-6,
    "head_norm_first": False,
    "head_hidden_size": None,
    "norm_type": "layer_norm",
    "pooling": "avg",
    "output_stride": None,
}

#: How the last map becomes a vector: its average, its maximum, the mean of the two, or one after the other.
POOLINGS = ("avg", "max", "avgmax", "catavgmax")

#: The strides that timm can build a model for.
OUTPUT_STRIDES = (8, 16, 32)


class StagedConfig(BackboneConfig):
    """Base of ConvNextConfig and ConvNextV2Config; the defaults are the tiny models of the papers.

    Parameters
    ----------
    patch_size : int or (int, int)
        Kernel and stride of the stem, as one number or (height, width).
    num_stages : int
        Number of stages; as many as `hidden_sizes` and `depths` have entries.
    layer_norm_eps : float
        Epsilon of the final LayerNorm only; the others have `norm_eps`.
    stem_type : str
        This field and those below are for the models of timm; their defaults are the models of transformers, which
        lacks the fields. ``"patch"``: one convolution over patches. ``"overlap"``: two convolutions, 3 x 3 with stride
        2, which shrink a picture by 4 together, so that `patch_size` must stay 4. ``"overlap_tiered"``: the first of
        them has half the channels. ``"overlap_act"``: `hidden_act` between them.
    kernel_sizes : int or list of int
        Of the depthwise convolutions, one for all stages or one for each; odd numbers.
    norm_eps : float
        Epsilon of every LayerNorm but the final one, which has `layer_norm_eps`: in the stem, the downsampling, the
        blocks and the backbone's outputs.
    head_norm_first : bool
        Normalize the last map and then average it, not the other way round.
    head_hidden_size : int, optional
        Channels of a hidden layer, with exact GELU, before the classifier; without one when unset.
    norm_type : str
        What all LayerNorms are: a name of ``npconv.layers.NORMS``.
    pooling : str
        ``"avg"``: the average of the last map. ``"max"``: its maximum. ``"avgmax"``: the mean of the two.
        ``"catavgmax"``: one after the other, with `head_norm_first` only.
    output_stride : int, optional
        8, 16 or 32: from this stride on, stages keep the size of the map, and their kernels reach further in its place
        (see `stage_dilations`). Every stage but the first halves the map when unset.
    **kwargs
        The other fields are those of :class:`npconv.models.backbone.BackboneConfig`.

    Raises
    ------
    ConfigError
        If the fields describe no model.
    """

    added_fields = ADDED_FIELDS

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
        *,
        stem_type: str = "patch",
        kernel_sizes: int | Sequence[int] = 7,
        norm_eps: float = 1e-6,
        head_norm_first: bool = False,
        head_hidden_size: int | None = None,
        norm_type: str = "layer_norm",
        pooling: str = "avg",
        output_stride: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.patch_size = check_size("patch_size", patch_size)
        self.num_stages = check_int("num_stages", num_stages, minimum=1)
        super().__init__(
            num_channels=num_channels,
            hidden_sizes=hidden_sizes,
            depths=depths,
            num_stages=self.num_stages,
            hidden_act=hidden_act,
            initializer_range=initializer_range,
            layer_norm_eps=layer_norm_eps,
            drop_path_rate=drop_path_rate,
            image_size=image_size,
            out_features=out_features,
            out_indices=out_indices,
            **kwargs,
        )
        self.stem_type = self._check_stem_type(stem_type)
        self.kernel_sizes = self._check_kernel_sizes(kernel_sizes)
        self.norm_eps = check_float("norm_eps", norm_eps, minimum=0)
        self.head_norm_first = check_bool("head_norm_first", head_norm_first)
        self.head_hidden_size = (
            None if head_hidden_size is None else check_int("head_hidden_size", head_hidden_size, minimum=1)
        )
        self.norm_type = check_choice("norm_type", norm_type, tuple(NORMS))
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.output_stride = (
            None if output_stride is None else check_choice("output_stride", output_stride, OUTPUT_STRIDES)
        )
        if self.pooling == "catavgmax" and not self.head_norm_first:
            raise ConfigError("expected head_norm_first with pooling catavgmax, as the last norm does not fit else")
        if self.norm_type == "simple_norm" and min(self.hidden_sizes) < 2:
            raise ConfigError(
                f"expected hidden_sizes of at least 2 with norm_type simple_norm, got {self.hidden_sizes}"
            )

    def first_stages(self: Self, count: int) -> Self:
        """Return the configuration of the model that ends after so many stages, with the plain head of transformers."""
        fields = {name: value for name, value in self.to_dict().items() if not name.startswith("out_")}
        for name in ("hidden_sizes", "depths", "kernel_sizes"):
            if isinstance(fields.get(name), list):
                fields[name] = fields[name][:count]
        return self.from_dict({**fields, "num_stages": count, "head_hidden_size": None})

    @property
    def feature_sizes(self) -> dict[str, int]:
        """Channels of the stem's and each stage's output, by stage name."""
        return dict(zip(self.stage_names, [self.hidden_sizes[0], *self.hidden_sizes], strict=True))

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Height and width of a patch."""
        height, width = self.patch_size if isinstance(self.patch_size, list) else (self.patch_size, self.patch_size)
        return height, width

    @property
    def stage_kernel_sizes(self) -> list[int]:
        """Side of the depthwise kernels of each stage."""
        return self.kernel_sizes if isinstance(self.kernel_sizes, list) else [self.kernel_sizes] * self.num_stages

    @property
    def pooled_size(self) -> int:
        """Channels that the pooling leaves."""
        return self.hidden_sizes[-1] * (2 if self.pooling == "catavgmax" else 1)

    @property
    def stage_dilations(self) -> list[int]:
        """Distance of the inputs of each stage's depthwise kernels.

        1 where a stage halves the map. Where `output_stride` has been reached it does not, and the distance doubles.
        """
        dilations, stride = [1], max(self.patch_shape)
        for _ in range(1, self.num_stages):
            if self.output_stride is not None and stride >= self.output_stride:
                dilations.append(2 * dilations[-1])
            else:
                dilations.append(dilations[-1])
                stride *= 2
        return dilations

    @property
    def stem_hidden_size(self) -> int:
        """Channels between the two convolutions of an overlapping stem.

        In the tiered one half of those after it, rounded to a multiple of 8 as timm does: to the nearest, at least 8,
        and to the next one where the nearest is less than 90 %.
        """
        if self.stem_type != "overlap_tiered":
            return self.hidden_sizes[0]
        half = self.hidden_sizes[0] // 2
        nearest = max(8, (half + 4) // 8 * 8)
        return nearest + 8 if nearest < 0.9 * half else nearest

    @property
    def least_picture(self) -> tuple[int, int]:
        """Height and width of the smallest picture that leaves a position in the last stage.

        Overlapping convolutions are padded, so that three of the last four pixels may be missing.
        """
        missing = 0 if self.stem_type == "patch" else 3
        halvings = self.stage_dilations[1:].count(1)
        height, width = (side * 2**halvings - missing for side in self.patch_shape)
        return height, width

    def _check_stem_type(self, stem_type: Any) -> str:
        """Return the kind of stem, or say what was expected."""
        if not isinstance(stem_type, str) or stem_type not in STEM_TYPES:
            raise ConfigError(f"expected stem_type to be one of {', '.join(STEM_TYPES)}; got {shown(stem_type)}")
        if stem_type != "patch" and self.patch_shape != (4, 4):
            raise ConfigError(
                f"expected patch_size 4 with stem_type {stem_type!r}, which has no patches and shrinks pictures by 4; "
                f"got {shown(self.patch_size)}"
            )
        return stem_type

    def _check_kernel_sizes(self, kernel_sizes: Any) -> int | list[int]:
        """Return the sides of the depthwise kernels, or say what was expected."""
        if not isinstance(kernel_sizes, list | tuple):
            return _check_odd("kernel_sizes", kernel_sizes)
        if len(kernel_sizes) != self.num_stages:
            raise ConfigError(
                f"expected kernel_sizes to be an integer or one for each of {self.num_stages} stages, got "
                f"{shown(kernel_sizes)}"
            )
        return check_list("kernel_sizes", kernel_sizes, _check_odd)


class ConvNextConfig(StagedConfig):
    """The configuration of a ConvNeXt model; the defaults are ConvNeXt-T (``facebook/convnext-tiny-224``).

    Parameters
    ----------
    layer_scale_init_value : float
        First value of the layer scale; without layer scale when 0 or less.
    **kwargs
        The other fields are those of :class:`StagedConfig`.
    """

    model_type = "convnext"

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
        layer_scale_init_value: float = 1e-6,  # its place among the others is that in transformers
        drop_path_rate: float = 0.0,
        image_size: int | Sequence[int] = 224,
        out_features: list[str] | None = None,
        out_indices: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_channels,
            patch_size,
            num_stages,
            hidden_sizes,
            depths,
            hidden_act,
            initializer_range,
            layer_norm_eps,
            drop_path_rate,
            image_size,
            out_features,
            out_indices,
            **kwargs,
        )
        self.layer_scale_init_value = check_float("layer_scale_init_value", layer_scale_init_value, minimum=-np.inf)

    @property
    def first_values(self) -> dict[str, float]:
        """That of the layer scale."""
        return {"layer_scale_parameter": self.layer_scale_init_value}


def _check_odd(name: str, value: Any) -> int:
    """Return an odd number, or say what was expected: the middle of an even kernel is between two positions."""
    if check_int(name, value, minimum=1) % 2 == 0:
        raise ConfigError(f"expected {name} to be odd, got {value}")
    return int(value)
