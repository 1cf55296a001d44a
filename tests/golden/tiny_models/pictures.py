"""Small pictures, and how they are made ready for a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Means and standard deviations that are those of no other data set, and differ from one another.
STATISTICS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


@dataclass(frozen=True)
class TinyPicture:
    """A picture, and how it is made ready for a model.

    Parameters
    ----------
    says : str
        What it is for.
    shape : tuple of int
        Height and width of the picture.
    settings : mapping
        Of the image processor.
    contrast : float
        1 for a smooth picture; more of it cuts values off at black and white, as resizing does after each pass.
    """

    says: str
    shape: tuple[int, int]
    settings: Mapping[str, Any]
    contrast: float = 1.0

    def make(self) -> np.ndarray:
        """Return the picture, uint8 (H, W, C), with smooth parts and edges; its colours differ."""
        height, width = self.shape
        rows, columns = np.mgrid[:height, :width]
        edges = [rows + 2 * columns > 60 + 9 * c for c in range(3)]
        waves = [np.sin(rows / (3.0 + c)) + np.cos(columns / (2.0 + c)) + edges[c] for c in range(3)]
        picture = np.stack(waves, axis=-1) * (50.0, 40.0, 30.0) * self.contrast + (110.0, 120.0, 90.0)
        return np.clip(np.round(picture), 0, 255).astype(np.uint8)


CROPPED = {**STATISTICS, "size": {"shortest_edge": 25}, "crop_pct": 0.88}

PICTURES = (
    TinyPicture("bicubic, cropped", (58, 47), {**CROPPED, "resample": 3}),
    TinyPicture("bilinear, cropped", (45, 55), {**CROPPED, "resample": 2}),
    TinyPicture("horizontal pass first, one odd border", (51, 42), {**CROPPED, "resize_order": "horizontal"}, 9.0),
    TinyPicture(
        "vertical pass first, cropped as timm does",
        (51, 42),
        {**CROPPED, "resize_order": "vertical", "crop_mode": "center", "crop_rounding": "half_even"},
        9.0,
    ),
)
