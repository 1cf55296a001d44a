"""What can be measured: npconv's engines and their rivals, each with what it needs and the environment it runs in."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib import metadata
from typing import NamedTuple

from npconv.cores import THREAD_VARIABLES
from npconv.errors import InputError

#: The modules that export a model for ONNX Runtime.
EXPORT_MODULES = ("torch", "transformers", "onnx", "onnxscript")


class Engine(NamedTuple):
    """One thing to measure.

    Attributes
    ----------
    name : str
        What the tables and the report call it.
    runner : str
        Its function in ``runners.RUNNERS``.
    modules : tuple of str
        What must be installed for it.
    blas_threads : int
        Threads that the BLAS and OpenMP of its process may use.
    threads : int
        Threads or processes that the engine itself is told to use.
    rival : bool
        Whether it is another project's.
    least_batch : int
        Fewer pictures than this are no work for it.
    """

    name: str
    runner: str
    modules: tuple[str, ...]
    blas_threads: int
    threads: int
    rival: bool
    least_batch: int = 1

    @property
    def environment(self) -> dict[str, str]:
        """What must be set before its process loads NumPy or PyTorch."""
        limits = dict.fromkeys(THREAD_VARIABLES, str(self.blas_threads))
        # On GPUs, no library may round float32 to TF32, whatever it was told or its defaults are.
        limits |= {"NVIDIA_TF32_OVERRIDE": "0", "CUPY_TF32": "0"}
        return {**limits, "TORCHINDUCTOR_COMPILE_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "0"}


#: Name -> runner and modules of the rivals.
RIVALS = {
    "torch": ("torch", ("torch", "transformers")),
    "torch.compile": ("torch_compile", ("torch", "transformers")),
    "onnxruntime": ("onnxruntime", ("onnxruntime", *EXPORT_MODULES)),
}

#: The rivals that can run on each device.
RIVALS_ON = {"cpu": tuple(RIVALS), "cuda": ("torch",)}


def npconv_engines(threads: int, device: str = "cpu") -> list[Engine]:
    """Return npconv's engines for `threads` cores, with every way to use them; on a GPU, the explicit one alone."""
    if device != "cpu":
        return [Engine("explicit", "explicit", (), threads, threads, False)]
    engines = [Engine("explicit", "explicit", (), threads, threads, False)]
    engines.append(Engine("fast, 1 thread", "fast", (), 1, 1, False))
    if threads > 1:
        engines.append(Engine(f"fast, {threads} BLAS threads", "fast", (), threads, 1, False))
        engines.append(Engine(f"fast, {threads} threads", "fast", (), 1, threads, False))
        engines.append(Engine(f"fast, {threads} workers", "fast_workers", (), 1, threads, False, least_batch=2))
    return engines


def rivals(names: Sequence[str], threads: int, device: str = "cpu") -> list[Engine]:
    """Return rivals by their names.

    Raises
    ------
    InputError
        If a name is unknown, or none that can run on the device.
    """
    known = RIVALS_ON[device]
    unknown = [name for name in names if name not in known]
    if unknown:
        place = "" if device == "cpu" else f" on {device}"
        raise InputError(f"expected rivals{place} from {', '.join(known)}; got {unknown[0]!r}")
    return [Engine(name, *RIVALS[name], threads, threads, True) for name in dict.fromkeys(names)]


def missing_modules(engine: Engine) -> list[str]:
    """Return which of its modules are not installed; none is imported."""
    return [name for name in engine.modules if importlib.util.find_spec(name) is None]


def versions(engine: Engine) -> dict[str, str]:
    """Return the versions of its modules, as far as they are known."""
    found = {}
    for name in engine.modules:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
