"""The engines: a fast trunk and the head of the explicit model, for each family and each kind of model.

An engine is a function from pixel values to what the family's function in ``npconv.models`` returns. Heads are small,
so the explicit layers do them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from npconv.fast.convnext import ConvNextTrunk
from npconv.fast.cvt import CvtTrunk
from npconv.fast.scratch import Scratch
from npconv.layers import linear
from npconv.models import CvtConfig, PretrainedConfig, convnext, cvt


class Engine:
    """Base: keeps scratch arrays for the last input shape, of each Python thread by itself."""

    def __init__(self) -> None:
        self._kept = threading.local()

    def scratch(self, shape: tuple[int, ...]) -> Scratch:
        """Return the scratch arrays for pictures of this shape."""
        if getattr(self._kept, "shape", None) != shape:
            self._kept.shape, self._kept.scratch = shape, Scratch()
        return self._kept.scratch

    def __call__(self, pixel_values: np.ndarray) -> tuple[Any, list[np.ndarray]]:
        """Run the model on pixel values (N, C, H, W), float32."""
        raise NotImplementedError


class ConvNextEngine(Engine):
    """ConvNeXt and V2: bare model, classifier or backbone, whichever the parameters are of."""

    def __init__(self, config: Any, params: Mapping[str, Any]) -> None:
        super().__init__()
        base = params.get(config.model_type, params)
        self.config = config
        self.trunk = ConvNextTrunk(config, base["embeddings"], base["encoder"])
        self.layernorm = base.get("layernorm")
        self.classifier = params.get("classifier")
        self.hidden_states_norms = params.get("hidden_states_norms")

    def __call__(self, pixel_values: np.ndarray) -> tuple[Any, list[np.ndarray]]:
        """Return the pooled features, logits or feature maps, and all hidden states."""
        hidden_states = self.trunk(pixel_values, self.scratch(pixel_values.shape))
        if self.hidden_states_norms is not None:
            return convnext.choose_features(hidden_states, self.hidden_states_norms, config=self.config), hidden_states
        pooled = convnext.pool(hidden_states[-1], self.layernorm or {}, config=self.config)
        return pooled if self.classifier is None else linear(pooled, **self.classifier), hidden_states


class CvtEngine(Engine):
    """CvT: bare model or classifier, whichever the parameters are of."""

    def __init__(self, config: CvtConfig, params: Mapping[str, Any]) -> None:
        super().__init__()
        base = params.get(config.model_type, params)
        self.trunk = CvtTrunk(config, base["encoder"])
        self.layernorm = params.get("layernorm")
        self.classifier = params.get("classifier")

    def __call__(self, pixel_values: np.ndarray) -> tuple[Any, list[np.ndarray]]:
        """Return the class token or logits, and all hidden states."""
        cls_token, hidden_states = self.trunk(pixel_values, self.scratch(pixel_values.shape))
        if self.layernorm is None:
            return cls_token, hidden_states
        return cvt.classify(cls_token, hidden_states[-1], self.layernorm, self.classifier), hidden_states


def build_engine(config: PretrainedConfig, params: Mapping[str, Any]) -> Engine:
    """Fold the parameters of a model into an engine.

    Parameters
    ----------
    config : ConvNextConfig, ConvNextV2Config or CvtConfig
    params : dict
        The parameter tree of a bare model, classifier or backbone; NumPy arrays of any floating dtype. It is not kept
        but for the head, and later changes of it have no effect.

    Raises
    ------
    ConfigError
        If an option is not covered; names it.
    """
    return CvtEngine(config, params) if isinstance(config, CvtConfig) else ConvNextEngine(config, params)
