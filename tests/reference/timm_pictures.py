"""What timm makes of pictures: the goldens that the tests compare with.

    python -m tests.reference.timm_pictures            prints them, as the installed Pillow makes them
    python -m tests.reference.timm_pictures --write    adds them to tests/convert/data/timm_pictures.json

Needs PyTorch, timm and torchvision. Of torchvision the transforms of Pillow's pictures alone are used, which are plain
Python: a version that was built for another PyTorch does, in the folder that ``NPCONV_TORCHVISION`` names
(``pip install --no-deps --target FOLDER torchvision``).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import types
from typing import Any

import numpy as np
from PIL import Image

from npconv.images.versions import library_versions
from tests.support.timm_pictures import GOLDENS, KINDS, SHAPES, digest, goldens, picture


def import_timm() -> Any:
    """Import timm with a torchvision whose compiled operators, which pictures need none of, may not fit."""
    sys.path.append(os.environ.get("NPCONV_TORCHVISION", ""))
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
    import timm.data

    return timm


def computed() -> dict[str, dict[str, str]]:
    """Return the digests of what timm makes of each picture: kind -> shape -> digest."""
    timm = import_timm()
    found: dict[str, dict[str, str]] = {}
    for name, said in KINDS.items():
        transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=said))
        for height, width in SHAPES:
            made = transform(Image.fromarray(picture(height, width)))
            found.setdefault(name, {})[f"{height}x{width}"] = digest(made.numpy())
    return found


def main() -> int:
    """Print or write; return the exit status."""
    parser = argparse.ArgumentParser(description="What timm makes of pictures.")
    parser.add_argument("--write", action="store_true", help=f"add to {GOLDENS.name}")
    options = parser.parse_args()
    made, order = computed(), library_versions()["resize_order"]
    if not options.write:
        print(json.dumps({"order": order, "kinds": made}))
        return 0
    import timm
    import torch
    import torchvision

    content = goldens() if GOLDENS.exists() else {"versions": {}, "kinds": {}}
    libraries = {module.__name__: str(module.__version__) for module in (timm, torchvision, torch, np)}
    content["versions"][order] = libraries | {"pillow": library_versions()["pillow"]}
    for name, shapes in made.items():
        for shape, value in shapes.items():
            content["kinds"].setdefault(name, {}).setdefault(shape, {})[order] = value
    GOLDENS.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
