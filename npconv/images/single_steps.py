"""The steps of an image processor, each by itself, as methods that transformers has as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

#: The steps of a processor by the setting that says whether they are taken.
NONE_OF_THE_STEPS = {"do_resize": False, "do_rescale": False, "do_normalize": False, "do_center_crop": False}


class SingleSteps:
    """Base of :class:`ConvNextImageProcessor`: every method takes one picture, as the processor does, and returns it.

    An array keeps the layout that it came in, unless `data_format` says otherwise; `input_data_format` says which one
    that is. What is not given is the processor's own setting, and what is invalid an `InputError`.
    """

    preprocess: Callable[..., Any]

    def resize(
        self, image: Any, size: Any = None, crop_pct: float | None = None, resample: Any = None, **layout: Any
    ) -> np.ndarray:
        """Resize a picture, and crop it as :class:`ConvNextImageProcessor` says of `size`."""
        return self._only("do_resize", image, layout, size=size, crop_pct=crop_pct, resample=resample)

    def rescale(self, image: Any, scale: float | None = None, **layout: Any) -> np.ndarray:
        """Multiply the values of a picture."""
        return self._only("do_rescale", image, layout, rescale_factor=scale)

    def normalize(self, image: Any, mean: Any = None, std: Any = None, **layout: Any) -> np.ndarray:
        """Subtract a mean from the values of a picture and divide them by a standard deviation."""
        return self._only("do_normalize", image, layout, image_mean=mean, image_std=std)

    def center_crop(self, image: Any, size: Any = None, **layout: Any) -> np.ndarray:
        """Cut out the middle of a picture, with a black border where it is smaller."""
        return self._only("do_center_crop", image, layout, crop_size=size)

    def _only(self, step: str, image: Any, layout: dict[str, Any], **settings: Any) -> np.ndarray:
        """Take one step and no other."""
        given = {"data_format": None, **NONE_OF_THE_STEPS, step: True, **layout, **settings}
        prepared: np.ndarray = self.preprocess(image, **given)["pixel_values"][0]
        return prepared
