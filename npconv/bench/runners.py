"""How each engine loads a model and computes logits. Runs in the engine's own process.

A runner is a function from a :class:`Job` to a function from pixel values to logits, both NumPy arrays.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Compute = Callable[[np.ndarray], np.ndarray]


class Job(NamedTuple):
    """What an engine is to run.

    Attributes
    ----------
    model : str
        Folder or ``.safetensors`` file.
    threads : int
        To use for one call.
    dtype : str
        ``"float32"``; ``"float64"`` for the truth, which the explicit engine tells.
    onnx : str, optional
        Folder with the exported models, for ONNX Runtime.
    """

    model: str
    threads: int = 1
    dtype: str = "float32"
    onnx: str | None = None


def explicit(job: Job) -> Compute:
    """Load the explicit engine, one layer a line."""
    from npconv.api import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(job.model, dtype=job.dtype)
    return lambda pixel_values: model(pixel_values, return_dict=True).logits


def fast(job: Job) -> Compute:
    """Load the fast engine; more than one thread are its own, and the BLAS must then be held to one."""
    from npconv.api import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(job.model, engine="fast", threads=job.threads)
    return lambda pixel_values: model(pixel_values, return_dict=True).logits


def fast_workers(job: Job) -> Compute:
    """Load the fast engine into worker processes: each has a part of the batch."""
    from npconv.api.shared import SharedClassifier

    return SharedClassifier(job.model, workers=job.threads)


def torch(job: Job) -> Compute:
    """Load PyTorch as transformers runs it, layer by layer."""
    framework, model = _load_torch(job)

    def compute(pixel_values: np.ndarray) -> np.ndarray:
        with framework.inference_mode():
            return model(pixel_values=framework.from_numpy(pixel_values)).logits.numpy()

    return compute


def torch_compile(job: Job) -> Compute:
    """Load PyTorch, compiled for each input shape."""
    framework, model = _load_torch(job)
    compiled: dict[tuple[int, ...], Any] = {}

    def compute(pixel_values: np.ndarray) -> np.ndarray:
        if pixel_values.shape not in compiled:
            # Otherwise a second shape makes a graph for any shape, which is slower than both of their own.
            framework.compiler.reset()
            compiled.clear()
            compiled[pixel_values.shape] = framework.compile(model, dynamic=False)
        with framework.inference_mode():
            return compiled[pixel_values.shape](pixel_values=framework.from_numpy(pixel_values)).logits.numpy()

    return compute


def _load_torch(job: Job) -> tuple[Any, Any]:
    """Return PyTorch and a model of transformers."""
    framework = importlib.import_module("torch")
    framework.set_num_threads(job.threads)
    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    # transformers takes a folder; what the file is called does not matter to the others.
    folder = Path(job.model) if Path(job.model).is_dir() else Path(job.model).parent
    model = transformers.AutoModelForImageClassification.from_pretrained(folder, dtype=framework.float32)
    return framework, model.eval()


def onnxruntime(job: Job) -> Compute:
    """Load ONNX Runtime with models that PyTorch exported, one for each batch size."""
    framework = importlib.import_module("onnxruntime")
    sessions: dict[int, Any] = {}

    def compute(pixel_values: np.ndarray) -> np.ndarray:
        batch = len(pixel_values)
        if batch not in sessions:
            options = framework.SessionOptions()
            options.intra_op_num_threads = job.threads
            options.log_severity_level = 3
            sessions.clear()
            file = onnx_file(str(job.onnx), batch)
            sessions[batch] = framework.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return sessions[batch].run(None, {"pixel_values": pixel_values})[0]

    return compute


RUNNERS: dict[str, Callable[[Job], Compute]] = {
    runner.__name__: runner for runner in (explicit, fast, fast_workers, torch, torch_compile, onnxruntime)
}


def onnx_file(folder: str, batch: int) -> str:
    """Return where the exported model for a batch size is."""
    return str(Path(folder) / f"batch-{batch}.onnx")


def export_onnx(job: Job, shape: tuple[int, ...]) -> None:
    """Write the ONNX form of a model for pixel values of one shape, by PyTorch's own exporter."""
    framework, model = _load_torch(job)

    class Logits(framework.nn.Module):  # type: ignore[name-defined]
        """The model with one array in and one out."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            return self.model(pixel_values=pixel_values).logits

    pictures = framework.zeros(shape)
    file = onnx_file(str(job.onnx), shape[0])
    names = {"input_names": ["pixel_values"], "output_names": ["logits"]}
    framework.onnx.export(Logits().eval(), (pictures,), file, dynamo=True, verbose=False, **names)
