"""What can be measured: npconv's engines and their rivals, each with what it needs and the environment it runs in."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from typing import Any, NamedTuple

from npconv.cores import THREAD_VARIABLES
from npconv.errors import InputError

#: The modules that export a model for ONNX Runtime.
EXPORT_MODULES = ("torch", "transformers", "onnx", "onnxscript")

#: Name -> runner and modules of the rivals.
RIVALS = {
    "torch": ("torch", ("torch", "transformers")),
    "torch.compile": ("torch_compile", ("torch", "transformers")),
    "onnxruntime": ("onnxruntime", ("onnxruntime", *EXPORT_MODULES)),
}

#: The rivals that can run on each device.
RIVALS_ON = {"cpu": tuple(RIVALS), "cuda": ("torch",)}


class Contender(NamedTuple):
    """One thing to measure."""

    name: str  #: what the tables and the report call it
    runner: str  #: its function in ``runners.RUNNERS``
    modules: tuple[str, ...]  #: what must be installed for it
    blas_threads: int  #: that the BLAS and OpenMP of its process may use
    threads: int  #: threads or processes that the engine itself is told to use
    rival: bool = False  #: whether it is another project's

    @property
    def environment(self) -> dict[str, str]:
        """What must be set before its process loads NumPy or PyTorch."""
        return environment(self.blas_threads)

    @property
    def missing(self) -> list[str]:
        """Which of its modules are not installed; none is imported."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]

    @property
    def versions(self) -> dict[str, str]:
        """The versions of its modules, as far as they are known."""
        found = {}
        for name in self.modules:
            with suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
        return found

    def describe(self) -> dict[str, Any]:
        """Return what a report says of it, whether it is there or not."""
        return {
            "engine": self.name,
            "rival": self.rival,
            "threads": max(self.threads, self.blas_threads),
            "missing": self.missing,
            "versions": self.versions,
        }


def environment(threads: int) -> dict[str, str]:
    """Return what must be set before a process loads libraries, so that each uses so many threads."""
    # On GPUs, no library may round float32 to TF32, whatever it was told or its defaults are.
    precise = {"NVIDIA_TF32_OVERRIDE": "0", "CUPY_TF32": "0"}
    quiet = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "0"}
    return {**dict.fromkeys(THREAD_VARIABLES, str(threads)), **precise, **quiet}


def npconv_engines(threads: int, device: str = "cpu") -> list[Contender]:
    """Return npconv's engines for `threads` cores, with every way to use them; on a GPU, the explicit one alone."""
    engines = [Contender("explicit", "explicit", (), threads, threads)]
    if device == "cpu":
        engines.append(Contender("fast, 1 thread", "fast", (), 1, 1))
    if device == "cpu" and threads > 1:
        engines.append(Contender(f"fast, {threads} BLAS threads", "fast", (), threads, 1))
        engines.append(Contender(f"fast, {threads} threads", "fast", (), 1, threads))
        engines.append(Contender(f"fast, {threads} workers", "fast_workers", (), 1, threads))
    return engines


def rivals(names: Sequence[str], threads: int, device: str = "cpu") -> list[Contender]:
    """Return rivals by their names; one that is unknown, or cannot run on the device, is an `InputError`."""
    known = RIVALS_ON[device]
    unknown = [name for name in names if name not in known]
    if unknown:
        place = "" if device == "cpu" else f" on {device}"
        raise InputError(f"expected rivals{place} from {', '.join(known)}; got {unknown[0]!r}")
    return [Contender(name, *RIVALS[name], threads, threads, rival=True) for name in dict.fromkeys(names)]
