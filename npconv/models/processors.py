"""Which image processor makes pictures ready for a model: that which its file names."""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

from npconv.files.loading_arguments import sort_out
from npconv.images import ConvNextImageProcessor
from npconv.images.processor import type_name_of
from npconv.images.saved import find_settings
from npconv.models import FAMILIES


def load_processor(model: str | os.PathLike[str] | None = None, **arguments: Any) -> ConvNextImageProcessor:
    """Read the image processor of a model.

    The arguments, and what is raised, are those of :meth:`npconv.images.ConvNextImageProcessor.from_pretrained`.
    """
    model = arguments.pop("pretrained_model_name_or_path", model)
    arguments.pop("config", None)  # of the model: the file of settings names the class
    origin, rest = sort_out(arguments)
    kind = processor_class(type_name_of(find_settings(model, origin)[1]), ConvNextImageProcessor)
    return kind.from_pretrained(model, **rest, **origin.downloaded().arguments())


def processor_class(name: object, usual: type[ConvNextImageProcessor]) -> type[ConvNextImageProcessor]:
    """Return the class of image processors that a file calls by a name; the `usual` one without a known name."""
    others = (family.processor_class for family in FAMILIES.values() if family.pictures)  # loaded as they are looked at
    return next((kind for kind in chain([ConvNextImageProcessor], others) if name in kind.type_names), usual)
