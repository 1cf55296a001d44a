"""Which libraries make the numbers, in which versions: what traces, cards and manifests say of themselves."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import PIL
from PIL import features

from npconv._version import __version__
from npconv.images.passes import installed_order


def library_versions() -> dict[str, str]:
    """Return the versions of all that numbers depend on, from a picture to the logits.

    Beside npconv, NumPy with its matrix library (``blas``) and SciPy, these are Pillow, its decoders of lossy formats,
    and ``resize_order``: which axis this Pillow resizes first, of ``npconv.images.passes.ORDERS``.
    """
    import scipy  # its functions are imported where they are needed

    return {
        "npconv": __version__,
        "numpy": np.__version__,
        "blas": blas_version(),
        "scipy": scipy.__version__,
        "pillow": PIL.__version__,
        "resize_order": installed_order() or "unknown",
        **_decoders(),
    }


@cache
def blas_version() -> str:
    """Return name and version of NumPy's matrix library."""
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


@cache
def _decoders() -> dict[str, str]:
    """Return the versions of the decoders that Pillow has."""
    found = {"libjpeg_turbo": features.version("libjpeg_turbo"), "libjpeg": features.version("jpg")}
    if found["libjpeg_turbo"]:
        found["libjpeg"] = None  # the version of the interface alone
    found |= {name: features.version(name) for name in ("webp", "avif")}
    return {name: str(version) for name, version in found.items() if version}
