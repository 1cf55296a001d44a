"""A classifier whose batches are shared between worker processes."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from npconv.api.auto import AutoModelForImageClassification
from npconv.api.folded import shared_loader
from npconv.api.heads import prepare_pixel_values
from npconv.api.together import Together
from npconv.workers.loader import Loader
from npconv.workers.pool import WorkerPool


class SharedClassifier:
    """A function from pixel values to logits that gives each of several worker processes a part of the batch.

    On a single picture they work together, if they are the classifier's own and the engine is the fast one. They are
    started by the first call and kept until :meth:`close` or the end of a ``with`` block. For files of pictures,
    ``pipeline(workers=...)`` is faster: there the workers decode as well.

    Parameters
    ----------
    model : str or Path
        As in ``AutoModelForImageClassification.from_pretrained``.
    workers : int or Executor, optional
        Processes, as many as this process may use cores when unset; or what runs the parts.
    **model_arguments
        As in ``from_pretrained``. The engine is the fast one when unset.

    Raises
    ------
    NpconvError
        If there can be no workers; in a call, what loading and running the model raise.
    """

    def __init__(self, model: str | Path, *, workers: int | Executor | None = None, **model_arguments: Any) -> None:
        self._executor = workers if isinstance(workers, Executor) else WorkerPool(workers)
        self._owns_executor = not isinstance(workers, Executor)
        self._arguments = {"model": model, "engine": "fast", "threads": 1, **model_arguments}
        self._loaders: dict[int, Loader] = {}
        self._dtype = np.dtype(self._arguments.get("dtype", "float32"))
        self._together: Together | None = None
        if isinstance(self._executor, WorkerPool) and self._owns_executor and self._arguments["engine"] == "fast":
            self._together = Together(self._executor, _logits)

    def __call__(self, pixel_values: np.ndarray) -> np.ndarray:
        """Return the logits (N, K) of normalized pictures (N, C, H, W)."""
        pixel_values = prepare_pixel_values(pixel_values, dtype=self._dtype, device="cpu")
        loader = self._loader()
        if self._together is not None and len(pixel_values) == 1:
            logits = self._together.run(loader, pixel_values)
            if logits is not None:
                return logits
        parts = np.array_split(pixel_values, min(getattr(self._executor, "workers", 1), max(1, len(pixel_values))))
        futures = [self._executor.submit(_load_and_run, loader, part) for part in parts]
        return np.concatenate([future.result() for future in futures])

    def _loader(self) -> Loader:
        """Return what loads the model in the workers: others in a forked child, with another folder."""
        process = os.getpid()
        if process not in self._loaders:
            load = AutoModelForImageClassification.from_pretrained
            self._loaders = {process: shared_loader(self._executor, load, **self._arguments)}
        return self._loaders[process]

    def close(self) -> None:
        """End the workers, if they are the classifier's own."""
        if self._owns_executor:
            self._executor.shutdown()

    def __enter__(self) -> SharedClassifier:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _load_and_run(load: Loader, pixel_values: np.ndarray) -> np.ndarray:
    """Run the model on a part of a batch, in a worker."""
    return _logits(load(), pixel_values)


def _logits(model: Any, pixel_values: np.ndarray) -> np.ndarray:
    """Return the logits of a part of a batch."""
    return model(pixel_values, return_dict=True).logits
