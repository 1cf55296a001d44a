"""The engines: a fast trunk and the head of the explicit model, for each family and each kind of model.

An engine is a function from pixel values to what the family's function in ``npconv.models`` returns. Heads are small,
so the explicit layers do them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

from npconv.fast.products import shares
from npconv.fast.scratch import Scratch
from npconv.fast.threads import blas_limit, choose_threads, make_scratch
from npconv.models import CvtConfig, PretrainedConfig, convnext, cvt
from npconv.models.convnext import fast as convnext_trunk
from npconv.models.cvt import fast as cvt_trunk


class Engine:
    """Base: shares the work between threads, and keeps scratch arrays for the last input shape.

    Parameters
    ----------
    threads : int, optional
        All cores that this process may use when unset.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = choose_threads(threads)
        self._kept = threading.local()

    def __call__(self, pixel_values: np.ndarray) -> tuple[Any, list[np.ndarray]]:
        """Run the model on pixel values (N, C, H, W), float32; return what the family's function returns."""
        self._check(pixel_values)
        scratch = self._scratch(pixel_values.shape)
        limit = blas_limit() if scratch.threads > 1 else None
        with limit() if limit else nullcontext():
            if scratch.threads == 1 or len(pixel_values) < scratch.threads:
                return self._run(pixel_values, scratch)
            # Pictures are more work at a time than parts of one, so whole ones are shared where there are enough.
            parts = shares(len(pixel_values), scratch)
            return _join(scratch.map(lambda part, own: self._run(pixel_values[slice(*part)], own), parts))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the scratch arrays, which belong to the threads of this process."""
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _kept=threading.local())

    def _check(self, pixel_values: np.ndarray) -> None:
        """Refuse pictures that do not fit the model."""
        raise NotImplementedError

    def _run(self, pixel_values: np.ndarray, scratch: Scratch) -> tuple[Any, list[np.ndarray]]:
        """Run the model with these scratch arrays."""
        raise NotImplementedError

    def _scratch(self, shape: tuple[int, ...]) -> Scratch:
        """Return the scratch arrays for pictures of this shape; every calling thread has its own.

        So has every process: a fork inherits the arrays, but not the threads that would share the work.
        """
        wanted = (os.getpid(), shape)
        if getattr(self._kept, "wanted", None) != wanted:
            self._kept.wanted, self._kept.scratch = wanted, make_scratch(self.threads)
        return self._kept.scratch


def _join(results: list[tuple[Any, list[np.ndarray]]]) -> tuple[Any, list[np.ndarray]]:
    """Put the results of parts of a batch together."""
    firsts, hidden_states = zip(*results, strict=True)
    maps = [np.concatenate(parts) for parts in zip(*hidden_states, strict=True)]
    if isinstance(firsts[0], list):
        return [np.concatenate(parts) for parts in zip(*firsts, strict=True)], maps
    return None if firsts[0] is None else np.concatenate(firsts), maps


def fold(config: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of a model's engine: what does not depend on the input, worked out once, in float64.

    Parameters
    ----------
    config : ConvNextConfig, ConvNextV2Config or CvtConfig
    params : dict
        The parameter tree of a bare model, classifier or backbone; arrays of any floating dtype.

    Returns
    -------
    dict
        A tree of new float32 arrays, for :func:`make_engine`; what `params` hold may change afterwards.
    """
    base = params.get(config.model_type, params)
    if isinstance(config, CvtConfig):
        trunk, holder = cvt_trunk.fold_trunk(config, base["encoder"]), params
    else:
        trunk, holder = convnext_trunk.fold_trunk(config, base["embeddings"], base["encoder"]), base
    heads = {
        "layernorm": holder.get("layernorm"),
        "layernorm_before_pooling": holder.get("layernorm_before_pooling"),
        "pre_classifier": params.get("pre_classifier"),
        "classifier": params.get("classifier"),
        "hidden_states_norms": params.get("hidden_states_norms"),
    }
    return {"trunk": trunk, **{name: _own(head) for name, head in heads.items() if head is not None}}


def _own(params: Any) -> Any:
    """Return a float32 copy of parameters of a head, which the explicit layers will use."""
    if isinstance(params, Mapping):
        return {name: _own(value) for name, value in params.items()}
    return np.array(params, np.float32, order="C")


class ConvNextEngine(Engine):
    """ConvNeXt and V2: bare model, classifier or backbone, whichever the parameters are of."""

    def __init__(
        self,
        config: Any,
        trunk: Mapping[str, Any],
        layernorm: Any = None,
        layernorm_before_pooling: Any = None,
        pre_classifier: Any = None,
        classifier: Any = None,
        hidden_states_norms: Any = None,
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__(threads)
        self.config = config
        self.trunk = convnext_trunk.ConvNextTrunk(config, **trunk)
        self.layernorm, self.layernorm_before_pooling = layernorm, layernorm_before_pooling
        self.pre_classifier, self.classifier = pre_classifier, classifier
        self.hidden_states_norms = hidden_states_norms

    def _check(self, pixel_values: np.ndarray) -> None:
        convnext.check_pixel_values(pixel_values, self.config)

    def _run(self, pixel_values: np.ndarray, scratch: Scratch) -> tuple[Any, list[np.ndarray]]:
        """Return the pooled features, logits or feature maps, and all hidden states."""
        hidden_states = self.trunk(pixel_values, scratch)
        if self.hidden_states_norms is not None:
            return convnext.choose_features(hidden_states, self.hidden_states_norms, config=self.config), hidden_states
        pooled = convnext.summarize(
            hidden_states[-1], self.layernorm, self.layernorm_before_pooling, config=self.config
        )
        if self.classifier is None and self.pre_classifier is None:  # a bare model, or a classifier without classes
            return pooled, hidden_states
        return convnext.classify(pooled, self.classifier, self.pre_classifier, config=self.config), hidden_states


class CvtEngine(Engine):
    """CvT: bare model or classifier, whichever the parameters are of."""

    def __init__(
        self,
        config: CvtConfig,
        trunk: Mapping[str, Any],
        layernorm: Any = None,
        classifier: Any = None,
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__(threads)
        self.config = config
        self.trunk = cvt_trunk.CvtTrunk(config, **trunk)
        self.layernorm, self.classifier = layernorm, classifier

    def _check(self, pixel_values: np.ndarray) -> None:
        cvt.check_pixel_values(pixel_values, self.config)

    def _run(self, pixel_values: np.ndarray, scratch: Scratch) -> tuple[Any, list[np.ndarray]]:
        """Return the class token or logits, and all hidden states."""
        cls_token, hidden_states = self.trunk(pixel_values, scratch)
        if self.layernorm is None:
            return cls_token, hidden_states
        return cvt.classify(
            cls_token, hidden_states[-1], self.layernorm, self.classifier, config=self.config
        ), hidden_states


def make_engine(config: PretrainedConfig, folded: Mapping[str, Any], threads: int | None = None) -> Engine:
    """Return the engine that works with the arrays of :func:`fold`, which it never writes to.

    Parameters
    ----------
    config : ConvNextConfig, ConvNextV2Config or CvtConfig
        With which they were folded.
    folded : dict
    threads : int, optional
        All cores that this process may use when unset. More than one needs the BLAS held to one thread: see
        ``npconv.fast.threads``.

    Raises
    ------
    ConfigError, InputError
        If an option is not covered, which the message names, or `threads` is no number of threads.
    """
    engine: type[Any] = CvtEngine if isinstance(config, CvtConfig) else ConvNextEngine
    return engine(config, **folded, threads=threads)
