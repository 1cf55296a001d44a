"""Numbers that published checkpoints are known by."""

from __future__ import annotations

#: Parameters with 1000 classes, by (family, depths, widths).
PARAMETERS = {
    ("convnext", (3, 3, 9, 3), (96, 192, 384, 768)): 28_589_128,
    ("convnext", (3, 3, 27, 3), (96, 192, 384, 768)): 50_223_688,
    ("convnext", (3, 3, 27, 3), (128, 256, 512, 1024)): 88_591_464,
    ("convnext", (3, 3, 27, 3), (192, 384, 768, 1536)): 197_767_336,
    ("convnext", (3, 3, 27, 3), (256, 512, 1024, 2048)): 350_196_968,
    ("convnextv2", (2, 2, 6, 2), (40, 80, 160, 320)): 3_708_400,
    ("convnextv2", (2, 2, 6, 2), (48, 96, 192, 384)): 5_233_240,
    ("convnextv2", (2, 2, 6, 2), (64, 128, 256, 512)): 9_066_280,
    ("convnextv2", (2, 2, 8, 2), (80, 160, 320, 640)): 15_623_800,
    ("convnextv2", (3, 3, 9, 3), (96, 192, 384, 768)): 28_635_496,
    ("convnextv2", (3, 3, 27, 3), (128, 256, 512, 1024)): 88_717_800,
    ("convnextv2", (3, 3, 27, 3), (192, 384, 768, 1536)): 197_956_840,
    ("convnextv2", (3, 3, 27, 3), (352, 704, 1408, 2816)): 660_289_640,
    ("cvt", (1, 2, 10), (64, 192, 384)): 19_997_480,
    ("cvt", (1, 4, 16), (64, 192, 384)): 31_622_696,
    ("cvt", (2, 2, 20), (192, 768, 1024)): 277_196_392,
}

#: The same with the 21,841 classes of ImageNet-22k.
PARAMETERS_22K = {
    ("convnext", (3, 3, 9, 3), (96, 192, 384, 768)): 44_615_857,
    ("convnext", (3, 3, 27, 3), (96, 192, 384, 768)): 66_250_417,
    ("convnext", (3, 3, 27, 3), (128, 256, 512, 1024)): 109_953_489,
    ("convnext", (3, 3, 27, 3), (192, 384, 768, 1536)): 229_799_953,
    ("convnext", (3, 3, 27, 3), (256, 512, 1024, 2048)): 392_900_177,
}

#: Their first three logits for the picture 000000039769 of COCO (two cats), with each library that resizes: from the
#: integration tests and converters of transformers.
LOGITS = {
    "facebook/convnext-tiny-224": {"Pillow": (-0.0260, -0.4739, 0.1911), "torchvision": (-0.0267, -0.4735, 0.1901)},
    "facebook/convnextv2-tiny-1k-224": {
        "Pillow": (0.9996, 0.1966, -0.4386),
        "torchvision": (0.9989, 0.1953, -0.4382),
    },
    "microsoft/cvt-13": {"Pillow": (0.9285, 0.9015, -0.3150), "torchvision": (0.9287, 0.9016, -0.3152)},
}

#: By (family, depths, widths), those of `LOGITS` that have them; with 1000 classes.
CHECKPOINTS = {
    ("convnext", (3, 3, 9, 3), (96, 192, 384, 768)): "facebook/convnext-tiny-224",
    ("convnextv2", (3, 3, 9, 3), (96, 192, 384, 768)): "facebook/convnextv2-tiny-1k-224",
    ("cvt", (1, 2, 10), (64, 192, 384)): "microsoft/cvt-13",
}

#: How far logits may be from the published ones, as in those tests.
LOGITS_TOLERANCE = 2e-4

Key = tuple[str, tuple[int, ...], tuple[int, ...]]


def expected_parameters(key: Key, classes: int) -> int | None:
    """Return the parameters of a published architecture with so many classes; None if it is none of them."""
    if classes == 21_841 and key in PARAMETERS_22K:
        return PARAMETERS_22K[key]
    count = PARAMETERS.get(key)
    return None if count is None else count + (classes - 1000) * (key[2][-1] + 1)


def licence_note(family: str, dialect: str, is_published: bool) -> str | None:
    """Return under which licence the weights of an architecture were published; None if it is not published.

    Sources: the licences that the repositories facebookresearch/ConvNeXt, facebookresearch/ConvNeXt-V2 (its README
    excepts the weights from MIT), microsoft/CvT and pytorch/vision state. Weights of the same shape may come from
    anyone: what a certain file may be used for, only its source says.
    """
    if not is_published:
        return None
    if dialect in ("timm", "open_clip", "timm-encoder"):
        note = "timm publishes weights under several licences: see the card of the model on the hub"
        return note + ("; those that come from ConvNeXt V2 are CC-BY-NC" if family == "convnextv2" else "")
    if dialect == "torchvision":
        return "torchvision's repository is BSD 3-Clause; it says that weights may have terms of their data set"
    return {
        "convnext": "as published in facebookresearch/ConvNeXt: MIT",
        "convnextv2": "as published in facebookresearch/ConvNeXt-V2: the weights CC-BY-NC, not for commercial use",
        "cvt": "as published in microsoft/CvT: MIT",
    }[family]
