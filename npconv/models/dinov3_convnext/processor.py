"""How pictures are made ready for the models of DINOv3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from npconv.errors import InputError
from npconv.images import ConvNextImageProcessor
from npconv.images.settings import Listed, Settings, crop_arguments, plain, resize_arguments


class DINOv3ViTImageProcessor(ConvNextImageProcessor):
    """Make model inputs of pictures: rescale to 0..1, resize whatever the aspect, normalise.

    The settings are those of :class:`ConvNextImageProcessor` with other defaults: `size` is a height and a width, 224
    each (one number stands for both), `resample` is bilinear, mean and standard deviation are those of ImageNet.
    ``crop_pct`` and ``crop_mode`` have no effect.

    Notes
    -----
    Pictures are resized as floats, without rounding to 8 bits. transformers does so with Torchvision: its values before
    normalization are within 1e-5 of these.
    """

    type_names: ClassVar[tuple[str, ...]] = ("DINOv3ViTImageProcessor", "DINOv3ViTImageProcessorFast")
    defaults: ClassVar[Mapping[str, Any]] = {
        "size": {"height": 224, "width": 224},
        "resample": "bilinear",
        "image_mean": (0.485, 0.456, 0.406),
        "image_std": (0.229, 0.224, 0.225),
    }

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.size = _edges("size", self.size)  # as transformers wants it in files

    @staticmethod
    def check_complete(settings: Settings) -> None:
        """Raise `InputError` if a value is missing that one of the steps needs."""
        if settings.do_resize:
            _edges("size", settings.size)
        if settings.do_center_crop:
            _edges("crop_size", settings.crop_size or {})
        settings.check_amount()

    @staticmethod
    def list_steps(settings: Settings, height: int, width: int) -> Iterator[Listed]:
        """Yield what is done to a picture of some size with some settings."""
        if settings.do_rescale:
            yield "rescaled", "rescale", {"factor": float(settings.rescale_factor)}
        if settings.do_resize:
            size = _edges("size", settings.size)
            asked = resize_arguments(settings, (height, width), (size["height"], size["width"]))
            yield "resized", "resize_float", asked
        if settings.do_center_crop:
            yield "center_cropped", "center_crop", crop_arguments(settings, **_edges("crop_size", settings.crop_size))
        if settings.do_normalize:
            yield "normalized", "normalize", {"mean": plain(settings.image_mean), "std": plain(settings.image_std)}


def _edges(name: str, size: Mapping[str, int]) -> dict[str, int]:
    """Return height and width of a size; one number stands for both."""
    edges = {side: size.get(side, size.get("shortest_edge")) for side in ("height", "width")}
    if None in edges.values():
        raise InputError(f"expected a {name} such as 224 or {{'height': 224, 'width': 224}}, got {dict(size)}")
    return {side: edge for side, edge in edges.items() if edge is not None}
