"""The published sizes and checkpoints of DINOv3's ConvNeXt.

Sources: the converter of transformers for names, sizes and preprocessing, timm for the licence. No logits are known:
there is no classifier.
"""

from __future__ import annotations

from npconv.models.publishing import Architecture, Logits, Published

LICENCE = "as published in facebookresearch/dinov3: the DINOv3 license, for accounts that asked for it"


def architecture(name: str, depths: list[int], width: int, parameters: int) -> Architecture:
    """Return an architecture of four stages, each with twice the channels of the one before."""
    widths = [width, 2 * width, 4 * width, 8 * width]
    return Architecture(name, {"depths": depths, "hidden_sizes": widths}, widths[-1], parameters, classes=0)


ARCHITECTURES = (
    architecture("DINOv3 ConvNeXt-T", [3, 3, 9, 3], 96, 27_820_128),
    architecture("DINOv3 ConvNeXt-S", [3, 3, 27, 3], 96, 49_454_688),
    architecture("DINOv3 ConvNeXt-B", [3, 3, 27, 3], 128, 87_566_464),
    architecture("DINOv3 ConvNeXt-L", [3, 3, 27, 3], 192, 196_230_336),
)

#: All see 224 pixels, to which pictures are warped.
CHECKPOINTS = tuple(
    Published(
        name=f"facebook/dinov3-convnext-{size}-pretrain-lvd1689m",
        family="dinov3_convnext",
        parameters=found.parameters,
        input=224,
        crop_pct=None,
        preparation="warp",
        classes=0,
        formats=None,
        licence="dinov3-license",
        first_licence="dinov3-license",
    )
    for size, found in zip(("tiny", "small", "base", "large"), ARCHITECTURES, strict=True)
)

LOGITS: tuple[Logits, ...] = ()

#: Of which sizes random models are measured: none, benchmarks compare classifiers.
BENCHED: dict[str, Architecture] = {}
