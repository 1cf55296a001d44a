"""What the ``published.py`` of a family is made of: architectures and checkpoints that have been published.

A ``published.py`` holds

- ``ARCHITECTURES``: an :class:`Architecture` for each size that weights have been published for
- ``CHECKPOINTS``: a :class:`Published` for each checkpoint on the hub of Hugging Face, as ``npconv models`` lists it
- ``BENCHED``: those of the architectures that ``npconv bench`` measures with random weights, by the names it gives them
- ``LOGITS``: the :class:`Logits` that checkpoints are known by
- ``LICENCE``: under which the authors published the weights, as a note
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from npconv.models import find_family

#: From this size on pictures are warped to the square; below, the shorter edge is resized and a square cut out.
WARPED_FROM = 384
USUAL_CROP = 0.875

IMAGENET_1K, IMAGENET_22K = 1_000, 21_841


@dataclass(frozen=True)
class Architecture:
    """One size of a family."""

    #: As its authors call it: ``"ConvNeXt-T"``.
    name: str
    #: The fields of a configuration by which it is known: blocks and channels.
    shape: Mapping[str, Any]
    #: Channels that the classifier sees.
    features: int
    #: Of the model with so many `classes`.
    parameters: int
    #: 0 for a family without classifiers.
    classes: int = IMAGENET_1K
    #: Fields that no shape shows: ``image_size`` and others.
    fields: Mapping[str, Any] = field(default_factory=lambda: {"image_size": 224})
    #: Name of a dialect -> edge to which that library resizes a picture before it cuts out 224 pixels, with the
    #: bilinear filter; where that is not what is usual.
    resized: Mapping[str, int] = field(default_factory=dict)

    def count(self, classes: int) -> int:
        """Return the number of parameters with another number of classes."""
        return self.parameters + (classes - self.classes) * (self.features + 1) if self.classes else self.parameters


def find_architecture(model_type: str, fields: Mapping[str, Any]) -> Architecture | None:
    """Return the published architecture that the fields of a configuration describe."""
    known = find_family(model_type).part("published").ARCHITECTURES
    return next((a for a in known if all(fields.get(name) == value for name, value in a.shape.items())), None)


def size_fields(model_type: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some fields by which the sizes of a family are known."""
    names = find_family(model_type).part("published").ARCHITECTURES[0].shape
    return {name: fields[name] for name in names}


@dataclass(frozen=True)
class Published:
    """One published checkpoint; None stands for what is not known."""

    #: On the hub.
    name: str
    #: The ``model_type``.
    family: str
    parameters: int
    #: Height and width that it was trained or fine-tuned at last, in pixels.
    input: int
    #: Share of the resized shorter edge that is kept; None where pictures are warped, and where it is not known.
    crop_pct: float | None
    #: ``"resize 256, crop"`` or ``"warp"``.
    preparation: str | None
    #: 1,000 of ImageNet-1k, or 21,841 of ImageNet-22k.
    classes: int
    #: Files of weights seen in a listing of its main branch: safetensors, bin (``pytorch_model.bin``), h5
    #: (``tf_model.h5``). One may have been added since.
    formats: tuple[str, ...] | None
    #: On the card.
    licence: str
    #: Under which the authors published the weights.
    first_licence: str


@dataclass(frozen=True)
class Publisher:
    """What all checkpoints of a family have in common."""

    family: str
    licence: str
    first_licence: str

    def checkpoint(
        self,
        name: str,
        architecture: Architecture,
        *,
        input: int = 224,
        classes: int = IMAGENET_1K,
        formats: tuple[str, ...] | None = None,
        is_usual: bool = True,
    ) -> Published:
        """Return a checkpoint; pictures are prepared as is usual for its size, or nobody knows how."""
        is_warped = input >= WARPED_FROM
        usual = "warp" if is_warped else f"resize {int(input / USUAL_CROP)}, crop"
        return Published(
            name=name,
            family=self.family,
            parameters=architecture.count(classes),
            input=input,
            crop_pct=USUAL_CROP if is_usual and not is_warped else None,
            preparation=usual if is_usual else None,
            classes=classes,
            formats=formats,
            licence=self.licence,
            first_licence=self.first_licence,
        )


@dataclass(frozen=True)
class Logits:
    """The first three logits of a published checkpoint for the picture 000000039769 of COCO (two cats)."""

    #: Of the checkpoint.
    name: str
    architecture: Architecture
    #: By the library that resizes the picture.
    values: Mapping[str, tuple[float, ...]]
    #: Of the configuration with which they were computed, where it is not that of the checkpoint.
    fields: Mapping[str, Any] = field(default_factory=dict)
