"""The ways in which timm's ConvNeXts want their pictures, and pictures on which each pixel of difference shows.

``tests/convert/data/timm_pictures.json`` holds what timm makes of them,
written by ``python -m tests.reference.timm_pictures --write``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

GOLDENS = Path(__file__).parents[1] / "convert" / "data" / "timm_pictures.json"

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
CLIP = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def kind(size: Any, crop_pct: float, mode: str, colours: dict[str, Any], filter_: str = "bicubic") -> dict[str, Any]:
    """Return the part of a ``pretrained_cfg`` that is about pictures."""
    height, width = size if isinstance(size, tuple) else (size, size)
    return {
        "input_size": [3, height, width],
        "crop_pct": crop_pct,
        "crop_mode": mode,
        "interpolation": filter_,
        **colours,
    }


#: Of all published ConvNeXts and ConvNeXt V2s of timm 1.0.31: a model -> how its pictures are prepared. The eleven
#: first are those without RMS norm.
PUBLISHED = {
    "convnext_atto.d2_in1k": kind(224, 0.875, "center", IMAGENET),
    "convnext_nano.d1h_in1k": kind(224, 0.95, "center", IMAGENET),
    "convnext_base.dinov3_lvd1689m": kind(224, 1.0, "center", IMAGENET),
    "convnext_base.clip_laion2b": kind(256, 1.0, "center", CLIP),
    "convnext_base.eupe_lvd1689m": kind(256, 1.0, "center", IMAGENET),
    "convnext_base.clip_laiona_320": kind(320, 1.0, "center", CLIP),
    "convnext_base.clip_laiona_augreg_ft_in1k_384": kind(384, 1.0, "center", CLIP),
    "convnext_nano.r384_in12k": kind(384, 1.0, "center", IMAGENET),
    "convnext_base.clip_laion2b_augreg_ft_in12k_in1k_384": kind(384, 1.0, "squash", CLIP),
    "convnext_base.fb_in22k_ft_in1k_384": kind(384, 1.0, "squash", IMAGENET),
    "convnextv2_huge.fcmae_ft_in22k_in1k_512": kind(512, 1.0, "squash", IMAGENET),
    "convnext_zepto_rms.ra4_e3600_r224_in1k": kind(224, 0.875, "center", HALF),
    "convnext_zepto_rms_ols.ra4_e3600_r224_in1k": kind(224, 0.9, "center", HALF),
}

#: What timm can be told besides.
OTHERS = {
    "border": kind(224, 0.9, "border", IMAGENET),
    "border 384": kind(384, 1.0, "border", CLIP),
    "squash below 384": kind(224, 0.9, "squash", IMAGENET, "bilinear"),
    "crop above 384": kind(400, 0.95, "center", IMAGENET, "bilinear"),
    "more than the picture": kind(64, 1.25, "center", HALF),
    "more than the picture, border": kind(63, 1.3, "border", HALF),
    "wide": kind((96, 160), 0.9, "center", IMAGENET),
    "tall": kind((160, 96), 0.95, "center", IMAGENET),
    "wide border": kind((96, 161), 0.9, "border", IMAGENET),
    "wide squash": kind((97, 160), 0.9, "squash", IMAGENET),
    "lanczos": kind(65, 0.9, "center", IMAGENET, "lanczos"),
    "nearest": kind(65, 0.9, "center", IMAGENET, "nearest"),
    "box": kind(65, 0.9, "center", IMAGENET, "box"),
    "hamming": kind(65, 0.9, "center", IMAGENET, "hamming"),
}

KINDS = PUBLISHED | OTHERS

#: Heights and widths of pictures: usual photos, odd borders, squares, smaller than the crop, long ones.
SHAPES = ((480, 640), (600, 400), (333, 500), (501, 334), (224, 224), (257, 255), (40, 53), (61, 30), (30, 400))


def picture(height: int, width: int) -> np.ndarray:
    """Return a picture, uint8 (H, W, C), with waves and hard edges; its colours differ."""
    y, x = np.mgrid[0:height, 0:width]
    waves = 127.5 + 127.5 * np.sin(y / 5.0 + x / 9.0)
    planes = [waves, (x * x + 7 * y * y) % 256, 255 * ((x // 3 + y // 2) % 2)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def digest(pixel_values: np.ndarray) -> str:
    """Return the first half of the SHA-256 of float32 numbers (C, H, W), their shape before them."""
    shape = ",".join(map(str, pixel_values.shape))
    numbers = np.ascontiguousarray(pixel_values, dtype="<f4").tobytes()
    return hashlib.sha256(f"{shape}\0".encode() + numbers).hexdigest()[:32]


def goldens() -> dict[str, Any]:
    """Return what timm made of the pictures: versions, and kind -> shape -> order of the passes -> digest."""
    content: dict[str, Any] = json.loads(GOLDENS.read_text(encoding="utf-8"))
    return content
