"""Numbers that published checkpoints are known by."""

from __future__ import annotations

from npconv.convert.architectures import PUBLISHED

Key = tuple[str, tuple[int, ...], tuple[int, ...]]

#: Parameters with 1000 classes, by (family, depths, widths).
PARAMETERS: dict[Key, int] = {(m.family, m.depths, m.widths): m.parameters for m in PUBLISHED}

#: The same with the 21,841 classes of ImageNet-22k.
PARAMETERS_22K: dict[Key, int] = {
    (m.family, m.depths, m.widths): m.parameters_22k for m in PUBLISHED if m.parameters_22k is not None
}

#: By (family, depths, widths), those of `LOGITS` that have them; with 1000 classes.
CHECKPOINTS: dict[Key, str] = {(m.family, m.depths, m.widths): m.checkpoint for m in PUBLISHED if m.checkpoint}

#: The first three logits of published checkpoints for the picture 000000039769 of COCO (two cats), with each library
#: that resizes: from the integration tests and converters of transformers.
LOGITS = {
    "facebook/convnext-tiny-224": {"Pillow": (-0.0260, -0.4739, 0.1911), "torchvision": (-0.0267, -0.4735, 0.1901)},
    "facebook/convnextv2-tiny-1k-224": {
        "Pillow": (0.9996, 0.1966, -0.4386),
        "torchvision": (0.9989, 0.1953, -0.4382),
    },
    # With gelu, which transformers computes for every CvT; the weights were trained with quick_gelu.
    "microsoft/cvt-13": {"Pillow": (0.9285, 0.9015, -0.3150), "torchvision": (0.9287, 0.9016, -0.3152)},
}

#: How far logits may be from the published ones, as in those tests.
LOGITS_TOLERANCE = 2e-4


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
