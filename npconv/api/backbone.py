"""The backbones: models that return the maps of chosen stages, which may be chosen anew."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from npconv.api.heads import BareModel
from npconv.api.outputs import BackboneOutput, ModelOutput
from npconv.errors import ConfigError


class Backbone(BareModel[BackboneOutput]):
    """Base of the models that return the maps of chosen stages."""

    task = "backbone"
    never_published = "hidden_states_norms."
    config: Any
    _checked_stages: Sequence[str] = ()

    @property
    def stage_names(self) -> list[str]:
        """Names of all stages, the stem first."""
        return self.config.stage_names

    @property
    def out_features(self) -> list[str]:
        """Names of the returned stages. Others can be chosen among those that the model has the norms of."""
        return self.config.out_features

    @out_features.setter
    def out_features(self, names: list[str]) -> None:
        self._choose(out_features=names)

    @property
    def out_indices(self) -> list[int]:
        """Numbers of the returned stages; 0 is the stem."""
        return self.config.out_indices

    @out_indices.setter
    def out_indices(self, indices: list[int]) -> None:
        self._choose(out_indices=indices)

    def _choose(self, **stages: Any) -> None:
        """Choose other stages in the configuration; a ConfigError if the model cannot return them."""
        chosen = copy.deepcopy(self.config)
        chosen.update(stages)
        self._check_stages(chosen)
        self.config.update(stages)

    def _check_stages(self, config: Any) -> None:
        """Refuse a configuration that chooses stages of which the model lacks the norms."""
        there = self.state_dict() if self._fast_engine is None else self._tensors
        if lacking := self.parameter_shapes(config).keys() - there.keys():
            raise ConfigError(
                f"this backbone cannot return {config.out_features}: it has no {min(lacking)}; load it with "
                f"from_pretrained(MODEL, out_features={config.out_features})"
            )

    @property
    def num_features(self) -> list[int]:
        """Channels of every stage's map, the stem's first."""
        return list(self.config.feature_sizes.values())

    @property
    def channels(self) -> list[int]:
        """Channels of the returned maps."""
        return [self.config.feature_sizes[name] for name in self.out_features]

    @property
    def out_feature_channels(self) -> dict[str, int]:
        """Channels of every stage's map by its name."""
        return dict(self.config.feature_sizes)

    def forward_with_filtered_kwargs(self, *args: Any, **kwargs: Any) -> Any:
        """Run the backbone with those of the arguments that it takes; others are left out."""
        taken = ("pixel_values", "output_hidden_states", "return_dict", "training", "rng")
        return self(*args, **{name: value for name, value in kwargs.items() if name in taken})

    def _forward(
        self, pixel_values: Any, labels: Any, rng: np.random.Generator | None, *, every_map: bool
    ) -> ModelOutput:
        """Run the family's backbone."""
        if self.config.out_features != self._checked_stages:  # anyone may set them in the configuration
            self._check_stages(self.config)
            self._checked_stages = list(self.config.out_features)
        feature_maps, hidden_states = self._compute(pixel_values, rng, every_map=every_map)
        return BackboneOutput(tuple(feature_maps), tuple(hidden_states))
