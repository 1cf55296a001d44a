"""Preprocessing: what is done to a picture before the model sees it."""

from __future__ import annotations

from functools import partial

import numpy as np

from npconv.images.transforms import normalize, resize_float
from tests.golden.specimens import PICTURE
from tests.golden.unlisted.entry import Entry, reason
from tests.golden.unlisted.port import both, computed, result, settings, takes, unrecorded

entry = partial(Entry, "preprocessing")

BICUBIC, BILINEAR, HARD = "bicubic, cropped", "bilinear, cropped", "horizontal pass first"
CHANGED = "order|revers|exchang|swap|permut"
BGR = rf"bgr|channel.*({CHANGED})|({CHANGED}).*channel"
CLIP = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}


def wrapped(right, image, *, height, width, resample, order):
    """Let values below black become white, and values beyond white black."""
    resized = resize_float(image, (height, width), resample, order)
    return (np.round(resized).astype(np.int64) % 256).astype(np.uint8)


def corners_aligned(right, image, *, height, width, **how):
    """Interpolate between the nearest pixels, the first on the first and the last on the last."""
    rows, columns = (matrix(*sizes) for sizes in zip(image.shape[1:], (height, width), strict=True))
    return np.round(rows @ image.astype(np.float64) @ columns.T).astype(np.uint8)


def matrix(length, target):
    """Return the matrix (target, length) that interpolates so along an axis."""
    places = np.arange(target) * (length - 1) / (target - 1)
    return np.maximum(1 - np.abs(places[:, None] - np.arange(length)), 0)


def one_pixel_higher(right, image, *, height, width, **how):
    """Begin the crop one row higher."""
    top, left = ((size - target) // 2 for size, target in zip(image.shape[1:], (height, width), strict=True))
    return image[:, top - 1 : top - 1 + height, left : left + width]


ENTRIES = (
    entry(
        *("lanczos", PICTURE, "resized"),
        settings(resample=1),
        reason(r"lanczos"),
        "Image.LANCZOS, once called ANTIALIAS",
        model=HARD,
    ),
    entry(
        *("hamming", PICTURE, "resized"),
        settings(resample=5),
        reason(r"hamming"),
        "another filter by number",
        model=BILINEAR,
    ),
    entry(
        *("crop-one-higher", PICTURE, "cropped"),
        computed(one_pixel_higher),
        reason(r"crop|pixel|shift|offset|row|begin", r"\b1\b|\bone\b|\b3\b"),
        "an offset counted from 1",
        model=BICUBIC,
    ),
    entry(
        *("bgr-after-normalization", PICTURE, "normalized"),
        result(lambda y: y[::-1].copy()),
        reason(BGR, also_kinds=("parameters",)),
        "channels exchanged for a network trained by OpenCV",
        model=BICUBIC,
    ),
    entry(
        *("bgr-before-resizing", PICTURE, "resized"),
        result(lambda y: y[::-1].copy()),
        reason(BGR),
        "cv2.imread",
        model=BILINEAR,
    ),
    entry(
        *("mirrored", PICTURE, "cropped"),
        result(lambda y: y[:, :, ::-1].copy()),
        reason(r"mirror|flip|revers"),
        "an augmentation left on",
        model=HARD,
    ),
    entry(
        *("corners-aligned", PICTURE, "resized"),
        computed(corners_aligned),
        reason(r"corner"),
        "align_corners=True",
        model=BILINEAR,
    ),
    entry(
        *("levels-of-video", PICTURE, "rescaled"),
        computed(lambda right, image, factor: right(image.astype(np.float32) - 16, 1 / 219)),
        reason(r"offset|level|range|factor|shift|minus|\+|black", numbers=(219, 1 / 219, 255 / 219, 16, 16 / 255)),
        "black is 16 and white 235 in frames of a camera",
        model=BICUBIC,
    ),
    entry(
        *("wrapped", PICTURE, "resized"),
        computed(wrapped),
        reason(r"wrap|modulo|256|overflow|not clipped"),
        "a cast to uint8 without clipping",
        model=HARD,
    ),
    entry(
        *("statistics-of-clip", PICTURE, "normalized"),
        settings(**CLIP),
        reason(r"mean|std|statistic|clip", r"clip|0\.48145|0\.2686|0\.4814|mean and std|statistics"),
        "mean and standard deviation of CLIP",
        model=BILINEAR,
    ),
    entry(
        *("normalized-before-rescaling", PICTURE, "normalized"),
        both(
            takes("cropped"),
            unrecorded("rescaled"),
            computed(lambda right, image, mean, std: normalize(image, mean, std) * np.float32(1 / 255)),
        ),
        reason(r"before|after|order|exchang|swap", r"rescal|255|divi"),
        "two lines in the other order",
        model=BICUBIC,
    ),
    entry(
        *("linear-light", PICTURE, "rescaled"),
        result(lambda y: y ** np.float32(2.2)),
        reason(r"gamma|power|exponent|linear|colou?r space", numbers=(2.2,), also_kinds=("continuous",)),
        "a texture loaded as sRGB",
        model=HARD,
    ),
)
