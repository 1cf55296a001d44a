"""What the configurations of models share that are stages of blocks and whose maps a backbone can give out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from npconv.errors import ConfigError
from npconv.messages import shown
from npconv.models.checks import (
    check_activation,
    check_depths,
    check_float,
    check_int,
    check_list,
    check_names,
    check_size,
)
from npconv.models.configuration import PretrainedConfig

Self = TypeVar("Self", bound="BackboneConfig")


class BackboneConfig(PretrainedConfig):
    """Base of the configurations of such models.

    A backbone returns the stages ``out_features`` (by name) or ``out_indices`` (by number). Setting one sets the
    other; without either, the last stage is returned. The rules are those of transformers.

    Parameters
    ----------
    num_channels : int
        Channels of the input picture.
    hidden_sizes : list of int, optional
        Channels of each stage; (96, 192, 384, 768) when unset.
    depths : list of int, optional
        Blocks of each stage; (3, 3, 9, 3) when unset.
    num_stages : int, optional
        How many entries the two must have.
    hidden_act : str or callable
        Activation in the blocks, a name of ``npconv.layers.ACTIVATIONS`` or a function of one array.
    initializer_range : float
        Standard deviation of random weights.
    layer_norm_eps : float
        Of which LayerNorms it is the epsilon, the family says.
    drop_path_rate : float
        Rate of stochastic depth in the last block; it rises linearly from 0 in the first. Acts in training only.
    image_size : int or (int, int)
        Size the model was made for. Pictures of other sizes work as well.
    out_features : list of str, optional
        Stages that the backbone returns, from ``"stem"``, ``"stage1"``, ``"stage2"`` and so on, in this order.
    out_indices : list of int, optional
        The same by number. Without either, the last stage.
    **kwargs
        See :class:`PretrainedConfig`.

    Raises
    ------
    ConfigError
        If the fields describe no model.
    """

    def __init__(
        self,
        /,
        *,
        num_channels: int,
        hidden_sizes: Sequence[int] | None,
        depths: Sequence[int] | None,
        num_stages: int | None = None,
        hidden_act: str | Callable[[Any], Any],
        initializer_range: float,
        layer_norm_eps: float,
        drop_path_rate: float,
        image_size: int | Sequence[int],
        out_features: list[str] | None,
        out_indices: Sequence[int] | None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("stage_names", None)  # follows from the number of stages
        super().__init__(**kwargs)
        self.num_channels = check_int("num_channels", num_channels, minimum=1)
        hidden_sizes = (96, 192, 384, 768) if hidden_sizes is None else hidden_sizes
        self.hidden_sizes = check_list("hidden_sizes", hidden_sizes, lambda name, v: check_int(name, v, minimum=1))
        self.depths = check_depths("depths", (3, 3, 9, 3) if depths is None else depths)
        if not len(self.hidden_sizes) == len(self.depths) == (num_stages or len(self.depths)):
            wanted = f"num_stages = {num_stages} entries each" if num_stages else "as many entries"
            raise ConfigError(
                f"expected hidden_sizes and depths to have {wanted}, got {len(self.hidden_sizes)} and "
                f"{len(self.depths)}; {'set num_stages to their length' if num_stages else 'give both'}"
            )
        self.hidden_act = check_activation(hidden_act)
        self.initializer_range = check_float("initializer_range", initializer_range, minimum=0)
        self.layer_norm_eps = check_float("layer_norm_eps", layer_norm_eps, minimum=0)
        self.drop_path_rate = check_float("drop_path_rate", drop_path_rate, minimum=0, maximum=1)
        self.image_size = check_size("image_size", image_size)
        self.stage_names = ["stem", *(f"stage{number}" for number in range(1, len(self.depths) + 1))]
        self._set_output_stages(out_features, out_indices)

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
        check_names(fields)
        if "out_features" in overrides or "out_indices" in overrides:
            fields = {name: value for name, value in fields.items() if name not in ("out_features", "out_indices")}
        return super().from_dict(fields, **overrides)

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
