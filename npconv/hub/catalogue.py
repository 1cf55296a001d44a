"""The published checkpoints of the three families, as data: nothing is asked of the hub and no model is imported.

Sources: the conversion scripts of transformers and the repositories' pages on the hub (2022 to 2025) for the names,
files and cards; for the terms under which the weights first appeared, facebookresearch/ConvNeXt,
facebookresearch/ConvNeXt-V2 (whose README excepts the weights from its MIT licence) and microsoft/CvT.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

#: From this size on pictures are warped to the square; below, the shorter edge is resized and a square cut out.
WARPED_FROM = 384
USUAL_CROP = 0.875

#: Parameters by size: with 1,000 classes, and one more class.
SIZES = {
    "convnext": {
        "tiny": (28_589_128, 769),
        "small": (50_223_688, 769),
        "base": (88_591_464, 1025),
        "large": (197_767_336, 1537),
        "xlarge": (350_196_968, 2049),
    },
    "convnextv2": {
        "atto": (3_708_400, 321),
        "femto": (5_233_240, 385),
        "pico": (9_066_280, 513),
        "nano": (15_623_800, 641),
        "tiny": (28_635_496, 769),
        "base": (88_717_800, 1025),
        "large": (197_956_840, 1537),
        "huge": (660_289_640, 2817),
    },
    "cvt": {"13": (19_997_480, 385), "21": (31_622_696, 385), "w24": (277_196_392, 1025)},
}

#: What the cards on the hub state, and what the weights were first published under.
CARD_LICENCE = "apache-2.0"
FIRST_LICENCES = {"convnext": "MIT", "convnextv2": "CC-BY-NC-4.0", "cvt": "MIT"}

_SAFETENSORS, _BIN, _H5 = "safetensors", "bin", "h5"
_ALL, _OLD = (_SAFETENSORS, _BIN, _H5), (_BIN, _H5)

#: Name -> formats seen in a listing of its main branch, None where none was seen. One may have been added since.
_FORMATS: dict[str, tuple[str, ...] | None] = {
    "facebook/convnext-tiny-224": None,
    "facebook/convnext-small-224": _ALL,
    "facebook/convnext-base-224": None,
    "facebook/convnext-base-224-22k": _OLD,
    "facebook/convnext-base-224-22k-1k": None,
    "facebook/convnext-base-384": None,
    "facebook/convnext-base-384-22k-1k": _OLD,
    "facebook/convnext-large-224": _OLD,
    "facebook/convnext-large-224-22k": None,
    "facebook/convnext-large-224-22k-1k": None,
    "facebook/convnext-large-384": _ALL,
    "facebook/convnext-large-384-22k-1k": _OLD,
    "facebook/convnext-xlarge-224-22k": _OLD,
    "facebook/convnext-xlarge-224-22k-1k": _OLD,
    "facebook/convnext-xlarge-384-22k-1k": _OLD,
    "facebook/convnextv2-atto-1k-224": _OLD,
    "facebook/convnextv2-femto-1k-224": None,
    "facebook/convnextv2-pico-1k-224": None,
    "facebook/convnextv2-nano-1k-224": _OLD,
    "facebook/convnextv2-nano-22k-224": None,
    "facebook/convnextv2-nano-22k-384": None,
    "facebook/convnextv2-tiny-1k-224": None,
    "facebook/convnextv2-tiny-22k-224": _OLD,
    "facebook/convnextv2-tiny-22k-384": None,
    "facebook/convnextv2-base-1k-224": None,
    "facebook/convnextv2-base-22k-224": None,
    "facebook/convnextv2-base-22k-384": (_SAFETENSORS, _BIN),
    "facebook/convnextv2-large-1k-224": None,
    "facebook/convnextv2-large-22k-224": None,
    "facebook/convnextv2-large-22k-384": None,
    "facebook/convnextv2-huge-1k-224": None,
    "facebook/convnextv2-huge-22k-384": (_BIN,),
    "facebook/convnextv2-huge-22k-512": (_BIN,),
    "microsoft/cvt-13": _OLD,
    "microsoft/cvt-13-384": _OLD,
    "microsoft/cvt-13-384-22k": _OLD,
    "microsoft/cvt-21": None,
    "microsoft/cvt-21-384": _OLD,
    "microsoft/cvt-21-384-22k": _OLD,
    "microsoft/cvt-w24-384-22k": _OLD,
}

#: Checkpoints whose preprocessor_config.json was not corrected to 384 pixels where those of its siblings were.
_PREPARATION_NOT_KNOWN = ("microsoft/cvt-13-384-22k",)

#: How alike a name must be to be suggested (1: equal).
_ALIKE = 0.75


@dataclass(frozen=True)
class Checkpoint:
    """One published checkpoint; None stands for what is not known.

    Attributes
    ----------
    name : str
        On the hub.
    family : str
        The ``model_type``: convnext, convnextv2 or cvt.
    parameters : int
    input : int
        Height and width that it was trained or fine-tuned at last, in pixels.
    crop_pct : float or None
        Share of the resized shorter edge that is kept; None where pictures are warped, and where it is not known.
    preparation : str or None
        ``"resize 256, crop"`` or ``"warp"``.
    classes : int
        1,000 of ImageNet-1k, or 21,841 of ImageNet-22k.
    formats : tuple of str or None
        Files of weights: safetensors, bin (``pytorch_model.bin``), h5 (``tf_model.h5``).
    licence : str
        On the card.
    first_licence : str
        Under which the authors published the weights.
    """

    name: str
    family: str
    parameters: int
    input: int
    crop_pct: float | None
    preparation: str | None
    classes: int
    formats: tuple[str, ...] | None
    licence: str
    first_licence: str


def _checkpoint(name: str, formats: tuple[str, ...] | None) -> Checkpoint:
    """Return the entry of a name, of which the name says nearly all."""
    family, size, *rest = name.split("/")[1].split("-")
    pixels = max((int(part) for part in rest if part.isdigit()), default=224)
    # "22k-1k" was fine-tuned on the 1,000 classes, and so was every V2 and CvT, whatever it was trained on before.
    classes = 21_841 if family == "convnext" and rest[-1] == "22k" else 1_000
    parameters, one_class = SIZES[family][size]
    is_warped, is_known = pixels >= WARPED_FROM, name not in _PREPARATION_NOT_KNOWN
    usual = "warp" if is_warped else f"resize {int(pixels / USUAL_CROP)}, crop"
    return Checkpoint(
        name=name,
        family=family,
        parameters=parameters + (classes - 1_000) * one_class,
        input=pixels,
        crop_pct=USUAL_CROP if is_known and not is_warped else None,
        preparation=usual if is_known else None,
        classes=classes,
        formats=formats,
        licence=CARD_LICENCE,
        first_licence=FIRST_LICENCES[family],
    )


CATALOGUE = tuple(_checkpoint(name, formats) for name, formats in _FORMATS.items())


def suggestion(name: str, others: tuple[str, ...] = ()) -> str:
    """Return ``"; did you mean ...?"`` with the known name that is most like an unknown one, or nothing.

    Parameters
    ----------
    name : str
        With or without the organisation.
    others : tuple of str
        Names that are known besides those of the catalogue.
    """
    known = {checkpoint.name: checkpoint.name for checkpoint in CATALOGUE}
    short = {full.split("/")[1]: full for full in known}
    tail = name.split("/")[-1]
    if tail in short and name not in known:
        return f"; did you mean {short[tail]}?"  # the right name, of another organisation or none
    known = known if "/" in name else short
    known |= {other: other for other in others}
    near = difflib.get_close_matches(name[:200], known, 1, _ALIKE)
    return f"; did you mean {known[near[0]]}?" if near and known[near[0]] != name else ""
