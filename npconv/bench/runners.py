"""How each engine loads a model and computes logits. Runs in the engine's own process.

A runner is a function from a :class:`Job` to a function from pixel values to logits, both NumPy arrays. So on a GPU a
call takes the pictures there and fetches the logits, and has done all its work when it returns: whoever times it need
not ask the GPU to catch up.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npconv.backend import to_host
from npconv.errors import UnavailableError

Compute = Callable[[np.ndarray], np.ndarray]


class Job(NamedTuple):
    """What an engine is to run."""

    model: str  #: folder or ``.safetensors`` file
    threads: int = 1  #: to use for one call
    dtype: str = "float32"  #: ``"float64"`` for the truth, which the explicit engine tells
    scratch: str | None = None  #: folder for what rivals make of the model: exported for ONNX Runtime, compiled
    device: str = "cpu"  #: or ``"cuda"``, for those that can run there


def explicit(job: Job) -> Compute:
    """Load the explicit engine, one layer a line."""
    from npconv.api import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(job.model, dtype=job.dtype, device=job.device)
    return lambda pixel_values: to_host(model(pixel_values, return_dict=True).logits)


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
    return lambda pixel_values: _torch_logits(framework, model, pixel_values, job.device)


def torch_compile(job: Job) -> Compute:
    """Load PyTorch, compiled for each input shape."""
    framework, model = _load_torch(job)

    @lru_cache(1)
    def compiled(shape: tuple[int, ...]) -> Any:
        framework.compiler.reset()  # else a second shape makes a graph for any, slower than both of their own
        return framework.compile(model, dynamic=False)

    return lambda pixel_values: _torch_logits(framework, compiled(pixel_values.shape), pixel_values, job.device)


def _torch_logits(framework: Any, model: Any, pixel_values: np.ndarray, device: str) -> np.ndarray:
    """Return the logits of a model of transformers."""
    with framework.inference_mode():
        return model(pixel_values=framework.as_tensor(pixel_values, device=device)).logits.cpu().numpy()


def _load_torch(job: Job) -> tuple[Any, Any]:
    """Return PyTorch and a model of transformers; on a GPU, products are of full float32 as on the CPU."""
    if job.scratch is not None:
        # Else PyTorch keeps what it compiles, 150 MB, among the temporary files, where later runs would find it.
        os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)
        tempfile.tempdir = job.scratch
    framework = importlib.import_module("torch")
    framework.set_num_threads(job.threads)
    if job.device == "cuda":
        if not framework.cuda.is_available():
            raise UnavailableError(f"expected a PyTorch that finds a CUDA device, got version {framework.__version__}")
        framework.backends.cuda.matmul.allow_tf32 = False
        framework.backends.cudnn.allow_tf32 = False  # on by default, with a thousandth of float32's precision
    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    # transformers takes a folder; what the file is called does not matter to the others.
    folder = Path(job.model) if Path(job.model).is_dir() else Path(job.model).parent
    model = transformers.AutoModelForImageClassification.from_pretrained(folder, dtype=framework.float32)
    return framework, model.eval().to(job.device)


def explicit_training(job: Job) -> Compute:
    """Load the explicit engine for steps of training: forward, loss and backward."""
    from npconv.api import AutoModelForImageClassification
    from npconv.api.gradients import value_and_grad

    step = value_and_grad(AutoModelForImageClassification.from_pretrained(job.model, dtype=job.dtype))
    return lambda pixel_values: step(pixel_values, labels_of(pixel_values), training=True, rng=0).outputs[0]


def torch_training(job: Job) -> Compute:
    """Load PyTorch, layer by layer, for the same steps."""
    framework, model = _load_torch(job)
    model.train()

    def step(pixel_values: np.ndarray) -> np.ndarray:
        model.zero_grad()
        labels = framework.as_tensor(labels_of(pixel_values))
        outputs = model(pixel_values=framework.as_tensor(pixel_values), labels=labels)
        outputs.loss.backward()
        return outputs.logits.detach().numpy()

    return step


def labels_of(pixel_values: np.ndarray) -> np.ndarray:
    """Return a label for each picture."""
    return np.arange(len(pixel_values))


def onnxruntime(job: Job) -> Compute:
    """Load ONNX Runtime with models that PyTorch exported, one for each batch size."""
    framework = importlib.import_module("onnxruntime")

    @lru_cache(1)
    def session(batch: int) -> Any:
        options = framework.SessionOptions()
        options.intra_op_num_threads = job.threads
        options.log_severity_level = 3
        file = onnx_file(str(job.scratch), batch)
        return framework.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    return lambda pixel_values: session(len(pixel_values)).run(None, {"pixel_values": pixel_values})[0]


RUNNERS: dict[str, Callable[[Job], Compute]] = {
    runner.__name__: runner
    for runner in (
        *(explicit, fast, fast_workers, explicit_training),
        *(torch, torch_compile, torch_training, onnxruntime),
    )
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
    file = onnx_file(str(job.scratch), shape[0])
    names = {"input_names": ["pixel_values"], "output_names": ["logits"]}
    framework.onnx.export(Logits().eval(), (pictures,), file, dynamo=True, verbose=False, **names)
