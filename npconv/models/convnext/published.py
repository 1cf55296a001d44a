"""The published sizes and checkpoints of ConvNeXt, and numbers that they are known by.

Sources: the paper, facebookresearch/ConvNeXt, timm and torchvision for the sizes; for the names, files and cards on the
hub, the conversion script of transformers and the repositories' pages (2022 to 2025).
"""

from __future__ import annotations

from typing import Any

from npconv.models.publishing import IMAGENET_22K, Architecture, Logits, Publisher

LICENCE = "as published in facebookresearch/ConvNeXt: MIT"


def architecture(name: str, depths: list[int], width: int, parameters: int, **more: Any) -> Architecture:
    """Return an architecture of four stages, each with twice the channels of the one before."""
    widths = [width, 2 * width, 4 * width, 8 * width]
    return Architecture(name, {"depths": depths, "hidden_sizes": widths}, widths[-1], parameters, **more)


#: torchvision resizes to these edges.
TINY = architecture("ConvNeXt-T", [3, 3, 9, 3], 96, 28_589_128, resized={"torchvision": 236})
SMALL = architecture("ConvNeXt-S", [3, 3, 27, 3], 96, 50_223_688, resized={"torchvision": 230})
BASE = architecture("ConvNeXt-B", [3, 3, 27, 3], 128, 88_591_464, resized={"torchvision": 232})
LARGE = architecture("ConvNeXt-L", [3, 3, 27, 3], 192, 197_767_336, resized={"torchvision": 232})
XLARGE = architecture("ConvNeXt-XL", [3, 3, 27, 3], 256, 350_196_968)

ARCHITECTURES = (
    *(TINY, SMALL, BASE, LARGE, XLARGE),
    architecture("ConvNeXt-XXL", [3, 4, 30, 3], 384, 846_471_016, fields={"image_size": 256}),
    architecture("ConvNeXt atto", [2, 2, 6, 2], 40, 3_695_520),
    architecture("ConvNeXt femto", [2, 2, 6, 2], 48, 5_217_784),
    architecture("ConvNeXt pico", [2, 2, 6, 2], 64, 9_045_672),
    architecture("ConvNeXt nano", [2, 2, 8, 2], 80, 15_593_560),
)

BENCHED = {"convnext-tiny": TINY}

_hub = Publisher("convnext", licence="apache-2.0", first_licence="MIT").checkpoint
_ALL, _OLD = ("safetensors", "bin", "h5"), ("bin", "h5")

CHECKPOINTS = (
    _hub("facebook/convnext-tiny-224", TINY),
    _hub("facebook/convnext-small-224", SMALL, formats=_ALL),
    _hub("facebook/convnext-base-224", BASE),
    _hub("facebook/convnext-base-224-22k", BASE, classes=IMAGENET_22K, formats=_OLD),
    _hub("facebook/convnext-base-224-22k-1k", BASE),
    _hub("facebook/convnext-base-384", BASE, input=384),
    _hub("facebook/convnext-base-384-22k-1k", BASE, input=384, formats=_OLD),
    _hub("facebook/convnext-large-224", LARGE, formats=_OLD),
    _hub("facebook/convnext-large-224-22k", LARGE, classes=IMAGENET_22K),
    _hub("facebook/convnext-large-224-22k-1k", LARGE),
    _hub("facebook/convnext-large-384", LARGE, input=384, formats=_ALL),
    _hub("facebook/convnext-large-384-22k-1k", LARGE, input=384, formats=_OLD),
    _hub("facebook/convnext-xlarge-224-22k", XLARGE, classes=IMAGENET_22K, formats=_OLD),
    _hub("facebook/convnext-xlarge-224-22k-1k", XLARGE, formats=_OLD),
    _hub("facebook/convnext-xlarge-384-22k-1k", XLARGE, input=384, formats=_OLD),
)

#: From the integration tests and the converter of transformers.
LOGITS = (
    Logits(
        "facebook/convnext-tiny-224",
        TINY,
        {"Pillow": (-0.0260, -0.4739, 0.1911), "torchvision": (-0.0267, -0.4735, 0.1901)},
    ),
)
