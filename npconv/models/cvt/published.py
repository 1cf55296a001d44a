"""The published sizes and checkpoints of CvT, and numbers that they are known by.

Sources: microsoft/CvT; for the names, files and cards on the hub, the conversion script of transformers and the
repositories' pages (2022 to 2025).
"""

from __future__ import annotations

from npconv.models.publishing import Architecture, Logits, Publisher

LICENCE = "as published in microsoft/CvT: MIT"


def _architecture(
    name: str, depth: list[int], widths: list[int], heads: list[int], parameters: int, image_size: int = 224
) -> Architecture:
    """Return an architecture; all have the same steps."""
    steps = {"patch_stride": [4, 2, 2], "patch_padding": [2, 1, 1], "stride_kv": [2] * 3, "padding_kv": [1] * 3}
    fields = {"image_size": image_size, "num_heads": heads, **steps}
    return Architecture(name, {"depth": depth, "embed_dim": widths}, widths[-1], parameters, fields=fields)


CVT_13 = _architecture("CvT-13", [1, 2, 10], [64, 192, 384], [1, 3, 6], 19_997_480)
CVT_21 = _architecture("CvT-21", [1, 4, 16], [64, 192, 384], [1, 3, 6], 31_622_696)
CVT_W24 = _architecture("CvT-w24", [2, 2, 20], [192, 768, 1024], [3, 12, 16], 277_196_392, image_size=384)

ARCHITECTURES = (CVT_13, CVT_21, CVT_W24)

BENCHED = {"cvt-13": CVT_13}

_hub = Publisher("cvt", licence="apache-2.0", first_licence="MIT").checkpoint
_OLD = ("bin", "h5")

#: Those called 22k were fine-tuned on the 1,000 classes like the others.
CHECKPOINTS = (
    _hub("microsoft/cvt-13", CVT_13, formats=_OLD),
    _hub("microsoft/cvt-13-384", CVT_13, input=384, formats=_OLD),
    # Its preprocessor_config.json was not corrected to 384 pixels where those of its siblings were.
    _hub("microsoft/cvt-13-384-22k", CVT_13, input=384, formats=_OLD, is_usual=False),
    _hub("microsoft/cvt-21", CVT_21),
    _hub("microsoft/cvt-21-384", CVT_21, input=384, formats=_OLD),
    _hub("microsoft/cvt-21-384-22k", CVT_21, input=384, formats=_OLD),
    _hub("microsoft/cvt-w24-384-22k", CVT_W24, input=384, formats=_OLD),
)

#: From the integration tests and the converter of transformers, which computes gelu for every CvT; the weights were
#: trained with quick_gelu.
LOGITS = (
    Logits(
        "microsoft/cvt-13",
        CVT_13,
        {"Pillow": (0.9285, 0.9015, -0.3150), "torchvision": (0.9287, 0.9016, -0.3152)},
        fields={"hidden_act": "gelu"},
    ),
)
