"""What the configurations of ConvNeXt and ConvNeXt V2 share: their stages and the choice of a backbone's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from npconv.errors import ConfigError
from npconv.models.configuration import (
    PretrainedConfig,
    check_activation,
    check_bool,
    check_depths,
    check_float,
    check_int,
    check_list,
    check_size,
    shown,
)

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
}


class StagedConfig(PretrainedConfig):
    """Base of ConvNextConfig and ConvNextV2Config; the defaults are the tiny models of the papers.

    A backbone returns the stages ``out_features`` (by name) or ``out_indices`` (by number). Setting one sets the
    other; without either, the last stage is returned. The rules are those of transformers.

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
        Epsilon of the final LayerNorm only; the others have `norm_eps`.
    drop_path_rate : float
        Rate of stochastic depth in the last block; it rises linearly from 0 in the first. Acts in training only.
    image_size : int or (int, int)
        Size the model was made for. Pictures of other sizes work as well.
    out_features : list of str, optional
        Stages that the backbone returns, from ``"stem"``, ``"stage1"``, ``"stage2"`` and so on, in this order.
    out_indices : list of int, optional
        The same by number. Without either, the last stage.
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
    **kwargs
        See :class:`PretrainedConfig`.

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
        **kwargs: Any,
    ) -> None:
        kwargs.pop("stage_names", None)  # follows from num_stages
        super().__init__(**kwargs)
        self.num_channels = check_int("num_channels", num_channels, minimum=1)
        self.patch_size = check_size("patch_size", patch_size)
        self.num_stages = check_int("num_stages", num_stages, minimum=1)
        hidden_sizes = (96, 192, 384, 768) if hidden_sizes is None else hidden_sizes
        self.hidden_sizes = check_list("hidden_sizes", hidden_sizes, lambda name, v: check_int(name, v, minimum=1))
        self.depths = check_depths("depths", (3, 3, 9, 3) if depths is None else depths)
        if not len(self.hidden_sizes) == len(self.depths) == self.num_stages:
            raise ConfigError(
                f"expected hidden_sizes and depths to have num_stages = {num_stages} entries each, got "
                f"{len(self.hidden_sizes)} and {len(self.depths)}; set num_stages to their length"
            )
        self.hidden_act = check_activation(hidden_act)
        self.initializer_range = check_float("initializer_range", initializer_range, minimum=0)
        self.layer_norm_eps = check_float("layer_norm_eps", layer_norm_eps, minimum=0)
        self.drop_path_rate = check_float("drop_path_rate", drop_path_rate, minimum=0, maximum=1)
        self.image_size = check_size("image_size", image_size)
        self.stage_names = ["stem", *(f"stage{number}" for number in range(1, self.num_stages + 1))]
        self._set_output_stages(out_features, out_indices)
        self.stem_type = self._check_stem_type(stem_type)
        self.kernel_sizes = self._check_kernel_sizes(kernel_sizes)
        self.norm_eps = check_float("norm_eps", norm_eps, minimum=0)
        self.head_norm_first = check_bool("head_norm_first", head_norm_first)
        self.head_hidden_size = (
            None if head_hidden_size is None else check_int("head_hidden_size", head_hidden_size, minimum=1)
        )

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
        height, width = (side * 2 ** (self.num_stages - 1) - missing for side in self.patch_shape)
        return height, width

    def drop_path_rates(self) -> list[list[float]]:
        """Return the rate of each block of each stage: from 0 in the first to `drop_path_rate` in the last."""
        rates = np.linspace(0, self.drop_path_rate, sum(self.depths))
        return [part.tolist() for part in np.split(rates, np.cumsum(self.depths)[:-1])]

    @property
    def implied_fields(self) -> set[str]:
        """The names of the stages, and the choice of the last one for a backbone."""
        chosen = {"out_features", "out_indices"} if self.out_features == self.stage_names[-1:] else set()
        return {"stage_names", *chosen}

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as :meth:`PretrainedConfig.to_dict` does, the chosen stages under their public names."""
        fields = super().to_dict()
        fields["out_features"] = fields.pop("_out_features")
        fields["out_indices"] = fields.pop("_out_indices")
        return fields

    @classmethod
    def from_dict(cls: type[Self], fields: Mapping[str, Any], **overrides: Any) -> Self:
        """Make a configuration from the fields of a ``config.json``; choosing stages one way replaces both."""
        if "out_features" in overrides or "out_indices" in overrides:
            fields = {name: value for name, value in fields.items() if name not in ("out_features", "out_indices")}
        return super().from_dict(fields, **overrides)

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

    def _set_output_stages(self, out_features: Any, out_indices: Any) -> None:
        """Check both ways to name the stages and fill in the one that is missing."""
        features = self._check_out_features(out_features)
        indices = self._check_out_indices(out_indices)
        if features is None and indices is None:
            indices = [len(self.stage_names) - 1]
        if indices is None:
            indices = [self.stage_names.index(name) for name in features or ()]
        named = [self.stage_names[index] for index in indices]
        if features is not None and features != named:
            raise ConfigError(
                f"out_features {features} and out_indices {indices} name different stages; give one of them"
            )
        self._out_features, self._out_indices = named, indices

    def _check_out_features(self, out_features: Any) -> list[str] | None:
        """Return the chosen names, or say what was expected."""
        if out_features is None:
            return None
        if not isinstance(out_features, list):
            raise ConfigError(f"expected out_features to be a list, got {type(out_features).__name__}")
        if out_features != [name for name in self.stage_names if name in out_features]:
            raise ConfigError(
                f"expected out_features from {self.stage_names}, in this order and each once; got {shown(out_features)}"
            )
        return out_features

    def _check_out_indices(self, out_indices: Any) -> list[int] | None:
        """Return the chosen indices, or say what was expected."""
        if out_indices is None:
            return None
        if not isinstance(out_indices, list | tuple) or not all(isinstance(index, int) for index in out_indices):
            raise ConfigError(f"expected out_indices to be a list or tuple of integers, got {shown(out_indices)}")
        stages = len(self.stage_names)
        positive = [index + stages if index < 0 else index for index in out_indices]
        if positive != [index for index in range(stages) if index in positive]:
            raise ConfigError(
                f"expected out_indices from {-stages} to {stages - 1} for the stages {self.stage_names}, in this order "
                f"and each once; got {shown(out_indices)}"
            )
        return list(out_indices)

    @property
    def out_features(self) -> list[str]:
        """Names of the returned stages."""
        return self._out_features

    @out_features.setter
    def out_features(self, names: list[str]) -> None:
        self._set_output_stages(names, None)

    @property
    def out_indices(self) -> list[int]:
        """Numbers of the returned stages; 0 is the stem."""
        return self._out_indices

    @out_indices.setter
    def out_indices(self, indices: Sequence[int]) -> None:
        self._set_output_stages(None, indices)


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
