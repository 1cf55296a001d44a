"""The published models: what their shapes do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Published:
    """One architecture that weights have been published for; `fields` are those that the shapes do not determine."""

    name: str
    family: str
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    #: With 1000 classes.
    parameters: int
    #: With the 21,841 classes of ImageNet-22k, where such weights are published.
    parameters_22k: int | None = None
    image_size: int = 224
    #: Of a CvT; all have the same steps.
    num_heads: tuple[int, ...] = ()
    #: The checkpoint with 1000 classes whose logits are published.
    checkpoint: str = ""

    def steps(self) -> dict[str, list[int]]:
        """Return the fields of a CvT that its shapes do not determine."""
        steps = {"patch_stride": [4, 2, 2], "patch_padding": [2, 1, 1], "stride_kv": [2] * 3, "padding_kv": [1] * 3}
        return {"num_heads": list(self.num_heads), **steps}


_SMALL, _BASE = (2, 2, 6, 2), (3, 3, 27, 3)

PUBLISHED = (
    Published(
        "ConvNeXt-T",
        "convnext",
        (3, 3, 9, 3),
        (96, 192, 384, 768),
        28_589_128,
        44_615_857,
        checkpoint="facebook/convnext-tiny-224",
    ),
    Published("ConvNeXt-S", "convnext", _BASE, (96, 192, 384, 768), 50_223_688, 66_250_417),
    Published("ConvNeXt-B", "convnext", _BASE, (128, 256, 512, 1024), 88_591_464, 109_953_489),
    Published("ConvNeXt-L", "convnext", _BASE, (192, 384, 768, 1536), 197_767_336, 229_799_953),
    Published("ConvNeXt-XL", "convnext", _BASE, (256, 512, 1024, 2048), 350_196_968, 392_900_177),
    Published("ConvNeXt-XXL", "convnext", (3, 4, 30, 3), (384, 768, 1536, 3072), 846_471_016, image_size=256),
    Published("ConvNeXt atto", "convnext", _SMALL, (40, 80, 160, 320), 3_695_520),
    Published("ConvNeXt femto", "convnext", _SMALL, (48, 96, 192, 384), 5_217_784),
    Published("ConvNeXt pico", "convnext", _SMALL, (64, 128, 256, 512), 9_045_672),
    Published("ConvNeXt nano", "convnext", (2, 2, 8, 2), (80, 160, 320, 640), 15_593_560),
    Published("ConvNeXt V2 atto", "convnextv2", _SMALL, (40, 80, 160, 320), 3_708_400),
    Published("ConvNeXt V2 femto", "convnextv2", _SMALL, (48, 96, 192, 384), 5_233_240),
    Published("ConvNeXt V2 pico", "convnextv2", _SMALL, (64, 128, 256, 512), 9_066_280),
    Published("ConvNeXt V2 nano", "convnextv2", (2, 2, 8, 2), (80, 160, 320, 640), 15_623_800),
    Published(
        "ConvNeXt V2 tiny",
        "convnextv2",
        (3, 3, 9, 3),
        (96, 192, 384, 768),
        28_635_496,
        checkpoint="facebook/convnextv2-tiny-1k-224",
    ),
    Published("ConvNeXt V2 base", "convnextv2", _BASE, (128, 256, 512, 1024), 88_717_800),
    Published("ConvNeXt V2 large", "convnextv2", _BASE, (192, 384, 768, 1536), 197_956_840),
    Published("ConvNeXt V2 huge", "convnextv2", _BASE, (352, 704, 1408, 2816), 660_289_640),
    Published(
        "CvT-13", "cvt", (1, 2, 10), (64, 192, 384), 19_997_480, num_heads=(1, 3, 6), checkpoint="microsoft/cvt-13"
    ),
    Published("CvT-21", "cvt", (1, 4, 16), (64, 192, 384), 31_622_696, num_heads=(1, 3, 6)),
    Published("CvT-w24", "cvt", (2, 2, 20), (192, 768, 1024), 277_196_392, image_size=384, num_heads=(3, 12, 16)),
)

#: The options of timm's test models: the last one has SiLU.
_TEST = {"norm_eps": 1e-5, "hidden_act": "gelu_pytorch_tanh"}


@dataclass(frozen=True)
class TimmModel:
    """A ConvNeXt of timm with other numbers than the usual ones, which its shapes do not show."""

    name: str
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    fields: dict[str, Any]
    kernel_sizes: tuple[int, ...] = (7, 7, 7, 7)


TIMM_MODELS = (
    TimmModel("convnext_xxlarge", (3, 4, 30, 3), (384, 768, 1536, 3072), {"norm_eps": 1e-5}),
    TimmModel("test_convnext", (1, 2, 4, 2), (24, 32, 48, 64), _TEST),
    TimmModel("test_convnext2", (1, 1, 1, 1), (32, 64, 96, 128), _TEST),
    TimmModel(
        "test_convnext3", (1, 1, 1, 1), (32, 64, 96, 128), {**_TEST, "hidden_act": "silu"}, kernel_sizes=(7, 5, 5, 3)
    ),
)


def depths_and_widths(fields: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Return the blocks and the channels of each stage from the fields of a configuration, whatever its family."""
    return fields.get("depths", fields.get("depth")) or [], fields.get("hidden_sizes", fields.get("embed_dim")) or []


def find_published(family: str, depths: list[int], widths: list[int]) -> Published | None:
    """Return the published model of a family with these depths and widths."""
    wanted: Any = (family, tuple(depths), tuple(widths))
    return next((model for model in PUBLISHED if (model.family, model.depths, model.widths) == wanted), None)


def find_timm(family: str, depths: list[int], widths: list[int], kernel_sizes: list[int]) -> TimmModel | None:
    """Return the model of timm with unusual numbers that has this structure."""
    wanted: Any = (tuple(depths), tuple(widths), tuple(kernel_sizes))
    models = TIMM_MODELS if family == "convnext" else ()
    return next((model for model in models if (model.depths, model.widths, model.kernel_sizes) == wanted), None)
