"""What the fast engines of all families share: threads, scratch arrays, and batches that are shared out.

An engine is a function from pixel values to what the family's function in ``model.py`` returns, for whichever task the
parameters are of. Heads are small, so the explicit layers do them.
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


def own(params: Any) -> Any:
    """Return a float32 copy of parameters of a head, which the explicit layers will use."""
    if isinstance(params, Mapping):
        return {name: own(value) for name, value in params.items()}
    return np.array(params, np.float32, order="C")
