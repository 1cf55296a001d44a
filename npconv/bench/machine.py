"""What the figures were measured on: processor, cores, system, versions, and the fastest matrix product it reaches."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import numpy as np

from npconv._version import __version__
from npconv.backend import device_module
from npconv.bench.contenders import environment
from npconv.bench.remote import RemoteEngine
from npconv.cores import available_cores
from npconv.images.versions import blas_version


def describe(device: str = "cpu") -> dict[str, Any]:
    """Return a description of this machine, and of its GPU if that is the device."""
    return {
        "processor": processor_name(),
        "cores": available_cores(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "npconv": __version__,
        "numpy": np.__version__,
        "blas": blas_version(),
        **({} if device == "cpu" else {"device": device_name(device)}),
    }


def device_name(device: str) -> str:
    """Return what a GPU calls itself, and the version of CuPy that runs it."""
    cupy: Any = device_module(device)
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"]
    return f"{name.decode('utf-8', 'replace')}, CuPy {cupy.__version__}"


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return what the processor calls itself."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text("utf-8", "replace"), re.MULTILINE)
    except OSError:
        match = None
    return match[1].strip() if match else platform.processor() or platform.machine() or "unknown"


def sgemm_peak(threads: int, *, size: int, calls: int, device: str = "cpu") -> float:
    """Return the fastest float32 matrix product of NumPy or CuPy in operations a second, in a fresh process.

    Two operations for each multiply-add; the best of some calls.
    """
    with RemoteEngine(environment(threads)) as remote:
        return 2 * size**3 / remote.ask("sgemm", size=size, calls=calls, device=device)["seconds"]
